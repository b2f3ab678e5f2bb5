package replica

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/purgatory"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/storage"
)

// word is what a Manager has said to the rest of the cluster.
type word struct {
	followed  map[kafka.TopicPartition]int32 // leader
	proposals []*partition.ISRChange
}

// newClusterHarness is broker 1 of three in a cluster, in racks a, b and b.
func newClusterHarness(t *testing.T) (*harness, *word) {
	t.Helper()
	w := &word{followed: map[kafka.TopicPartition]int32{}}
	h := newHarness(t)
	o := h.options
	o.Metrics = metrics.NewRegistry()
	o.Cluster = &Cluster{LagMaxMs: 1000, NearestByRack: true, Flushed: func(int32) {},
		Follow:   func(p *partition.Partition, leader, _ int32) { w.followed[p.TopicPartition()] = leader },
		Unfollow: func(p *partition.Partition) { delete(w.followed, p.TopicPartition()) },
		Propose:  func(_ *partition.Partition, c *partition.ISRChange) { w.proposals = append(w.proposals, c) }}
	h.Manager = New(o)
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	var brokers []metadata.Record
	for id, rack := range []string{1: "a", 2: "b", 3: "b"} {
		if id > 0 {
			brokers = append(brokers, &metadata.RegisterBrokerRecord{BrokerID: int32(id), BrokerEpoch: int64(10 * id), Rack: &rack,
				Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "h", Port: 9092}}})
		}
	}
	h.apply(brokers...)
	return h, w
}

// createReplicated makes a topic of one partition with replicas on three brokers.
func (h *harness) createReplicated(topic string, leader int32, isr ...int32) {
	h.tb.Helper()
	h.apply(&metadata.TopicRecord{Name: topic, TopicID: idOf(topic)},
		&metadata.PartitionRecord{TopicID: idOf(topic), Replicas: []int32{1, 2, 3}, ISR: isr, Leader: leader, Directories: make([]kafka.UUID, 3)})
}

func followerFetch(wait time.Duration, id int32, partitions ...FetchPartition) *FetchRequest {
	r := request(wait, 1, partitions...)
	r.Follower = &Follower{BrokerID: id, BrokerEpoch: int64(10 * id)}
	for i := range r.Partitions {
		r.Partitions[i].CurrentLeaderEpoch = 0
	}
	return r
}

// commit has broker 2 fetch from the end of a partition.
func (h *harness) commit(topic string, end int64) {
	h.tb.Helper()
	var buffers Buffers
	h.Fetch(h.tb.Context(), followerFetch(0, 2, partitionOf(topic, 0, end)), &buffers)
	if r, err := h.Lookup(tpOf(topic, 0)); err != nil || r.Log().HighWatermark() != end {
		h.tb.Fatalf("%s is not committed up to %d: %v", topic, end, err)
	}
}

func TestFollowersArePutToWork(t *testing.T) {
	t.Parallel()
	h, w := newClusterHarness(t)
	h.createReplicated("led", 1, 1, 2, 3)
	h.createReplicated("followed", 2, 1, 2, 3)
	if len(w.followed) != 1 || w.followed[tpOf("followed", 0)] != 2 {
		t.Fatalf("follows %v", w.followed)
	}
	change := metadata.NewPartitionChangeRecord(idOf("followed"), 0)
	change.Leader = 3
	h.apply(change)
	change = metadata.NewPartitionChangeRecord(idOf("led"), 0)
	change.Leader = 2
	h.apply(change)
	if len(w.followed) != 2 || w.followed[tpOf("followed", 0)] != 3 || w.followed[tpOf("led", 0)] != 2 {
		t.Fatalf("follows %v", w.followed)
	}
	change = metadata.NewPartitionChangeRecord(idOf("led"), 0)
	change.Leader = kafka.NoLeader
	h.apply(change)
	if len(w.followed) != 1 {
		t.Fatalf("follows %v where nobody leads", w.followed)
	}
	h.apply(&metadata.RemoveTopicRecord{TopicID: idOf("followed")})
	if len(w.followed) != 0 {
		t.Errorf("follows %v of a deleted topic", w.followed)
	}
}

