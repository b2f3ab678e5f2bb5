package cluster

import (
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// TestKIP966EligibleLeaderReplicas is the last replica standing (KIP-966): two of three replicas die one after the other, the
// last one takes more records and then loses its power. It may not lead again, and neither may the one that left first:
// the partition waits for the one that left when there were too few, which has everything that was acknowledged.
func TestKIP966EligibleLeaderReplicas(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	w := newWorld(Options{Seed: 1})
	// With five nodes the quorum outlives two of them.
	w.plan = plan{nodes: 5, voters: 5, wanted: []int32{1, 2, 3, 4, 5}, clusterID: w.plan.clusterID,
		topics: []topicPlan{{name: "orders", partitions: 1, factor: 3, configs: map[string]string{"min.insync.replicas": "2"}}},
		faults: []fault{{"none", 1, func(*World, *Node) {}}}}
	w.begin()
	tp := kafka.TopicPartition{Topic: "orders"}
	at := func() *metadata.Partition { return w.latest.Partition(tp.Topic, tp.Partition) }
	until := func(what string, met func() bool) {
		t.Helper()
		limitMs := w.nowMs + 30_000
		w.runUntil(func() bool { return w.nowMs > limitMs || met() })
		if w.err != nil || w.nowMs > limitMs {
			t.Fatalf("%s: %v; %+v", what, w.err, at())
		}
	}
	pass := func(ms int64) {
		t.Helper()
		if end := w.nowMs + ms; w.err == nil {
			w.runUntil(func() bool { return w.nowMs >= end })
		}
		if w.err != nil {
			t.Fatal(w.err)
		}
	}
	turnOff := func(n *Node, power bool) {
		n.off = true
		n.crash(power)
	}
	turnOn := func(n *Node) {
		n.off = false
		n.start()
		until("a node that starts", func() bool { return n.process != nil && n.process.serving })
	}

	until("records", func() bool { return w.count["acked"] > 20 && len(at().ISR) == 3 })
	leader := w.node(at().Leader)
	others := slices.DeleteFunc(slices.Clone(at().Replicas), func(id int32) bool { return id == leader.id })
	early, eligible := w.node(others[0]), w.node(others[1])

	turnOff(early, false)
	until("two in sync", func() bool { return len(at().ISR) == 2 })
	if len(at().ELR) != 0 {
		t.Errorf("with enough in sync, %v are eligible", at().ELR)
	}
	acked := w.count["acked"]
	until("more records", func() bool { return w.count["acked"] > acked+10 })
	turnOff(eligible, false)
	until("one in sync", func() bool {
		mine := leader.process.image.Partition(tp.Topic, tp.Partition)
		return len(mine.ISR) == 1 && slices.Equal(mine.ELR, []int32{eligible.id})
	})

	r, err := leader.process.replicas.Lookup(tp)
	if err != nil {
		t.Fatal(err)
	}
	high, end := r.Log().HighWatermark(), r.Log().LogEndOffset()
	until("records that one replica has", func() bool { return r.Log().LogEndOffset() > end+10 })
	if now := r.Log().HighWatermark(); now != high {
		t.Errorf("below the minimum of in-sync replicas the high watermark went from %d to %d", high, now)
	}

	turnOff(leader, true)
	turnOn(early)
	pass(5000)
	turnOn(leader)
	pass(5000)
	if p := at(); p.Leader != kafka.NoLeader || !slices.Equal(p.ELR, []int32{eligible.id}) {
		t.Errorf("without any that has everything: leader %d, in sync %v, eligible %v", p.Leader, p.ISR, p.ELR)
	}
	turnOn(eligible)
	until("the eligible replica leads", func() bool { return at().Leader == eligible.id })
	if p := at(); p.LeaderRecoveryState != metadata.RecoveredLeader {
		t.Errorf("it was elected uncleanly: %+v", p)
	}
	w.heal()
	until("everything is in sync again", w.isQuiet)
	if w.finish(); w.err != nil {
		t.Error(w.err)
	}
	if r, err := eligible.process.replicas.Lookup(tp); err != nil || r.Log().HighWatermark() < high {
		t.Errorf("up to %d was committed before; %v", high, err)
	}
}
