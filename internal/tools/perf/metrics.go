package perf

import (
	"context"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
)

// batchHeaderBytes is what a batch has besides its records.
const batchHeaderBytes = 61

// meter counts what a client does, for --print-metrics: those metrics of Kafka's Java clients that have a
// meaning for this one, under their names. Rates are over the whole run, not over a window.
type meter struct {
	startedAt time.Time

	mu                     sync.Mutex
	connected, closed      float64
	bytesIn, responses     float64
	requestSize            series
	calls                  map[int16]*call // by the key of the API
	throttle               series
	batchSize, compression series
	sentRecords, sentBytes map[string]float64 // by topic
	written                chan struct{}      // sent to when a batch has been counted
}

// call is what requests of one kind took and brought.
type call struct{ latencyMs, responseBytes series }

// series are numbers of which the sum, the mean and the greatest are wanted.
type series struct{ count, sum, greatest float64 }

func (s *series) add(value float64) {
	if s.count++; s.count == 1 || value > s.greatest {
		s.greatest = value
	}
	s.sum += value
}

// mean and max are NaN without numbers, as Kafka's.
func (s series) mean() float64 { return s.sum / s.count }

func (s series) max() float64 {
	if s.count == 0 {
		return math.NaN()
	}
	return s.greatest
}

func newMeter(now time.Time) *meter {
	return &meter{startedAt: now, calls: map[int16]*call{}, sentRecords: map[string]float64{}, sentBytes: map[string]float64{}, written: make(chan struct{}, 1)}
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (m *meter) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.connected++
	}
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (m *meter) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed++
}

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (m *meter) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requestSize.add(float64(e2e.BytesWritten))
	if e2e.Err() != nil {
		return
	}
	m.responses++
	m.bytesIn += float64(e2e.BytesRead)
	c := m.of(key)
	c.latencyMs.add(float64(e2e.DurationE2E()) / float64(time.Millisecond))
	c.responseBytes.add(float64(e2e.BytesRead))
}

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (m *meter) OnBrokerThrottle(_ kgo.BrokerMetadata, interval time.Duration, _ bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.throttle.add(float64(interval.Milliseconds()))
}

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (m *meter) OnProduceBatchWritten(_ kgo.BrokerMetadata, topic string, _ int32, batch kgo.ProduceBatchMetrics) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := float64(batch.CompressedBytes + batchHeaderBytes)
	m.batchSize.add(size)
	m.compression.add(size / float64(batch.UncompressedBytes+batchHeaderBytes))
	m.sentRecords[topic] += float64(batch.NumRecords)
	m.sentBytes[topic] += size
	select {
	case m.written <- struct{}{}:
	default:
	}
}

// await waits until so many records have been counted: the client tells of batches after it has told of their records. It gives up with the
// context, as where a broker already had a batch, which the client does not count.
func (m *meter) await(ctx context.Context, records int64) {
	for m.sent() < float64(records) {
		select {
		case <-m.written:
		case <-ctx.Done():
			return
		}
	}
}

func (m *meter) sent() (records float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, count := range m.sentRecords {
		records += count
	}
	return records
}

func (m *meter) of(key int16) *call {
	if m.calls[key] == nil {
		m.calls[key] = &call{}
	}
	return m.calls[key]
}

// table is metrics by their full names: group:name:{tags}.
type table map[string]float64

func (t table) put(group, tags string, metrics map[string]float64) {
	for name, value := range metrics {
		t[group+":"+name+":{"+tags+"}"] = value
	}
}

