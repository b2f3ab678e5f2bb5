package sim

import (
	"container/heap"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
)

// Budget bounds the faults of one run.
type Budget struct {
	Kills       int // kill -9 at any disk operation, also during a start
	PowerLosses int
	DiskErrors  int // one or some failing calls
	Resets      int // connections that break with requests and answers under way
	ClockJumps  int // of at most maxClockJump
	Shutdowns   int // clean ones
}

// DefaultBudget is what Run takes where Options has none.
var DefaultBudget = Budget{Kills: 8, PowerLosses: 4, DiskErrors: 3, Resets: 25, ClockJumps: 3, Shutdowns: 2}

func (b Budget) total() int {
	return b.Kills + b.PowerLosses + b.DiskErrors + b.Resets + b.ClockJumps + b.Shutdowns
}

// maxClockJump is far less than what expires producers and committed offsets: that would
// excuse duplicates and lost commits.
const maxClockJump = 20 * time.Minute

// Options say what to simulate.
type Options struct {
	Seed   uint64
	Budget *Budget
	// Faults is for how long faults happen, in virtual time.
	Faults time.Duration
	// lying breaks the world on purpose, for tests of the checkers: power is lost, and the
	// checkers are told that it was a kill.
	lying bool
	// careless has the readers of copies ignore which transactions were aborted.
	careless bool
}

// Result says how a run went.
type Result struct {
	TraceHash uint64
	Trace     []string // the last events
	Statistics
}

// Statistics count what happened, to show that a run did what it should.
type Statistics struct {
	Events, Starts, Kills, PowerLosses, DiskErrors, Resets, ClockJumps, Shutdowns    int
	GroupCommits, PromisedRecords                                                    int
	AckedRecords, ReadRecords, LostRecords, Duplicates, ProducerResets, Diverged     int
	TopicsCreated, TopicsDeleted, Rebalances, Commits, Reopened, Snapshots, Segments int
	Transactions, Copies, TableWrites, Compactions                                   int
}

const (
	startMs       = int64(1_700_000_000_000)
	livenessLimit = 10 * time.Minute
	keptTrace     = 80
)

// World is the one owner of everything: time, events, nodes, clients and checkers.
type World struct {
	options  Options
	budget   Budget
	random   *rand.Rand
	clock    *env.ManualClock
	nowMs    int64
	events   eventQueue
	sequence uint64
	calls    uint64
	// faultsEndMs is when healing begins: faults are over and nothing new is asked for.
	faultsEndMs int64
	healing     bool
	quiet       bool // everybody has got what they wanted
	err         error

	nodes     []*Node
	producers []*producer
	readers   []*reader
	conns     []*connection // all clients'
	members   *Members
	copies    *Copies
	// flushed says that everything of the transactional workload is flushed before it is
	// acknowledged: power loss takes nothing of it. Where it is not, power loss makes the copies
	// void: markers and decisions may be gone, as with Apache Kafka.
	flushed     bool
	copiesVoid  bool
	table       *TableHistory
	tableWriter *tableWriter
	admin       *admin

	logs     map[kafka.TopicIDPartition]*LogHistory
	levels   *Levels
	answers  *Answers
	metadata *MetadataHistory
	owners   *OwnershipHistory
	commits  *CommitHistory

	hash  hash.Hash64
	trace []string
	stats Statistics
}

type event struct {
	atMs     int64
	sequence uint64 // events of the same time happen in the order of their planning
	run      func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].atMs < q[j].atMs || q[i].atMs == q[j].atMs && q[i].sequence < q[j].sequence
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is heap.Interface's.
func (q *eventQueue) Push(x any) { *q = append(*q, x.(event)) }

// Pop is heap.Interface's.
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

// Run simulates one seed. The error is the first thing that must not happen.
func Run(o Options) (Result, error) {
	w := newWorld(o)
	w.begin()
	w.faultsEndMs = startMs + o.Faults.Milliseconds()
	w.runUntil(func() bool { return w.nowMs >= w.faultsEndMs })
	if w.err == nil {
		w.heal()
		limitMs := w.nowMs + livenessLimit.Milliseconds()
		w.runUntil(func() bool { return w.nowMs >= limitMs || w.quiet })
	}
	if w.err == nil {
		w.finish()
	}
	w.stats.Rebalances, w.stats.Commits, w.stats.Transactions, w.stats.Copies = w.members.Rebalances, w.members.Committed, w.copies.Ended, w.copies.Read
	return Result{TraceHash: w.hash.Sum64(), Trace: w.trace, Statistics: w.stats}, w.err
}

