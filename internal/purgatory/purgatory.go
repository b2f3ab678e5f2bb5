package purgatory

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
)

// Purgatory bounds and counts the operations of one kind.
type Purgatory struct {
	limit   int64
	count   atomic.Int64
	size    *metrics.Gauge
	expired *metrics.Counter
	refused *metrics.Counter
}

// New returns a purgatory for at most limit operations of the given kind, which is the label
// of its metrics.
func New(kind string, limit int, registry *metrics.Registry) *Purgatory {
	return &Purgatory{
		limit:   int64(limit),
		size:    registry.Gauge("moldau_purgatory_size", "Operations that wait for a partition.", "operation", kind),
		expired: registry.Counter("moldau_purgatory_expired_total", "Operations whose time was over before they completed.", "operation", kind),
		refused: registry.Counter("moldau_purgatory_refused_total", "Operations that found no room to wait.", "operation", kind),
	}
}

// Operation waits on one or more lists. Make one with NewOperation; it is used once.
type Operation struct {
	// check is called for each notification of a list, with what was notified, and reports
	// whether the operation is complete. It runs under the list's lock: it must be quick and
	// must not touch a List. It may run on several goroutines at once.
	check func(n int64) bool
	// onComplete runs once on the notifying goroutine when the operation completed, without
	// locks; it does not run when the operation was given up. May be nil.
	onComplete func()

	state     atomic.Int32
	left      atomic.Bool // has given its place in the purgatory back
	done      chan struct{}
	purgatory *Purgatory
	nodes     []node
}

const (
	stateWaiting   = 0
	stateCompleted = 1
	stateGivenUp   = 2
)

// NewOperation returns an operation that is not watched yet.
func NewOperation(check func(n int64) bool, onComplete func()) *Operation {
	return &Operation{check: check, onComplete: onComplete, done: make(chan struct{})}
}

// node is an operation's place in one list.
type node struct {
	op         *Operation
	list       *List
	prev, next *node
}

// List is the operations that wait for one partition. The zero value is empty.
type List struct {
	count atomic.Int32 // lets Notify of a list nobody watches take no lock
	mu    sync.Mutex
	head  *node
}

// Watch puts op on the lists. What happened before is not noticed, so the caller tests its
// condition once more after Watch, and calls op.Complete if it holds. The error says that
// there is no room; op is not on any list then.
func (p *Purgatory) Watch(op *Operation, lists []*List) error {
	if n := p.count.Add(1); n > p.limit {
		p.count.Add(-1)
		p.refused.Inc()
		return kafka.Errorf(kafka.ErrRequestTimedOut, "%d operations wait already", n-1)
	}
	p.size.Add(1)
	op.purgatory = p
	op.nodes = make([]node, len(lists))
	for i, l := range lists { // all of them before the first is on a list and op may complete
		op.nodes[i] = node{op: op, list: l}
	}
	for i, l := range lists {
		l.add(&op.nodes[i])
	}
	if op.state.Load() != stateWaiting { // completed while it was being added
		op.unlink()
	}
	return nil
}

func (l *List) add(n *node) {
	l.mu.Lock()
	n.next = l.head
	if n.next != nil {
		n.next.prev = n
	}
	l.head = n
	l.count.Add(1)
	l.mu.Unlock()
}

func (l *List) remove(n *node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case n.prev != nil:
		n.prev.next = n.next
	case l.head == n:
		l.head = n.next
	default:
		return // removed before
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	n.prev, n.next = nil, nil
	l.count.Add(-1)
}

// Notify tells the list's operations that n of what they wait for was added, and completes
// those whose check agrees.
func (l *List) Notify(n int64) {
	if l.count.Load() == 0 {
		return
	}
	var completed []*Operation
	l.mu.Lock()
	for at := l.head; at != nil; at = at.next {
		if at.op.check(n) && at.op.state.CompareAndSwap(stateWaiting, stateCompleted) {
			completed = append(completed, at.op)
		}
	}
	l.mu.Unlock()
	for _, op := range completed {
		op.finish()
	}
}

// CompleteAll completes every operation of the list whatever its check says, because what
// they wait for will not come: the partition is gone or led elsewhere.
func (l *List) CompleteAll() {
	var completed []*Operation
	l.mu.Lock()
	for at := l.head; at != nil; at = at.next {
		if at.op.state.CompareAndSwap(stateWaiting, stateCompleted) {
			completed = append(completed, at.op)
		}
	}
	l.mu.Unlock()
	for _, op := range completed {
		op.finish()
	}
}

// Len is the number of operations on the list.
func (l *List) Len() int { return int(l.count.Load()) }

// Complete completes op unless it is complete or given up already, and reports whether it did.
func (op *Operation) Complete() bool {
	if !op.state.CompareAndSwap(stateWaiting, stateCompleted) {
		return false
	}
	op.finish()
	return true
}

// GiveUp takes op off its lists unless it has completed, and reports whether it did.
func (op *Operation) GiveUp() bool {
	if !op.state.CompareAndSwap(stateWaiting, stateGivenUp) {
		return false
	}
	op.unlink()
	return true
}

func (op *Operation) finish() {
	op.unlink()
	if op.onComplete != nil {
		op.onComplete()
	}
	close(op.done)
}

func (op *Operation) unlink() {
	for i := range op.nodes {
		op.nodes[i].list.remove(&op.nodes[i])
	}
	op.leave()
}

// leave gives the place in the purgatory back, once.
func (op *Operation) leave() {
	if p := op.purgatory; p != nil && op.left.CompareAndSwap(false, true) {
		p.count.Add(-1)
		p.size.Add(-1)
	}
}

// Outcome says how a wait ended.
type Outcome int

const (
	Completed Outcome = iota
	Expired
	Canceled
)

// Wait blocks until op completes, timeout is over or ctx ends; in the latter cases op is
// given up, unless it completed meanwhile.
func (op *Operation) Wait(ctx context.Context, timeout time.Duration) Outcome {
	defer env.StartWait(ctx).End()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	outcome := Completed
	select {
	case <-op.done:
		return Completed
	case <-timer.C:
		outcome = Expired
	case <-ctx.Done():
		outcome = Canceled
	}
	if !op.GiveUp() {
		return Completed
	}
	if outcome == Expired && op.purgatory != nil {
		op.purgatory.expired.Inc()
	}
	return outcome
}
