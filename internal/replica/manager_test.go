package replica

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

// harness is a Manager of broker 1 on a disk in memory.
type harness struct {
	*Manager
	tb      testing.TB
	fs      vfs.FS
	configs map[string]TopicConfig
	offset  int64
}

// reserveBytes of the disk are kept free of clients' records.
const reserveBytes = 64 << 10

func newHarness(tb testing.TB) *harness {
	tb.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		tb.Fatal(err)
	}
	h := newHarnessOn(tb, fs)
	if err := h.Start(); err != nil {
		tb.Fatal(err)
	}
	return h
}

func newHarnessOn(tb testing.TB, fs vfs.FS) *harness {
	tb.Helper()
	registry := metrics.NewRegistry()
	s, err := storage.OpenManager(storage.Options{FS: fs, Dirs: []string{"/data"}, Defaults: storage.DefaultLogConfig(), Metrics: registry,
		Random: env.NewSeededRandom(1), Clock: env.SystemClock{}, ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100, ReserveBytes: reserveBytes})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Load(storage.LoadOptions{NowMs: time.Now().UnixMilli()}); err != nil {
		tb.Fatal(err)
	}
	h := &harness{tb: tb, fs: fs, configs: map[string]TopicConfig{}}
	h.Manager = New(Options{NodeID: 1, Storage: s, Metrics: registry, Clock: env.SystemClock{}, MaxWaiting: 10_000, FetchMemoryBytes: 1 << 30,
		TopicConfig: func(_ *metadata.Image, topic string) TopicConfig {
			if c, ok := h.configs[topic]; ok {
				return c
			}
			return TopicConfig{Log: storage.DefaultLogConfig(), MinInSyncReplicas: 1}
		}})
	return h
}

// apply replays records on the current image and publishes the result.
func (h *harness) apply(records ...metadata.Record) {
	h.tb.Helper()
	delta := metadata.NewDelta(h.Image())
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			h.tb.Fatal(err)
		}
	}
	h.offset += int64(len(records))
	h.Apply(delta.Apply(h.offset, 1), delta)
}

func idOf(topic string) kafka.UUID {
	var id kafka.UUID
	copy(id[:], topic+"-------------------")
	return id
}

// topicRecords creates a topic whose partitions broker 1 leads.
func topicRecords(topic string, id kafka.UUID, partitions int) []metadata.Record {
	records := []metadata.Record{&metadata.TopicRecord{Name: topic, TopicID: id}}
	for i := range partitions {
		records = append(records, &metadata.PartitionRecord{PartitionID: int32(i), TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1,
			Directories: []kafka.UUID{{}}})
	}
	return records
}

func (h *harness) create(topic string, partitions int) {
	h.tb.Helper()
	h.apply(topicRecords(topic, idOf(topic), partitions)...)
}

func tpOf(topic string, p int32) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: topic, Partition: p}
}

