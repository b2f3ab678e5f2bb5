// Command perf measures Moldau, Apache Kafka and a bare probe in one run, alternating which goes first, and
// prints medians, spreads and the ratios pair by pair as Markdown. See run.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moldau/moldau/test/perf/load"
)

// clientArgument makes this program the clients of one order, which it reads as JSON.
const clientArgument = "clients"

// options are what the command line says.
type options struct {
	only                  string
	pairs                 int
	scale                 float64
	soak                  time.Duration
	profile               bool
	dir                   string
	doc                   string
	out                   io.Writer // the tables
	moldau, kafka, probe  string
	profiled, profilesDir string
	newBrokerGB           float64
	alone                 bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 2 && os.Args[1] == clientArgument {
		order, err := io.ReadAll(os.Stdin)
		if err == nil {
			err = load.Main(ctx, order, os.Stdout)
		}
		if err != nil {
			log.Fatal(err)
		}
		return
	}
	var o options
	flag.StringVar(&o.only, "only", "", "what to measure, by comma: "+strings.Join(names(items()), ", ")+", cluster (all that begin so), or all (without many and the clusters). Without it: "+strings.Join(names(defaultItems()), ", "))
	flag.IntVar(&o.pairs, "pairs", 5, "measured pairs of each workload and scenario")
	flag.Float64Var(&o.scale, "scale", 1, "factor for the amounts of data, partitions and requests")
	flag.DurationVar(&o.soak, "soak", 10*time.Minute, "how long the soak takes")
	flag.BoolVar(&o.profile, "profile", false, "profile Moldau in the workloads instead of comparing")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the data goes: a folder on a real disk")
	flag.StringVar(&o.moldau, "moldau", "bin/moldau", "the moldau binary")
	flag.StringVar(&o.probe, "probe", "bin/perf-probe", "the probe's binary")
	flag.StringVar(&o.profiled, "profiled", "bin/perf-moldau", "the moldau binary with profiling compiled in")
	flag.StringVar(&o.profilesDir, "profiles", "bin/profiles", "where -profile puts the profiles")
	flag.StringVar(&o.kafka, "kafka", "test/kafka/kafka", "the script that runs Apache Kafka")
	flag.StringVar(&o.doc, "doc", "", "a file whose results, from the line "+resultsBegin+" to "+resultsEnd+", these results replace")
	flag.Float64Var(&o.newBrokerGB, "new-broker-gb", 1, "the data of cluster-new-broker, without its replicas; four times as much is needed on disk")
	flag.BoolVar(&o.alone, "alone", false, "clusters without Apache Kafka, but in the workloads: its failovers take most of the time")
	flag.Parse()
	chosen, err := choose(o.only)
	if err != nil {
		log.Fatal(err)
	}
	var tables bytes.Buffer
	o.out = io.MultiWriter(os.Stdout, &tables)
	err = runAll(ctx, o, chosen)
	if o.doc != "" && ctx.Err() == nil {
		err = errors.Join(err, replaceResults(o.doc, tables.String()))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// item is one thing that can be measured by itself.
type item struct {
	name     string
	byName   bool // only when it is asked for
	workload *workload
	measure  func(context.Context, options) ([]verdict, error) // of what is no workload
}

// items are all there are, in the order in which they run: latency comes when the JVM is warmest.
func items() []item {
	all := []item{{name: idle.name, measure: idle.compare}}
	for _, set := range [][]workload{workloads, {javaCheck}, rates} {
		for i := range set {
			all = append(all, item{name: set[i].name, workload: &set[i]})
		}
	}
	all = append(all, item{name: "soak", measure: soak})
	for _, sc := range scenarios {
		all = append(all, item{name: sc.name, byName: true, measure: sc.compare})
	}
	return append(all, clusterItems()...)
}

func defaultItems() []item {
	return slices.DeleteFunc(items(), func(i item) bool { return i.byName })
}

func names(all []item) []string {
	var n []string
	for _, i := range all {
		n = append(n, i.name)
	}
	return n
}

func choose(only string) ([]item, error) {
	switch only {
	case "":
		return defaultItems(), nil
	case "all":
		return slices.DeleteFunc(items(), func(i item) bool { return i.name == many.name || strings.HasPrefix(i.name, clusterPrefix) }), nil
	case "cluster":
		return clusterItems(), nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.Contains(names(items()), name) {
			return nil, fmt.Errorf("there is no %q; there are %s", name, strings.Join(names(items()), ", "))
		}
	}
	return slices.DeleteFunc(items(), func(i item) bool { return !slices.Contains(wanted, i.name) }), nil
}

// runAll goes on after a failure and returns all of them in the end.
func runAll(ctx context.Context, o options, chosen []item) error {
	if o.profile {
		return profileAll(ctx, o, chosen)
	}
	began := time.Now()
	fmt.Fprintf(o.out, "%s\n\n", conditions(ctx, o))
	var failures error
	var verdicts []verdict
	note := func(name string, found []verdict, err error) {
		verdicts = append(verdicts, found...)
		if err != nil {
			failures = errors.Join(failures, fmt.Errorf("%s: %w", name, err))
			fmt.Fprintf(o.out, "**%s failed**: %v\n\n", name, err)
		}
	}
	ranWorkloads := map[bool]bool{} // of clusters, and of single brokers
	for _, i := range chosen {
		switch {
		case ctx.Err() != nil:
		case i.workload == nil:
			found, err := i.measure(ctx, o)
			note(i.name, found, err)
		case !ranWorkloads[i.workload.clustered]:
			ranWorkloads[i.workload.clustered] = true
			note("workloads", nil, runWorkloads(ctx, o, chosen, i.workload.clustered, note))
		}
	}
	printVerdicts(o.out, verdicts)
	fmt.Fprintf(o.out, "All of it took %s.\n", time.Since(began).Round(time.Second))
	return errors.Join(failures, context.Cause(ctx))
}

// runWorkloads runs all chosen workloads of clusters, or of single brokers, on one fleet.
func runWorkloads(ctx context.Context, o options, chosen []item, clustered bool, note func(string, []verdict, error)) (err error) {
	f, err := startFleet(ctx, o, clustered)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	rounds, err := f.warmUp(ctx)
	fmt.Fprintf(o.out, "Warm-up of Apache Kafka, broker CPU seconds per GB produced and consumed, round by round: %.2f\n\n", rounds)
	if err != nil {
		return err
	}
	var sheets []sheet
	for _, i := range chosen {
		if i.workload == nil || i.workload.clustered != clustered || ctx.Err() != nil {
			continue
		}
		s, err := f.runWorkload(ctx, *i.workload, o.pairs)
		if len(s.moldau) > 0 {
			s.print(o.out)
			sheets = append(sheets, s)
			note(i.name, s.verdicts(), err)
		} else {
			note(i.name, nil, err)
		}
	}
	printSummary(o.out, sheets)
	note("workloads", aheadInMost(sheets), nil)
	return nil
}