// TestFollowersMoveTheHighWatermark lets both followers fetch, after one of which the records are committed.
func TestFollowersMoveTheHighWatermark(t *testing.T) {
	t.Parallel()
	h, w := newClusterHarness(t)
	h.createReplicated("t", 1, 1, 2)
	h.produce("t", 0, 10, "a")
	var buffers Buffers
	results := h.Fetch(t.Context(), followerFetch(time.Hour, 2, partitionOf("t", 0, 0)), &buffers)
	if results[0].Err != nil || len(results[0].Records) == 0 || results[0].HighWatermark != 0 || results[0].LogEndOffset != 1 {
		t.Fatalf("%+v", results[0])
	}
	done := make(chan error, 1)
	h.WhenCommitted(tpOf("t", 0), 0, 1, func(err error) { done <- err })
	if len(done) > 0 {
		t.Fatal("committed before broker 2 has it")
	}
	h.Fetch(t.Context(), followerFetch(0, 2, partitionOf("t", 0, 1)), &buffers)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(w.proposals) != 0 {
		t.Fatalf("proposes %+v", w.proposals[0])
	}
	// A broker that is no replica, and one that has been registered anew since, change nothing.
	stranger := followerFetch(0, 9, partitionOf("t", 0, 1))
	if r := h.Fetch(t.Context(), stranger, &buffers); kafka.CodeOf(r[0].Err) != kafka.ErrUnknownLeaderEpoch {
		t.Errorf("a stranger gets %v", r[0].Err)
	}
	old := followerFetch(0, 3, partitionOf("t", 0, 1))
	old.Follower.BrokerEpoch = 7
	h.Fetch(t.Context(), old, &buffers)
	if len(w.proposals) != 0 {
		t.Fatalf("proposes %+v", w.proposals[0])
	}
	h.Fetch(t.Context(), followerFetch(0, 3, partitionOf("t", 0, 1)), &buffers)
	if len(w.proposals) != 1 || len(w.proposals[0].ISR) != 3 || w.proposals[0].ISR[2] != (partition.ISRMember{BrokerID: 3, BrokerEpoch: 30}) {
		t.Fatalf("proposes %+v", w.proposals)
	}
}

// TestCommittedStaysCommitted: with fewer in sync than there should be, producers hear of it. A coordinator that took it for a failure would
// drop its state and load it again, and again.
func TestCommittedStaysCommitted(t *testing.T) {
	t.Parallel()
	h, _ := newClusterHarness(t)
	h.createReplicated("t", 1, 1, 2)
	h.produce("t", 0, 10, "a")
	var buffers Buffers
	h.Fetch(t.Context(), followerFetch(0, 2, partitionOf("t", 0, 1)), &buffers)
	r, err := h.Lookup(tpOf("t", 0))
	if err != nil {
		t.Fatal(err)
	}
	a := r.Assignment()
	a.PartitionEpoch, a.ISR, a.MinInSyncReplicas = a.PartitionEpoch+1, []int32{1}, 2
	if err := r.Apply(a, time.Now().UnixMilli()); err != nil {
		t.Fatal(err)
	}
	if err := h.AwaitCommit(t.Context(), tpOf("t", 0), 0, 1, time.Hour); kafka.CodeOf(err) != kafka.ErrNotEnoughReplicasAfterAppend {
		t.Errorf("a producer hears %v", err)
	}
	h.WhenCommitted(tpOf("t", 0), 0, 1, func(err error) {
		if err != nil {
			t.Errorf("a coordinator hears %v", err)
		}
	})
}

