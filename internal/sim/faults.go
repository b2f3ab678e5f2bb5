package sim

import (
	"time"

	"github.com/moldau/moldau/internal/kafka"
)

// groups are the consumer groups of the workload.
var groups = []string{"billing", "shipping"}

// addClients starts the workload, once.
func (w *World) addClients() {
	if len(w.producers) > 0 {
		return
	}
	for range 4 {
		w.addProducer(true, -1)
	}
	for acks := range int16(3) {
		w.addProducer(false, acks-1)
	}
	for _, topic := range permanentTopics {
		for partition := range int32(ordersPartitions) {
			w.addReader(kafka.TopicPartition{Topic: topic, Partition: partition})
		}
	}
	for _, name := range groups {
		w.members.Start(name)
	}
	w.copies.Start()
	w.addTableWriter()
}

// planFaults spreads the budget over the time of faults.
func (w *World) planFaults() {
	every := w.options.Faults.Milliseconds() / int64(w.budget.total()+1)
	if every == 0 {
		return
	}
	var next func()
	next = func() {
		if !w.healing {
			w.injectFault()
			w.After(w.Between(1, 2*every), next)
		}
	}
	w.After(w.Between(1, 2*every), next)
}

// injectFault takes one fault out of the budget.
func (w *World) injectFault() {
	total := w.budget.total()
	n := w.nodes[0]
	if total == 0 {
		return
	}
	pick := w.random.IntN(total)
	for _, fault := range []struct {
		left *int
		run  func(n *Node)
	}{
		{&w.budget.Kills, w.kill}, {&w.budget.PowerLosses, w.cutPower}, {&w.budget.DiskErrors, w.failDisk},
		{&w.budget.Resets, w.resetConnection}, {&w.budget.ClockJumps, w.jumpClock}, {&w.budget.Shutdowns, w.shutDown},
	} {
		if pick -= *fault.left; pick < 0 {
			*fault.left--
			fault.run(n)
			return
		}
	}
}

// kill kills the process: now, or in the middle of a disk operation that is to come.
func (w *World) kill(n *Node) {
	w.stats.Kills++
	switch {
	case n.process == nil:
	case w.OneIn(4):
		w.Note("kill")
		n.crash(Killed)
	default:
		n.process.disk.DieIn = w.Between(1, 120)
		w.Note("kill in %d disk changes", n.process.disk.DieIn)
	}
}

func (w *World) cutPower(n *Node) {
	w.stats.PowerLosses++
	w.Note("power loss")
	n.crash(PowerLost)
}

func (w *World) failDisk(n *Node) {
	w.stats.DiskErrors++
	if n.process != nil {
		n.process.disk.FailIn, n.process.disk.FailFor = w.Between(1, 60), w.Between(1, 3)
		if w.OneIn(3) {
			n.process.disk.FailFor = w.Between(4, 40) // a disk that is full for a while
		}
		w.Note("disk error in %d disk changes", n.process.disk.FailIn)
	}
}

func (w *World) resetConnection(*Node) {
	w.stats.Resets++
	if all := w.conns; len(all) > 0 {
		c := all[w.random.IntN(len(all))]
		w.Note("%s loses its connection with %d in flight", c.name, c.inFlight)
		c.reset()
	}
}

func (w *World) jumpClock(*Node) {
	w.stats.ClockJumps++
	jump := time.Duration(w.Between(1000, maxClockJump.Milliseconds())) * time.Millisecond
	w.Note("the clock jumps by %s", jump)
	w.faultsEndMs += jump.Milliseconds()
	w.answers.ClockJumped(jump.Milliseconds())
	w.advanceTo(w.nowMs + jump.Milliseconds())
}

func (w *World) shutDown(n *Node) {
	w.stats.Shutdowns++
	w.Check(n.shutdown())
}

