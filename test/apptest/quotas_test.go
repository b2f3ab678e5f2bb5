package apptest

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafkatest"
)

const (
	quotaBytesPerSecond = 1 << 20
	quotaRecordBytes    = 50 << 10
)

// TestQuotaOfAClient has an unmodified client produce and consume as fast as its limits let it, after
// a restart, which they must survive.
func TestQuotaOfAClient(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartBroker(t, "quota.window.num=3", "num.partitions=1")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	admin := b.Client(kgo.ClientID("admin"))
	if _, err := kadm.NewClient(admin).CreateTopic(ctx, 1, 1, nil, "limited"); err != nil {
		t.Fatal(err)
	}
	setQuota(ctx, t, admin, "loader", "producer_byte_rate", quotaBytesPerSecond)
	setQuota(ctx, t, admin, "reader", "consumer_byte_rate", quotaBytesPerSecond)
	seconds := 6 // not when old samples have just left the short window, and another may begin
	if full() {
		seconds = 30
	}
	b.Stop()
	b.Start()
	requireRate(t, "produced", produceFor(ctx, t, b, time.Duration(seconds)*time.Second), seconds, 0.1)
	requireRate(t, "consumed", consumeFor(ctx, t, b, time.Duration(seconds)*time.Second), seconds, 0.25)
}

func setQuota(ctx context.Context, t *testing.T, client *kgo.Client, clientID, key string, value float64) {
	t.Helper()
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	entry.Entity = []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: &clientID}}
	entry.Ops = []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value}}
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Entries = append(req.Entries, entry)
	resp, err := req.RequestWith(ctx, client)
	if err != nil || resp.Entries[0].ErrorCode != 0 {
		t.Fatalf("%v %+v", err, resp)
	}
}

// requireRate checks what went through. A client may begin with all but the last sample of a
// window at once, and has to make up for it then.
func requireRate(t *testing.T, what string, bytes, seconds int, tolerance float64) {
	t.Helper()
	perSecond := float64(bytes) / float64(seconds)
	t.Logf("%s: %.0f bytes per second", what, perSecond)
	if math.Abs(perSecond/quotaBytesPerSecond-1) > tolerance {
		t.Errorf("%s %.0f bytes per second, the limit is %d", what, perSecond, quotaBytesPerSecond)
	}
}

// produceFor returns how many bytes were acknowledged in a time.
func produceFor(ctx context.Context, t *testing.T, b *kafkatest.Broker, d time.Duration) int {
	t.Helper()
	client := b.Client(kgo.ClientID("loader"), kgo.DefaultProduceTopic("limited"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer client.Close()
	value := []byte(strings.Repeat("x", quotaRecordBytes))
	sent := 0
	for end := time.Now().Add(d); time.Now().Before(end); sent += quotaRecordBytes {
		if err := client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return sent
}

// consumeFor returns how many bytes were read in a time.
func consumeFor(ctx context.Context, t *testing.T, b *kafkatest.Broker, d time.Duration) int {
	t.Helper()
	client := b.Client(kgo.ClientID("reader"), kgo.ConsumeTopics("limited"), kgo.FetchMaxPartitionBytes(200<<10))
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	read := 0
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { read += len(r.Value) })
	}
	return read
}
