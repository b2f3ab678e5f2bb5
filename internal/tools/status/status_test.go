package status

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// three is a cluster of three nodes that is well.
func three() Cluster {
	c := Cluster{ID: "c", Finalized: map[string]int16{"metadata.version": 30, "transaction.version": 2}, Quorum: Quorum{Leader: 1, Epoch: 4, HighWatermark: 100, NowMs: 1_000_000}}
	for id := int32(1); id <= 3; id++ {
		c.Brokers = append(c.Brokers, Broker{ID: id, Address: "h:909" + string(rune('0'+id)), Levels: map[string]Range{"metadata.version": {7, 30}, "transaction.version": {0, 2}}})
		c.Quorum.Voters = append(c.Quorum.Voters, Member{id, kafka.UUID{byte(id)}, 100, 1_000_000})
	}
	partition := func(index, leader int32, isr ...int32) client.Partition {
		return client.Partition{Index: index, Leader: leader, Replicas: []int32{1, 2, 3}, ISR: isr}
	}
	c.Topics = []Topic{{"t", 2, []client.Partition{partition(0, 1, 1, 2, 3), partition(1, 2, 1, 2, 3)}}}
	return c
}

func TestAssess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(c *Cluster)
		level  Level
		want   []string // each in a finding
	}{
		"well":          {func(*Cluster) {}, Well, nil},
		"fenced broker": {func(c *Cluster) { c.Brokers[1].Fenced = true }, Degraded, []string{"broker 2 (h:9092) is not there"}},
		"silent broker": {func(c *Cluster) { c.Brokers[1].Err = errors.New("timed out") }, Degraded, []string{"broker 2 (h:9092) does not answer: timed out"}},
		"no quorum":     {func(c *Cluster) { c.QuorumErr = errors.New("no leader") }, Failing, []string{"nobody leads the metadata quorum"}},
		"voter behind":  {func(c *Cluster) { c.Quorum.Voters[2].LastFetchMs -= 8000 }, Degraded, []string{"controller 3 has not followed the metadata for 8 s", "1 of 3 controllers is away: one more"}},
		"voter without its disk": {func(c *Cluster) {
			c.Quorum.Voters[2].LastFetchMs -= 8000
			c.Quorum.Observers = []Member{{3, kafka.UUID{9}, 100, 1_000_000}}
		}, Degraded, []string{"controller 3 is there with an empty folder (directory id CQAAAAAAAAAAAAAAAAAAAA) and does not vote: its vote belongs to the disk that it has lost (AwAAAAAAAAAAAAAAAAAAAA)", "1 of 3 controllers is away"}},
		"two voters": {func(c *Cluster) { c.Quorum.Voters = c.Quorum.Voters[:2] }, Well, []string{"of 2 controllers none may fail"}},
		"voter never heard": {func(c *Cluster) { c.Quorum.Voters[2].LastFetchMs = -1 }, Degraded,
			[]string{"controller 3 has not followed the metadata since controller 1 became the active one", "1 of 3 controllers is away: one more"}},
		"leader's fetch": {func(c *Cluster) { c.Quorum.Voters[0].LastFetchMs = -1 }, Well, nil},
		"not told":       {func(c *Cluster) { c.Moving = -1 }, Degraded, []string{"no broker tells which partitions are being moved"}},
		"one lags": {func(c *Cluster) { c.Topics[0].Partitions[1].ISR = []int32{1, 2} }, Degraded,
			[]string{"1 of 2 partitions lack a replica in sync"}},
		"one is added": {func(c *Cluster) {
			c.Topics[0].Partitions[1].ISR, c.Moving, c.Adding = []int32{1, 2}, 1, map[kafka.TopicPartition]int{{Topic: "t", Partition: 1}: 1}
		}, Well, nil},
		"under min ISR": {func(c *Cluster) { c.Topics[0].Partitions[1].ISR = []int32{2} }, Failing,
			[]string{"1 partitions take no records with acks=all, having fewer replicas in sync than min.insync.replicas: t-1", "lack a replica in sync"}},
		"min ISR above the replicas": {func(c *Cluster) {
			c.Topics = []Topic{{"one", 2, []client.Partition{{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}}}
		}, Well, nil},
		"offline": {func(c *Cluster) { c.Topics[0].Partitions[0].Leader = -1 }, Failing, []string{"1 partitions have no leader and serve nobody: t-0"}},
		"mixed release": {func(c *Cluster) {
			c.Brokers[0].Levels = map[string]Range{"metadata.version": {7, 25}, "transaction.version": {0, 2}}
		}, Degraded, []string{"brokers of different releases run: not all support the same levels of metadata.version"}},
		"stalled": {func(c *Cluster) {
			c.Balancer = &balance.Status{State: "stalled", Why: "w", Blocked: []balance.Blocked{{Broker: 1, Why: "w"}, {Broker: 2, Why: "other"}}}
		}, Well, []string{"the balancer is stalled: w\n", "the balancer is stalled: other\n"}},
		"stalled for all": {func(c *Cluster) { c.Balancer = &balance.Status{State: "stalled", Why: "w"} }, Well, []string{"the balancer is stalled: w\n"}},
		"old level":       {func(c *Cluster) { c.Finalized["metadata.version"] = 25 }, Well, []string{"metadata.version is 4.0-IV3, all brokers support 4.3-IV0"}},
	} {
		cluster := three()
		c.change(&cluster)
		r := Assess(cluster)
		var found strings.Builder
		for _, f := range r.Findings {
			found.WriteString(f.What + "\n")
			if f.Do == "" {
				t.Errorf("%s: nothing to do about %q", name, f.What)
			}
		}
		if r.Level != c.level || len(r.Findings) != len(c.want) {
			t.Errorf("%s: level %d and\n%s", name, r.Level, &found)
		}
		for _, want := range c.want {
			if !strings.Contains(found.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, &found)
			}
		}
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	t.Parallel()
	c := three()
	c.Brokers[0].Fenced = true
	c.Topics[0].Partitions[0].Leader = -1
	c.Moving = 2
	c.Balancer = &balance.Status{State: "moving", Why: "broker 2 is drained", Draining: []int32{2}, Joining: []int32{3},
		Brokers: []balance.BrokerStatus{{Load: balance.Load{Broker: 2}, IsDraining: true, Replicas: 1}, {Load: balance.Load{Broker: 3}}}}
	r := Assess(c)
	var out bytes.Buffer
	r.print(cli.Streams{Out: &out})
	first, second := strings.Index(out.String(), "!! 1 partitions have no leader"), strings.Index(out.String(), "!  broker 1")
	if first < 0 || second < first || !strings.HasPrefix(out.String(), "Cluster c: fails\n") {
		t.Errorf("the operator reads\n%s", &out)
	}
	for _, want := range []string{"Controllers   1 (active, epoch 4), 2 (0 behind), 3 (0 behind)\n", "Partitions    2 in 1 topics: 1 without leader, 0 under min.insync.replicas, 0 under-replicated, 2 being moved\n",
		"Features      metadata.version=4.3-IV0, transaction.version=2\n", "fenced", "up, draining", "up, joining", "Balancer      moving: broker 2 is drained\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestARemovalCanBeCopied: what is to be removed from the voters has an id that nobody types by heart.
func TestARemovalCanBeCopied(t *testing.T) {
	t.Parallel()
	c := three()
	c.Quorum.Voters[2].LastFetchMs -= 8000
	if r := Assess(c); !strings.HasSuffix(r.Findings[0].Do, "for good: moldau metadata-quorum remove-controller --controller-id 3 --controller-directory-id AwAAAAAAAAAAAAAAAAAAAA") {
		t.Errorf("%+v", r.Findings)
	}
}

// TestOldNewsIsCalledSo: without an active controller nobody notes which replicas are gone.
func TestOldNewsIsCalledSo(t *testing.T) {
	t.Parallel()
	c := three()
	c.QuorumErr = errors.New("no leader")
	r := Assess(c)
	var out bytes.Buffer
	r.print(cli.Streams{Out: &out})
	if !strings.Contains(out.String(), "0 under-replicated, 0 being moved, when a controller was last active\n") {
		t.Errorf("the operator reads\n%s", &out)
	}
}

func TestLongListsAreCut(t *testing.T) {
	t.Parallel()
	if got := some([]string{"a", "b", "c", "d", "e", "f", "g"}); got != "a, b, c, d, e and 2 more" {
		t.Error(got)
	}
}