func TestLaggingFollowersAreProposed(t *testing.T) {
	t.Parallel()
	h, w := newClusterHarness(t)
	h.createReplicated("t", 1, 1, 2, 3)
	h.produce("t", 0, 10, "a")
	h.CheckLag(time.Now().UnixMilli())
	if len(w.proposals) != 0 {
		t.Fatalf("proposes %+v", w.proposals[0])
	}
	h.CheckLag(time.Now().UnixMilli() + 2000)
	if len(w.proposals) != 1 || w.proposals[0].Expands || len(w.proposals[0].ISR) != 1 {
		t.Errorf("proposes %+v", w.proposals)
	}
}

// TestFollowersLongPoll: a follower's fetch ends with an append, committed or not, and when this broker begins to lead
// more that the follower may want; it does not end when only the high watermark moves.
func TestFollowersLongPoll(t *testing.T) {
	for _, c := range []struct {
		name      string
		at        func(h *harness)
		wantAfter time.Duration
		records   bool
		committed int64
	}{
		{name: "nothing happens", at: func(*harness) {}, wantAfter: time.Minute},
		{name: "records are appended", at: func(h *harness) { h.produce("t", 0, 10, "b") }, wantAfter: time.Second, records: true},
		{name: "records are appended to what it does not fetch", at: func(h *harness) { h.produce("also", 0, 10, "b") }, wantAfter: time.Minute},
		{name: "the high watermark moves", wantAfter: time.Minute, committed: 1, at: func(h *harness) {
			var buffers Buffers
			h.Fetch(h.tb.Context(), followerFetch(0, 3, partitionOf("t", 0, 1)), &buffers)
		}},
		{name: "it leads a new topic", at: func(h *harness) { h.createReplicated("more", 1, 1, 2, 3) }, wantAfter: time.Second},
		{name: "it is elected", wantAfter: time.Second, at: func(h *harness) {
			change := metadata.NewPartitionChangeRecord(idOf("other"), 0)
			change.Leader = 1
			h.apply(change)
		}},
		{name: "others' topics come", at: func(h *harness) { h.createReplicated("more", 2, 1, 2, 3) }, wantAfter: time.Minute},
		{name: "a topic without followers comes", at: func(h *harness) { h.create("more", 1) }, wantAfter: time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, _ := newClusterHarness(t)
				h.createReplicated("t", 1, 1, 2, 3)
				h.createReplicated("other", 2, 1, 2, 3)
				h.createReplicated("also", 1, 1, 2, 3)
				h.produce("t", 0, 10, "a")
				start := time.Now()
				time.AfterFunc(time.Second, func() { c.at(h) })
				var buffers Buffers
				results := h.Fetch(t.Context(), followerFetch(time.Minute, 2, partitionOf("t", 0, 1)), &buffers)
				if r := results[0]; r.Err != nil || len(r.Records) > 0 != c.records || r.HighWatermark != c.committed || time.Since(start) != c.wantAfter {
					t.Errorf("after %v: %+v", time.Since(start), r)
				}
			})
		})
	}
}

