package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/test/perf/load"
)

func TestResultsReplaceThoseOfBefore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("head\n"+resultsBegin+"\nold\n"+resultsEnd+"\nfoot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceResults(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if want := "head\n" + resultsBegin + "\n\nnew\n" + resultsEnd + "\nfoot\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v; want %q", text, err, want)
	}
	if err := replaceResults(filepath.Join(filepath.Dir(path), "none.md"), ""); err == nil {
		t.Error("a page that is not there is written")
	}
}

func TestVerdictsFollowTheRatiosOfPairs(t *testing.T) {
	t.Parallel()
	pairs := func(all ...float64) (measured []values) {
		for _, n := range all {
			measured = append(measured, values{produceCPU: n, consumeCPU: n, produceThroughput: n, consumeThroughput: n, peakMemory: n})
		}
		return measured
	}
	// The median is above half of Kafka's, but in two of three pairs it is below.
	s := sheet{workload: workload{name: "w", consumes: true, order: load.Order{Mode: load.Produce}}, moldau: pairs(1, 5, 9), kafka: pairs(3, 9, 20), probe: pairs(0.5, 2, 4)}
	reached := map[string]bool{}
	for _, v := range s.verdicts() {
		key, _, _ := strings.Cut(v.target, ":")
		reached[key] = v.reached
	}
	for target, want := range map[string]bool{"produce, broker CPU per GB": true, "consume, broker CPU per GB": true, "produce, throughput": false, "consume, throughput": false, "loaded memory": false} {
		if got, ok := reached[target]; !ok || got != want {
			t.Errorf("%s: reached %t (judged %t), want %t", target, got, ok, want)
		}
	}
	if all := aheadInMost([]sheet{s}); len(all) != 2 || all[0].reached {
		t.Errorf("%+v", all)
	}
}
