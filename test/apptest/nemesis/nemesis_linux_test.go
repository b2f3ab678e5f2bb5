package nemesis

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/apptest/fault"
	"github.com/moldau/moldau/test/apptest/history"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	seedFlag   = flag.Uint64("nemesis.seed", 0, "the first mix's seed; 0 for any")
	mixesFlag  = flag.Int("nemesis.mixes", 1, "how many mixes, each with a seed and a cluster of its own")
	lengthFlag = flag.Duration("nemesis.length", 0, "how long faults are injected in each mix")
	kindsFlag  = flag.String("nemesis.kinds", "", "only kinds of faults that contain one of these words, separated by commas")
	reportFlag = flag.String("nemesis.report", "", "the file to write the report to")
)

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can make network namespaces; a cluster of real processes is not tried under faults of the network")
	}
}

// TestPartition cuts a partition's leader off from the other nodes while its clients still reach it: another
// leads, and nothing that was acknowledged is lost.
func TestPartition(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	began := time.Now()
	c := newCluster(t, false)
	t.Logf("the cluster is ready after %s", time.Since(began))
	if _, err := c.admin.CreateTopic(t.Context(), 1, voters, nil, "t"); err != nil {
		t.Fatal(err)
	}
	if err := eventually(t.Context(), time.Minute, c.inSync); err != nil {
		t.Fatal(err)
	}
	t.Logf("all replicas are in sync after %s", time.Since(began))
	client := c.newClient(kgo.DefaultProduceTopic("t"))
	defer client.Close()
	cut := c.leader("t", 0)
	for _, n := range c.nodes {
		if n != cut {
			c.network.Set(cut.ns, n.ns, fault.Rule{Blocked: true})
			c.network.Set(n.ns, cut.ns, fault.Rule{Blocked: true})
		}
	}
	began = time.Now()
	record := kgo.StringRecord("sent to a leader that is alone")
	if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	// The node that is cut off does not know, and may be the one that is asked.
	if err := eventually(t.Context(), time.Minute, func(context.Context) error {
		if now := c.leader("t", 0); now == nil || now == cut {
			return fmt.Errorf("node %d is cut off and still leads", cut.id)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	t.Logf("a leader was cut off: the next record was acknowledged after %s, at offset %d", took, record.Offset)
	c.network.Heal()
	defer func() { t.Logf("and are again %s after", time.Since(began)-took) }()
	if err := eventually(t.Context(), time.Minute, c.inSync); err != nil {
		t.Fatal(err)
	}
}

// TestFaults runs mixes of faults under load and checks what the clients saw.
func TestFaults(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	chosen, err := choose(*kindsFlag)
	if err != nil {
		t.Fatal(err)
	}
	length := *lengthFlag
	if length == 0 {
		length = 6 * time.Second
		if os.Getenv("MOLDAU_APPTEST") == "full" {
			length = 2 * time.Minute
		}
	}
	first := cmp.Or(*seedFlag, 1+rand.Uint64N(1_000_000))
	var mixes []*mix
	for seed := first; seed < first+uint64(*mixesFlag); seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			mixes = append(mixes, runMix(t, seed, length, chosen))
		})
	}
	if *reportFlag == "" {
		return
	}
	if err := os.WriteFile(*reportFlag, []byte(report(mixes, fmt.Sprintf("make faults MIXES=%d LENGTH=%s SEED=%d", *mixesFlag, length, first))), 0o644); err != nil {
		t.Error(err)
	}
}

func runMix(t *testing.T, seed uint64, length time.Duration, chosen []kind) *mix {
	t.Helper()
	t.Logf("repeat with -nemesis.seed=%d -nemesis.length=%s", seed, length)
	c := newCluster(t, true)
	if resp, err := c.admin.CreateTopic(t.Context(), partitions, voters, nil, topic); err != nil || resp.Err != nil {
		t.Fatal(resp, err)
	}
	if err := eventually(t.Context(), convergence, c.inSync); err != nil {
		t.Fatal(err)
	}
	w := c.work(seed)
	defer w.stop(time.Second)
	n := newNemesis(c, w, seed, chosen)
	n.pause(time.Second)
	n.rampage(length)
	n.finish()
	m := n.finished(seed, !t.Failed())
	t.Logf("%d operations, %d records acknowledged, faults %v\n%s", len(m.operations), m.records, m.faults, strings.Join(m.commonErrors(20), "\n"))
	for _, k := range kinds {
		if gaps := m.gaps[k.name]; len(gaps) > 0 {
			t.Logf("%s, alone: longest time without an acknowledged write %v", k.name, gaps)
		}
	}
	for a, found := range m.result.Findings {
		t.Logf("%s: %d", a, found.Count)
	}
	if !m.result.Clean() {
		for _, a := range history.Forbidden {
			if f := m.result.Findings[a]; f != nil {
				t.Errorf("%s: %d\n  %s", a, f.Count, strings.Join(f.Examples, "\n  "))
			}
		}
	}
	return m
}
