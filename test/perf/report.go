package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// sheet is what a workload has measured, pair by pair.
type sheet struct {
	workload              workload
	scale                 float64
	moldau, kafka, probe  []values
	loadBefore, loadAfter string
	took                  time.Duration
}

// print writes the table of a workload.
func (s sheet) print(out io.Writer) {
	fmt.Fprintf(out, "### %s\n\n%s.\n\n", s.workload.name, s.workload.about)
	fmt.Fprintln(out, "| median (min–max) | Moldau | Apache Kafka | probe | Moldau ÷ Kafka | Moldau ÷ probe |\n|---|---|---|---|---|---|")
	for _, f := range s.workload.figures() {
		moldau, kafka, probe := column(s.moldau, f.name), column(s.kafka, f.name), column(s.probe, f.name)
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", f.title(), spread(moldau), spread(kafka), spread(probe), spread(ratios(moldau, kafka)), spread(ratios(moldau, probe)))
	}
	fmt.Fprintf(out, "\n%d pairs, scale %g, %s; load average %s before, %s after.\n\n", len(s.moldau), s.scale, s.took.Round(time.Second), s.loadBefore, s.loadAfter)
}

// print writes the table of a scenario.
func (sc scenario) print(out io.Writer, runs []*run, took time.Duration) {
	fmt.Fprintf(out, "### %s\n\n%s\n\n", sc.name, sc.about)
	if sc.moldauOnly {
		fmt.Fprintf(out, "| figure | Moldau |\n|---|---|\n")
	} else {
		fmt.Fprintf(out, "| figure | better is | Moldau median (min–max) | Apache Kafka median (min–max) | times better, pair by pair: median (min–max) |\n|---|---|---|---|---|\n")
	}
	for _, f := range sc.figures {
		a := column(runs[0].measured, f.name)
		if sc.moldauOnly {
			fmt.Fprintf(out, "| %s | %s |\n", f.title(), spread(a))
			continue
		}
		b := column(runs[1].measured, f.name)
		direction, factors := "smaller", ratios(b, a)
		if f.larger {
			direction, factors = "larger", ratios(a, b)
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", f.title(), direction, spread(a), spread(b), spread(factors))
	}
	fmt.Fprintf(out, "\n%d runs of each, scale %g, in %s.\n\n", len(runs[0].measured), runs[0].scale, took.Round(time.Second))
}

func spread(all []float64) string {
	sorted := slices.Sorted(slices.Values(all))
	if len(sorted) == 1 {
		return fmt.Sprintf("%.3g", sorted[0])
	}
	return fmt.Sprintf("%.3g (%.3g–%.3g)", median(all), sorted[0], sorted[len(sorted)-1])
}

// printSummary is the workloads' main figures side by side.
func printSummary(out io.Writer, sheets []sheet) {
	for _, part := range []struct{ title, cpu, throughput string }{{"Produce", produceCPU, produceThroughput}, {"Consume", consumeCPU, consumeThroughput}} {
		fmt.Fprintf(out, "### %s, all workloads\n\n| workload | broker CPU s per GB: Moldau | Apache Kafka | probe | Moldau ÷ Kafka | Moldau ÷ probe | throughput, Moldau ÷ Kafka |\n|---|---|---|---|---|---|---|\n", part.title)
		for _, s := range sheets {
			if !s.has(part.cpu) {
				continue
			}
			moldau, kafka, probe := column(s.moldau, part.cpu), column(s.kafka, part.cpu), column(s.probe, part.cpu)
			fmt.Fprintf(out, "| %s | %.3g | %.3g | %.3g | %s | %s | %s |\n", s.workload.name, median(moldau), median(kafka), median(probe), spread(ratios(moldau, kafka)), spread(ratios(moldau, probe)),
				spread(ratios(column(s.moldau, part.throughput), column(s.kafka, part.throughput))))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out, "### Latency at fixed rates, ms\n\n| rate | | Moldau | Apache Kafka | probe | Moldau ÷ Kafka |\n|---|---|---|---|---|---|")
	for _, s := range sheets {
		for _, name := range []string{produceP50, produceP99, produceP999, endToEndP50, endToEndP99, endToEndP999} {
			if s.has(endToEndP50) {
				moldau, kafka := column(s.moldau, name), column(s.kafka, name)
				fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", s.workload.name, name, spread(moldau), spread(kafka), spread(column(s.probe, name)), spread(ratios(moldau, kafka)))
			}
		}
	}
	fmt.Fprintln(out)
}

func (s sheet) has(name string) bool {
	return slices.ContainsFunc(s.workload.figures(), func(f figure) bool { return f.name == name })
}

// conditions says on what and of what these are results.
func conditions(ctx context.Context, o options) string {
	first := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return "?"
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return line
	}
	memory := "?"
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		line, _, _ := strings.Cut(string(text), "\n")
		memory = strings.Join(strings.Fields(line)[1:], " ")
	}
	return fmt.Sprintf("Commit %s, %s, %s %s, %d cores, %s of memory, load average %s; %d pairs at scale %g.", first("git", "rev-parse", "--short", "HEAD"), runtime.Version(),
		first("uname", "-s"), first("uname", "-r"), runtime.NumCPU(), memory, loadAverage(), o.pairs, o.scale)
}

