package cluster

import (
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/sim"
)

// Options say what to simulate.
type Options struct {
	Seed uint64
	// Unclean has a topic led by whoever is there if need be, in sync or not (unclean.leader.election.enable).
	Unclean bool
	// Trace gets every event, if it is not nil.
	Trace func(line string)
	// lie breaks the world on purpose, for tests of the checkers.
	lie lie
}

// lie is what a world does wrong, and the checkers are not told.
type lie int

const (
	honest lie = iota
	// losesOnKill has what is called a kill lose what was not synced, on any node.
	losesOnKill
	// acksEarly has leaders acknowledge before the high watermark covers the records.
	acksEarly
	// readsAborted has consumers of committed data take aborted records, too.
	readsAborted
)

// Result says how a run went.
type Result struct {
	Hash  uint64
	Trace []string // the last events
	Count map[string]int
}

const (
	startMs       = int64(1_700_000_000_000)
	livenessLimit = int64(180_000)
	keptTrace     = 150
	groupName     = "billing"
)

// World is the one owner of everything.
type World struct {
	options  Options
	plan     plan
	random   *rand.Rand
	nowMs    int64
	events   eventQueue
	sequence uint64
	// faultsEndMs is when healing begins: faults are over and nothing new is asked for.
	faultsEndMs int64
	healing     bool
	err         error

	network   network
	nodes     []*Node
	admin     *admin
	producers []*producer
	readers   []*reader
	members   *sim.Members
	copies    *sim.Copies
	budget    budget
	latest    *metadata.Image // the newest that any process has had
	quiet     bool
	check     *checks

	hash  hash.Hash64
	trace []string
	count map[string]int
}

// Run simulates one seed. The error is the first thing that must not happen.
func Run(o Options) (Result, error) {
	w := newWorld(o)
	w.begin()
	w.runUntil(func() bool { return w.nowMs >= w.faultsEndMs })
	if w.err == nil {
		w.heal()
		limitMs := w.nowMs + livenessLimit
		w.runUntil(func() bool { return w.nowMs >= limitMs || w.isQuiet() })
	}
	if w.err == nil {
		w.finish()
	}
	w.count["rebalances"], w.count["commits"] = w.members.Rebalances, w.members.Committed
	w.count["transactions"], w.count["copies"] = w.copies.Ended, w.copies.Read
	return Result{Hash: w.hash.Sum64(), Trace: w.trace, Count: w.count}, w.err
}

func newWorld(o Options) *World {
	w := &World{options: o, random: rand.New(rand.NewPCG(o.Seed, 0x636c7573746572)), nowMs: startMs, hash: fnv.New64a(), count: map[string]int{}, latest: metadata.EmptyImage()}
	w.network.w = w
	w.network.cut = map[[2]int32]bool{}
	w.check = newChecks(w)
	w.plan = w.drawPlan()
	w.addWorkloads()
	w.faultsEndMs = startMs + w.plan.faultsMs
	return w
}

// addWorkloads makes what the plan may start.
func (w *World) addWorkloads() {
	w.members = sim.NewMembers(sim.MembersOptions{Loop: w, NewLine: func(name string) sim.Line { return w.newLine(name, true) }, Partitions: w.plan.topics[0].partitions,
		TopicID: func() kafka.UUID { return w.latest.TopicByName(sim.GroupTopic).ID }, Owners: w.check.owners, Commits: w.check.commits})
	w.copies = sim.NewCopies(sim.CopiesOptions{Loop: w, NewLine: func(name string) sim.Line { return w.newLine(name, false) }, Levels: w.check.levels, LedAt: w.ledAt,
		Produce: func(tp kafka.TopicPartition) { w.addProducer(true, -1, tp) }, IsVoid: func() bool { return w.budget.isExceeded }, TakeAborted: w.options.lie == readsAborted})
}

// runUntil runs events in the order of their time until done says so or a checker objects.
func (w *World) runUntil(done func() bool) {
	for w.err == nil && len(w.events) > 0 && !done() {
		e := w.events.pop()
		w.nowMs = max(w.nowMs, e.atMs)
		w.count["events"]++
		e.run()
	}
}

// after plans f.
func (w *World) after(delayMs int64, f func()) {
	w.sequence++
	w.events.push(event{w.nowMs + delayMs, w.sequence, f})
}

// every runs f again and again, with pauses between low and high.
func (w *World) every(low, high int64, f func()) {
	var next func()
	next = func() {
		f()
		w.after(w.between(low, high), next)
	}
	w.after(w.between(low, high), next)
}

// NowMs implements sim.Loop, as do the following.
func (w *World) NowMs() int64 { return w.nowMs }

// After plans f.
func (w *World) After(delayMs int64, f func()) { w.after(delayMs, f) }

// Between draws from low to high, both included.
func (w *World) Between(low, high int64) int64 { return w.between(low, high) }

// OneIn is true once in n times.
func (w *World) OneIn(n int) bool { return w.oneIn(n) }

// Note adds an event to the trace.
func (w *World) Note(format string, args ...any) { w.note(format, args...) }

// Check ends the run if a checker objects to what holds within the fault budget.
func (w *World) Check(err error) bool { return w.budget.isExceeded || w.demand(err) }

// Fail ends the run.
func (w *World) Fail(format string, args ...any) { w.fail(format, args...) }

// IsHealing says that the faults are over.
func (w *World) IsHealing() bool { return w.healing }

// between draws from low to high, both included.
func (w *World) between(low, high int64) int64 { return low + w.random.Int64N(high-low+1) }

// oneIn is true once in n times.
func (w *World) oneIn(n int) bool { return w.random.IntN(n) == 0 }

// note adds an event to the trace.
func (w *World) note(format string, args ...any) {
	line := fmt.Sprintf("%8d ", w.nowMs-startMs) + fmt.Sprintf(format, args...)
	_, _ = w.hash.Write([]byte(line)) // never fails
	if w.options.Trace != nil {
		w.options.Trace(line)
	}
	if len(w.trace) >= 2*keptTrace {
		w.trace = append(w.trace[:0], w.trace[keptTrace:]...)
	}
	w.trace = append(w.trace, line)
}

// demand ends the run if a checker objects.
func (w *World) demand(err error) bool {
	if err != nil && w.err == nil {
		w.err = err
		w.note("VIOLATION: %v", err)
	}
	return err == nil
}

func (w *World) fail(format string, args ...any) { w.demand(fmt.Errorf(format, args...)) }

// node returns the node of an id.
func (w *World) node(id int32) *Node { return w.nodes[id-1] }

// up returns the processes that serve, by node id.
func (w *World) up() (all []*process) {
	for _, n := range w.nodes {
		if n.process != nil && n.process.serving {
			all = append(all, n.process)
		}
	}
	return all
}