// TestCatchingUpHoldsNobodyUp: what a follower must have for acknowledgements comes first, and what it lacks of others
// in pieces; alone they come in full.
func TestCatchingUpHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	h, _ := newClusterHarness(t)
	h.createReplicated("lagging", 1, 1, 2)
	h.createReplicated("in-sync", 1, 1, 2, 3)
	value := strings.Repeat("x", 300_000)
	for range 20 {
		h.produce("lagging", 0, 10, value)
	}
	h.commit("lagging", 20)
	lagging, inSync := partitionOf("lagging", 0, 0), partitionOf("in-sync", 0, 0)
	lagging.MaxBytes, inSync.MaxBytes = 1<<26, 1<<26
	var buffers Buffers
	for _, c := range []struct {
		name        string
		partitions  []FetchPartition
		hasOthers   bool
		value       string // that is appended in sync before
		least, most int    // of lagging
	}{
		{"alone", []FetchPartition{lagging}, false, "", 20 * len(value), 21 * len(value)},
		{"beside some that the session leaves out", []FetchPartition{lagging}, true, "", 3 * len(value), catchUpBytes},
		{"beside one without news", []FetchPartition{lagging, inSync}, false, "", 3 * len(value), catchUpBytes},
		{"beside one with much news", []FetchPartition{lagging, inSync}, false, strings.Repeat("a", briefBytes), 3 * len(value), catchUpBytes},
	} {
		if c.value != "" {
			h.produce("in-sync", 0, 10, c.value)
		}
		r := followerFetch(0, 3, c.partitions...)
		r.HasOthers = c.hasOthers
		results := h.Fetch(t.Context(), r, &buffers)
		if n := results[0].SizeBytes(); n < c.least || n > c.most {
			t.Errorf("%s: %d bytes of what it lacks; want %d to %d", c.name, n, c.least, c.most)
		}
		if c.value != "" && results[1].SizeBytes() == 0 {
			t.Errorf("%s: nothing of what it must have", c.name)
		}
	}
	// A batch beyond the limits comes nevertheless, or it would never come beside others that always have news.
	lagging.MaxBytes = 1000
	if n := h.Fetch(t.Context(), followerFetch(0, 3, lagging, inSync), &buffers)[0].SizeBytes(); n < len(value) {
		t.Errorf("%d bytes of a batch of %d", n, len(value))
	}
}

// TestLittleNewsGoesAlone: a follower that is waited for has it at once, and what it lacks elsewhere not much later, though there is always news.
func TestLittleNewsGoesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		h.options.Clock = env.SystemClock{}
		h.createReplicated("lagging", 1, 1, 2)
		h.createReplicated("in-sync", 1, 1, 2, 3)
		h.produce("lagging", 0, 10, "a")
		h.commit("lagging", 1)
		h.produce("in-sync", 0, 10, "a")
		var buffers Buffers
		fetch := func(when string, offset int64, hasNews, hasLacking bool) {
			t.Helper()
			results := h.Fetch(t.Context(), followerFetch(0, 3, partitionOf("lagging", 0, 0), partitionOf("in-sync", 0, offset)), &buffers)
			if n := results[0].SizeBytes(); n > 0 != hasLacking || results[0].LogEndOffset != 1 {
				t.Errorf("%s: %d bytes of what it lacks; %+v", when, n, results[0])
			}
			if n := results[1].SizeBytes(); n > 0 != hasNews {
				t.Errorf("%s: %d bytes of news", when, n)
			}
		}
		for range 2 {
			fetch("at first", 0, true, false)
			<-time.After((briefPauseMs - 1) * time.Millisecond)
			fetch("soon", 0, true, false)
			<-time.After(time.Millisecond)
			fetch("in the end", 0, true, true)
		}
		fetch("then", 0, true, false)
		fetch("without news", 1, false, true)
		fetch("and again", 0, true, false)
	})
}

// TestJoiningIsNotHeldUp: from when producers wait for a follower it gets what they append first, though the metadata does not say yet that it is in sync.
func TestJoiningIsNotHeldUp(t *testing.T) {
	t.Parallel()
	h, w := newClusterHarness(t)
	h.createReplicated("lagging", 1, 1, 2)
	h.createReplicated("joining", 1, 1, 2)
	h.produce("lagging", 0, 10, "a")
	h.commit("lagging", 1)
	var buffers Buffers
	fetch := func() []FetchResult {
		return h.Fetch(t.Context(), followerFetch(0, 3, partitionOf("lagging", 0, 0), partitionOf("joining", 0, 0)), &buffers)
	}
	if n := fetch()[0].SizeBytes(); n == 0 || len(w.proposals) != 1 { // it has all there is of the other one: nothing
		t.Fatalf("%d bytes, %d proposals", n, len(w.proposals))
	}
	h.produce("joining", 0, 10, "a")
	if results := fetch(); results[0].SizeBytes() > 0 || results[1].SizeBytes() == 0 {
		t.Errorf("%d bytes of what it lacks, %d of what is waited for", results[0].SizeBytes(), results[1].SizeBytes())
	}
}

