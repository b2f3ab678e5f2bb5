package replica

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

func partitionOf(topic string, p int32, offset int64) FetchPartition {
	return FetchPartition{TopicPartition: tpOf(topic, p), Offset: offset, MaxBytes: 1 << 20, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}
}

func request(wait time.Duration, minBytes int, partitions ...FetchPartition) *FetchRequest {
	return &FetchRequest{MaxWait: wait, MinBytes: minBytes, MaxBytes: 1 << 26, Partitions: partitions}
}

func TestFetchLimits(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("a", 3)
	for p := range int32(3) {
		for range 3 {
			h.produce("a", p, 1000, "x")
		}
	}
	one := len(batchOf(t, 1000, "x"))
	for _, c := range []struct {
		name     string
		maxBytes int
		partMax  []int32
		want     []int // batches per partition
	}{
		{"all", 1 << 20, []int32{1 << 20, 1 << 20, 1 << 20}, []int{3, 3, 3}},
		{"one batch above the partition's limit, from the first only", 1 << 20, []int32{1, 1, 1}, []int{1, 0, 0}},
		{"one batch above the request's limit", 1, []int32{1 << 20, 1 << 20, 1 << 20}, []int{1, 0, 0}},
		{"limit in the second", 4*one + 5, []int32{1 << 20, 1 << 20, 1 << 20}, []int{3, 1, 0}},
		{"partition limits", 1 << 20, []int32{int32(2 * one), int32(one), 0}, []int{2, 1, 0}},
		{"negative limits", -5, []int32{-1, -1, -1}, []int{1, 0, 0}},
	} {
		r := request(0, 1)
		r.MaxBytes = c.maxBytes
		for i, most := range c.partMax {
			p := partitionOf("a", int32(i), 0)
			p.MaxBytes = most
			r.Partitions = append(r.Partitions, p)
		}
		var buffers Buffers
		results := h.Fetch(t.Context(), r, &buffers)
		for i, want := range c.want {
			if got := len(results[i].Records) / one; got != want || results[i].Err != nil {
				t.Errorf("%s: %d batches of partition %d, %v; want %d", c.name, got, i, results[i].Err, want)
			}
		}
		buffers.Release()
	}
}

func TestFetchErrors(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("a", 1)
	wrongID := partitionOf("a", 0, 0)
	wrongID.TopicID = kafka.UUID{4}
	stale := partitionOf("a", 0, 0)
	stale.CurrentLeaderEpoch = 5
	var buffers Buffers
	results := h.Fetch(t.Context(), request(time.Hour, 1, partitionOf("a", 0, 0), partitionOf("b", 0, 0), partitionOf("a", 0, 7), wrongID, stale), &buffers)
	for i, want := range []kafka.ErrorCode{kafka.ErrNone, kafka.ErrUnknownTopicOrPartition, kafka.ErrOffsetOutOfRange, kafka.ErrInconsistentTopicID, kafka.ErrUnknownLeaderEpoch} {
		if got := kafka.CodeOf(results[i].Err); got != want {
			t.Errorf("partition %d: %v, want %v", i, got, want)
		}
	}
}

