package nemesis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// window is a time during which the same faults were there.
type window struct {
	kinds    []string
	from, to time.Duration // of the workload's time
}

// nemesis injects faults into a cluster under a workload until its time is over.
type nemesis struct {
	c       *cluster
	w       *workload
	rng     *rand.Rand
	kinds   []kind
	windows []window
	counts  map[string]int
	active  []*injection
}

func newNemesis(c *cluster, w *workload, seed uint64, kinds []kind) *nemesis {
	return &nemesis{c: c, w: w, rng: rand.New(rand.NewPCG(seed, 0)), kinds: kinds, counts: map[string]int{}}
}

// rampage goes on until the workload is as old as end: some faults for some seconds, healed, others.
func (n *nemesis) rampage(end time.Duration) {
	for n.w.now() < end && !n.c.t.Failed() {
		k := n.kinds[n.rng.IntN(len(n.kinds))]
		if k.slow {
			n.quiet()
		}
		here := window{from: n.w.now()}
		n.inject(&here, k)
		for !k.slow && n.rng.IntN(3) == 0 {
			if more := n.kinds[n.rng.IntN(len(n.kinds))]; !more.slow {
				n.inject(&here, more)
			}
		}
		if k.slow {
			n.pause(time.Second) // what it costs shows before the next
		} else {
			n.pause(3*time.Second + time.Duration(n.rng.IntN(6000))*time.Millisecond)
		}
		here.to = n.w.now()
		n.windows = append(n.windows, here)
		n.heal()
		if n.rng.IntN(2) == 0 {
			n.pause(time.Duration(n.rng.IntN(4000)) * time.Millisecond)
		}
	}
}

func (n *nemesis) inject(here *window, k kind) {
	i, err := k.inject(n.c, n.rng)
	if err != nil {
		n.c.t.Errorf("%s: %v", k.name, err)
	}
	if i == nil {
		return
	}
	n.c.t.Logf("%8.3f s: %s: %s", n.w.now().Seconds(), k.name, i.says)
	n.active, n.counts[k.name] = append(n.active, i), n.counts[k.name]+1
	here.kinds = append(here.kinds, k.name)
}

func (n *nemesis) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-ticker.C:
			for _, dead := range n.c.endedThemselves() {
				dead.kill()
				// A node whose metadata log cannot be written stops, as a failed disk makes it. That takes a moment.
				if time.Since(dead.fullAt) < 15*time.Second {
					n.c.t.Logf("%8.3f s: node %d has stopped, since its disk is full", n.w.now().Seconds(), dead.id)
					continue
				}
				n.c.t.Errorf("%8.3f s: node %d has ended by itself:\n%s", n.w.now().Seconds(), dead.id, tail(dead.Output()))
			}
		}
	}
}

func tail(text string) string { return text[max(0, len(text)-4000):] }

// heal takes all faults back: the network is whole, disks have space, every member runs.
func (n *nemesis) heal() {
	n.c.network.Heal()
	for _, i := range n.active {
		if i.heal != nil {
			if err := i.heal(); err != nil {
				n.c.t.Error(err)
			}
		}
	}
	n.active = nil
	for _, node := range n.c.nodes {
		if node.paused {
			node.paused = false
			if err := node.signal(syscall.SIGCONT); err != nil {
				n.c.t.Error(err)
			}
		}
		if node.down && node.member {
			node.launch()
		}
	}
}

// quiet waits until a cluster without faults is whole, which it must be in time.
func (n *nemesis) quiet() {
	if err := eventually(n.c.t.Context(), convergence, n.c.inSync); err != nil {
		n.c.t.Errorf("%8.3f s: nothing is broken any more, and the cluster is not whole: %v", n.w.now().Seconds(), err)
		for _, node := range n.c.nodes {
			n.c.t.Logf("node %d:\n%s", node.id, tail(node.Output()))
		}
	}
}

// finish heals, waits until the cluster is whole, ends the workload, drains, and compares
// the replicas.
func (n *nemesis) finish() {
	defer n.outputsAreClean()
	n.heal()
	n.quiet()
	n.c.t.Logf("%8.3f s: whole again", n.w.now().Seconds())
	if !n.w.stop(convergence) {
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		n.c.t.Errorf("nothing is broken any more, and clients do not end: a request is never answered, or a record never acknowledged\n%s", stacks.String())
		return
	}
	if err := n.w.drain(n.c.t.Context()); err != nil {
		n.c.t.Errorf("drain: %v", err)
		return
	}
	if err := n.c.replicasAgree(n.c.t.Context()); err != nil {
		n.c.t.Errorf("after the drain: %v", err)
	}
}

// confessions are what a node's output may not contain: that it lost what was committed, and broken invariants.
var confessions = []string{"a leader does not have what was committed", "BUG:", "panic:", "CORRUPT_MESSAGE"}

func (n *nemesis) outputsAreClean() {
	for _, node := range n.c.nodes {
		for line := range strings.Lines(node.Output()) {
			if slices.ContainsFunc(confessions, func(text string) bool { return strings.Contains(line, text) }) {
				n.c.t.Errorf("node %d says: %s", node.id, line)
			}
		}
	}
}

// alone are the windows in which one kind of fault was there and nothing else.
func (n *nemesis) alone(name string) (found []window) {
	for _, w := range n.windows {
		if len(w.kinds) > 0 && !slices.ContainsFunc(w.kinds, func(k string) bool { return k != name }) {
			found = append(found, w)
		}
	}
	return found
}

var errNoKinds = errors.New("no kind of fault has such a name")

// choose returns the kinds whose name contains one of the words given, separated by commas; all for none.
func choose(words string) (chosen []kind, err error) {
	for _, k := range kinds {
		if words == "" || slices.ContainsFunc(strings.Split(words, ","), func(word string) bool { return strings.Contains(k.name, word) }) {
			chosen = append(chosen, k)
		}
	}
	if len(chosen) == 0 {
		err = fmt.Errorf("%w: %s", errNoKinds, words)
	}
	return chosen, err
}