func batchOf(tb testing.TB, size int, values ...string) record.Batch {
	tb.Helper()
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	for _, v := range values {
		b.Append(time.Now().UnixMilli(), nil, append([]byte(v), make([]byte, size)...), nil)
	}
	batch, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

func (h *harness) produce(topic string, p int32, size int, values ...string) storage.AppendResult {
	h.tb.Helper()
	r, err := h.Lookup(tpOf(topic, p))
	if err != nil {
		h.tb.Fatal(err)
	}
	result, err := r.Partition.Append(partition.AppendRequest{AppendRequest: storage.AppendRequest{Records: batchOf(h.tb, size, values...), Origin: storage.OriginClient,
		NowMs: time.Now().UnixMilli(), ProduceVersion: 13}, RequiredAcks: -1, CurrentLeaderEpoch: kafka.NoLeaderEpoch})
	if err != nil {
		h.tb.Fatal(err)
	}
	return result
}

func (h *harness) lookupCode(topic string, p int32) kafka.ErrorCode {
	_, err := h.Lookup(tpOf(topic, p))
	return kafka.CodeOf(err)
}

func TestApplyCreatesChangesAndDeletes(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	if got := h.lookupCode("a", 0); got != kafka.ErrUnknownTopicOrPartition {
		t.Fatalf("before creation: %v", got)
	}
	h.create("a", 2)
	for p := range int32(2) {
		if got := h.lookupCode("a", p); got != kafka.ErrNone {
			t.Fatalf("partition %d: %v", p, got)
		}
	}
	if got := h.lookupCode("a", 2); got != kafka.ErrUnknownTopicOrPartition {
		t.Fatalf("partition 2: %v", got)
	}
	h.produce("a", 0, 0, "x")

	change := metadata.NewPartitionChangeRecord(idOf("a"), 0)
	change.Leader = kafka.NoLeader
	h.apply(change)
	r, err := h.Lookup(tpOf("a", 0))
	if err != nil || kafka.CodeOf(r.CheckLeader(kafka.NoLeaderEpoch)) != kafka.ErrNotLeaderOrFollower {
		t.Fatalf("without leader: %v", err)
	}
	change.Leader = 1
	h.apply(change)
	if err := r.CheckLeader(2); err != nil {
		t.Fatalf("leader again: %v", err)
	}

	h.apply(&metadata.RemoveTopicRecord{TopicID: idOf("a")})
	if got := h.lookupCode("a", 0); got != kafka.ErrUnknownTopicOrPartition {
		t.Fatalf("after deletion: %v", got)
	}
	if got := kafka.CodeOf(r.CheckLeader(kafka.NoLeaderEpoch)); got != kafka.ErrUnknownTopicOrPartition {
		t.Fatalf("a replica kept across the deletion: %v", got)
	}
	if h.options.Storage.Log(tpOf("a", 0)) != nil {
		t.Error("the log is still there")
	}
}

func TestRecreationInOneDelta(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("a", 1)
	h.produce("a", 0, 0, "x", "y")
	other := kafka.UUID{9, 9}
	h.apply(append([]metadata.Record{&metadata.RemoveTopicRecord{TopicID: idOf("a")}}, topicRecords("a", other, 1)...)...)
	r, err := h.Lookup(tpOf("a", 0))
	if err != nil {
		t.Fatal(err)
	}
	if r.TopicID() != other || r.Log().LogEndOffset() != 0 {
		t.Errorf("topic id %s, log end offset %d", r.TopicID(), r.Log().LogEndOffset())
	}
}

func TestReplicasElsewhere(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	records := topicRecords("a", idOf("a"), 1)
	p := records[1].(*metadata.PartitionRecord)
	p.Replicas, p.ISR, p.Leader = []int32{2}, []int32{2}, 2
	h.apply(records...)
	if got := h.lookupCode("a", 0); got != kafka.ErrNotLeaderOrFollower {
		t.Errorf("a partition of another broker: %v", got)
	}
}

// TestStart restarts on what a broker left: the metadata log is replayed in pieces first.
func TestStart(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, topic := range []string{"kept", "deleted", "moved"} {
		h.create(topic, 1)
		h.produce(topic, 0, 0, topic)
	}
	if err := h.options.Storage.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	again := newHarnessOn(t, h.fs)
	again.create("long gone", 1)
	again.create("kept", 1)
	again.create("deleted", 1)
	again.apply(&metadata.RemoveTopicRecord{TopicID: idOf("long gone")}, &metadata.RemoveTopicRecord{TopicID: idOf("deleted")})
	again.create("created while we were down", 1)
	if got := again.lookupCode("kept", 0); got != kafka.ErrNotLeaderOrFollower {
		t.Errorf("before Start: %v", got)
	}
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]int64{"kept": 1, "created while we were down": 0} {
		r, err := again.Lookup(tpOf(topic, 0))
		if err != nil || r.Log().LogEndOffset() != want || r.Log().HighWatermark() != want {
			t.Errorf("%s: %v", topic, err)
		}
	}
	entries, err := h.fs.ReadDir("/data")
	if err != nil {
		t.Fatal(err)
	}
	strays := 0
	for _, e := range entries {
		if len(e.Name()) > 6 && e.Name()[len(e.Name())-6:] == "-stray" {
			strays++
		}
	}
	if strays != 2 {
		t.Errorf("%d strays, want those of deleted and moved", strays)
	}
}