// TestLongPoll has virtual time: each case says when something happens and when the fetch
// must come back with how many batches.
func TestLongPoll(t *testing.T) {
	one := len(batchOf(t, 100, "x"))
	for _, c := range []struct {
		name        string
		wait        time.Duration
		minBytes    int
		at          map[time.Duration]func(h *harness, cancel func())
		wantAfter   time.Duration
		wantBatches int
		wantErr     kafka.ErrorCode
	}{
		{name: "nothing comes", wait: 500 * time.Millisecond, minBytes: 1, wantAfter: 500 * time.Millisecond},
		{name: "no wait", wait: 0, minBytes: 1},
		{name: "no bytes needed", wait: time.Hour, minBytes: 0},
		{name: "one batch comes", wait: time.Hour, minBytes: 1, wantAfter: time.Second, wantBatches: 1,
			at: map[time.Duration]func(*harness, func()){time.Second: func(h *harness, _ func()) { h.produce("a", 0, 100, "x") }}},
		{name: "min bytes come in three batches on two partitions", wait: time.Hour, minBytes: 3 * one, wantAfter: 3 * time.Second, wantBatches: 3,
			at: map[time.Duration]func(*harness, func()){
				1 * time.Second: func(h *harness, _ func()) { h.produce("a", 0, 100, "x") },
				2 * time.Second: func(h *harness, _ func()) { h.produce("a", 1, 100, "x") },
				3 * time.Second: func(h *harness, _ func()) { h.produce("a", 0, 100, "x") }}},
		{name: "too few bytes until the time is over", wait: 5 * time.Second, minBytes: 3 * one, wantAfter: 5 * time.Second, wantBatches: 2,
			at: map[time.Duration]func(*harness, func()){
				1 * time.Second: func(h *harness, _ func()) { h.produce("a", 0, 100, "x") },
				2 * time.Second: func(h *harness, _ func()) { h.produce("a", 1, 100, "x") }}},
		{name: "the topic is deleted", wait: time.Hour, minBytes: 1, wantAfter: time.Second, wantErr: kafka.ErrUnknownTopicOrPartition,
			at: map[time.Duration]func(*harness, func()){time.Second: func(h *harness, _ func()) { h.apply(&metadata.RemoveTopicRecord{TopicID: idOf("a")}) }}},
		{name: "the broker stops", wait: time.Hour, minBytes: 1, wantAfter: time.Second, wantErr: kafka.ErrNotLeaderOrFollower,
			at: map[time.Duration]func(*harness, func()){time.Second: func(h *harness, _ func()) { h.Stop() }}},
		{name: "the connection ends", wait: time.Hour, minBytes: 1, wantAfter: time.Second,
			at: map[time.Duration]func(*harness, func()){time.Second: func(_ *harness, cancel func()) { cancel() }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.create("a", 2)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for after, do := range c.at {
					time.AfterFunc(after, func() { do(h, cancel) })
				}
				start := time.Now()
				var buffers Buffers
				results := h.Fetch(ctx, request(c.wait, c.minBytes, partitionOf("a", 0, 0), partitionOf("a", 1, 0)), &buffers)
				if got := time.Since(start); got != c.wantAfter {
					t.Errorf("came back after %v, want %v", got, c.wantAfter)
				}
				bytes := 0
				for _, r := range results {
					bytes += len(r.Records)
				}
				if kafka.CodeOf(results[0].Err) != c.wantErr || bytes != c.wantBatches*one {
					t.Errorf("%d bytes, %v; want %d batches of %d, %v", bytes, results[0].Err, c.wantBatches, one, c.wantErr)
				}
				buffers.Release()
				synctest.Wait() // until what was done at a time is done
				if r, err := h.Lookup(tpOf("a", 1)); err == nil && r.fetchWaiters.Len() != 0 {
					t.Error("the fetch is still on a list")
				}
			})
		})
	}
}

// TestReadersWaitForWhatIsBeingMended: what is damaged may be there again soon. Who mends another replica with this one, and followers of other
// partitions, do not wait for it.
func TestReadersWaitForWhatIsBeingMended(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		isolation kafka.IsolationLevel
		then      func(r *Replica, flip func())
		wantAfter time.Duration
		want      kafka.ErrorCode
	}{
		"nobody answers":      {kafka.ReadUncommitted, func(*Replica, func()) {}, 5 * time.Second, kafka.ErrKafkaStorageError},
		"mended":              {kafka.ReadUncommitted, func(r *Replica, flip func()) { flip(); r.SetDamageState(partition.Undamaged) }, time.Second, kafka.ErrNone},
		"nobody has it":       {kafka.ReadUncommitted, func(r *Replica, _ func()) { r.SetDamageState(partition.Unmendable) }, time.Second, kafka.ErrCorruptMessage},
		"who mends with this": {kafka.ReadToEnd, func(*Replica, func()) {}, 0, kafka.ErrCorruptMessage},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			h.create("a", 1)
			h.produce("a", 0, 100, "x")
			flip := func() {
				f, err := h.fs.Open("/data/a-0/00000000000000000000.log", true)
				b := make([]byte, 1)
				if err == nil {
					_, err = f.ReadAt(b, 100)
				}
				if err == nil {
					_, err = f.WriteAt([]byte{b[0] ^ 1}, 100)
				}
				if err != nil {
					t.Error(err)
				}
			}
			flip()
			r := h.find(tpOf("a", 0))
			r.NoteDamage()
			time.AfterFunc(time.Second, func() { c.then(r, flip) })
			start, req := time.Now(), request(5*time.Second, 1, partitionOf("a", 0, 0))
			req.Isolation = c.isolation
			var buffers Buffers
			results := h.Fetch(t.Context(), req, &buffers)
			if after := time.Since(start); after != c.wantAfter || kafka.CodeOf(results[0].Err) != c.want || (len(results[0].Records) > 0) != (c.want == kafka.ErrNone) {
				t.Errorf("%s: after %v %v, %d bytes", name, after, results[0].Err, len(results[0].Records))
			}
			buffers.Release()
		})
	}
}

