package sim

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage"
)

// Node is a machine: a disk, and a process while it is up.
type Node struct {
	w       *World
	id      int32
	mem     *vfs.Mem // between processes
	process *process // nil while the node is down
	// ending is how the last process ended, and what it left.
	ending Ending
	last   map[kafka.TopicIDPartition]leftBehind
	// owed are the endings after which a partition could not be looked at.
	owed        map[kafka.TopicIDPartition]Ending
	powerLosses int
}

// leftBehind is what a process knew of a log when it ended.
type leftBehind struct {
	flushed       int64
	highWatermark int64
}

func newNode(w *World, id int32) *Node {
	n := &Node{w: w, id: id, mem: vfs.NewMem(), ending: Killed, owed: map[kafka.TopicIDPartition]Ending{}}
	// The folder itself is there for good: the operator made it.
	if err := errors.Join(n.mem.MkdirAll(dataDir), n.mem.SyncDir("/")); err != nil {
		panic(fmt.Sprintf("BUG: an empty disk refuses a folder: %v", err))
	}
	return n
}

// start starts a process on what the disk holds. A start may be killed, too.
func (n *Node) start() {
	w := n.w
	if n.process != nil || w.err != nil {
		return
	}
	w.stats.Starts++
	if w.options.lying {
		n.ending, n.powerLosses = Killed, 0
	}
	disk := NewDisk(n.mem, w.random)
	switch {
	case !w.healing && w.budget.Kills > 0 && w.OneIn(5):
		w.budget.Kills--
		w.stats.Kills++
		disk.DieIn = w.Between(1, 60)
	case !w.healing && w.budget.DiskErrors > 0 && w.OneIn(8):
		w.budget.DiskErrors--
		w.stats.DiskErrors++
		disk.FailIn, disk.FailFor = w.Between(1, 60), w.Between(1, 3)
	}
	p := newProcess(n, disk)
	n.process = p
	err := p.start()
	w.Note("start %d: %d disk changes, %v", w.stats.Starts, disk.Changes, err)
	switch {
	case disk.Dead, err != nil && disk.Failed:
		n.crash(Killed)
	case err != nil:
		w.Fail("node %d does not start: %w", n.id, err)
	case !p.failing:
		p.audit(n.ending)
		n.ending = StillRunning
	}
}

// crash ends the process and has another start on what is left of the disk.
func (n *Node) crash(ending Ending) {
	w, p := n.w, n.process
	if p == nil {
		if ending == PowerLost {
			// What the killed process had written and not flushed was still in the page cache.
			n.powerLost()
			n.ending, n.mem = PowerLost, n.mem.CrashClone(w.random)
		}
		return
	}
	n.leave(p)
	// Power loss before a start was over counts, although the process that was lost to it has
	// told nothing about what it flushed.
	n.ending = max(n.ending, ending)
	if ending == PowerLost {
		n.powerLost()
		n.mem = p.disk.Mem.CrashClone(w.random)
	} else {
		n.mem = p.disk.Mem.KillClone()
	}
	w.Note("the process of node %d ends (%d)", n.id, ending)
	w.After(w.Between(10, 800), n.start)
}

// powerLost notes that what was not flushed may be gone.
func (n *Node) powerLost() {
	n.powerLosses++
	n.w.copiesVoid = n.w.copiesVoid || !n.w.flushed
}

// leave takes the process away from everybody.
func (n *Node) leave(p *process) {
	w := n.w
	p.disk.Dead = true
	n.process = nil
	if n.last == nil || n.ending == StillRunning {
		n.last = map[kafka.TopicIDPartition]leftBehind{}
	}
	if p.storage != nil {
		for _, l := range p.storage.Logs() {
			tp := kafka.TopicIDPartition{TopicID: l.TopicID(), TopicPartition: l.TopicPartition()}
			before := n.last[tp]
			n.last[tp] = leftBehind{max(before.flushed, l.FlushedOffset()), max(before.highWatermark, l.HighWatermark())}
		}
	}
	w.answers.ProcessEnded()
	for _, c := range w.conns {
		c.broken()
	}
}

// shutdown stops the process cleanly. Whatever it has written is durable then, so the power
// may even be cut.
func (n *Node) shutdown() error {
	p, w := n.process, n.w
	if p == nil {
		return nil
	}
	err := p.stop()
	w.Note("shutdown: %v", err)
	if p.disk.Dead || p.disk.Failed || err != nil {
		if err != nil && !p.disk.Dead && !p.disk.Failed {
			return fmt.Errorf("node %d does not stop: %w", n.id, err)
		}
		n.crash(Killed)
		return nil
	}
	n.leave(p)
	n.ending = Killed
	n.mem = p.disk.Mem.CrashClone(w.random)
	w.After(w.Between(10, 800), n.start)
	return nil
}

// fault is called when the process cannot go on.
func (p *process) fault(err error) {
	w := p.node.w
	if p.disk.Dead || p.failing {
		return
	}
	p.failing = true
	w.Note("fault: %v", err)
	if !p.disk.Failed {
		w.Fail("node %d cannot go on, although its disk has not failed: %w", p.node.id, err)
		return
	}
	// The broker ends itself at once if the metadata log has failed; where a log dir is offline
	// its operator restarts it some time later.
	w.After(w.Between(0, 2000), func() {
		if p.node.process == p {
			p.node.crash(Killed)
		}
	})
}

// touch ends the process if the last disk operations have met the planned kill, and reports
// whether it still lives.
func (p *process) touch() bool {
	if p.disk.Dead && p.node.process == p {
		p.node.crash(Killed)
	}
	return p.node.process == p
}

func topicIDPartition(l *storage.Log) kafka.TopicIDPartition {
	return kafka.TopicIDPartition{TopicID: l.TopicID(), TopicPartition: l.TopicPartition()}
}
