package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// reigns are, by partition or other thing that a broker looks after, who has acknowledged what and when.
type reigns struct {
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	terms   [][]Term
	acks    int
}

func newReigns(count int) *reigns {
	return &reigns{changed: make(chan struct{}), terms: make([][]Term, count)}
}

// Term is a leader's reign as a partition's writer sees it.
type Term struct {
	Broker      int32
	First, Last time.Time // acknowledgements
}

func (c *reigns) note(partition int, broker int32) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks++
	terms := c.terms[partition]
	if len(terms) > 0 && terms[len(terms)-1].Broker == broker {
		terms[len(terms)-1].Last = now
		return
	}
	c.terms[partition] = append(terms, Term{broker, now, now})
	close(c.changed)
	c.changed = make(chan struct{})
}

// Acknowledged is how many records have been acknowledged.
func (c *reigns) Acknowledged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acks
}

// Led returns the partitions whose latest record a broker has acknowledged.
func (c *reigns) Led(broker int32) (partitions []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, terms := range c.terms {
		if len(terms) > 0 && terms[len(terms)-1].Broker == broker {
			partitions = append(partitions, p)
		}
	}
	return partitions
}

// Gap is the longest time, of the partitions, from the last acknowledgement of the leader before the latest one to
// the first of the latest.
func (c *reigns) Gap(partitions []int) (longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range partitions {
		if terms := c.terms[p]; len(terms) > 1 {
			longest = max(longest, terms[len(terms)-1].First.Sub(terms[len(terms)-2].Last))
		}
	}
	return longest
}

// AwaitOther waits until each of the partitions has had a record acknowledged by another broker than the given one,
// and returns when the last of them had its first.
func (c *reigns) AwaitOther(ctx context.Context, partitions []int, broker int32) (time.Time, error) {
	for {
		c.mu.Lock()
		var last time.Time
		missing := 0
		for _, p := range partitions {
			terms := c.terms[p]
			if len(terms) == 0 || terms[len(terms)-1].Broker == broker {
				missing++
			} else if first := terms[len(terms)-1].First; first.After(last) {
				last = first
			}
		}
		changed := c.changed
		c.mu.Unlock()
		if missing == 0 {
			return last, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return last, fmt.Errorf("%d of %d partitions take no record: %w", missing, len(partitions), ctx.Err())
		}
	}
}
