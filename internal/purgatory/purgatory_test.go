package purgatory

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
)

// atLeast returns a check that holds once need was notified in total.
func atLeast(need int64) func(int64) bool {
	var left atomic.Int64
	left.Store(need)
	return func(n int64) bool { return left.Add(-n) <= 0 }
}

func TestNotifyCompletesWhatIsSatisfied(t *testing.T) {
	t.Parallel()
	registry := metrics.NewRegistry()
	p := New("fetch", 10, registry)
	var a, b List
	completed := 0
	small, large := NewOperation(atLeast(10), func() { completed++ }), NewOperation(atLeast(100), func() { completed++ })
	for _, op := range []*Operation{small, large} {
		if err := p.Watch(op, []*List{&a, &b}); err != nil {
			t.Fatal(err)
		}
	}
	a.Notify(5)
	if completed != 0 || a.Len() != 2 || b.Len() != 2 {
		t.Fatalf("%d completed, %d and %d waiting", completed, a.Len(), b.Len())
	}
	b.Notify(5)
	if completed != 1 || a.Len() != 1 || b.Len() != 1 || p.size.Value() != 1 {
		t.Fatalf("%d completed, %d and %d waiting, gauge %d", completed, a.Len(), b.Len(), p.size.Value())
	}
	if small.Complete() || small.GiveUp() {
		t.Error("a complete operation was completed again")
	}
	a.CompleteAll()
	if completed != 2 || a.Len() != 0 || b.Len() != 0 || p.size.Value() != 0 {
		t.Fatalf("%d completed, %d and %d waiting, gauge %d", completed, a.Len(), b.Len(), p.size.Value())
	}
}

func TestGiveUpLeavesEveryList(t *testing.T) {
	t.Parallel()
	p := New("fetch", 10, metrics.NewRegistry())
	var lists [3]List
	var ops []*Operation
	for range 3 {
		op := NewOperation(atLeast(1), func() { t.Error("completed after it was given up") })
		ops = append(ops, op)
		if err := p.Watch(op, []*List{&lists[0], &lists[1], &lists[2]}); err != nil {
			t.Fatal(err)
		}
	}
	for i, op := range []*Operation{ops[1], ops[0], ops[2]} { // middle, last, only
		if !op.GiveUp() || op.GiveUp() {
			t.Error("an operation is given up once")
		}
		for l := range lists {
			if got := lists[l].Len(); got != 2-i {
				t.Errorf("list %d has %d operations after %d gave up", l, got, i+1)
			}
		}
	}
	lists[0].Notify(5)
}

func TestLimit(t *testing.T) {
	t.Parallel()
	p := New("fetch", 2, metrics.NewRegistry())
	var l List
	var last *Operation
	for range 2 {
		last = NewOperation(atLeast(1), nil)
		if err := p.Watch(last, []*List{&l}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Watch(NewOperation(atLeast(1), nil), []*List{&l}); kafka.CodeOf(err) != kafka.ErrRequestTimedOut || p.refused.Value() != 1 {
		t.Fatalf("got %v, %d refused", err, p.refused.Value())
	}
	last.GiveUp()
	if err := p.Watch(NewOperation(atLeast(1), nil), []*List{&l}); err != nil {
		t.Fatal(err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := New("fetch", 10, metrics.NewRegistry())
		var l List
		watch := func() *Operation {
			op := NewOperation(atLeast(1), nil)
			if err := p.Watch(op, []*List{&l}); err != nil {
				t.Fatal(err)
			}
			return op
		}
		start := time.Now()
		if got := watch().Wait(t.Context(), time.Minute); got != Expired || time.Since(start) != time.Minute || p.expired.Value() != 1 {
			t.Errorf("outcome %v after %v", got, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := watch().Wait(ctx, time.Hour); got != Canceled {
			t.Errorf("outcome %v", got)
		}
		op := watch()
		time.AfterFunc(time.Second, func() { l.Notify(1) })
		start = time.Now()
		if got := op.Wait(t.Context(), time.Hour); got != Completed || time.Since(start) != time.Second {
			t.Errorf("outcome %v after %v", got, time.Since(start))
		}
		if l.Len() != 0 || p.size.Value() != 0 {
			t.Errorf("%d still wait", l.Len())
		}
	})
}

// TestExactlyOnce lets notifiers, waiters that give up and watchers race.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	p := New("fetch", 1<<20, metrics.NewRegistry())
	var lists [4]List
	all := []*List{&lists[0], &lists[1], &lists[2], &lists[3]}
	const operations = 200
	var completed, givenUp atomic.Int64
	stop := make(chan struct{})
	var notifiers, waiters sync.WaitGroup
	for i := range lists {
		notifiers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					lists[i].Notify(1)
					runtime.Gosched()
				}
			}
		})
	}
	for w := range 4 {
		waiters.Go(func() {
			for i := range operations {
				var own atomic.Int32
				op := NewOperation(atLeast(int64(1+i%3)), func() { own.Add(1); completed.Add(1) })
				if err := p.Watch(op, all[w%2:]); err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 && op.GiveUp() {
					givenUp.Add(1)
					continue
				}
				<-op.done
				if own.Load() != 1 {
					t.Errorf("completed %d times", own.Load())
				}
			}
		})
	}
	waiters.Wait()
	close(stop)
	notifiers.Wait()
	if got := completed.Load() + givenUp.Load(); got != 4*operations {
		t.Errorf("%d operations ended, want %d", got, 4*operations)
	}
	if p.size.Value() != 0 || p.count.Load() != 0 {
		t.Errorf("%d are still counted", p.count.Load())
	}
	for i := range lists {
		if lists[i].Len() != 0 || lists[i].head != nil {
			t.Errorf("list %d still has %d", i, lists[i].Len())
		}
	}
}
