package sim

import (
	"flag"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	seedsFlag = flag.Int("sim.seeds", intFromEnv("MOLDAU_SIM_SEEDS", 6), "how many seeds to simulate (also MOLDAU_SIM_SEEDS)")
	seedFlag  = flag.Int("sim.seed", intFromEnv("MOLDAU_SIM_SEED", 1), "the first seed (also MOLDAU_SIM_SEED)")
)

func intFromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // restarts and disk errors by the hundred would drown the failures
	os.Exit(m.Run())
}

const faultPhase = 40 * time.Second

func simulate(t *testing.T, o Options) Result {
	t.Helper()
	r, err := Run(o)
	if err != nil {
		t.Fatalf("seed %d (go test ./internal/sim -run TestSeeds -sim.seeds=1 -sim.seed=%d): %v\nlast events:\n%s", o.Seed, o.Seed, err, strings.Join(r.Trace, "\n"))
	}
	return r
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	for i := range *seedsFlag {
		seed := uint64(*seedFlag + i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			r := simulate(t, Options{Seed: seed, Faults: faultPhase})
			t.Logf("seed %d: %+v", seed, r.Statistics)
		})
	}
}

// regressions are seeds that have failed once. What a seed does changes with the workload.
var regressions = []uint64{2114}

func TestRegressions(t *testing.T) {
	t.Parallel()
	for _, seed := range regressions {
		simulate(t, Options{Seed: seed, Faults: faultPhase})
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	t.Parallel()
	// Many faults, since it is there that an order that depends on a map shows.
	budget := &Budget{Kills: 12, PowerLosses: 3, DiskErrors: 3, Resets: 10, Shutdowns: 12}
	hashes := map[uint64]uint64{}
	for _, seed := range []uint64{13, 34} {
		o := Options{Seed: seed, Faults: faultPhase, Budget: budget}
		first, second := simulate(t, o), simulate(t, o)
		if first.TraceHash != second.TraceHash || first.Statistics != second.Statistics {
			t.Errorf("seed %d: trace %x and %x\n%+v\n%+v", seed, first.TraceHash, second.TraceHash, first.Statistics, second.Statistics)
		}
		if other, same := hashes[first.TraceHash]; same {
			t.Errorf("seeds %d and %d have the same trace", seed, other)
		}
		hashes[first.TraceHash] = seed
	}
}

// TestSimulationFindsLostRecords simulates a world in which what is called a kill loses what was
// not flushed, as on a file system that lies. Some checker must object.
func TestSimulationFindsLostRecords(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		_, err := Run(Options{Seed: seed, Faults: faultPhase, lying: true, Budget: &Budget{PowerLosses: 5}})
		if err == nil {
			t.Errorf("seed %d: nobody notices that records are lost", seed)
		}
	}
}

// TestSimulationFindsAbortedRecords has consumers of committed data that take aborted records, too.
func TestSimulationFindsAbortedRecords(t *testing.T) {
	t.Parallel()
	if _, err := Run(Options{Seed: 1, Faults: faultPhase, careless: true, Budget: &Budget{Kills: 3}}); err == nil {
		t.Error("nobody notices that aborted records are read")
	}
}

// TestWithoutFaults shows that nothing is lost, refused or renumbered where nothing fails.
func TestWithoutFaults(t *testing.T) {
	t.Parallel()
	r := simulate(t, Options{Seed: 8, Faults: faultPhase / 2, Budget: &Budget{}})
	if r.AckedRecords < 500 || r.ReadRecords < 500 || r.Commits < 20 || r.TopicsDeleted == 0 || r.Reopened == 0 || r.Snapshots == 0 || r.Transactions < 50 || r.Copies < 100 || r.TableWrites < 100 || r.Compactions < 5 {
		t.Errorf("little happened: %+v", r.Statistics)
	}
	if r.LostRecords+r.Duplicates+r.Diverged != 0 {
		t.Errorf("faults without faults: %+v", r.Statistics)
	}
}