// TestFullAnswersStillCheckThePosition: where what is in sync fills an answer, a follower that has gone another way elsewhere is told so, and does
// not count as having what it names.
func TestFullAnswersStillCheckThePosition(t *testing.T) {
	t.Parallel()
	h, _ := newClusterHarness(t)
	h.createReplicated("lagging", 1, 1, 2)
	h.createReplicated("in-sync", 1, 1, 2, 3)
	h.produce("lagging", 0, 10, "a")
	h.commit("lagging", 1)
	h.produce("in-sync", 0, 10, strings.Repeat("a", briefBytes))
	h.produce("in-sync", 0, 10, "b")
	for _, c := range []struct{ isDiverging, isBrief bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		isDiverging := c.isDiverging
		lagging, inSync := partitionOf("lagging", 0, 0), partitionOf("in-sync", 0, 0)
		if c.isBrief {
			inSync.Offset = 1
		}
		if isDiverging {
			lagging.LastFetchedEpoch, lagging.Offset = 0, 5
		}
		r := followerFetch(0, 3, lagging, inSync)
		r.MaxBytes = 1
		var buffers Buffers
		results := h.Fetch(t.Context(), r, &buffers)
		if results[1].SizeBytes() == 0 {
			t.Error("nothing of what is in sync")
		}
		if got := &results[0]; got.Err != nil || got.LogEndOffset != 1 || got.ReadReplica != kafka.NoLeader || (got.Diverging != nil) != isDiverging || (got.SizeBytes() > 0) != (!isDiverging && !c.isBrief) {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// TestOnlyLeadersLetFollowersGo: nobody waits for a replica that this broker does not lead, or that is new. To wake all that wait for others with
// each of thousands of partitions that are created or change would have every one of them look through all it fetches, again and again.
func TestOnlyLeadersLetFollowersGo(t *testing.T) {
	t.Parallel()
	h, _ := newClusterHarness(t)
	h.createReplicated("led", 1, 1, 2, 3)
	change := func(topic string) {
		change := metadata.NewPartitionChangeRecord(idOf(topic), 0)
		change.ISR = []int32{1, 2}
		h.apply(change)
	}
	for _, c := range []struct {
		name   string
		do     func()
		letsGo bool
	}{
		{"new, led elsewhere", func() { h.createReplicated("other", 2, 1, 2, 3) }, false},
		{"changes, led elsewhere", func() { change("other") }, false},
		{"changes, led here", func() { change("led") }, true},
	} {
		op := purgatory.NewOperation(func(int64) bool { return true }, nil)
		if err := h.fetches.Watch(op, []*purgatory.List{&h.follower(3).waiters}); err != nil {
			t.Fatal(err)
		}
		c.do()
		if waits := op.Complete(); waits == c.letsGo {
			t.Errorf("%s: still waits: %v", c.name, waits)
		}
	}
}

// TestFormerFollowersAreLetGo: a fetch of a broker that loses its replica ends with what the partition says then.
func TestFormerFollowersAreLetGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		h.createReplicated("t", 1, 1, 2, 3)
		start := time.Now()
		time.AfterFunc(time.Second, func() {
			change := metadata.NewPartitionChangeRecord(idOf("t"), 0)
			change.Replicas, change.ISR, change.Leader, change.Directories = []int32{1, 3}, []int32{1, 3}, 3, make([]kafka.UUID, 2)
			h.apply(change)
		})
		var buffers Buffers
		results := h.Fetch(t.Context(), followerFetch(time.Minute, 2, partitionOf("t", 0, 0)), &buffers)
		if took := time.Since(start); took != time.Second || results[0].Err == nil {
			t.Errorf("after %v: %+v", took, results[0])
		}
	})
}

