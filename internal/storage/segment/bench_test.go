package segment

import (
	"math/rand/v2"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
)

func benchSegment(b *testing.B, batchBytes int) (*Segment, int64) {
	cache := NewFileCache(FileCacheOptions{FS: vfs.OS{}, MaxOpen: 10})
	b.Cleanup(cache.Close)
	s := create(b, NewDir(b.TempDir(), DirOptions{FS: vfs.OS{}, Cache: cache}), 0)
	w := makeBatch(b, 0, []int64{1}, batchBytes)
	n := int64(64<<20) / int64(len(w.bytes))
	for i := range n {
		w.bytes.SetBaseOffset(i)
		check(b, s.Append(w.bytes))
	}
	check(b, s.Seal())
	return s, n
}

func BenchmarkLookup(b *testing.B) {
	s, n := benchSegment(b, 400)
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, found, err := s.Lookup(r.Int64N(n)); err != nil || !found {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookupNearTheEnd(b *testing.B) {
	s, n := benchSegment(b, 400)
	b.ReportAllocs()
	for b.Loop() {
		if _, found, err := s.Lookup(n - 3); err != nil || !found {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	cache := NewFileCache(FileCacheOptions{FS: vfs.OS{}, MaxOpen: 10})
	defer cache.Close()
	d := NewDir(b.TempDir(), DirOptions{FS: vfs.OS{}, Cache: cache})
	s := create(b, d, 0)
	w := makeBatch(b, 0, []int64{1}, 16<<10)
	b.SetBytes(int64(len(w.bytes)))
	b.ReportAllocs()
	next := int64(0)
	for b.Loop() {
		if !s.FitsBytes(len(w.bytes)) || s.SizeBytes() > 256<<20 {
			check(b, s.Seal())
			check(b, s.Remove())
			s = create(b, d, next)
		}
		w.bytes.SetBaseOffset(next)
		check(b, s.Append(w.bytes))
		next++
	}
}

func BenchmarkOpenAndActivate(b *testing.B) {
	s, _ := benchSegment(b, 4000)
	check(b, s.Flush())
	b.ReportAllocs()
	for b.Loop() {
		again, err := Open(s.dir, 0)
		check(b, err)
		check(b, again.Activate())
	}
}