// planChecks has maintenance and checkers run all the time.
func (w *World) planChecks() {
	repeat := func(lowMs, highMs int64, run func(p *process)) {
		var next func()
		next = func() {
			if p := w.nodes[0].process; p != nil && p.serving && !p.failing {
				run(p)
				p.touch()
			}
			w.After(w.Between(lowMs, highMs), next)
		}
		w.After(w.Between(lowMs, highMs), next)
	}
	maintain := func(name string, lowMs, highMs int64, run func(p *process) error) {
		repeat(lowMs, highMs, func(p *process) {
			if err := run(p); err != nil {
				w.Note("%s: %v", name, err)
				if !p.disk.Dead && !p.disk.Failed {
					w.Fail("%s: %w", name, err)
				}
			}
		})
	}
	maintain("flush", 100, 1500, func(p *process) error { return p.storage.FlushDir(0, p.nowMs()) })
	maintain("high watermarks", 500, 5000, func(p *process) error { return p.storage.CheckpointHighWatermarks() })
	maintain("log start offsets", 500, 5000, func(p *process) error { return p.storage.CheckpointLogStartOffsets() })
	maintain("remove deleted", 500, 3000, func(p *process) error { return p.storage.RemoveDeleted(p.nowMs()) })
	maintain("retention", 500, 6000, func(p *process) error {
		n, err := p.storage.CleanupRetention(p.nowMs())
		w.stats.Segments += n
		if n > 0 {
			w.Note("retention removes %d segments", n)
		}
		return err
	})
	maintain("compaction", 300, 2500, (*process).compact)
	maintain("expire producers", 5000, 20000, func(p *process) error {
		p.storage.ExpireProducers(p.nowMs())
		return nil
	})
	maintain("snapshot", 1000, 6000, func(p *process) error {
		err := p.metadata.takeSnapshot()
		if err != nil && p.touch() {
			p.metadata.fail(err)
		}
		return err
	})
	repeat(200, 1000, (*process).observe)
	repeat(3000, 8000, func(p *process) {
		w.Check(w.answers.Overdue(w.nowMs, answerLimit.Milliseconds()))
		p.audit(StillRunning)
		p.reopen()
	})
}

// answerLimit is longer than anything that the group protocol waits for: a member that never
// completed a join may wait five minutes.
const answerLimit = 6 * time.Minute

// heal ends the faults.
func (w *World) heal() {
	w.Note("heal")
	w.healing = true
	n := w.nodes[0]
	if n.process != nil && (n.process.disk.Failed || n.process.failing) {
		n.crash(Killed) // a disk that has failed is not used again without a restart
	}
	if n.process != nil {
		n.process.disk.Heal()
	}
	var look func()
	look = func() {
		w.quiet = w.unfinished() == ""
		w.After(50, look)
	}
	look()
}

// unfinished tells what is still to be done, "" if nothing is.
func (w *World) unfinished() string {
	p := w.nodes[0].process
	if p == nil || !p.serving {
		return "the node is down"
	}
	if len(w.producers) == 0 {
		return "the clients have not started"
	}
	for _, c := range w.producers {
		if !c.isDone() {
			return c.conn.name + " has batches to send"
		}
	}
	for _, r := range w.readers {
		replica, err := p.replicas.Lookup(r.tp)
		if err != nil || r.position < replica.Log().LogEndOffset() {
			return r.conn.name + " has not reached the end of " + r.tp.String()
		}
	}
	for _, name := range groups {
		if why := w.members.Unsettled(name); why != "" {
			return why
		}
	}
	return w.copies.Unfinished()
}

// ledAt is the only node, while it serves.
func (w *World) ledAt(kafka.TopicPartition) *Coordinators {
	if p := w.nodes[0].process; p != nil && p.serving {
		return p.coordinators
	}
	return nil
}

// finish is what must hold in the end, once more after a clean shutdown and power loss.
func (w *World) finish() {
	if why := w.unfinished(); why != "" {
		w.Fail("liveness: %s after %s without faults", why, livenessLimit)
		return
	}
	n := w.nodes[0]
	w.copies.Finish()
	n.process.audit(StillRunning)
	n.process.reopen()
	before := w.stats.Starts
	w.Check(n.shutdown())
	limitMs := w.nowMs + 10_000
	w.runUntil(func() bool { return n.process != nil && n.process.serving || w.nowMs > limitMs })
	if w.err == nil && (w.stats.Starts != before+1 || n.process == nil) {
		w.Fail("liveness: the node does not start after a clean shutdown")
	}
}
