package cluster

import (
	"flag"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
)

var (
	seedsFlag = flag.Int("cluster.seeds", 24, "how many seeds TestSeeds runs")
	seedFlag  = flag.Uint64("cluster.seed", 1, "the first of them, 0 for one by chance")
	traceFlag = flag.Bool("cluster.trace", false, "print every event")
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // restarts and disk errors by the hundred would drown the failures
	os.Exit(m.Run())
}

func run(t *testing.T, o Options) (Result, error) {
	cryptotest.SetGlobalRandom(t, o.Seed) // the Raft library draws election time-outs from it
	if *traceFlag {
		o.Trace = func(line string) { t.Log(line) }
	}
	return Run(o)
}

func simulate(t *testing.T, o Options) Result {
	t.Helper()
	r, err := run(t, o)
	if err != nil {
		t.Fatalf("seed %d (go test ./internal/sim/cluster -run TestSeeds -cluster.seeds=1 -cluster.seed=%d): %v\nlast events:\n%s", o.Seed, o.Seed, err, strings.Join(r.Trace, "\n"))
	}
	return r
}

// TestSeeds lets clusters work under faults: whatever was promised holds, and in the end everything converges.
func TestSeeds(t *testing.T) {
	first := *seedFlag
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	total := map[string]int{}
	for i := range *seedsFlag {
		seed := first + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			for what, n := range simulate(t, Options{Seed: seed}).Count {
				total[what] += n
			}
		})
	}
	t.Logf("seeds from %d: %v", first, total)
}
