package nemesis

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/apptest/fault"
	"github.com/moldau/moldau/test/apptest/history"
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
// leads, and nothing that was acknowledged is lost. Who waits there already, with half a minute of patience, is sent away
// when the leader knows that nobody hears it.
func TestPartition(t *testing.T) {
	t.Parallel()
	requireRoot(t)
	began := time.Now()
	c := newCluster(t, false)
	t.Logf("the cluster is ready after %s", time.Since(began))
	created, err := c.admin.CreateTopic(t.Context(), 1, voters, nil, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := eventually(t.Context(), time.Minute, c.inSync); err != nil {
		t.Fatal(err)
	}
	t.Logf("all replicas are in sync after %s", time.Since(began))
	client := c.newClient(kgo.DefaultProduceTopic("t"), kgo.ProduceRequestTimeout(patience), kgo.RequestTimeoutOverhead(patience))
	defer client.Close()
	cut := c.leader("t", 0)
	group := c.groupOf(cut, created.ID)
	for _, n := range c.nodes {
		if n != cut {
			c.network.Set(cut.ns, n.ns, fault.Rule{Blocked: true})
			c.network.Set(n.ns, cut.ns, fault.Rule{Blocked: true})
		}
	}
	began = time.Now()
	committed := make(chan error, 1)
	go func() {
		// A client of its own, as what a client asks a node for first, ids for its records perhaps, is answered first.
		committer := c.newClient(kgo.RequestTimeoutOverhead(patience))
		defer committer.Close()
		err := commitTo(t.Context(), committer, cut, group, created.ID)
		t.Logf("a commit was answered after %s", time.Since(began))
		committed <- err
	}()
	record := kgo.StringRecord("sent to a leader that is alone")
	if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if err := <-committed; !errors.Is(err, kerr.NotCoordinator) {
		t.Errorf("a commit of offsets at a coordinator that is alone: %v", err)
	}
	if all := time.Since(began); all > patience/2 {
		t.Errorf("who waits for a leader that is alone was sent away after %s", all)
	}
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

// patience is that of many clients.
const patience = 30 * time.Second

// groupOf returns a group that a node coordinates and that has committed something.
func (c *cluster) groupOf(n *node, topic kadm.TopicID) (group string) {
	c.t.Helper()
	tried := 0
	if err := eventually(c.t.Context(), time.Minute, func(ctx context.Context) error {
		group = fmt.Sprintf("group-%d", tried)
		found := c.admin.FindGroupCoordinators(ctx, group)[group]
		if found.Err != nil {
			return found.Err
		}
		if found.NodeID != n.id {
			tried++
			return fmt.Errorf("node %d coordinates %s", found.NodeID, group)
		}
		return commitTo(ctx, c.client, n, group, topic)
	}); err != nil {
		c.t.Fatal(err)
	}
	return group
}

// commitTo commits an offset of topic t at a node, whoever coordinates the group.
func commitTo(ctx context.Context, client *kgo.Client, n *node, group string, topic kadm.TopicID) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", TopicID: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Offset: 1, LeaderEpoch: -1}}}}
	resp, err := client.Broker(int(n.id)).Request(ctx, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
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