// TestConsumersAreSentToTheirRack (KIP-392).
func TestConsumersAreSentToTheirRack(t *testing.T) {
	t.Parallel()
	h, _ := newClusterHarness(t)
	h.createReplicated("t", 1, 1, 2)
	h.produce("t", 0, 10, "a")
	var buffers Buffers
	h.Fetch(t.Context(), followerFetch(0, 2, partitionOf("t", 0, 1)), &buffers)
	for rack, want := range map[string]int32{"": kafka.NoLeader, "a": kafka.NoLeader, "b": 2, "c": kafka.NoLeader} {
		r := request(time.Hour, 1, partitionOf("t", 0, 0))
		r.AnyReplica, r.Rack, r.Listener = true, rack, "PLAINTEXT"
		result := h.Fetch(t.Context(), r, &buffers)[0]
		if result.Err != nil || result.ReadReplica != want || len(result.Records) > 0 != (want == kafka.NoLeader) || result.HighWatermark != 1 {
			t.Errorf("rack %q: %+v", rack, result)
		}
		r.Partitions[0].CurrentLeaderEpoch = 9
		if result := h.Fetch(t.Context(), r, &buffers)[0]; kafka.CodeOf(result.Err) != kafka.ErrUnknownLeaderEpoch {
			t.Errorf("rack %q in another epoch: %+v", rack, result)
		}
	}
	r := request(0, 1, partitionOf("t", 0, 0))
	r.AnyReplica, r.Rack, r.Listener = true, "b", "OTHER"
	if result := h.Fetch(t.Context(), r, &buffers)[0]; result.ReadReplica != kafka.NoLeader {
		t.Errorf("sent to broker %d, which does not have the listener", result.ReadReplica)
	}
	h.apply(&metadata.BrokerRegistrationChangeRecord{BrokerID: 2, BrokerEpoch: 20, Fenced: 1})
	r.Listener = "PLAINTEXT"
	if result := h.Fetch(t.Context(), r, &buffers)[0]; result.ReadReplica != kafka.NoLeader {
		t.Errorf("sent to broker %d, which is fenced", result.ReadReplica)
	}
}

// TestConsumersWaitAtFollowers: a consumer's fetch at a follower ends when the follower hears that more is committed.
func TestConsumersWaitAtFollowers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		h.createReplicated("t", 2, 1, 2, 3)
		r, err := h.Lookup(tpOf("t", 0))
		if err != nil {
			t.Fatal(err)
		}
		batch := batchOf(t, 10, "a")
		batch.SetPartitionLeaderEpoch(0)
		fetched := partition.Fetched{Fetched: storage.Fetched{Records: batch, NowMs: time.Now().UnixMilli()}}
		time.AfterFunc(time.Second, func() {
			if err := r.AppendFetched(fetched); err != nil {
				t.Error(err)
			}
		})
		time.AfterFunc(2*time.Second, func() {
			if err := r.AppendFetched(partition.Fetched{Fetched: storage.Fetched{NowMs: time.Now().UnixMilli()}, LeaderHighWatermark: 1}); err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		fetch := request(time.Minute, 1, partitionOf("t", 0, 0))
		fetch.AnyReplica = true
		var buffers Buffers
		if result := h.Fetch(t.Context(), fetch, &buffers)[0]; result.Err != nil || len(result.Records) == 0 || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %+v", time.Since(start), result)
		}
	})
}