func (m *meter) producerTable(clientID string, now time.Time) table {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, tags, seconds := table{}, "client-id="+clientID, now.Sub(m.startedAt).Seconds()
	produce, records := m.of(kmsg.Produce.Int16()), 0.0
	for topic, count := range m.sentRecords {
		records += count
		t.put("producer-topic-metrics", tags+", topic="+topic, map[string]float64{
			"record-send-total": count, "record-send-rate": count / seconds, "byte-total": m.sentBytes[topic], "byte-rate": m.sentBytes[topic] / seconds,
		})
	}
	t.put("producer-metrics", tags, map[string]float64{
		"batch-size-avg": m.batchSize.mean(), "batch-size-max": m.batchSize.max(), "compression-rate-avg": m.compression.mean(),
		"record-send-total": records, "record-send-rate": records / seconds, "records-per-request-avg": records / produce.latencyMs.count,
		"request-latency-avg": produce.latencyMs.mean(), "request-latency-max": produce.latencyMs.max(),
		"produce-throttle-time-avg": m.throttle.mean(), "produce-throttle-time-max": m.throttle.max(),
	})
	t.put("producer-metrics", tags, m.network(seconds))
	return t
}

// consumerTable is given what the tool has read.
func (m *meter) consumerTable(clientID string, read consumed, now time.Time) table {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, tags, seconds := table{}, "client-id="+clientID, now.Sub(m.startedAt).Seconds()
	fetch, records, bytes := m.of(kmsg.Fetch.Int16()), float64(read.records), float64(read.bytes)
	t.put("consumer-fetch-manager-metrics", tags, map[string]float64{
		"fetch-total": fetch.latencyMs.count, "fetch-rate": fetch.latencyMs.count / seconds, "fetch-latency-avg": fetch.latencyMs.mean(), "fetch-latency-max": fetch.latencyMs.max(),
		"fetch-size-avg": fetch.responseBytes.mean(), "fetch-size-max": fetch.responseBytes.max(), "fetch-throttle-time-avg": m.throttle.mean(), "fetch-throttle-time-max": m.throttle.max(),
		"records-consumed-total": records, "records-consumed-rate": records / seconds, "records-per-request-avg": records / fetch.latencyMs.count,
		"bytes-consumed-total": bytes, "bytes-consumed-rate": bytes / seconds,
	})
	commit, heartbeat, join, sync := m.of(kmsg.OffsetCommit.Int16()).latencyMs, m.of(kmsg.Heartbeat.Int16()).latencyMs, m.of(kmsg.JoinGroup.Int16()).latencyMs, m.of(kmsg.SyncGroup.Int16()).latencyMs
	t.put("consumer-coordinator-metrics", tags, map[string]float64{
		"commit-total": commit.count, "commit-latency-avg": commit.mean(), "commit-latency-max": commit.max(), "heartbeat-total": heartbeat.count, "heartbeat-response-time-max": heartbeat.max(),
		"join-total": join.count, "join-time-avg": join.mean(), "join-time-max": join.max(), "sync-total": sync.count, "sync-time-avg": sync.mean(), "sync-time-max": sync.max(),
	})
	t.put("consumer-metrics", tags, m.network(seconds))
	return t
}

// network are the metrics that both kinds of clients have.
func (m *meter) network(seconds float64) map[string]float64 {
	return map[string]float64{
		"connection-count": m.connected - m.closed, "connection-creation-total": m.connected, "connection-close-total": m.closed,
		"request-total": m.requestSize.count, "request-rate": m.requestSize.count / seconds, "request-size-avg": m.requestSize.mean(), "request-size-max": m.requestSize.max(),
		"outgoing-byte-total": m.requestSize.sum, "outgoing-byte-rate": m.requestSize.sum / seconds,
		"response-total": m.responses, "response-rate": m.responses / seconds, "incoming-byte-total": m.bytesIn, "incoming-byte-rate": m.bytesIn / seconds,
	}
}

// print prints the metrics in the order of their names, as Kafka's tools do.
func (t table) print(s cli.Streams) {
	names := slices.Sorted(maps.Keys(t))
	width := 0
	for _, name := range names {
		width = max(width, len(name))
	}
	s.Printf("\n%-*s   %s\n", width, "Metric Name", "Value")
	for _, name := range names {
		s.Printf("%-*s : %s\n", width, name, cli.Decimal(t[name], 3))
	}
}
