package partition

import (
	"math"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

const nowMs = 1_700_000_000_000

var topicID = kafka.UUID{1, 2, 3}

// newPartition returns a partition of broker 1 on a disk in memory, and what it announced.
func newPartition(tb testing.TB, change func(c *storage.LogConfig)) (*Partition, *atomic.Int64) {
	tb.Helper()
	p, announced, _ := newFlushedPartition(tb, change)
	return p, announced
}

// newFlushedPartition is newPartition with what makes a group commit.
func newFlushedPartition(tb testing.TB, change func(c *storage.LogConfig)) (*Partition, *atomic.Int64, func() error) {
	tb.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		tb.Fatal(err)
	}
	config := storage.DefaultLogConfig()
	if change != nil {
		change(config)
	}
	m, err := storage.OpenManager(storage.Options{FS: fs, Dirs: []string{"/data"}, Defaults: config, Metrics: metrics.NewRegistry(),
		Random: env.NewSeededRandom(1), Clock: env.NewManualClock(time.UnixMilli(nowMs)), ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err != nil {
		tb.Fatal(err)
	}
	if err := m.Load(storage.LoadOptions{NowMs: nowMs}); err != nil {
		tb.Fatal(err)
	}
	log, err := m.GetOrCreate(kafka.TopicIDPartition{TopicID: topicID, TopicPartition: kafka.TopicPartition{Topic: "t"}}, config, nowMs)
	if err != nil {
		tb.Fatal(err)
	}
	announced := new(atomic.Int64)
	return New(topicID, 1, log, ReplicationOptions{}, func(n int64) {
		if n == Everything {
			n = 1_000_000
		}
		announced.Add(n)
	}), announced, func() error { _, err := m.CommitDir(0, nowMs, nil); return err }
}

func leads(epoch int32) Assignment {
	return Assignment{Leader: 1, LeaderEpoch: epoch, Replicas: []int32{1}, ISR: []int32{1}, MinInSyncReplicas: 1}
}

func batchOf(tb testing.TB, values ...string) record.Batch {
	tb.Helper()
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	for i, v := range values {
		b.Append(nowMs+int64(i), nil, []byte(v), nil)
	}
	batch, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	batch.SetPartitionLeaderEpoch(-1)
	return batch
}

func appendTo(tb testing.TB, p *Partition, acks int16, epoch int32, values ...string) (storage.AppendResult, error) {
	tb.Helper()
	return p.Append(AppendRequest{AppendRequest: storage.AppendRequest{Records: batchOf(tb, values...), Origin: storage.OriginClient, NowMs: nowMs, ProduceVersion: 13},
		RequiredAcks: acks, CurrentLeaderEpoch: epoch})
}

func TestAppendCommitsAtOnceWithOneReplica(t *testing.T) {
	t.Parallel()
	p, announced := newPartition(t, nil)
	if err := p.Apply(leads(3), nowMs); err != nil {
		t.Fatal(err)
	}
	for i, acks := range []int16{-1, 0, 1} {
		r, err := appendTo(t, p, acks, kafka.NoLeaderEpoch, "a", "b")
		if err != nil || r.BaseOffset != int64(2*i) {
			t.Fatalf("acks %d: %+v, %v", acks, r, err)
		}
		if done, err := p.CommitState(3, r.LastOffset+1); !done || err != nil {
			t.Errorf("acks %d: not committed, %v", acks, err)
		}
	}
	if want := int64(3 * len(batchOf(t, "a", "b"))); announced.Load() != want {
		t.Errorf("announced %d bytes, want %d", announced.Load(), want)
	}
	if p.Log().EpochForOffset(5) != 3 {
		t.Errorf("offset 5 has epoch %d", p.Log().EpochForOffset(5))
	}
}

func TestKIP320EpochFencing(t *testing.T) {
	t.Parallel()
	p, _ := newPartition(t, nil)
	if err := p.Apply(leads(5), nowMs); err != nil {
		t.Fatal(err)
	}
	check := func(name string, epoch int32, want kafka.ErrorCode) {
		t.Helper()
		if _, err := appendTo(t, p, 1, epoch, "x"); kafka.CodeOf(err) != want {
			t.Errorf("%s: append in epoch %d: %v, want %v", name, epoch, err, want)
		}
		if _, err := p.Read(ReadRequest{CurrentLeaderEpoch: epoch, LastFetchedEpoch: kafka.NoLeaderEpoch, MaxBytes: 100}); kafka.CodeOf(err) != want {
			t.Errorf("%s: read in epoch %d: %v, want %v", name, epoch, err, want)
		}
		if _, err := p.ListOffset(kafka.LatestTimestamp, kafka.ReadUncommitted, epoch); kafka.CodeOf(err) != want {
			t.Errorf("%s: list offsets in epoch %d: %v, want %v", name, epoch, err, want)
		}
		if _, err := p.EndOffsetForEpoch(epoch, 5); kafka.CodeOf(err) != want {
			t.Errorf("%s: end offset in epoch %d: %v, want %v", name, epoch, err, want)
		}
	}
	check("leader", kafka.NoLeaderEpoch, kafka.ErrNone)
	check("leader", 5, kafka.ErrNone)
	check("leader", 4, kafka.ErrFencedLeaderEpoch)
	check("leader", 6, kafka.ErrUnknownLeaderEpoch)
	if err := p.Apply(Assignment{Leader: kafka.NoLeader, LeaderEpoch: 6, Replicas: []int32{1}, ISR: []int32{1}}, nowMs); err != nil {
		t.Fatal(err)
	}
	check("no leader", kafka.NoLeaderEpoch, kafka.ErrNotLeaderOrFollower)
	check("no leader", 6, kafka.ErrNotLeaderOrFollower)
	check("no leader", 5, kafka.ErrFencedLeaderEpoch)
	if done, err := p.CommitState(5, 1000); done || kafka.CodeOf(err) != kafka.ErrNotLeaderOrFollower {
		t.Errorf("waiter of the old epoch: %v, %v", done, err)
	}
	p.Close(kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "topic t was deleted"))
	check("closed", kafka.NoLeaderEpoch, kafka.ErrUnknownTopicOrPartition)
	if err := p.Apply(leads(7), nowMs); kafka.CodeOf(err) != kafka.ErrUnknownTopicOrPartition || p.IsLeader() {
		t.Errorf("a closed partition became leader again: %v", err)
	}
}

func TestMinInSyncReplicas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		replicas []int32
		isr      []int32
		min      int
		acks     int16
		want     kafka.ErrorCode
	}{
		{"capped by the replicas", []int32{1}, []int32{1}, 2, -1, kafka.ErrNone},
		{"one of two", []int32{1, 2}, []int32{1}, 2, -1, kafka.ErrNotEnoughReplicas},
		{"one of two with acks 1", []int32{1, 2}, []int32{1}, 2, 1, kafka.ErrNone},
		{"two of two", []int32{1, 2}, []int32{1, 2}, 2, -1, kafka.ErrNone},
	} {
		p, _ := newPartition(t, nil)
		if err := p.Apply(Assignment{Leader: 1, Replicas: c.replicas, ISR: c.isr, MinInSyncReplicas: c.min}, nowMs); err != nil {
			t.Fatal(err)
		}
		if _, err := appendTo(t, p, c.acks, kafka.NoLeaderEpoch, "x"); kafka.CodeOf(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
		if len(c.isr) > 1 && p.Log().HighWatermark() != 0 {
			t.Errorf("%s: the high watermark rose without the other replica", c.name)
		}
	}
}