func newWorld(o Options) *World {
	w := &World{
		options: o, budget: DefaultBudget, random: rand.New(rand.NewPCG(o.Seed, 0x6d6f6c646175)),
		clock: env.NewManualClock(time.UnixMilli(startMs)), nowMs: startMs,
		logs: map[kafka.TopicIDPartition]*LogHistory{}, levels: NewLevels(), answers: NewAnswers(),
		metadata: NewMetadataHistory(), owners: NewOwnershipHistory(), commits: NewCommitHistory(), table: NewTableHistory(),
		hash: fnv.New64a(),
	}
	if o.Budget != nil {
		w.budget = *o.Budget
	}
	return w
}

// begin makes the node, the clients and the plan of faults.
func (w *World) begin() {
	w.flushed = !w.OneIn(3)
	w.members = NewMembers(MembersOptions{Loop: w, NewLine: func(name string) Line { return w.newLine(name, false) }, Partitions: ordersPartitions,
		TopicID: func() kafka.UUID { return w.admin.facts[GroupTopic].id }, Owners: w.owners, Commits: w.commits})
	w.copies = NewCopies(CopiesOptions{Loop: w, NewLine: func(name string) Line { return w.newLine(name, true) }, Levels: w.levels, LedAt: w.ledAt,
		IsVoid: func() bool { return w.copiesVoid }, TakeAborted: w.options.careless, Produce: func(tp kafka.TopicPartition) {
			w.addProducer(true, -1)
			w.producers[len(w.producers)-1].pin(tp)
		}})
	n := newNode(w, 1)
	w.nodes = append(w.nodes, n)
	w.addAdmin()
	n.start()
	w.planFaults()
	w.planChecks()
}

// runUntil runs events in the order of their time until done says so or a checker objects.
func (w *World) runUntil(done func() bool) {
	for w.err == nil && len(w.events) > 0 && !done() {
		e := heap.Pop(&w.events).(event)
		w.advanceTo(e.atMs)
		w.stats.Events++
		e.run()
	}
}

// advanceTo moves the time; what a jump of the clock has made late happens at once.
func (w *World) advanceTo(ms int64) {
	if ms > w.nowMs {
		w.clock.Advance(time.Duration(ms-w.nowMs) * time.Millisecond)
		w.nowMs = ms
	}
}

// NowMs implements Loop.
func (w *World) NowMs() int64 { return w.nowMs }

// IsHealing implements Loop.
func (w *World) IsHealing() bool { return w.healing }

// After implements Loop.
func (w *World) After(delayMs int64, f func()) {
	w.sequence++
	heap.Push(&w.events, event{w.nowMs + delayMs, w.sequence, f})
}

// Between implements Loop.
func (w *World) Between(low, high int64) int64 { return low + w.random.Int64N(high-low+1) }

// OneIn implements Loop.
func (w *World) OneIn(n int) bool { return w.random.IntN(n) == 0 }

// Note implements Loop.
func (w *World) Note(format string, args ...any) {
	line := fmt.Sprintf("%8d ", w.nowMs-startMs) + fmt.Sprintf(format, args...)
	_, _ = w.hash.Write([]byte(line)) // never fails
	if len(w.trace) >= 2*keptTrace {
		w.trace = append(w.trace[:0], w.trace[keptTrace:]...)
	}
	w.trace = append(w.trace, line)
}

// Check implements Loop.
func (w *World) Check(err error) bool {
	if err != nil && w.err == nil {
		w.err = err
		w.Note("VIOLATION: %v", err)
	}
	return err == nil
}

// Fail implements Loop.
func (w *World) Fail(format string, args ...any) { w.Check(fmt.Errorf(format, args...)) }

// history returns the checker of a partition.
func (w *World) history(tp kafka.TopicIDPartition) *LogHistory {
	h := w.logs[tp]
	if h == nil {
		h = NewLogHistory(tp.String(), func(producer int) bool { return w.producers[producer].idempotent })
		w.logs[tp] = h
	}
	return h
}
