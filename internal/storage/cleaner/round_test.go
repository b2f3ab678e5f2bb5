package cleaner

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

const nowMs = int64(1_700_000_000_000)

// batch describes a batch: keys, of which a trailing "-" makes a tombstone and "" is none.
type batch struct {
	base      int64
	keys      []string
	producer  int64 // 0 for none
	epoch     int16
	txn       bool
	marker    record.ControlKind
	isMarker  bool
	horizonMs int64
}

func (d batch) build(t testing.TB) record.Batch {
	t.Helper()
	o := record.NoProducer(record.CodecNone)
	o.BaseOffset, o.LeaderEpoch, o.Transactional = d.base, 0, d.txn || d.isMarker
	if d.producer > 0 {
		o.ProducerID, o.ProducerEpoch, o.BaseSequence = d.producer, d.epoch, 0
	}
	if d.isMarker {
		b, err := record.BuildControl(o, nowMs, d.marker, record.EndTxnMarker{}.Encode())
		return d.withHorizon(t, b, err)
	}
	builder := record.NewBuilder(o)
	for _, key := range d.keys {
		k, v := []byte(key), []byte("v")
		if key == "" {
			k = nil
		} else if key[len(key)-1] == '-' {
			k, v = k[:len(k)-1], nil
		}
		builder.Append(nowMs, k, v, nil)
	}
	b, err := builder.Build()
	return d.withHorizon(t, b, err)
}

