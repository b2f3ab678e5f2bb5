package segment

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

func fuzzBatches(t testing.TB) []written {
	return randomBatches(t, rand.New(rand.NewPCG(10, 1)), 0, 40)
}

// FuzzIndexes opens a good log with any index files. Lookups by offset are right all the same;
// by timestamp they may miss, but do not fail.
func FuzzIndexes(f *testing.F) {
	batches := fuzzBatches(f)
	mem := vfs.NewMem()
	s := create(f, memDir(f, mem, 300), 0)
	check(f, s.Append(join(batches)))
	check(f, s.Seal())
	offsets, times := readFile(f, mem, 0, IndexSuffix), readFile(f, mem, 0, TimeIndexSuffix)
	f.Add(offsets, times, int64(50))
	f.Add(append(bytes.Clone(offsets), make([]byte, 800)...), times[:24], int64(0))
	f.Add(offsets[8:], append(times, 1), int64(20))
	f.Add([]byte{0, 0, 0, 1, 0, 0, 2, 0}, []byte{}, int64(9))
	f.Fuzz(func(t *testing.T, offsets, times []byte, offset int64) {
		mem := vfs.NewMem()
		create(t, memDir(t, mem, 300), 0)
		writeFile(t, mem, 0, LogSuffix, join(batches))
		writeFile(t, mem, 0, IndexSuffix, offsets)
		writeFile(t, mem, 0, TimeIndexSuffix, times)
		s := open(t, openDir(mem, 300), 0)
		at, found, err := s.Lookup(offset)
		check(t, err)
		last := batches[len(batches)-1].last()
		if found != (offset <= last) || found && at.LastOffset < offset {
			t.Fatalf("lookup of %d: %+v, %v", offset, at, found)
		}
		if offset >= 0 && offset <= last {
			want := 0
			for batches[want].last() < offset {
				want++
			}
			if at.BaseOffset != batches[want].base() {
				t.Fatalf("lookup of %d: %+v, want the batch from %d", offset, at, batches[want].base())
			}
		}
		_, _, err = s.FindByTimestamp(offset*10, 0)
		check(t, err)
		s = open(t, openDir(mem, 300), 0)
		r, err := s.Recover(RecoverOptions{FromOffset: offset})
		check(t, err)
		if r.Damage != nil || r.NextOffset != last+1 {
			t.Fatalf("recovery from %d: %+v", offset, r)
		}
	})
}

// FuzzRecover recovers any .log: what is left is good, ascending and takes appends.
func FuzzRecover(f *testing.F) {
	var data []byte
	for i := range int64(4) {
		data = append(data, makeBatch(f, i*2, []int64{i, i + 5}, 8).bytes...)
	}
	f.Add(data, int64(0))
	f.Add(data[:len(data)-7], int64(3))
	f.Add(append(bytes.Clone(data), make([]byte, 100)...), int64(-1))
	flipped := bytes.Clone(data)
	flipped[200] ^= 1
	f.Add(flipped, int64(0))
	f.Fuzz(func(t *testing.T, data []byte, from int64) {
		mem := vfs.NewMem()
		create(t, memDir(t, mem, 100), 0)
		writeFile(t, mem, 0, LogSuffix, data)
		s := open(t, openDir(mem, 100), 0)
		o := RecoverOptions{FromOffset: from % 8}
		r, err := s.Recover(o)
		check(t, err)
		if r.ValidBytes+r.TruncatedBytes != int64(len(data)) || r.ValidBytes != s.SizeBytes() {
			t.Fatalf("%+v of %d bytes", r, len(data))
		}
		if r.Rotten != nil { // left where it is; what follows it can be found
			_, err := s.SoundEnd()
			check(t, err)
			return
		}
		next := int64(0)
		check(t, s.ScanHeaders(0, func(at BatchPosition, _ record.Batch) error {
			if at.BaseOffset < next {
				t.Fatalf("offset %d follows %d", at.BaseOffset, next-1)
			}
			next = at.LastOffset + 1
			return nil
		}))
		if next != r.NextOffset {
			t.Fatalf("next offset %d, the log ends at %d", r.NextOffset, next)
		}
		if s.FitsOffset(next) {
			check(t, s.Append(makeBatch(t, next, []int64{1}, 10).bytes))
		}
		check(t, s.Seal())
	})
}
