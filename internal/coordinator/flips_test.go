package coordinator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/txn"
)

// flippingBroker is one of the brokers between which the leaderships flip.
type flippingBroker struct {
	groupsFixture
	transactions *Transactions
}

func (b *flippingBroker) elect(epoch int32) {
	b.groups.runtime.Elect(0, epoch)
	b.transactions.runtime.Elect(0, epoch)
}

func (b *flippingBroker) resign() {
	b.groups.runtime.Resign(0)
	b.transactions.runtime.Resign(0)
}

// flips is three brokers over one log, of which one leads at a time.
type flips struct {
	t       *testing.T
	rng     *rand.Rand
	log     *memLog
	brokers [3]*flippingBroker
	leader  atomic.Pointer[flippingBroker]
	epoch   int32
	stopped atomic.Bool
	acked   atomic.Int64 // answers that promise something
	nextID  atomic.Int64
}

func newFlips(t *testing.T, seed uint64) *flips {
	f := &flips{t: t, rng: rand.New(rand.NewPCG(seed, 0)), log: newMemLog()}
	f.log.manual = true
	spawner := env.NewSpawner(t.Context(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	t.Cleanup(spawner.Stop)
	for i := range f.brokers {
		b := &flippingBroker{groupsFixture: groupsFixture{t: t, log: f.log, spawner: spawner}}
		b.groups = NewGroups(GroupsOptions{
			NodeID: int32(i), Log: f.log, Clock: env.SystemClock{}, Random: env.SystemRandom{}, Spawner: spawner,
			Metrics: metrics.NewRegistry(), Config: group.DefaultConfig(),
		})
		b.transactions = NewTransactions(TransactionsOptions{
			NodeID: int32(i), Log: f.log, Clock: env.SystemClock{}, Spawner: spawner, Metrics: metrics.NewRegistry(),
			NextProducerID: func(context.Context) (int64, error) { return f.nextID.Add(1), nil },
			Config: txn.Config{
				MaxTimeoutMs: 900_000, ExpirationMs: 604_800_000, AbortCheckIntervalMs: 10_000, ExpiryIntervalMs: 3_600_000,
				TransactionVersion: func() int16 { return txn.Version2 }, MaxBatchSizeBytes: func() int32 { return 1 << 20 },
			},
		})
		b.groups.partitions.Store(1)
		b.transactions.partitions.Store(1)
		b.groups.Start()
		b.transactions.Start()
		f.brokers[i] = b
	}
	f.leader.Store(f.brokers[0])
	return f
}

// flip has another broker lead, or the same one in another epoch. It may lack what was not committed, and may read
// slowly; the former leader may hear of it late.
func (f *flips) flip() {
	f.epoch++
	f.release()
	former, next := f.leader.Load(), f.brokers[f.rng.IntN(len(f.brokers))]
	lost := f.rng.IntN(2) == 0
	f.log.lose(f.epoch)
	f.log.set(func() {
		if lost {
			f.log.truncate()
		}
		if f.rng.IntN(3) == 0 {
			f.log.reading = make(chan struct{})
		}
	})
	if former != next && f.rng.IntN(2) == 0 {
		former.resign()
	}
	next.elect(f.epoch)
	f.leader.Store(next)
}

// release lets slow reads go on.
func (f *flips) release() {
	f.log.set(func() {
		if f.log.reading != nil {
			close(f.log.reading)
			f.log.reading = nil
		}
	})
}

// truncate cuts off what is not committed.
func (l *memLog) truncate() {
	for _, p := range l.partitions {
		kept := 0
		p.endOffset = 0
		for data := p.data; len(data) > 0; {
			b, rest, err := record.Next(data)
			if err != nil || b.BaseOffset() >= p.committed {
				break
			}
			kept, p.endOffset = kept+len(b), b.NextOffset()
			data = rest
		}
		p.data = p.data[:kept:kept]
	}
}

func pause() { <-time.After(3 * time.Millisecond) }

// commitOffsets commits growing offsets. What was acknowledged, or read, may not be lost.
func (f *flips) commitOffsets(groupID string) {
	tried, known := int64(0), int64(-1) // a group that never committed is answered -1
	for !f.stopped.Load() {
		tried++
		if f.leader.Load().commit(groupID, tried) == kafka.ErrNone {
			known = tried
			f.acked.Add(1)
		}
		if offset, err := strconv.ParseInt(f.leader.Load().fetch(groupID), 10, 64); err == nil {
			if offset < known || offset > tried {
				f.t.Errorf("offset %d of %s, which was %d before; %d was the last to be committed", offset, groupID, known, tried)
				return
			}
			known = max(known, offset)
		}
		pause()
	}
}

// initProducers asks for the producer id again and again: each answer fences all before.
func (f *flips) initProducers(id string) {
	last := txn.NoProducer
	for !f.stopped.Load() {
		result, err := f.leader.Load().transactions.InitProducerID(f.t.Context(), txn.InitRequest{TransactionalID: id, TimeoutMs: 900_000})
		if p := result.Producer; err == nil && result.Code == kafka.ErrNone {
			if last != txn.NoProducer && (p.ID != last.ID || p.Epoch <= last.Epoch) {
				f.t.Errorf("%s got %+v after %+v", id, p, last)
				return
			}
			last = p
			f.acked.Add(1)
		}
		pause()
	}
}

// enlist adds partitions to one transaction; none that was added may be missing later.
func (f *flips) enlist(id string) {
	var r txn.AddRequest
	for !f.stopped.Load() {
		result, err := f.leader.Load().transactions.InitProducerID(f.t.Context(), txn.InitRequest{TransactionalID: id, TimeoutMs: 900_000})
		if err == nil && result.Code == kafka.ErrNone {
			r = txn.AddRequest{TransactionalID: id, Producer: result.Producer, Version: txn.Version2}
			break
		}
		pause()
	}
	var added []kafka.TopicPartition
	for partition := int32(0); !f.stopped.Load(); partition++ {
		r.Partitions = []kafka.TopicPartition{{Topic: "t", Partition: partition}}
		if code, err := f.leader.Load().transactions.AddPartitions(f.t.Context(), r); err == nil && code == kafka.ErrNone {
			added = append(added, r.Partitions[0])
			f.acked.Add(1)
		}
		r.Partitions = added
		codes, _ := f.leader.Load().transactions.VerifyPartitions(f.t.Context(), r)
		for i, code := range codes {
			switch code {
			case kafka.ErrNone, kafka.ErrNotCoordinator, kafka.ErrCoordinatorNotAvailable, kafka.ErrCoordinatorLoadInProgress:
			default:
				f.t.Errorf("%v was added to the transaction of %s, and is answered %v", added[i], id, code)
				return
			}
		}
		pause()
	}
}

// TestLeadershipFlips has leaderships flip every few milliseconds, in the middle of loads and with what is not committed lost.
func TestLeadershipFlips(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		f := newFlips(t, seed)
		f.flip()
		var writers sync.WaitGroup
		for i := range 3 {
			writers.Go(func() { f.commitOffsets(fmt.Sprint("g", i)) })
			writers.Go(func() { f.initProducers(fmt.Sprint("p", i)) })
		}
		writers.Go(func() { f.enlist("e") })
		const steps = 700
		for range steps {
			switch f.rng.IntN(6) {
			case 0:
				f.flip()
			case 1:
				f.release()
			default:
				f.log.commit()
			}
			<-time.After(time.Duration(f.rng.IntN(8)) * time.Millisecond)
		}
		// The last leader is in peace: everything goes on.
		f.release()
		before := f.acked.Load()
		for range 100 {
			f.log.commit()
			pause()
		}
		if after := f.acked.Load(); before < 100 || after == before {
			t.Errorf("%d answers while leaderships flipped, %d after that", before, after-before)
		}
		f.stopped.Store(true)
		for range 100 {
			f.log.commit()
			pause()
		}
		writers.Wait()
		t.Logf("%d epochs, %d answers", f.epoch, f.acked.Load())
	})
}
