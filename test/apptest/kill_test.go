package apptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// acknowledged is a record that the broker said it has, and where.
type acknowledged struct {
	partition int32
	offset    int64
	value     string
}

// killLoad is several idempotent producers against one topic.
type killLoad struct {
	topic      string
	partitions int32
	mu         sync.Mutex
	acks       []acknowledged
	sent       int
	failed     error
}

// TestNothingAcknowledgedIsLostByKill kills the broker with SIGKILL again and again while
// idempotent producers write with acks=all, and then checks every acknowledged record:
// present, at its offset, once, in the order in which its producer sent it.
func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	kills, producers := 6, 4
	if full() {
		kills, producers = 60, 8
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MOLDAU_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("MOLDAU_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))

	broker := kafkatest.StartBroker(t)
	load := &killLoad{topic: "survivors", partitions: 3}
	if _, err := kadm.NewClient(broker.Client()).CreateTopic(t.Context(), load.partitions, 1, map[string]*string{
		"segment.bytes": kadm.StringPtr("1048576"), // many rolls, so that kills meet them too
	}, load.topic); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for p := range producers {
		client := broker.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(time.Minute),
			kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
		running.Go(func() { load.produce(ctx, client, p) })
	}
	for range kills {
		before := load.count()
		target := before + 200 + random.IntN(800)
		load.waitFor(t, target)
		broker.Kill()
		broker.Start()
	}
	load.waitFor(t, load.count()+500)
	stop()
	running.Wait()
	if load.failed != nil {
		t.Fatal(load.failed)
	}
	load.verify(t, broker)
	broker.Stop()
	broker.Start() // and what a clean restart shows is the same
	load.verify(t, broker)
}

func (l *killLoad) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acks)
}

func (l *killLoad) waitFor(t *testing.T, acks int) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for l.count() < acks {
		select {
		case <-deadline:
			t.Fatalf("%d of %d acknowledgements within a minute", l.count(), acks)
		case <-poll.C:
		}
	}
}

// produce sends numbered records until ctx ends, a window of them in flight.
func (l *killLoad) produce(ctx context.Context, client *kgo.Client, producer int) {
	window := make(chan struct{}, 64)
	padding := strings.Repeat("x", 300)
	for n := 0; ctx.Err() == nil; n++ {
		window <- struct{}{}
		r := &kgo.Record{Topic: l.topic, Partition: int32(n) % l.partitions, Value: fmt.Appendf(nil, "%d/%d/%s", producer, n, padding)}
		client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil && l.failed == nil {
				l.failed = fmt.Errorf("producer %d: %w", producer, err)
			}
			if err == nil {
				l.acks = append(l.acks, acknowledged{r.Partition, r.Offset, string(r.Value)})
			}
			<-window
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		l.mu.Lock()
		l.failed = err
		l.mu.Unlock()
	}
}

// verify reads the whole topic and holds it against the acknowledgements.
func (l *killLoad) verify(t *testing.T, broker *kafkatest.Broker) {
	t.Helper()
	ends, err := kadm.NewClient(broker.Client()).ListEndOffsets(t.Context(), l.topic)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })

	stored := map[int32]map[int64]string{}
	where := map[string]int64{}
	last := map[string]int{} // producer and partition → last number seen
	client := broker.Client(kgo.ConsumeTopics(l.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for read := int64(0); read < total; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %d of %d records: %v", read, total, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			value := string(r.Value)
			if stored[r.Partition] == nil {
				stored[r.Partition] = map[int64]string{}
			}
			stored[r.Partition][r.Offset] = value
			if at, twice := where[value]; twice {
				t.Errorf("%.20q is stored twice: at %d and %d of partition %d", value, at, r.Offset, r.Partition)
			}
			where[value] = r.Offset
			parts := strings.SplitN(value, "/", 3)
			number, _ := strconv.Atoi(parts[1])
			key := fmt.Sprintf("%s in %d", parts[0], r.Partition)
			if previous, ok := last[key]; ok && number <= previous {
				t.Errorf("producer %s: record %d comes after %d", key, number, previous)
			}
			last[key] = number
		})
	}
	for _, a := range l.acks {
		if got := stored[a.partition][a.offset]; got != a.value {
			t.Errorf("partition %d offset %d: acknowledged %.20q, stored %.20q", a.partition, a.offset, a.value, got)
		}
	}
	t.Logf("%d records acknowledged, %d stored, all in place", len(l.acks), total)
}
