package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestOnlyGrowthThatGoesOnIsGrowth(t *testing.T) {
	t.Parallel()
	const seed = 11
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	for _, c := range []struct {
		name  string
		at    func(i int) float64
		grows bool
	}{
		{"a leak under noise", func(i int) float64 { return 100 + 0.5*float64(i) + 5*random.NormFloat64() }, true},
		{"a leak in steps", func(i int) float64 { return 100 + 10*float64(i/10) }, true},
		{"noise", func(int) float64 { return 100 + 10*random.NormFloat64() }, false},
		{"a saw", func(i int) float64 { return 100 + 5*float64(i%8) }, false},
		{"steady, but next to nothing", func(i int) float64 { return 100 + 0.05*float64(i) }, false},
		{"one step at the end", func(i int) float64 { return 100 + 50*float64(i/38) }, false},
		{"constant", func(int) float64 { return 7 }, false},
		{"shrinking", func(i int) float64 { return 100 - float64(i) + random.NormFloat64() }, false},
	} {
		series := make([]float64, 40)
		for i := range series {
			series[i] = c.at(i)
		}
		if g := growthOf(series); g.grows(4) != c.grows || math.IsNaN(g.z) {
			t.Errorf("%s: %+v: grows %t, want %t", c.name, g, g.grows(4), c.grows)
		}
	}
}

func TestPerfTestsSummaryIsRead(t *testing.T) {
	t.Parallel()
	v := values{}
	err := readPerfTest("100 records sent\n800000 records sent, 250000.5 records/sec (238.42 MB/sec), 3.21 ms avg latency, 210.00 ms max latency, 2 ms 50th, 9 ms 95th, 30 ms 99th, 55 ms 99.9th.\n", 1000, v)
	if err != nil || v[produceThroughput] != 250.0005 || v[produceP50] != 2 || v[produceP99] != 30 || v[produceP999] != 55 {
		t.Errorf("%v, %v", v, err)
	}
	if err := readPerfTest("no such topic", 1000, values{}); err == nil {
		t.Error("an output without a summary is taken for one")
	}
}
