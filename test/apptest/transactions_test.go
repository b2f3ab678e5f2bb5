package apptest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafkatest"
)

// TestExactlyOnceSurvivesKills copies records from one topic to another in transactions, with the
// offsets of the group, while the broker is killed with SIGKILL again and again. A reader of
// committed records must find every input exactly once.
func TestExactlyOnceSurvivesKills(t *testing.T) {
	records, kills := 2000, 4
	if full() {
		records, kills = 20_000, 40
	}
	broker := kafkatest.StartBroker(t)
	if _, err := kadm.NewClient(broker.Client()).CreateTopics(t.Context(), 3, 1, nil, "input", "output"); err != nil {
		t.Fatal(err)
	}
	input := make([]*kgo.Record, records)
	for i := range input {
		input[i] = &kgo.Record{Topic: "input", Partition: int32(i % 3), Value: []byte(strconv.Itoa(i))}
	}
	producer := broker.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := producer.ProduceSync(t.Context(), input...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	copied, stop := make(chan error, 1), make(chan struct{})
	go func() { copied <- copyInTransactions(ctx, broker, stop) }()

	seen := map[string]int{}
	reader := broker.Client(kgo.ConsumeTopics("output"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	total := 0
	for nextKill := records / (kills + 1); total < records; {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records after four minutes", total, records)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen[string(r.Value)]++
			total++
		})
		if kills > 0 && total >= nextKill {
			broker.Kill()
			broker.Start()
			kills--
			nextKill = total + (records-total)/(kills+1)
		}
	}
	close(stop)
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if n := seen[strconv.Itoa(i)]; n != 1 {
			t.Errorf("record %d was copied %d times", i, n)
		}
	}
	if len(seen) != records {
		t.Errorf("%d different records, want %d", len(seen), records)
	}
}

// copyInTransactions copies until stop is closed. A session that the kills have broken is replaced.
func copyInTransactions(ctx context.Context, broker *kafkatest.Broker, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := copySession(ctx, broker, stop); ctx.Err() != nil {
			return fmt.Errorf("%w; last: %w", ctx.Err(), err)
		}
	}
}

func copySession(ctx context.Context, broker *kafkatest.Broker, stop <-chan struct{}) error {
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(broker.Addr()), kgo.TransactionalID("copier"), kgo.TransactionTimeout(30*time.Second),
		kgo.ConsumerGroup("copiers"), kgo.ConsumeTopics("input"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.RequireStableFetchOffsets(), kgo.FetchMaxPartitionBytes(2000), kgo.RetryTimeout(20*time.Second),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		pollCtx, cancel := context.WithTimeout(ctx, time.Second)
		fetches := session.PollRecords(pollCtx, 40)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := session.Begin(); err != nil {
			return err
		}
		failed := kgo.AbortingFirstErrPromise(session.Client())
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(ctx, &kgo.Record{Topic: "output", Value: r.Value}, failed.Promise())
		})
		commit := failed.Err() == nil
		if _, err := session.End(ctx, kgo.TransactionEndTry(commit)); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
}
