//go:build unix

package programs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Client is a client of the broker for the test's own questions.
func Client(t *testing.T, bootstrap string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.FetchMaxWait(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// Values reads the values of a topic's committed records, partition by partition, up to the last stable offset.
func Values(t *testing.T, bootstrap, topic string) ([]string, error) {
	t.Helper()
	records, err := Records(t, bootstrap, topic)
	var values []string
	for _, r := range records {
		values = append(values, string(r.Value))
	}
	return values, err
}

// Records reads a topic's committed records, partition by partition, up to the last stable offset.
func Records(t *testing.T, bootstrap, topic string) ([]*kgo.Record, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	admin, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...))
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	ends, err := kadm.NewClient(admin).ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := ends.Error(); err != nil {
		return nil, err
	}
	var all []*kgo.Record
	for _, end := range ends.Offsets().Sorted() {
		records, err := upTo(ctx, bootstrap, end)
		if err != nil {
			return nil, fmt.Errorf("%s-%d: %w", topic, end.Partition, err)
		}
		all = append(all, records...)
	}
	return all, nil
}

func upTo(ctx context.Context, bootstrap string, end kadm.Offset) ([]*kgo.Record, error) {
	if end.At == 0 {
		return nil, nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{end.Topic: {end.Partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var records []*kgo.Record
	for next := int64(0); next < end.At; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("at %d of %d: %w", next, end.At, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() && r.Offset < end.At {
				records = append(records, r)
			}
		})
	}
	return records, nil
}
