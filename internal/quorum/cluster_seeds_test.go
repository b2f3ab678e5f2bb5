package quorum

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var (
	clusterSeeds = flag.Int("quorum.seeds", 20, "how many seeds TestClusterSeeds runs")
	clusterSeed  = flag.Uint64("quorum.seed", 0, "the first of them, 0 for one by chance")
)

// oldSeeds have failed once, of: votes counted as before two changes of the voters, a log cut off by
// an observer's snapshot, a vote forgotten by a power loss after a kill, log files that came back,
// a leader that did not see its own removal, observers that kept others from voting.
var oldSeeds = []uint64{1, 2, 30, 42, 48, 3347, 3491, 3538, 3852, 3910, 4865, 4924, 4959}

// newerSeeds have failed since nodes hold back: one that had voted alone came back with an empty disk, and
// was refused for the snapshot that said so; one with a snapshot of a later epoch than its term; one that believed an old
// leader and gave away batches of a later epoch than it knew of.
var newerSeeds = []uint64{33034938010, 868175290018, 197}

// TestClusterSeeds lets five nodes form a quorum that loses messages, processes, power and disks,
// changes its voters and writes snapshots: what was acknowledged stays, every node sees the same,
// and in the end all are whole again.
func TestClusterSeeds(t *testing.T) {
	first := *clusterSeed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	total := map[string]int{}
	seeds := slices.Concat(oldSeeds, newerSeeds)
	for i := range *clusterSeeds {
		seeds = append(seeds, first+uint64(i))
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := newCluster(t, seed)
			if err := c.run(); err != nil {
				t.Fatalf("seed %d, step %d: %v\n%s", seed, c.now, err, strings.Join(c.trace[max(0, len(c.trace)-200):], "\n"))
			}
			for what, n := range c.count {
				total[what] += n
			}
			total["acknowledged"] += len(c.acked)
			total["epochs"] += len(c.leaderOf)
		})
	}
	t.Logf("seeds from %d: %v", first, total)
}
