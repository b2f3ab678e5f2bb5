package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/sim"
)

// heal ends the faults.
func (w *World) heal() {
	w.note("heal")
	w.healing = true
	clear(w.network.cut)
	for _, n := range w.nodes {
		n.slowMs, n.hungMs, n.pausedMs = 0, w.nowMs, w.nowMs
		if p := n.process; p != nil {
			p.disk.Heal()
			if p.disk.Failed || p.failing {
				n.crash(false)
				continue
			}
			p.resume()
		}
	}
	w.every(40, 60, func() { w.quiet = w.unfinished() == "" })
}

// isQuiet reports whether everybody has got what they wanted.
func (w *World) isQuiet() bool { return w.quiet }

// unfinished tells what is still to be done, "" if nothing is.
func (w *World) unfinished() string {
	for _, n := range w.nodes {
		if n.process == nil || !n.process.serving || n.process.failing {
			return fmt.Sprintf("node %d does not serve", n.id)
		}
		if n.process.image.Offset < w.latest.Offset {
			return fmt.Sprintf("node %d has the metadata up to %d of %d", n.id, n.process.image.Offset, w.latest.Offset)
		}
	}
	for _, n := range w.nodes {
		if voters := n.process.quorum.voters(); !slices.Equal(voters, w.plan.wanted) {
			return fmt.Sprintf("to node %d the voters are %v, wanted are %v", n.id, voters, w.plan.wanted)
		}
	}
	if len(w.producers) == 0 {
		return "the clients have not started"
	}
	for _, p := range w.producers {
		if !p.isDone() {
			return p.name + " has batches to send"
		}
	}
	if why := w.whyNotInSync(); why != "" {
		return why
	}
	if w.restore(); len(w.budget.flipped) > 0 {
		return "there is damaged data: " + w.whyDamaged()
	}
	for _, r := range w.readers {
		p := w.latest.Partition(r.tp.Topic, r.tp.Partition)
		l, err := w.node(p.Leader).process.replicas.Lookup(r.tp)
		if err != nil || r.position < l.Log().HighWatermark() {
			return fmt.Sprintf("%s has not reached the end of %s", r.name, r.tp)
		}
	}
	if w.plan.members {
		if why := w.members.Unsettled(groupName); why != "" {
			return why
		}
	}
	if w.plan.copiers {
		if why := w.copies.Unfinished(); why != "" {
			return why
		}
	}
	return w.whyUncommitted() // at last: who asks a coordinator has it append what it was about to
}

// whyUncommitted says which replica has records that are not committed, or others than the first one, "" if none has.
func (w *World) whyUncommitted() string {
	for t := range w.latest.Topics() {
		for _, p := range t.Partitions {
			tp := kafka.TopicPartition{Topic: t.Name, Partition: p.ID}
			end := int64(-1)
			for _, id := range p.Replicas {
				r, err := w.node(id).process.replicas.Lookup(tp)
				if err != nil {
					return fmt.Sprintf("%s on node %d: %v", tp, id, err)
				}
				l := r.Log()
				if l.LogEndOffset() != l.HighWatermark() || end >= 0 && end != l.HighWatermark() {
					return fmt.Sprintf("%s on node %d ends at %d, committed up to %d; another replica at %d", tp, id, l.LogEndOffset(), l.HighWatermark(), end)
				}
				end = l.HighWatermark()
			}
		}
	}
	return ""
}

// finish is what must hold in the end.
func (w *World) finish() {
	if why := w.unfinished(); why != "" {
		w.fail("liveness: %s after %d ms without faults", why, w.nowMs-w.faultsEndMs)
		return
	}
	w.copies.Finish()
	for t := range w.latest.Topics() {
		for _, p := range t.Partitions {
			w.finishPartition(kafka.TopicIDPartition{TopicID: t.ID, TopicPartition: kafka.TopicPartition{Topic: t.Name, Partition: p.ID}}, p.Replicas)
		}
	}
}

// finishPartition compares the replicas with what was committed and promised, and each with the first, to the byte, below the
// high watermark: a coordinator may have appended something just now.
func (w *World) finishPartition(tp kafka.TopicIDPartition, replicas []int32) {
	var first []byte
	high := noLimit
	for i, id := range replicas {
		at := w.node(id).process
		r, err := at.replicas.Lookup(tp.TopicPartition)
		if !w.demand(err) {
			return
		}
		l := r.Log()
		delete(w.check.seen, replicaKey{at, l}) // all of it
		w.check.observeReplica(at, tp)
		data, err := sim.ContentOf(l, false)
		if !w.demand(err) {
			return
		}
		if err := checkBatches(data); err != nil {
			w.fail("node %d: %s: %w", id, tp, err)
		}
		if high = min(high, l.HighWatermark()); i == 0 {
			first = data
		} else if err := sameBelow(first, data, high); err != nil {
			w.fail("nodes %d and %d do not have the same of %s: %w", replicas[0], id, tp, err)
		}
		if hasIDs(tp.Topic) {
			w.demand(w.check.history(tp).whole(id, l.LogStartOffset(), data))
		}
	}
}

// sameBelow compares the batches of two replicas up to an offset.
func sameBelow(a, b []byte, high int64) error {
	for high > 0 {
		one, restA, errA := record.Next(a)
		other, restB, errB := record.Next(b)
		switch {
		case errors.Join(errA, errB) != nil:
			return fmt.Errorf("one ends with %w, the other with %w", errA, errB)
		case !bytes.Equal(one, other):
			return fmt.Errorf("one has the offsets %d to %d of epoch %d in %d bytes with CRC %x, the other %d to %d of epoch %d in %d bytes with CRC %x",
				one.BaseOffset(), one.LastOffset(), one.PartitionLeaderEpoch(), len(one), one.CRC(), other.BaseOffset(), other.LastOffset(), other.PartitionLeaderEpoch(), len(other), other.CRC())
		}
		if a, b = restA, restB; one.NextOffset() >= high {
			break
		}
	}
	return nil
}