// Where a document has the results.
const resultsBegin, resultsEnd = "<!-- results -->", "<!-- end of results -->"

func replaceResults(path, results string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), resultsBegin)
	_, after, ok2 := strings.Cut(rest, resultsEnd)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s lacks the line %s or %s", path, resultsBegin, resultsEnd)
	}
	return os.WriteFile(path, []byte(before+resultsBegin+"\n\n"+results+resultsEnd+after), 0o644)
}

func column(measured []values, name string) []float64 {
	var all []float64
	for _, v := range measured {
		all = append(all, v[name])
	}
	return all
}

// ratios divides pair by pair.
func ratios(a, b []float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = a[i] / b[i]
	}
	return all
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// verdict is a target with what was measured of it.
type verdict struct {
	target, subject, measured string
	reached                   bool
}

// The targets. Where a ratio of medians would do as well, it is the median of the pairs' ratios.
const (
	mostProduceCPUOfKafka = 0.5
	mostProduceCPUOfProbe = 1.25
	mostConsumeCPUOfKafka = 1
	leastThroughput       = 0.95
	mostP99               = 1
	mostIdleMemory        = 0.1
	mostLoadedMemory      = 0.2
)

// verdicts compares a workload with the targets.
func (s sheet) verdicts() []verdict {
	var all []verdict
	ofKafka := func(name string) float64 { return median(ratios(column(s.moldau, name), column(s.kafka, name))) }
	ofProbe := func(name string) float64 { return median(ratios(column(s.moldau, name), column(s.probe, name))) }
	add := func(target, measured string, reached bool) {
		all = append(all, verdict{target, s.workload.name, measured, reached})
	}
	ratio := func(r float64) string { return fmt.Sprintf("%.2f", r) }
	for _, f := range s.workload.figures() {
		switch r := ofKafka(f.name); f.name {
		case produceCPU:
			p := ofProbe(f.name)
			add("produce, broker CPU per GB: at most 0.5 of Kafka's, or 1.25 of the probe's", fmt.Sprintf("%.2f of Kafka's, %.2f of the probe's", r, p), r <= mostProduceCPUOfKafka || p <= mostProduceCPUOfProbe)
		case consumeCPU:
			add("consume, broker CPU per GB: at most Kafka's", ratio(r), r <= mostConsumeCPUOfKafka)
		case produceThroughput:
			add("produce, throughput: at least 0.95 of Kafka's", ratio(r), r >= leastThroughput)
		case consumeThroughput:
			add("consume, throughput: at least 0.95 of Kafka's", ratio(r), r >= leastThroughput)
		case produceP99, endToEndP99:
			switch {
			case s.workload.order.Rate > 0 && !s.workload.backlog:
				add(f.name+" at a fixed rate: at most Kafka's", ratio(r), r <= mostP99)
			case s.workload.clustered:
				add(f.name+", saturated: at most Kafka's", ratio(r), r <= mostP99)
			}
		case peakMemory:
			add("loaded memory: at most a fifth of Kafka's", ratio(r), r <= mostLoadedMemory)
		}
	}
	return all
}

// aheadInMost is the verdict on throughput over all workloads.
func aheadInMost(sheets []sheet) []verdict {
	var all []verdict
	for _, name := range []string{produceThroughput, consumeThroughput} {
		ahead, of := 0, 0
		for _, s := range sheets {
			if !s.has(name) {
				continue
			}
			of++
			if median(ratios(column(s.moldau, name), column(s.kafka, name))) > 1 {
				ahead++
			}
		}
		if of > 0 {
			all = append(all, verdict{name + ": above Kafka's in most workloads", "all", fmt.Sprintf("%d of %d", ahead, of), 2*ahead > of})
		}
	}
	return all
}

func printVerdicts(out io.Writer, all []verdict) {
	if len(all) == 0 {
		return
	}
	slices.SortStableFunc(all, func(a, b verdict) int {
		if a.target < b.target {
			return -1
		}
		if a.target > b.target {
			return 1
		}
		return 0
	})
	fmt.Fprintln(out, "### Targets\n\n| target | of | measured, Moldau ÷ Kafka where it is a ratio | |\n|---|---|---|---|")
	for _, v := range all {
		result := "reached"
		if !v.reached {
			result = "**missed**"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", v.target, v.subject, v.measured, result)
	}
	fmt.Fprintln(out)
}