func TestFsyncBeforeCommit(t *testing.T) {
	t.Parallel()
	p, announced, commit := newFlushedPartition(t, func(c *storage.LogConfig) { c.FlushMessages = 1 })
	if err := p.Apply(leads(0), nowMs); err != nil {
		t.Fatal(err)
	}
	r, err := appendTo(t, p, -1, kafka.NoLeaderEpoch, "a")
	if err != nil {
		t.Fatal(err)
	}
	if done, _ := p.CommitState(0, r.LastOffset+1); done || announced.Load() != 0 {
		t.Fatal("committed before it was flushed")
	}
	if done, _ := p.CountState(0, r.LastOffset+1); done {
		t.Fatal("acks=1 is answered before the flush")
	}
	if got, err := p.Read(ReadRequest{MaxBytes: 1000, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}); err != nil || len(got.Records) != 0 {
		t.Fatalf("%d bytes visible before the flush, %v", len(got.Records), err)
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	if done, _ := p.CommitState(0, r.LastOffset+1); !done || announced.Load() != int64(len(batchOf(t, "a"))) {
		t.Fatalf("after the flush: committed %v, announced %d bytes", done, announced.Load())
	}
	if _, err := appendTo(t, p, 1, kafka.NoLeaderEpoch, "b"); err != nil {
		t.Fatal(err)
	}
	if err := p.Log().Flush(); err != nil { // as the maintenance does
		t.Fatal(err)
	}
	if got, err := p.Read(ReadRequest{Offset: 1, MaxBytes: 1000, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}); err != nil || len(got.Records) == 0 {
		t.Fatalf("a reader does not see what was flushed in the background: %v", err)
	}
}

// TestSomeRecordsMayBeUnflushed: with flush.messages=3 two records count that are not on disk, as in
// Kafka, where the append that makes it three flushes before its answer.
func TestSomeRecordsMayBeUnflushed(t *testing.T) {
	t.Parallel()
	p, _, commit := newFlushedPartition(t, func(c *storage.LogConfig) { c.FlushMessages = 3 })
	if err := p.Apply(leads(0), nowMs); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{1, 2, 2, 2} { // high watermarks
		if _, err := appendTo(t, p, -1, kafka.NoLeaderEpoch, "a"); err != nil || p.Log().HighWatermark() != want {
			t.Fatalf("after %d records the high watermark is %d, want %d (%v)", i+1, p.Log().HighWatermark(), want, err)
		}
	}
	if err := commit(); err != nil || p.Log().HighWatermark() != 4 || p.Log().FlushedOffset() != 4 {
		t.Fatalf("after the flush: high watermark %d, flushed %d, %v", p.Log().HighWatermark(), p.Log().FlushedOffset(), err)
	}
	if _, err := appendTo(t, p, -1, kafka.NoLeaderEpoch, "b", "c"); err != nil || p.Log().HighWatermark() != 6 {
		t.Fatalf("the high watermark is %d, want 6 (%v)", p.Log().HighWatermark(), err)
	}
}

func TestLeadershipCommitsWhatWasFound(t *testing.T) {
	t.Parallel()
	p, _, commit := newFlushedPartition(t, func(c *storage.LogConfig) { c.FlushMessages = 1 })
	b := batchOf(t, "a", "b") // written by a process that was killed before its checkpoint of the flush
	if _, err := p.Log().Append(storage.AppendRequest{Records: b, Origin: storage.OriginInternal, NowMs: nowMs}); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(leads(1), nowMs); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ListOffset(kafka.LatestTimestamp, kafka.ReadUncommitted, -1); kafka.CodeOf(err) != kafka.ErrOffsetNotAvailable {
		t.Errorf("before the flush: %v; a consumer could think that the log has lost records", err)
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	if hw, flushed := p.Log().HighWatermark(), p.Log().FlushedOffset(); hw != 2 || flushed != 2 {
		t.Errorf("high watermark %d, flushed %d; want 2", hw, flushed)
	}
}

// TestFlushConfigChanges changes the topic's configs between an append and its flush: no other
// append comes that would commit it.
func TestFlushConfigChanges(t *testing.T) {
	t.Parallel()
	p, announced, commit := newFlushedPartition(t, func(c *storage.LogConfig) { c.FlushMessages = 1 })
	if err := p.Apply(leads(0), nowMs); err != nil {
		t.Fatal(err)
	}
	if _, err := appendTo(t, p, 1, kafka.NoLeaderEpoch, "a"); err != nil {
		t.Fatal(err)
	}
	p.Log().UpdateConfig(storage.DefaultLogConfig())
	if p.Log().HighWatermark() != 1 || announced.Load() != int64(len(batchOf(t, "a"))) {
		t.Fatalf("high watermark %d, announced %d bytes", p.Log().HighWatermark(), announced.Load())
	}
	immediate := storage.DefaultLogConfig()
	immediate.FlushMs = 0
	p.Log().UpdateConfig(immediate)
	if err := commit(); err != nil || p.Log().FlushedOffset() != 1 {
		t.Fatalf("what was counted before is flushed up to %d, %v", p.Log().FlushedOffset(), err)
	}
	if _, err := appendTo(t, p, 1, kafka.NoLeaderEpoch, "b"); err != nil || p.Log().HighWatermark() != 1 {
		t.Fatalf("high watermark %d before the flush, %v", p.Log().HighWatermark(), err)
	}
	if err := commit(); err != nil || p.Log().HighWatermark() != 2 {
		t.Fatalf("high watermark %d after the flush, %v", p.Log().HighWatermark(), err)
	}
}

func TestKIP320ReadAndDivergence(t *testing.T) {
	t.Parallel()
	p, _ := newPartition(t, nil)
	for _, epoch := range []int32{2, 4} { // epoch 2: offsets 0 to 2, epoch 4: 3 to 5
		if err := p.Apply(leads(epoch), nowMs); err != nil {
			t.Fatal(err)
		}
		if _, err := appendTo(t, p, 1, epoch, "a", "b", "c"); err != nil {
			t.Fatal(err)
		}
	}
	size := len(batchOf(t, "a", "b", "c"))
	for _, c := range []struct {
		name        string
		r           ReadRequest
		wantBytes   int
		wantCode    kafka.ErrorCode
		wantDiverge *EpochEnd
	}{
		{"all", ReadRequest{MaxBytes: 1 << 20, LastFetchedEpoch: -1}, 2 * size, 0, nil},
		{"inside of a batch", ReadRequest{Offset: 4, MaxBytes: 1 << 20, LastFetchedEpoch: -1}, size, 0, nil},
		{"one batch above the limit", ReadRequest{MaxBytes: 1, MinOneBatch: true, LastFetchedEpoch: -1}, size, 0, nil},
		{"nothing within the limit", ReadRequest{MaxBytes: 1, LastFetchedEpoch: -1}, 0, 0, nil},
		{"at the end", ReadRequest{Offset: 6, MaxBytes: 100, LastFetchedEpoch: -1}, 0, 0, nil},
		{"beyond the end", ReadRequest{Offset: 7, MaxBytes: 100, LastFetchedEpoch: -1}, 0, kafka.ErrOffsetOutOfRange, nil},
		{"below the start", ReadRequest{Offset: -1, MaxBytes: 100, LastFetchedEpoch: -1}, 0, kafka.ErrOffsetOutOfRange, nil},
		{"read committed", ReadRequest{MaxBytes: 1 << 20, Isolation: kafka.ReadCommitted, LastFetchedEpoch: -1}, 2 * size, 0, nil},
		{"same epoch", ReadRequest{Offset: 3, MaxBytes: 1 << 20, LastFetchedEpoch: 2}, size, 0, nil},
		{"epoch that ended earlier", ReadRequest{Offset: 5, MaxBytes: 100, LastFetchedEpoch: 2}, 0, 0, &EpochEnd{2, 3}},
		{"epoch that was never here", ReadRequest{Offset: 3, MaxBytes: 100, LastFetchedEpoch: 3}, 0, 0, &EpochEnd{2, 3}},
		{"future epoch", ReadRequest{Offset: 3, MaxBytes: 100, LastFetchedEpoch: 9}, 0, kafka.ErrOffsetOutOfRange, nil},
		{"below the start with an epoch", ReadRequest{Offset: -5, MaxBytes: 100, LastFetchedEpoch: 2}, 0, kafka.ErrOffsetOutOfRange, nil},
	} {
		c.r.CurrentLeaderEpoch = kafka.NoLeaderEpoch
		got, err := p.Read(c.r)
		if kafka.CodeOf(err) != c.wantCode || len(got.Records) != c.wantBytes {
			t.Errorf("%s: %d bytes, %v; want %d, %v", c.name, len(got.Records), err, c.wantBytes, c.wantCode)
		}
		if (got.Diverging == nil) != (c.wantDiverge == nil) || got.Diverging != nil && *got.Diverging != *c.wantDiverge {
			t.Errorf("%s: diverging %+v", c.name, got.Diverging)
		}
		if err == nil && (got.HighWatermark != 6 || got.LastStableOffset != 6 || got.LogStartOffset != 0) {
			t.Errorf("%s: offsets %+v", c.name, got)
		}
	}
}

// TestListOffset has the answers that Apache Kafka 4.3.1 gives for a topic without remote storage.
func TestListOffset(t *testing.T) {
	t.Parallel()
	none := storage.TimestampOffset{Offset: -1, TimestampMs: -1, LeaderEpoch: -1}
	empty, _ := newPartition(t, nil)
	full, _ := newPartition(t, nil)
	for _, p := range []*Partition{empty, full} {
		if err := p.Apply(leads(7), nowMs); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := appendTo(t, full, 1, -1, "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		timestamp  int64
		full, void storage.TimestampOffset
	}{
		{kafka.LatestTimestamp, storage.TimestampOffset{Offset: 3, TimestampMs: -1, LeaderEpoch: 7}, storage.TimestampOffset{Offset: 0, TimestampMs: -1, LeaderEpoch: 7}},
		{kafka.EarliestTimestamp, storage.TimestampOffset{Offset: 0, TimestampMs: -1, LeaderEpoch: 7}, storage.TimestampOffset{Offset: 0, TimestampMs: -1, LeaderEpoch: 7}},
		{kafka.EarliestLocalTimestamp, storage.TimestampOffset{Offset: 0, TimestampMs: -1, LeaderEpoch: 7}, storage.TimestampOffset{Offset: 0, TimestampMs: -1, LeaderEpoch: 7}},
		{kafka.MaxTimestamp, storage.TimestampOffset{Offset: 2, TimestampMs: nowMs + 2, LeaderEpoch: 7}, none},
		{kafka.LatestTieredTimestamp, none, none},
		{kafka.EarliestPendingUploadTimestamp, none, none},
		{0, storage.TimestampOffset{Offset: 0, TimestampMs: nowMs, LeaderEpoch: 7}, none},
		{nowMs + 1, storage.TimestampOffset{Offset: 1, TimestampMs: nowMs + 1, LeaderEpoch: 7}, none},
		{math.MaxInt64, none, none},
	} {
		for _, isolation := range []kafka.IsolationLevel{kafka.ReadUncommitted, kafka.ReadCommitted} {
			if got, err := full.ListOffset(c.timestamp, isolation, -1); err != nil || got != c.full {
				t.Errorf("timestamp %d: %+v, %v; want %+v", c.timestamp, got, err, c.full)
			}
			if got, err := empty.ListOffset(c.timestamp, isolation, -1); err != nil || got != c.void {
				t.Errorf("timestamp %d of an empty partition: %+v, %v; want %+v", c.timestamp, got, err, c.void)
			}
		}
	}
}

func TestLaggingHighWatermark(t *testing.T) {
	t.Parallel()
	p, _ := newPartition(t, nil)
	two := Assignment{Leader: 1, LeaderEpoch: 1, Replicas: []int32{1, 2}, ISR: []int32{1, 2}}
	if err := p.Apply(two, nowMs); err != nil {
		t.Fatal(err)
	}
	if _, err := appendTo(t, p, 1, -1, "a"); err != nil {
		t.Fatal(err)
	}
	two.LeaderEpoch = 2 // begins at 1, while the high watermark is 0
	if err := p.Apply(two, nowMs); err != nil {
		t.Fatal(err)
	}
	for timestamp, want := range map[int64]kafka.ErrorCode{kafka.LatestTimestamp: kafka.ErrOffsetNotAvailable, 0: kafka.ErrOffsetNotAvailable,
		kafka.MaxTimestamp: kafka.ErrOffsetNotAvailable, kafka.EarliestTimestamp: kafka.ErrNone} {
		if _, err := p.ListOffset(timestamp, kafka.ReadUncommitted, -1); kafka.CodeOf(err) != want {
			t.Errorf("timestamp %d: %v", timestamp, err)
		}
	}
}

func TestEndOffsetForEpoch(t *testing.T) {
	t.Parallel()
	p, _ := newPartition(t, nil)
	for _, epoch := range []int32{2, 4} {
		if err := p.Apply(leads(epoch), nowMs); err != nil {
			t.Fatal(err)
		}
		if _, err := appendTo(t, p, 1, epoch, "a"); err != nil {
			t.Fatal(err)
		}
	}
	for epoch, want := range map[int32]EpochEnd{-1: {-1, -1}, 2: {2, 1}, 3: {2, 1}, 4: {4, 2}, 5: {-1, -1}} {
		if got, err := p.EndOffsetForEpoch(4, epoch); err != nil || got != want {
			t.Errorf("epoch %d: %+v, %v; want %+v", epoch, got, err, want)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	p, _ := newPartition(b, nil)
	if err := p.Apply(leads(0), nowMs); err != nil {
		b.Fatal(err)
	}
	values := make([]string, 100)
	for i := range values {
		values[i] = "a value of about one hundred bytes, as an event of a web shop might have; it is repeated many times."
	}
	batch := batchOf(b, values...)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		batch.SetBaseOffset(0)
		if _, err := p.Append(AppendRequest{AppendRequest: storage.AppendRequest{Records: batch, Origin: storage.OriginClient, NowMs: nowMs, ProduceVersion: 13}, RequiredAcks: -1, CurrentLeaderEpoch: -1}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	p, _ := newPartition(b, nil)
	if err := p.Apply(leads(0), nowMs); err != nil {
		b.Fatal(err)
	}
	values := make([]string, 1000)
	for i := range values {
		values[i] = "a value of about one hundred bytes, as an event of a web shop might have; it is repeated many times."
	}
	for range 20 {
		if _, err := appendTo(b, p, 1, -1, values...); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]byte, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		r, err := p.Read(ReadRequest{Offset: 5000, MaxBytes: len(buf), CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, Buffer: func(n int) []byte { return buf[:n] }})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(r.Records)))
	}
}

// TestReadAtEndIsRead asks both for every offset around the start and the end of a log, in every
// epoch a reader may believe in: where the short way answers at all, it answers the same.
func TestReadAtEndIsRead(t *testing.T) {
	t.Parallel()
	p, _ := newPartition(t, nil)
	if err := p.Apply(leads(3), nowMs); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := appendTo(t, p, -1, kafka.NoLeaderEpoch, "a", "b"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.DeleteRecords(2); err != nil {
		t.Fatal(err)
	}
	short := 0
	for offset := int64(-1); offset <= 7; offset++ {
		for epoch := int32(-1); epoch <= 4; epoch++ {
			for last := int32(-1); last <= 4; last += 4 {
				for _, isolation := range []kafka.IsolationLevel{kafka.ReadUncommitted, kafka.ReadCommitted} {
					r := ReadRequest{Offset: offset, MaxBytes: 1000, Isolation: isolation, CurrentLeaderEpoch: epoch, LastFetchedEpoch: last}
					got, ok := p.ReadAtEnd(&r)
					want, err := p.Read(r)
					if ok && (err != nil || !reflect.DeepEqual(got, want)) {
						t.Errorf("%+v: %+v, want %+v, %v", r, got, want, err)
					}
					if ok {
						short++
					}
				}
			}
		}
	}
	if short != 4 { // at offset 6, with epoch 3 or none, in both isolation levels
		t.Errorf("%d reads were short, want 4", short)
	}
}
