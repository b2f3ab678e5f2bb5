package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/sim"
)

const dataDir = "/data"

// Node is a machine: a disk, a clock, and a process while it is up.
type Node struct {
	w       *World
	id      int32
	mem     *vfs.Mem // between processes
	process *process // nil while the node is down
	clock   *nodeClock
	// pausedMs is until when the process is stopped (SIGSTOP), hungMs until when its disk does not answer.
	pausedMs int64
	hungMs   int64
	// slowMs is at most how long a disk operation takes, 0 for no time.
	slowMs int64
	boots  int  // of the machine
	off    bool // it stays off for now
}

// bootID names the last start of the machine.
func (n *Node) bootID() string { return fmt.Sprintf("boot-%d", n.boots) }

// nodeClock is the wall clock of a node, which may be set.
type nodeClock struct {
	w       *World
	aheadMs int64
}

// Now implements env.Clock.
func (c *nodeClock) Now() time.Time { return time.UnixMilli(c.w.nowMs + c.aheadMs) }

func (c *nodeClock) nowMs() int64 { return c.w.nowMs + c.aheadMs }

func newNode(w *World, id int32) *Node {
	n := &Node{w: w, id: id, mem: vfs.NewMem(), clock: &nodeClock{w: w}}
	// The folder itself is there for good: the operator made it.
	if err := errors.Join(n.mem.MkdirAll(dataDir), n.mem.SyncDir("/")); err != nil {
		panic(fmt.Sprintf("BUG: an empty disk refuses a folder: %v", err))
	}
	return n
}

// directoryID is known before the first start, so that all can form the quorum at once.
func (n *Node) directoryID() kafka.UUID {
	return kafka.NewUUID(fixedRandom(n.id))
}

// spec is the node as one that votes.
func (n *Node) spec() quorum.VoterSpec {
	return quorum.VoterSpec{NodeID: n.id, DirectoryID: n.directoryID(), Listeners: []quorum.VoterListener{{Name: "CONTROLLER", Host: fmt.Sprintf("n%d", n.id), Port: 9093}}}
}

// start starts a process on what the disk holds. It may be killed while it starts.
func (n *Node) start() {
	w := n.w
	if n.process != nil || n.off || w.err != nil {
		return
	}
	w.count["starts"]++
	disk := sim.NewDisk(n.mem, w.random)
	if !w.healing && w.plan.kills > 0 && w.oneIn(12) {
		disk.DieIn = w.between(1, 60)
	}
	n.pausedMs, n.hungMs = 0, 0
	p := newProcess(n, disk)
	n.process = p
	err := p.start()
	w.note("node %d starts: %d disk changes, %v", n.id, disk.Changes, err)
	switch {
	case disk.Dead, err != nil && disk.Failed:
		n.crash(false)
	case err != nil:
		w.fail("node %d does not start: %w", n.id, err)
	}
}

// crash ends the process and has another start on what is left of the disk. Power loss takes what is not synced.
func (n *Node) crash(power bool) {
	w, p := n.w, n.process
	loses := power || w.options.lie == losesOnKill && !w.healing
	if p != nil {
		w.note("the process of node %d ends, power lost: %v", n.id, power)
		n.end(p)
	}
	if loses {
		n.mem = n.mem.CrashClone(env.NewSeededRandom(w.random.Uint64()))
	}
	if power {
		n.boots++
		w.count["power losses"]++
	} else {
		w.count["kills"]++
	}
}

// end takes the process away from everybody, and has another one start some time later.
func (n *Node) end(p *process) {
	w := n.w
	w.check.processEnds(p)
	if w.isUnsafe() && p.leavesDoubt() {
		if !w.mayLose(n) {
			w.exceed()
		}
		w.budget.suspects[n.id] = true
	}
	p.disk.Dead = true
	n.process = nil
	n.mem = p.disk.Mem.KillClone()
	w.network.processEnded(p)
	w.after(w.between(5, 900), n.start)
}

// leavesDoubt reports whether the next process cannot show that nothing is lost, whether that is so or not: this one may be registered and has not
// noted that yet.
func (p *process) leavesDoubt() bool { return !p.noted && p.life != nil && p.life.core != nil }

// pause stops the process for a while, as SIGSTOP does.
func (n *Node) pause(ms int64) {
	w := n.w
	n.pausedMs = max(n.pausedMs, w.nowMs+ms)
	if p := n.process; p != nil {
		w.after(n.pausedMs-w.nowMs, p.resume)
	}
}

// hang has the disk not answer for a while.
func (n *Node) hang(ms int64) {
	n.hungMs = max(n.hungMs, n.w.nowMs+ms)
}
