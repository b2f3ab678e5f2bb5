package segment

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// written is what a test knows of a batch.
type written struct {
	bytes      record.Batch
	timestamps []int64 // by offset delta
}

func (w written) base() int64 { return w.bytes.BaseOffset() }
func (w written) last() int64 { return w.bytes.LastOffset() }

func makeBatch(t testing.TB, base int64, timestamps []int64, valueBytes int) written {
	t.Helper()
	o := record.NoProducer(record.CodecNone)
	o.BaseOffset, o.LeaderEpoch = base, 3
	b := record.NewBuilder(o)
	value := bytes.Repeat([]byte("v"), valueBytes)
	for _, ts := range timestamps {
		b.Append(ts, nil, value, nil)
	}
	built, err := b.Build()
	check(t, err)
	return written{slices.Clone(built), timestamps}
}

// randomBatches returns batches from base on, a gap between some, timestamps that mostly ascend.
func randomBatches(t testing.TB, r *rand.Rand, base int64, n int) []written {
	var all []written
	for range n {
		timestamps := make([]int64, 1+r.IntN(4))
		for i := range timestamps {
			timestamps[i] = 1000 + base*10 + r.Int64N(200)
		}
		size := r.IntN(300)
		if r.IntN(10) == 0 {
			size = r.IntN(20000)
		}
		w := makeBatch(t, base, timestamps, size)
		all = append(all, w)
		base = w.last() + 1
		if r.IntN(8) == 0 {
			base += r.Int64N(20)
		}
	}
	return all
}

func join(batches []written) (data []byte) {
	for _, w := range batches {
		data = append(data, w.bytes...)
	}
	return data
}

const logFolder = "/data/t-0"

func memDir(t testing.TB, fsys vfs.FS, intervalBytes int) *Dir {
	t.Helper()
	check(t, fsys.MkdirAll(logFolder))
	return openDir(fsys, intervalBytes)
}

func openDir(fsys vfs.FS, intervalBytes int) *Dir {
	cache := NewFileCache(FileCacheOptions{FS: fsys, MaxOpen: 5})
	return NewDir(logFolder, DirOptions{FS: fsys, Cache: cache, IndexIntervalBytes: intervalBytes})
}

func create(t testing.TB, d *Dir, base int64) *Segment {
	t.Helper()
	s, err := Create(d, base)
	check(t, err)
	return s
}

func open(t testing.TB, d *Dir, base int64) *Segment {
	t.Helper()
	s, err := Open(d, base)
	check(t, err)
	return s
}

func readFile(t testing.TB, fsys vfs.FS, base int64, suffix string) []byte {
	t.Helper()
	data, err := vfs.ReadFile(fsys, filepath.Join(logFolder, FileName(base, suffix)), 1<<30)
	check(t, err)
	return data
}

func writeFile(t testing.TB, fsys vfs.FS, base int64, suffix string, data []byte) {
	t.Helper()
	check(t, vfs.WriteFileAtomic(fsys, filepath.Join(logFolder, FileName(base, suffix)), data))
}

// checkLookups compares s with the batches that it should hold.
func checkLookups(t testing.TB, s *Segment, batches []written, offset, timestamp int64) {
	t.Helper()
	at, found, err := s.Lookup(offset)
	check(t, err)
	position := int64(0)
	i := slices.IndexFunc(batches, func(w written) bool {
		if w.last() >= offset {
			return true
		}
		position += int64(len(w.bytes))
		return false
	})
	if found != (i >= 0) {
		t.Fatalf("lookup of offset %d: found %v, want %v", offset, found, i >= 0)
	}
	if found {
		want := BatchPosition{position, len(batches[i].bytes), batches[i].base(), batches[i].last(), 3, slices.Max(batches[i].timestamps)}
		if at != want {
			t.Fatalf("lookup of offset %d: %+v, want %+v", offset, at, want)
		}
	}
	checkTimestamp(t, s, batches, offset, timestamp)
}

func checkTimestamp(t testing.TB, s *Segment, batches []written, offset, timestamp int64) {
	t.Helper()
	got, found, err := s.FindByTimestamp(timestamp, offset)
	check(t, err)
	for _, w := range batches {
		for delta, ts := range w.timestamps {
			if o := w.base() + int64(delta); ts >= timestamp && o >= offset {
				if want := (TimestampOffset{ts, o, 3}); !found || got != want {
					t.Fatalf("timestamp %d from offset %d: %+v (%v), want %+v", timestamp, offset, got, found, want)
				}
				return
			}
		}
	}
	if found {
		t.Fatalf("timestamp %d from offset %d: found %+v where nothing is", timestamp, offset, got)
	}
}

// checkEnds compares size, next offset and largest timestamp of s with batches.
func checkEnds(t testing.TB, s *Segment, batches []written) {
	t.Helper()
	next, largest, size := s.BaseOffset(), largestTimestamp{kafka.NoTimestamp, s.BaseOffset()}, int64(0)
	for _, w := range batches {
		next, size = w.last()+1, size+int64(len(w.bytes))
		largest.note(BatchPosition{MaxTimestampMs: slices.Max(w.timestamps), LastOffset: w.last()})
	}
	if s.SizeBytes() != size {
		t.Fatalf("%d bytes, want %d", s.SizeBytes(), size)
	}
	if got, _, err := s.NextOffset(); got != next || err != nil {
		t.Fatalf("next offset %d, %v, want %d", got, err, next)
	}
	if ts, offset, err := s.LargestTimestamp(); err != nil || (largestTimestamp{ts, offset}) != largest {
		t.Fatalf("largest timestamp %d at %d, %v, want %+v", ts, offset, err, largest)
	}
}

// checkIndexFiles checks that the files are what a fresh walk of the log makes of it, up to where
// entries still wait in memory.
func checkIndexFiles(t testing.TB, fsys vfs.FS, base int64, interval int64) {
	t.Helper()
	want := newTail(base)
	position := int64(0)
	for rest := readFile(t, fsys, base, LogSuffix); len(rest) > 0; {
		b, left, err := record.Next(rest)
		check(t, err)
		want.note(positionOf(b, position, len(b)), base, interval)
		position, rest = position+int64(len(b)), left
	}
	if got := readFile(t, fsys, base, IndexSuffix); !bytes.Equal(got, want.offsets) {
		t.Fatalf("the .index has %d bytes %x, want %d bytes %x", len(got), got, len(want.offsets), want.offsets)
	}
	got := readFile(t, fsys, base, TimeIndexSuffix)
	if !bytes.Equal(got, want.times) {
		want.noteTime(base)
		if !bytes.Equal(got, want.times) {
			t.Fatalf("the .timeindex has %d bytes %x, want %d bytes %x", len(got), got, len(want.times), want.times)
		}
	}
}
