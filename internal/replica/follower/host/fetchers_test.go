package host

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica/follower"
	"github.com/moldau/moldau/internal/storage"
)

// brokers are the leaders that a test dials. Each holds a fetch back as long as it is asked to, but
// does not answer at all while it hangs.
type brokers struct {
	mu       sync.Mutex
	dials    map[int32]int
	open     int
	requests map[int32][]*kmsg.FetchRequest
	refusing map[int32]bool
	hanging  map[int32]bool
}

func (b *brokers) dial(_ context.Context, id int32) (Connection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials[id]++
	if b.refusing[id] {
		return Connection{}, errors.New("refused")
	}
	b.open++
	return Connection{
		Call: func(ctx context.Context, r kmsg.Request) (kmsg.Response, error) {
			return b.fetch(ctx, id, r.(*kmsg.FetchRequest))
		},
		Close: func() {
			b.mu.Lock()
			b.open--
			b.mu.Unlock()
		},
	}, nil
}

func (b *brokers) fetch(ctx context.Context, id int32, r *kmsg.FetchRequest) (kmsg.Response, error) {
	b.mu.Lock()
	b.requests[id] = append(b.requests[id], r)
	hangs := b.hanging[id]
	b.mu.Unlock()
	wait := time.Duration(r.MaxWaitMillis) * time.Millisecond
	if hangs {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	response := kmsg.NewPtrFetchResponse()
	response.SessionID = 1
	return response, nil
}

func (b *brokers) set(flags map[int32]bool, id int32, to bool) {
	b.mu.Lock()
	flags[id] = to
	b.mu.Unlock()
}

func (b *brokers) count(id int32) (dials, requests, open int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dials[id], len(b.requests[id]), b.open
}

type harness struct {
	*Fetchers
	*brokers
	partitions []*partition.Partition
	log        *bytes.Buffer
}

func newHarness(t *testing.T, partitions int) *harness {
	t.Helper()
	spawner := env.NewSpawner(t.Context(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	t.Cleanup(spawner.Stop)
	h := &harness{brokers: &brokers{dials: map[int32]int{}, requests: map[int32][]*kmsg.FetchRequest{}, refusing: map[int32]bool{}, hanging: map[int32]bool{}}, log: new(bytes.Buffer)}
	h.Fetchers = New(Options{Logger: slog.New(slog.NewTextHandler(h.log, nil)), NodeID: 1, Dial: h.dial, BrokerEpoch: func() int64 { return 5 }, Timeout: 30 * time.Second, Clock: env.SystemClock{}, Spawner: spawner, Metrics: metrics.NewRegistry(),
		Limits: follower.Limits{MaxWaitMs: 500, MinBytes: 1, MaxBytes: 1 << 20, PartitionMaxBytes: 1 << 20, BackoffMs: 1000}})
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	nowMs := time.Now().UnixMilli()
	m, err := storage.OpenManager(storage.Options{FS: fs, Dirs: []string{"/data"}, Defaults: storage.DefaultLogConfig(), Metrics: metrics.NewRegistry(),
		Random: env.NewSeededRandom(1), Clock: env.SystemClock{}, ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err == nil {
		err = m.Load(storage.LoadOptions{NowMs: nowMs})
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range partitions {
		tp := kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t", Partition: int32(i)}}
		log, err := m.GetOrCreate(tp, storage.DefaultLogConfig(), nowMs)
		if err != nil {
			t.Fatal(err)
		}
		h.partitions = append(h.partitions, partition.New(tp.TopicID, 1, log, partition.ReplicationOptions{}, nil))
	}
	return h
}

func (h *harness) follow(t *testing.T, i int, leader, epoch int32) {
	t.Helper()
	a := partition.Assignment{Leader: leader, LeaderEpoch: epoch, PartitionEpoch: epoch, Replicas: []int32{1, 2, 3}, MinInSyncReplicas: 1}
	if err := h.partitions[i].Apply(a, time.Now().UnixMilli()); err != nil {
		t.Fatal(err)
	}
	h.Follow(h.partitions[i], leader, epoch)
}

// after lets time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (h *harness) want(t *testing.T, when string, id int32, dials, requests, open int) {
	t.Helper()
	if d, r, o := h.count(id); d != dials || r != requests || o != open {
		t.Errorf("%s: %d connections to broker %d, %d requests, %d connections open; want %d, %d, %d", when, d, id, r, o, dials, requests, open)
	}
}

func TestOneConnectionPerSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 3)
		for i := range 3 {
			h.follow(t, i, 2, 1)
		}
		after(time.Millisecond)
		h.want(t, "at first", 2, 1, 1, 1)
		after(1100 * time.Millisecond) // 500 ms each
		h.want(t, "after a second", 2, 1, 3, 1)
		h.follow(t, 0, 3, 2)
		after(time.Millisecond)
		h.want(t, "a new leader is asked at once", 3, 1, 1, 2)
		h.Unfollow(h.partitions[0])
		after(time.Millisecond)
		h.want(t, "without a partition", 3, 1, 1, 1)
		h.Stop()
		after(time.Millisecond)
		h.want(t, "stopped", 2, 1, 3, 0)
		if n := len(h.sources); n != 0 {
			t.Errorf("%d goroutines are left", n)
		}
		h.follow(t, 0, 3, 3)
		after(time.Second)
		h.want(t, "stopped", 3, 1, 1, 0)
	})
}

// TestDeadSourceIsLeftAtOnce has a broker that does not answer: its partitions are led elsewhere before the time is over,
// and come back to it.
func TestDeadSourceIsLeftAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 2)
		h.set(h.hanging, 2, true)
		h.follow(t, 0, 2, 1)
		h.follow(t, 1, 2, 1)
		after(time.Second)
		h.follow(t, 0, 3, 2)
		h.follow(t, 1, 3, 2)
		after(time.Millisecond)
		h.want(t, "left", 2, 1, 1, 1)
		h.want(t, "went", 3, 1, 1, 1)
		h.set(h.hanging, 2, false)
		h.follow(t, 1, 2, 3)
		after(time.Millisecond)
		h.want(t, "came back", 2, 2, 2, 2)
		if h.log.Len() > 0 {
			t.Errorf("the operator reads %q of a broker that was left", h.log)
		}
		h.set(h.hanging, 3, true)
		after(100 * time.Second) // it does not answer in time
		if d, _, _ := h.count(3); d < 4 {
			t.Errorf("%d connections to a broker that hangs", d)
		}
		h.set(h.hanging, 3, false)
		after(40 * time.Second)
		if lines := strings.Split(strings.TrimSpace(h.log.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "cannot fetch") || !strings.Contains(lines[1], "fetched from again") {
			t.Errorf("the operator reads %q", lines)
		}
	})
}