// TestFetchDoesNotWaitForWhatIsThere: as in Kafka a fetch that a limit or the end of a segment
// kept below its minimum comes back at once, since it would find no more after the wait.
func TestFetchDoesNotWaitForWhatIsThere(t *testing.T) {
	t.Parallel()
	one := len(batchOf(t, 1000, "x"))
	for _, c := range []struct {
		name         string
		segmentBytes int64
		partMax      int
		maxBytes     int
		want         int // batches
	}{
		{"the partition's limit", 1 << 20, 2*one + one/2, 1 << 20, 4},
		{"the request's limit", 1 << 20, 1 << 20, 3*one + one/2, 3},
		{"the end of a segment", int64(2 * one), 1 << 20, 1 << 20, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				config := storage.DefaultLogConfig()
				config.SegmentBytes = c.segmentBytes
				h.configs["a"] = TopicConfig{Log: config, MinInSyncReplicas: 1}
				h.create("a", 2)
				for range 3 {
					h.produce("a", 0, 1000, "x")
					h.produce("a", 1, 1000, "x")
				}
				r := request(time.Hour, 6*one-1, partitionOf("a", 0, 0), partitionOf("a", 1, 0))
				r.MaxBytes = c.maxBytes
				for i := range r.Partitions {
					r.Partitions[i].MaxBytes = int32(c.partMax)
				}
				start := time.Now()
				var buffers Buffers
				bytes := 0
				for _, result := range h.Fetch(t.Context(), r, &buffers) {
					bytes += len(result.Records)
				}
				buffers.Release()
				if bytes != c.want*one || time.Since(start) != 0 {
					t.Errorf("%d batches after %v, want %d at once", bytes/one, time.Since(start), c.want)
				}
			})
		})
	}
}

// TestFetchMemory: what clients have not read yet is bounded for all together; beyond the bound
// each fetch still gets a batch, at once.
func TestFetchMemory(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("a", 2)
	for range 100 {
		h.produce("a", 0, 1000, "x")
		h.produce("a", 1, 1000, "x")
	}
	one := len(batchOf(t, 1000, "x"))
	h.fetchMemory.limit = 300_000
	fetch := func() (*Buffers, int) {
		buffers, bytes := new(Buffers), 0
		for _, r := range h.Fetch(t.Context(), request(time.Hour, 200*one, partitionOf("a", 0, 0), partitionOf("a", 1, 0)), buffers) {
			bytes += len(r.Records)
		}
		return buffers, bytes
	}
	var held []*Buffers
	for i := range 10 {
		buffers, bytes := fetch()
		held = append(held, buffers)
		if i == 0 && bytes < 100*one || bytes < one || i > 2 && bytes != one {
			t.Errorf("fetch %d: %d bytes", i, bytes)
		}
	}
	if used := h.fetchMemory.used.Load(); used > 400_000 { // the last buffer within the bound is rounded up
		t.Errorf("%d bytes are held", used)
	}
	for _, buffers := range held {
		buffers.Release()
	}
	if used := h.fetchMemory.used.Load(); used != 0 {
		t.Errorf("%d bytes are held after all were released", used)
	}
}

// TestFetchesMissNothing races appends against fetches that wait without a deadline.
func TestFetchesMissNothing(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("a", 1)
	const batches = 500
	go func() { // ends with the loop
		for range batches {
			h.produce("a", 0, 10, "x")
		}
	}()
	var buffers Buffers
	for offset := int64(0); offset < batches; {
		results := h.Fetch(t.Context(), request(time.Hour, 1, partitionOf("a", 0, offset)), &buffers)
		if results[0].Err != nil || len(results[0].Records) == 0 {
			t.Fatalf("at offset %d: %d bytes, %v", offset, len(results[0].Records), results[0].Err)
		}
		for rest := results[0].Records; len(rest) > 0; {
			b, next, err := record.Next(rest)
			if err != nil || b.BaseOffset() != offset {
				t.Fatalf("batch at offset %d, want %d: %v", b.BaseOffset(), offset, err)
			}
			offset, rest = b.NextOffset(), next
		}
	}
	buffers.Release()
}

func TestThousandsOfParkedFetches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.create("a", 10)
		const fetches = 3000
		var done atomic.Int64
		for i := range fetches {
			go func() {
				var buffers Buffers
				if r := h.Fetch(t.Context(), request(time.Hour, 1, partitionOf("a", int32(i%10), 0)), &buffers); len(r[0].Records) > 0 {
					done.Add(1)
				}
				buffers.Release()
			}()
		}
		synctest.Wait()
		if got := h.replicas.get(tpOf("a", 3)).fetchWaiters.Len(); got != fetches/10 {
			t.Fatalf("%d fetches wait", got)
		}
		for p := range int32(10) {
			h.produce("a", p, 0, "x")
		}
		synctest.Wait()
		if done.Load() != fetches {
			t.Errorf("%d fetches came back", done.Load())
		}
	})
}

func TestAwaitCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		records := topicRecords("a", idOf("a"), 1)
		p := records[1].(*metadata.PartitionRecord)
		p.Replicas, p.ISR, p.Directories = []int32{1, 2}, []int32{1, 2}, make([]kafka.UUID, 2) // the other replica never fetches
		h.apply(records...)
		tp := tpOf("a", 0)
		end := h.produce("a", 0, 0, "x").LastOffset + 1
		start := time.Now()
		if err := h.AwaitCommit(t.Context(), tp, 0, end, time.Minute); kafka.CodeOf(err) != kafka.ErrRequestTimedOut || time.Since(start) != time.Minute {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		time.AfterFunc(time.Second, func() { // the other replica leaves the ISR
			change := metadata.NewPartitionChangeRecord(idOf("a"), 0)
			change.ISR = []int32{1}
			h.apply(change)
		})
		if err := h.AwaitCommit(t.Context(), tp, 0, end, time.Minute); err != nil {
			t.Error(err)
		}
		if err := h.AwaitCommit(t.Context(), tp, 0, end, 0); err != nil {
			t.Errorf("committed already: %v", err)
		}
		calls := 0
		h.WhenCommitted(tp, 0, end+1, func(err error) {
			calls++
			if kafka.CodeOf(err) != kafka.ErrUnknownTopicOrPartition {
				t.Errorf("got %v", err)
			}
		})
		if calls != 0 {
			t.Fatal("done was called before anything happened")
		}
		h.apply(&metadata.RemoveTopicRecord{TopicID: idOf("a")})
		if calls != 1 {
			t.Errorf("done was called %d times", calls)
		}
		if err := h.AwaitCommit(t.Context(), tp, 0, 1, time.Minute); kafka.CodeOf(err) != kafka.ErrUnknownTopicOrPartition {
			t.Errorf("got %v", err)
		}
	})
}

func TestCoordinatorsLog(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.create("a", 1)
	tp := tpOf("a", 0)
	for i := range 3 {
		end, err := h.Append(tp, 0, batchOf(t, 10, "x", "y"))
		if err != nil || end != int64(2*i+2) {
			t.Fatalf("end %d, %v", end, err)
		}
		committed := false
		h.WhenCommitted(tp, 0, end, func(err error) { committed = err == nil })
		if !committed {
			t.Error("not committed at once")
		}
	}
	start, end, err := h.Bounds(tp, 0)
	if start != 0 || end != 6 || err != nil {
		t.Errorf("bounds %d to %d, %v", start, end, err)
	}
	records := 0
	for offset := int64(0); ; {
		data, err := h.Read(tp, 0, offset, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 {
			break
		}
		b, _, err := record.Next(data)
		if err != nil {
			t.Fatal(err)
		}
		records += int(b.Count())
		offset = b.NextOffset()
	}
	if records != 6 {
		t.Errorf("%d records", records)
	}
	for name, err := range map[string]error{
		"bounds": func() error { _, _, err := h.Bounds(tp, 1); return err }(),
		"read":   func() error { _, err := h.Read(tp, 1, 0, 1); return err }(),
		"append": func() error { _, err := h.Append(tp, 1, batchOf(t, 0, "x")); return err }(),
	} {
		if kafka.CodeOf(err) != kafka.ErrUnknownLeaderEpoch {
			t.Errorf("%s in another epoch: %v", name, err)
		}
	}
}

func TestBuffersAreUsedOnce(t *testing.T) {
	t.Parallel()
	b := Buffers{memory: new(fetchMemory)}
	seen := map[*byte]bool{}
	for _, n := range []int{0, 1, 4096, 4097, 1 << 20, 8 << 20, 9 << 20} {
		got := b.next(n)
		if len(got) != n {
			t.Fatalf("asked for %d, got %d", n, len(got))
		}
		if n > 0 {
			if seen[&got[0]] {
				t.Fatalf("a buffer was given out twice")
			}
			seen[&got[0]] = true
		}
		b.endRead(true)
	}
	b.next(10)
	b.endRead(false)
	if len(b.held) != 7 {
		t.Errorf("%d buffers held", len(b.held))
	}
	b.Release()
	if len(b.held) != 0 {
		t.Error("still held")
	}
	b.Release()
}

func BenchmarkFetch(b *testing.B) {
	h := newHarness(b)
	h.options.Clock = env.SystemClock{}
	h.create("a", 1)
	for range 100 {
		h.produce("a", 0, 10_000, "x")
	}
	r := request(0, 1, partitionOf("a", 0, 0))
	b.ReportAllocs()
	for b.Loop() {
		var buffers Buffers
		results := h.Fetch(b.Context(), r, &buffers)
		b.SetBytes(int64(len(results[0].Records)))
		buffers.Release()
	}
}