// TestLogWithoutTopicIDIsSetAsideWhereOthersHaveIt: what has no id may be an earlier topic's of the same name, of which
// records would then be mixed with this one's.
func TestLogWithoutTopicIDIsSetAsideWhereOthersHaveIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		isr  []int32
		want int64
	}{{[]int32{2, 3}, 0}, {[]int32{2, 1, 3}, 0}, {[]int32{1, 2}, 1}} {
		h := newHarness(t)
		h.create("nameless", 1)
		h.produce("nameless", 0, 0, "value")
		if err := h.options.Storage.Shutdown(1); err != nil {
			t.Fatal(err)
		}
		if err := h.fs.Remove("/data/nameless-0/partition.metadata"); err != nil {
			t.Fatal(err)
		}
		again := newHarnessOn(t, h.fs)
		o := again.options
		o.Metrics = metrics.NewRegistry()
		o.Cluster = &Cluster{LagMaxMs: 1000, Flushed: func(int32) {}, Follow: func(*partition.Partition, int32, int32) {},
			Unfollow: func(*partition.Partition) {}, Propose: func(*partition.Partition, *partition.ISRChange) {}}
		again.Manager = New(o)
		again.createReplicated("nameless", c.isr[0], c.isr...)
		if err := again.Start(); err != nil {
			t.Fatal(err)
		}
		if got := again.options.Storage.Log(tpOf("nameless", 0)).LogEndOffset(); got != c.want {
			t.Errorf("in sync %v: log end offset %d, want %d", c.isr, got, c.want)
		}
	}
}

// TestLogWithoutTopicIDIsAdopted covers a log whose partition.metadata power loss took: its
// records are the topic's and must not be set aside.
func TestLogWithoutTopicIDIsAdopted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("nameless", 1)
	h.produce("nameless", 0, 0, "value")
	if err := h.options.Storage.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	if err := h.fs.Remove("/data/nameless-0/partition.metadata"); err != nil {
		t.Fatal(err)
	}
	again := newHarnessOn(t, h.fs)
	again.create("nameless", 1)
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	if r, err := again.Lookup(tpOf("nameless", 0)); err != nil || r.Log().LogEndOffset() != 1 {
		t.Errorf("the log was not adopted: %v", err)
	}
}

func TestConfigChanges(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("a", 1)
	h.create("b", 1)
	small := storage.DefaultLogConfig()
	small.MaxMessageBytes = 77
	h.configs["a"] = TopicConfig{Log: small, MinInSyncReplicas: 5}
	value := "77"
	h.apply(&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceTopic, ResourceName: "a", Name: "max.message.bytes", Value: &value})
	check := func(topic string, size, isr int) {
		t.Helper()
		r, err := h.Lookup(tpOf(topic, 0))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Log().Config().MaxMessageBytes; got != size || r.Assignment().MinInSyncReplicas != isr {
			t.Errorf("%s: max.message.bytes %d, min.insync.replicas %d", topic, got, r.Assignment().MinInSyncReplicas)
		}
	}
	check("a", 77, 5)
	check("b", 1_048_588, 1)
	h.configs["b"] = h.configs["a"]
	h.apply(&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, Name: "message.max.bytes", Value: &value})
	check("b", 77, 5)
}

func TestOfflineReplica(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	first := newHarnessOn(t, fs)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	first.create("a", 1)
	// Another incarnation of the topic, whose folder is in the way.
	first.mu.Lock()
	first.replicas.remove(tpOf("a", 0))
	first.mu.Unlock()
	first.host(kafka.TopicIDPartition{TopicID: kafka.UUID{7}, TopicPartition: tpOf("a", 0)},
		&metadata.Partition{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}, TopicConfig{Log: storage.DefaultLogConfig()}, true)
	if got := first.lookupCode("a", 0); got != kafka.ErrKafkaStorageError {
		t.Errorf("got %v", got)
	}
	first.stop(metadata.PartitionChange{Topic: "a", TopicID: kafka.UUID{7}})
	if first.options.Storage.Log(tpOf("a", 0)) == nil {
		t.Error("stopping the replica that never opened deleted the other one's log")
	}
}

func TestManyPartitions(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("many", 500)
	for p := range int32(500) {
		h.produce("many", p, 0, fmt.Sprint(p))
	}
	if got := h.count(func(r *Replica) bool { return r.IsLeader() }); got != 500 {
		t.Errorf("%d leaders", got)
	}
}

// TestReadErrorsAreLoggedOnceAMinute is not parallel: it takes over the default logger.
func TestReadErrorsAreLoggedOnceAMinute(t *testing.T) {
	h := newHarness(t)
	h.create("a", 2)
	before := slog.Default()
	defer slog.SetDefault(before)
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	for _, at := range []int64{1_000_000, 1_000_001, 1_059_999, 1_060_000, 1_060_001} {
		for p := range int32(2) {
			h.replicas.get(tpOf("a", p)).ReportReadError(kafka.ErrCorruptMessage, at)
		}
	}
	if got := strings.Count(log.String(), "level=ERROR"); got != 4 {
		t.Errorf("%d lines for 2 partitions in 2 minutes:\n%s", got, &log)
	}
}