// TestDeletedRecordsAreWaitedFor: what is said to be deleted must not come back when another replica leads.
func TestDeletedRecordsAreWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		h.createReplicated("t", 1, 1, 2, 3)
		h.produce("t", 0, 10, "a", "b", "c")
		fetch := func(id int32, logStart int64, wait time.Duration) FetchResult {
			p := partitionOf("t", 0, 3)
			p.LogStartOffset = logStart
			var buffers Buffers
			return h.Fetch(t.Context(), followerFetch(wait, id, p), &buffers)[0]
		}
		fetch(2, 0, 0)
		fetch(3, 0, 0)
		start := time.Now()
		begun := start
		heard := make(chan time.Duration, 1)
		go func() { // broker 2 waits for records
			if r := fetch(2, 0, time.Minute); r.LogStartOffset == 2 {
				heard <- time.Since(begun)
			}
		}()
		synctest.Wait()
		time.AfterFunc(time.Second, func() { fetch(2, 2, 0) })
		time.AfterFunc(2*time.Second, func() { fetch(3, 2, 0) })
		delete2 := func(timeout time.Duration) DeletedRecords {
			return h.DeleteRecords(t.Context(), map[kafka.TopicPartition]int64{tpOf("t", 0): 2}, timeout)[tpOf("t", 0)]
		}
		if d := delete2(time.Minute); d.Err != nil || d.LowWatermark != 2 || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %+v", time.Since(start), d)
		}
		if after := <-heard; after != 0 {
			t.Errorf("broker 2 hears of it after %v", after)
		}
		h.apply(&metadata.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: 30, Fenced: 1})
		fetch(2, 3, 0)
		start = time.Now()
		d := h.DeleteRecords(t.Context(), map[kafka.TopicPartition]int64{tpOf("t", 0): 3}, time.Minute)[tpOf("t", 0)]
		if d.Err != nil || d.LowWatermark != 3 || time.Since(start) != 0 {
			t.Errorf("without a fenced broker after %v: %+v", time.Since(start), d)
		}
		h.apply(&metadata.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: 30, Fenced: -1})
		if d := delete2(5 * time.Second); kafka.CodeOf(d.Err) != kafka.ErrRequestTimedOut || d.LowWatermark != 2 || time.Since(start) != 5*time.Second {
			t.Errorf("with a broker that does not follow after %v: %+v", time.Since(start), d)
		}
	})
}

// TestLeaderThrottles: above the limit a covered partition has no records for a follower that is not in sync, which waits;
// those in sync go on, and count.
func TestLeaderThrottles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		throttle := quota.NewReplication(quota.Window{Samples: 11, Sample: time.Second})
		h.options.Cluster.Throttle = throttle
		h.options.Clock = env.SystemClock{}
		h.createReplicated("t", 1, 1, 2)
		h.createReplicated("free", 1, 1, 2)
		h.produce("t", 0, 100, "a")
		var buffers Buffers
		get := func(broker int32, wait time.Duration, topic string) (bytes int, took time.Duration) {
			t.Helper()
			start := time.Now()
			results := h.Fetch(t.Context(), followerFetch(wait, broker, partitionOf(topic, 0, 0)), &buffers)
			if results[0].Err != nil {
				t.Fatal(results[0].Err)
			}
			return results[0].SizeBytes(), time.Since(start)
		}
		throttle.SetReplicas("t", quota.ThrottledReplicas{All: true})
		throttle.SetLimit(50)
		bytes, _ := get(2, 0, "t")
		if bytes < 100 {
			t.Fatalf("%d bytes for who is in sync", bytes)
		}
		if n, took := get(3, time.Second, "t"); n != 0 || took != time.Second {
			t.Errorf("%d bytes after %v", n, took)
		}
		if n, _ := get(2, 0, "t"); n != bytes {
			t.Errorf("%d bytes for who is in sync, above the limit", n)
		}
		h.produce("free", 0, 100, "a")
		if n, _ := get(3, 0, "free"); n == 0 {
			t.Error("nothing of a partition that is not covered")
		}
		down := time.Duration(2*bytes) * time.Second / 50
		if n, took := get(3, down, "t"); n != bytes || took != down {
			t.Errorf("%d bytes after %v, when the rate is down", n, took)
		}
	})
}