func (d batch) withHorizon(t testing.TB, b record.Batch, err error) record.Batch {
	t.Helper()
	if err == nil && d.horizonMs != 0 {
		b, _, err = b.Filter(record.FilterOptions{HorizonMs: d.horizonMs, SetHorizon: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(b)
}

func newFolder(t testing.TB) *segment.Dir {
	t.Helper()
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/t-0"); err != nil {
		t.Fatal(err)
	}
	return segment.NewDir("/t-0", segment.DirOptions{FS: mem, Cache: segment.NewFileCache(segment.FileCacheOptions{FS: mem, MaxOpen: 10})})
}

// segments makes one closed segment of each list of batches.
func segments(t testing.TB, d *segment.Dir, lists ...[]batch) []*segment.Segment {
	t.Helper()
	var all []*segment.Segment
	for _, list := range lists {
		s, err := segment.Create(d, list[0].base)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range list {
			if err := s.Append(b.build(t)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Seal(); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func newRound(all []*segment.Segment, upTo int64) *Round {
	return &Round{Segments: all, UpTo: upTo, NowMs: nowMs, DeleteRetentionMs: 1000, MaxSegmentBytes: 1 << 20, MaxMapBytes: 1 << 16,
		MapLoadFactor: 0.9, BufferBytes: 1, Throttle: func(int) error { return nil }}
}

// result compacts everything into one segment and returns what it holds, one text for each batch.
func result(t testing.TB, d *segment.Dir, r *Round) []string {
	t.Helper()
	if _, err := r.BuildMap(); err != nil {
		t.Fatal(err)
	}
	target, err := segment.CreateCleaned(d, r.Segments[0].BaseOffset())
	if err == nil {
		err = r.Compact(r.Segments, target)
	}
	if err != nil {
		t.Fatal(err)
	}
	return describe(t, target)
}

func describe(t testing.TB, s *segment.Segment) (texts []string) {
	t.Helper()
	err := s.ScanBatches(0, func(_ segment.BatchPosition, b record.Batch) error {
		text := fmt.Sprintf("%d-%d", b.BaseOffset(), b.LastOffset())
		if ms, ok := b.DeleteHorizonMs(); ok {
			text += fmt.Sprintf(" horizon %+d", ms-nowMs)
		}
		for rec, err := range b.Records(record.UncompressedLimit(len(b))) {
			if err != nil {
				return err
			}
			switch {
			case b.IsControl():
				text += " marker"
			case rec.Value == nil:
				text += fmt.Sprintf(" %s-", rec.Key)
			default:
				text += fmt.Sprintf(" %s", rec.Key)
			}
		}
		texts = append(texts, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func commit(base, producer int64) batch {
	return batch{base: base, producer: producer, isMarker: true, marker: record.ControlCommit}
}

func abort(base, producer int64) batch {
	return batch{base: base, producer: producer, isMarker: true, marker: record.ControlAbort}
}

// TestWhatStays is the table of decisions.
func TestWhatStays(t *testing.T) {
	t.Parallel()
	entry := func(producer, first, last int64) []segment.AbortedTransaction {
		return []segment.AbortedTransaction{{ProducerID: producer, FirstOffset: first, LastOffset: last, LastStableOffset: last + 1}}
	}
	for name, c := range map[string]struct {
		batches    []batch
		aborted    []segment.AbortedTransaction
		producers  map[int64]LastRecord
		firstDirty int64
		want       []string
	}{
		"the newest of each key": {
			batches: []batch{{base: 0, keys: []string{"a", "b", "a"}}, {base: 3, keys: []string{"a", "c"}}},
			want:    []string{"0-2 b", "3-4 a c"},
		},
		"no record without a key, and the last batch of the round at least empty": {
			batches: []batch{{base: 0, keys: []string{"", "a"}}, {base: 2, keys: []string{""}}, {base: 3, keys: []string{"", ""}}},
			want:    []string{"0-1 a", "3-4"},
		},
		"a tombstone gets its horizon": {
			batches: []batch{{base: 0, keys: []string{"a"}}, {base: 1, keys: []string{"a-", "b"}}, {base: 3, keys: []string{"c"}}},
			want:    []string{"1-2 horizon +1000 a- b", "3-3 c"},
		},
		"a tombstone before its horizon stays, at it goes": {
			batches: []batch{{base: 0, keys: []string{"a-"}, horizonMs: nowMs + 1}, {base: 1, keys: []string{"b-", "c"}, horizonMs: nowMs}, {base: 3, keys: []string{"d"}}},
			want:    []string{"0-0 horizon +1 a-", "1-2 horizon +0 c", "3-3 d"},
		},
		"what is below the dirty part goes by the dirty part's keys only": {
			batches:    []batch{{base: 0, keys: []string{"a"}}, {base: 1, keys: []string{"a", "b"}}, {base: 3, keys: []string{"b"}}},
			firstDirty: 3, want: []string{"0-0 a", "1-2 a", "3-3 b"},
		},
		"a producer's last batch stays empty": {
			batches:   []batch{{base: 0, keys: []string{"a"}, producer: 7}, {base: 1, keys: []string{"a"}, producer: 8}, {base: 2, keys: []string{"a"}}},
			producers: map[int64]LastRecord{7: {LastDataOffset: 0}, 8: {LastDataOffset: 99}},
			want:      []string{"0-0", "2-2 a"},
		},
		"an aborted transaction shadows nothing and its marker stays": {
			batches: []batch{{base: 0, keys: []string{"a"}}, {base: 1, keys: []string{"a", "b"}, producer: 7, txn: true}, abort(3, 7), {base: 4, keys: []string{"z"}}},
			aborted: entry(7, 1, 3), want: []string{"0-0 a", "3-3 marker", "4-4 z"},
		},
		"a committed transaction's records count": {
			batches: []batch{{base: 0, keys: []string{"a"}}, {base: 1, keys: []string{"a"}, producer: 7, txn: true}, commit(2, 7), {base: 3, keys: []string{"z"}}},
			want:    []string{"1-1 a", "2-2 marker", "3-3 z"},
		},
		"a marker whose transaction is gone gets its horizon": {
			batches: []batch{commit(0, 7), abort(1, 8), {base: 2, keys: []string{"z"}}},
			want:    []string{"0-0 horizon +1000 marker", "1-1 horizon +1000 marker", "2-2 z"},
		},
		"at it the marker goes, unless the producer is known by it alone": {
			batches: []batch{{base: 0, producer: 7, isMarker: true, marker: record.ControlCommit, horizonMs: nowMs},
				{base: 1, producer: 8, isMarker: true, marker: record.ControlCommit, horizonMs: nowMs}, {base: 2, keys: []string{"z"}}},
			producers: map[int64]LastRecord{8: {LastDataOffset: -1}},
			want:      []string{"1-1", "2-2 z"},
		},
		"an aborted producer's plain batches are no part of it": {
			batches: []batch{{base: 0, keys: []string{"a"}, producer: 7, txn: true}, {base: 1, keys: []string{"b"}, producer: 8}, abort(2, 7), {base: 3, keys: []string{"z"}}},
			aborted: entry(7, 0, 2), want: []string{"1-1 b", "2-2 marker", "3-3 z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFolder(t)
			all := segments(t, d, c.batches)
			last := c.batches[len(c.batches)-1]
			r := newRound(all, last.base+int64(max(1, len(last.keys))))
			r.Aborted, r.Producers, r.FirstDirty = c.aborted, c.producers, c.firstDirty
			if got := result(t, d, r); !slices.Equal(got, c.want) {
				t.Errorf("left are %q, want %q", got, c.want)
			}
		})
	}
}

// TestIndexMustAgreeWithTheLog gives rounds transaction indexes that are wrong: nothing is removed on
// their word.
// TestDeletesStayForEver: delete.retention.ms may be as long as can be, which is later than any time that can be told.
func TestDeletesStayForEver(t *testing.T) {
	t.Parallel()
	d := newFolder(t)
	r := newRound(segments(t, d, []batch{{base: 0, keys: []string{"a-"}}, commit(1, 7), {base: 2, keys: []string{"b"}}}), 3)
	r.DeleteRetentionMs = math.MaxInt64
	if _, err := r.BuildMap(); err != nil {
		t.Fatal(err)
	}
	r.transactions = newTransactions(nil, 0)
	for _, b := range []record.Batch{batch{base: 0, keys: []string{"a-"}}.build(t), commit(1, 7).build(t)} {
		for range 3 { // rounds
			kept, err := r.filter(b, &writer{round: r})
			if err != nil || kept == nil || kept.Count() != 1 {
				t.Fatalf("the batch at offset %d has become %v, %v", b.BaseOffset(), kept, err)
			}
			if horizonMs, ok := kept.DeleteHorizonMs(); ok {
				t.Errorf("the batch at offset %d may go at %d", b.BaseOffset(), horizonMs)
			}
			b = slices.Clone(kept)
			r.NowMs += 1000
		}
	}
}

func TestIndexMustAgreeWithTheLog(t *testing.T) {
	t.Parallel()
	first := []batch{{base: 0, keys: []string{"a"}, producer: 7, txn: true}, commit(1, 7), {base: 2, keys: []string{"a"}, producer: 7, txn: true}}
	second := []batch{{base: 3, keys: []string{"b"}}}
	third := []batch{abort(4, 7), {base: 5, keys: []string{"c"}}}
	entry := func(producer, first, last int64) segment.AbortedTransaction {
		return segment.AbortedTransaction{ProducerID: producer, FirstOffset: first, LastOffset: last, LastStableOffset: last + 1}
	}
	for name, c := range map[string]struct {
		aborted    []segment.AbortedTransaction
		firstDirty int64
		good       bool
	}{
		"right":                      {aborted: []segment.AbortedTransaction{entry(7, 2, 4)}, good: true},
		"right, begun below":         {aborted: []segment.AbortedTransaction{entry(7, 2, 4)}, firstDirty: 3, good: true},
		"missing":                    {},
		"of another producer":        {aborted: []segment.AbortedTransaction{entry(8, 2, 4)}},
		"begins too early":           {aborted: []segment.AbortedTransaction{entry(7, 0, 4)}},
		"begins too early and below": {aborted: []segment.AbortedTransaction{entry(7, 0, 4)}, firstDirty: 3},
		"begins too late":            {aborted: []segment.AbortedTransaction{entry(7, 3, 4)}},
		"ends elsewhere":             {aborted: []segment.AbortedTransaction{entry(7, 2, 5)}},
		"lists a committed one":      {aborted: []segment.AbortedTransaction{entry(7, 0, 1), entry(7, 2, 4)}},
		"lists what never was":       {aborted: []segment.AbortedTransaction{entry(7, 2, 4), entry(9, 3, 3)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := segments(t, newFolder(t), first, second, third)
			r := newRound(all[:2], 4) // the marker is behind
			r.Rest, r.Aborted, r.FirstDirty = all[2:], c.aborted, c.firstDirty
			_, err := r.BuildMap()
			if c.good && err != nil || !c.good && !errors.Is(err, segment.ErrTxnIndex) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestFullMapEndsTheRoundEarly: what the memory does not suffice for stays as it is, and every round
// gets on.
func TestFullMapEndsTheRoundEarly(t *testing.T) {
	t.Parallel()
	var batches []batch
	for i := range int64(100) {
		batches = append(batches, batch{base: 2 * i, keys: []string{fmt.Sprint("a", i), "b"}})
	}
	d := newFolder(t)
	r := newRound(segments(t, d, batches), 200)
	r.MaxMapBytes = 1
	cleanedTo, err := r.BuildMap()
	if err != nil || cleanedTo <= 0 || cleanedTo >= 200 {
		t.Fatalf("cleaned to %d, %v", cleanedTo, err)
	}
	huge := batch{base: 0}
	for i := range 1000 {
		huge.keys = append(huge.keys, fmt.Sprint(i))
	}
	r = newRound(segments(t, newFolder(t), []batch{huge}), 1000)
	r.MaxMapBytes = 1
	if cleanedTo, err := r.BuildMap(); err != nil || cleanedTo != 1000 {
		t.Errorf("a batch of more keys than the map has: cleaned to %d, %v", cleanedTo, err)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	far := int64(1) << 31
	all := segments(t, newFolder(t), []batch{{base: 0, keys: []string{"a"}}}, []batch{{base: 10, keys: []string{"a"}}}, []batch{{base: 20, keys: []string{"a"}}},
		[]batch{{base: far, keys: []string{"a"}}}, []batch{{base: far + 10, keys: []string{"a"}}})
	size := all[0].SizeBytes()
	for name, c := range map[string]struct {
		maxBytes, cleanedTo int64
		want                string
	}{
		"by offsets":              {1 << 30, far + 20, "[[0 10 20] [2147483648 2147483658]]"},
		"by size":                 {2 * size, far + 20, "[[0 10] [20 2147483648] [2147483658]]"},
		"one larger than allowed": {size - 1, far + 20, "[[0] [10] [20] [2147483648] [2147483658]]"},
		"up to where it is known": {1 << 30, 11, "[[0 10]]"},
		"nothing":                 {1 << 30, 0, "[]"},
	} {
		r := newRound(all, far+20)
		r.MaxSegmentBytes = c.maxBytes
		var bases [][]int64
		for _, group := range r.Groups(c.cleanedTo) {
			bases = append(bases, nil)
			for _, s := range group {
				bases[len(bases)-1] = append(bases[len(bases)-1], s.BaseOffset())
			}
		}
		if got := fmt.Sprint(bases); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestThrottleEndsARound(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	d := newFolder(t)
	for n := range 6 {
		r := newRound(segments(t, newFolder(t), []batch{{base: 0, keys: []string{"a"}}, {base: 1, keys: []string{"a"}}}), 2)
		calls := 0
		r.Throttle = func(int) error {
			if calls++; calls > n {
				return stop
			}
			return nil
		}
		_, err := r.BuildMap()
		if err == nil {
			target, failure := segment.CreateCleaned(d, int64(n))
			if failure != nil {
				t.Fatal(failure)
			}
			err = r.Compact(r.Segments, target)
		}
		if n < 5 && !errors.Is(err, stop) {
			t.Errorf("after %d calls: %v", n, err)
		}
	}
}

// FuzzBatch cleans arbitrary bytes that pass for a batch: no panic, and what is left is a batch with
// the offsets of the one before.
func FuzzBatch(f *testing.F) {
	for _, b := range []batch{{base: 3, keys: []string{"a", "b-", ""}}, {base: 3, keys: []string{"a"}, producer: 7, txn: true}, commit(3, 7), abort(3, 7),
		{base: 1, keys: []string{"a-"}, horizonMs: nowMs}} {
		f.Add([]byte(b.build(f)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := record.Next(data)
		if err != nil || b.Magic() != record.Magic || b.LastOffsetDelta() < 0 || b.BaseOffset() < 0 || b.NextOffset() < 0 {
			return
		}
		r := newRound(nil, 1<<40)
		r.Aborted = []segment.AbortedTransaction{{ProducerID: 7, FirstOffset: 2, LastOffset: 3, LastStableOffset: 4}}
		r.Producers = map[int64]LastRecord{kafka.NoProducerID: {}, 7: {LastDataOffset: -1}}
		r.keys = NewOffsetMap(1000, 0.9, -1)
		r.transactions = newTransactions(r.Aborted, 0)
		if fits, err := r.mapBatch(b); err != nil || !fits {
			return
		}
		kept, err := r.filter(b, &writer{round: r})
		if err != nil || kept == nil {
			return
		}
		again, rest, err := record.Next(kept)
		if err != nil || len(rest) > 0 || again.BaseOffset() != b.BaseOffset() || again.LastOffset() != b.LastOffset() {
			t.Fatalf("%d bytes of offsets %d to %d became %d to %d: %v", len(b), b.BaseOffset(), b.LastOffset(), again.BaseOffset(), again.LastOffset(), err)
		}
	})
}
