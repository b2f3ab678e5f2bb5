package partition

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestRefusalIsTold: what waited only for a replica that the controller does not let in is committed, and whoever waits for it hears so.
func TestRefusalIsTold(t *testing.T) {
	t.Parallel()
	p, mayJoin := threeReplicas(t)
	*mayJoin = true
	change, _ := p.NoteFetch(fetchedBy(3, 1))
	*mayJoin = false
	p.NoteFetch(fetchedBy(2, 3))
	told := new(atomic.Int64)
	p.advanced = func(bytes int64) { told.Add(bytes) }
	p.Refused(change)
	wantHighWatermark(t, p, 3, "after the refusal")
	if told.Load() == 0 {
		t.Error("nobody is told of it")
	}
}

// TestFetchIsTold: a producer that has a look may move the high watermark as far as a fetch lets it, before the fetch does. Consumers that wait hear of it.
func TestFetchIsTold(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	told := new(atomic.Int64)
	p.advanced = func(bytes int64) { told.Add(bytes) }
	for end := int64(4); end < 50_000; end++ {
		if _, err := appendTo(t, p, -1, 4, "a"); err != nil {
			t.Fatal(err)
		}
		told.Store(0)
		var looks sync.WaitGroup
		looks.Go(func() {
			for done := false; !done; {
				done, _ = p.CommitState(4, end)
			}
		})
		p.NoteFetch(fetchedBy(2, end))
		looks.Wait()
		if told.Load() == 0 {
			t.Fatalf("nobody is told that the high watermark is %d", end)
		}
	}
}
