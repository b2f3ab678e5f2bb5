// Command perf measures Moldau and Apache Kafka in one run, alternating which goes first, and
// prints medians, spreads and the factor pair by pair. One file per scenario; see run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	names := flag.String("scenario", defaultScenarios(), "scenarios to run, by comma; many runs Moldau alone")
	pairs := flag.Int("pairs", 5, "measured pairs of each scenario")
	scale := flag.Float64("scale", 1, "factor for the amounts of data, partitions and requests")
	dir := flag.String("dir", os.TempDir(), "where the data goes: a folder on a real disk")
	moldau := flag.String("moldau", "bin/moldau", "the moldau binary")
	kafka := flag.String("kafka", "test/kafka/kafka", "the script that runs Apache Kafka")
	flag.Parse()
	chosen, err := chooseScenarios(*names)
	if err != nil {
		log.Fatal(err)
	}
	for _, sc := range chosen {
		if err := runScenario(sc, *pairs, *scale, *dir, *moldau, *kafka); err != nil {
			log.Fatalf("%s: %v", sc.name, err)
		}
	}
}

// runScenario measures one scenario in so many pairs and prints its table. Its data is deleted.
func runScenario(sc scenario, pairs int, scale float64, dir, moldau, kafka string) error {
	folder, err := os.MkdirTemp(dir, "moldau-perf-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	runs := []*run{{system: newMoldau(moldau, filepath.Join(folder, "moldau"), sc.settings), scale: scale}}
	if !sc.moldauOnly {
		runs = append(runs, &run{system: newKafka(kafka, filepath.Join(folder, "kafka"), sc.settings), scale: scale})
	}
	began := time.Now()
	for _, r := range runs {
		if err := prepare(sc, r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	for pair := range pairs {
		order := slices.Clone(runs)
		if pair%2 == 1 {
			slices.Reverse(order)
		}
		for _, r := range order {
			r.pair = pair
			v, err := measure(sc, r)
			if err != nil {
				return fmt.Errorf("pair %d, %s: %w; the end of its output:\n%s", pair+1, r.name, err, r.outputEnd())
			}
			fmt.Fprintf(os.Stderr, "%s, pair %d, %s: %v\n", sc.name, pair+1, r.name, v)
			r.measured = append(r.measured, v)
		}
	}
	report(sc, runs, time.Since(began))
	return nil
}

const runTimeout = 20 * time.Minute

// prepare makes the system's data folder and what the scenario wants in it, so that no
// measured run pays for it.
func prepare(sc scenario, r *run) error {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	if err := os.MkdirAll(r.folder, 0o755); err != nil {
		return err
	}
	if err := r.format(ctx); err != nil {
		return err
	}
	if sc.prepare == nil {
		return nil
	}
	return errors.Join(sc.prepare(ctx, r), r.stop())
}

func measure(sc scenario, r *run) (values, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	v, err := sc.measure(ctx, r)
	return v, errors.Join(err, r.stop())
}

func report(sc scenario, runs []*run, took time.Duration) {
	fmt.Printf("### %s\n\n%s\n\n", sc.name, sc.about)
	if sc.moldauOnly {
		fmt.Printf("| figure | Moldau |\n|---|---|\n")
	} else {
		fmt.Printf("| figure | better is | Moldau median (min–max) | Apache Kafka median (min–max) | times better, pair by pair: median (min–max) |\n|---|---|---|---|---|\n")
	}
	for _, f := range sc.figures {
		if sc.moldauOnly {
			fmt.Printf("| %s | %s |\n", f.title(), spread(of(runs[0], f)))
			continue
		}
		a, b := of(runs[0], f), of(runs[1], f)
		direction, factors := "smaller", make([]float64, len(a))
		for i := range a {
			factors[i] = b[i] / a[i]
		}
		if f.larger {
			direction = "larger"
			for i := range a {
				factors[i] = a[i] / b[i]
			}
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", f.title(), direction, spread(a), spread(b), spread(factors))
	}
	fmt.Printf("\n%d runs of each, scale %g, in %s.\n\n", len(runs[0].measured), runs[0].scale, took.Round(time.Second))
}

func of(r *run, f figure) []float64 {
	var all []float64
	for _, v := range r.measured {
		all = append(all, v[f.name])
	}
	return all
}

func spread(all []float64) string {
	sorted := slices.Sorted(slices.Values(all))
	if len(sorted) == 1 {
		return fmt.Sprintf("%.3g", sorted[0])
	}
	return fmt.Sprintf("%.3g (%.3g–%.3g)", sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1])
}

func chooseScenarios(names string) ([]scenario, error) {
	var chosen []scenario
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(scenarios, func(sc scenario) bool { return sc.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q; there are %s", name, defaultScenarios())
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// defaultScenarios are those that compare.
func defaultScenarios() string {
	var names []string
	for _, sc := range scenarios {
		if !sc.moldauOnly {
			names = append(names, sc.name)
		}
	}
	return strings.Join(names, ",")
}