func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 1)
		h.set(h.refusing, 2, true)
		h.follow(t, 0, 2, 1)
		after(100 * time.Millisecond) // at 0, 2, 6, 14, 30, 62 ms
		h.want(t, "soon", 2, 6, 0, 0)
		after(9900 * time.Millisecond)
		if d, _, _ := h.count(2); d < 15 || d > 25 {
			t.Errorf("%d tries in 10 s", d)
		}
		h.set(h.refusing, 2, false)
		after(time.Second)
		if _, r, o := h.count(2); r == 0 || o != 1 {
			t.Errorf("%d requests, %d connections", r, o)
		}
	})
}

// TestChangesFromManyGoroutines moves partitions to and fro: in the end each is fetched from where it belongs, by one goroutine.
func TestChangesFromManyGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, 8)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for epoch := range int32(50) {
					h.follow(t, i, 2+(epoch+int32(i))%3, epoch)
					if epoch%7 == 1 {
						h.Unfollow(h.partitions[i])
					}
					<-time.After(time.Duration(epoch%4) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		after(3 * time.Second)
		if len(h.of) != 8 {
			t.Errorf("%d partitions are followed", len(h.of))
		}
		count := 0
		for id, s := range h.sources {
			count += s.count
			if len(s.changes) != 0 {
				t.Errorf("broker %d has not heard of %d changes", id, len(s.changes))
			}
		}
		if count != 8 || len(h.sources) > 3 {
			t.Errorf("%d partitions at %d brokers", count, len(h.sources))
		}
		_, _, open := h.count(2)
		if open != len(h.sources) {
			t.Errorf("%d connections, %d goroutines", open, len(h.sources))
		}
	})
}
