// Command perf measures Moldau and Apache Kafka in one run, alternating which goes first, and
// prints medians, spreads and the ratio pair by pair. See run.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"time"
)

func main() {
	pairs := flag.Int("pairs", 5, "measured pairs")
	megabytes := flag.Int("megabytes", 1024, "megabytes produced and consumed per run")
	moldau := flag.String("moldau", "bin/moldau", "the moldau binary")
	kafka := flag.String("kafka", "test/kafka/kafka", "the script that runs Apache Kafka")
	flag.Parse()
	if err := run(*pairs, *megabytes, *moldau, *kafka); err != nil {
		log.Fatal(err)
	}
}

// figure is one measured quantity; smaller is better for all of them.
type figure struct {
	name, unit string
	of         func(sample) float64
}

var figures = []figure{
	{"first produce after exec", "s", func(s sample) float64 { return s.firstProduce.Seconds() }},
	{"idle memory (RSS) 5 s after start", "MiB", func(s sample) float64 { return s.idleBytes / (1 << 20) }},
	{"produce, broker CPU per GB", "s", func(s sample) float64 { return s.produceCPUPerGB }},
	{"consume, broker CPU per GB", "s", func(s sample) float64 { return s.consumeCPUPerGB }},
	{"produce, wall time per GB", "s", func(s sample) float64 { return s.produceWallPerGB }},
	{"consume, wall time per GB", "s", func(s sample) float64 { return s.consumeWallPerGB }},
}

func run(pairs, megabytes int, moldau, kafka string) error {
	folder, err := os.MkdirTemp("", "moldau-perf")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	systems := []system{newMoldau(moldau, folder), newKafka(kafka, folder)}
	samples := make([][]sample, len(systems))
	for pair := range pairs {
		order := []int{0, 1}
		if pair%2 == 1 {
			order = []int{1, 0}
		}
		for _, i := range order {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			s, err := measure(ctx, systems[i], megabytes)
			cancel()
			if err != nil {
				return fmt.Errorf("%s, pair %d: %w", systems[i].name, pair+1, err)
			}
			fmt.Fprintf(os.Stderr, "pair %d %s: %+v\n", pair+1, systems[i].name, s)
			samples[i] = append(samples[i], s)
		}
	}
	report(samples[0], samples[1])
	return nil
}

func report(moldau, kafka []sample) {
	fmt.Printf("| figure | Moldau median (min–max) | Apache Kafka median (min–max) | Kafka / Moldau, pair by pair: median (min–max) |\n|---|---|---|---|\n")
	for _, f := range figures {
		var a, b, ratios []float64
		for i := range moldau {
			a = append(a, f.of(moldau[i]))
			b = append(b, f.of(kafka[i]))
			ratios = append(ratios, b[i]/a[i])
		}
		fmt.Printf("| %s, %s | %s | %s | %s |\n", f.name, f.unit, spread(a), spread(b), spread(ratios))
	}
	fmt.Printf("\n%d pairs.\n", len(moldau))
}

func spread(values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	return fmt.Sprintf("%.3g (%.3g–%.3g)", sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1])
}
