package segment

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// recovered opens and recovers the only segment on fsys and returns how many batches are left.
func recovered(t testing.TB, fsys vfs.FS, interval int, o RecoverOptions, batches []written) (*Segment, RecoverResult, []written) {
	t.Helper()
	s := open(t, openDir(fsys, interval), 0)
	r, err := s.Recover(o)
	check(t, err)
	if r.ValidBytes != s.SizeBytes() {
		t.Fatalf("%d valid bytes in a log of %d", r.ValidBytes, s.SizeBytes())
	}
	left := slices.IndexFunc(batches, func(w written) bool { return w.base() >= r.NextOffset })
	if left >= 0 {
		batches = batches[:left]
	}
	checkEnds(t, s, batches)
	checkIndexFiles(t, fsys, 0, int64(interval))
	return s, r, batches
}

func TestRecoverCutsATornTailAtEveryByte(t *testing.T) {
	t.Parallel()
	whole := randomBatches(t, rand.New(rand.NewPCG(5, 1)), 0, 6)
	data := join(whole)
	lastStart := len(data) - len(whole[5].bytes)
	for size := lastStart; size <= len(data); size++ {
		mem := vfs.NewMem()
		create(t, memDir(t, mem, 100), 0)
		writeFile(t, mem, 0, LogSuffix, data[:size])
		s, r, left := recovered(t, mem, 100, RecoverOptions{RefuseDamageBeforeData: true}, whole)
		switch {
		case size == len(data):
			if r.Damage != nil || len(left) != 6 {
				t.Fatalf("whole log: %+v", r)
			}
		case size == lastStart:
			if r.Damage != nil || len(left) != 5 {
				t.Fatalf("log without the last batch: %+v", r)
			}
		case !errors.Is(r.Damage, record.ErrIncomplete) || r.Damage.Position != int64(lastStart) || r.TruncatedBytes != int64(size-lastStart) || len(left) != 5:
			t.Fatalf("cut at %d: %+v", size, r)
		}
		// It takes appends again.
		check(t, s.Append(makeBatch(t, r.NextOffset, []int64{1 << 40}, 10).bytes))
	}
}

func TestRecoverCutsAtACorruptBatch(t *testing.T) {
	t.Parallel()
	batches := randomBatches(t, rand.New(rand.NewPCG(6, 1)), 0, 40)
	data := join(batches)
	position := int64(len(join(batches[:20])))
	for name, flip := range map[string]int64{"crc": 60, "magic": 16, "length": 8, "base offset": 0, "last offset delta": 23} {
		for _, refuse := range []bool{false, true} {
			mem := vfs.NewMem()
			create(t, memDir(t, mem, 100), 0)
			damaged := slices.Clone(data)
			damaged[position+flip] ^= 0x80
			writeFile(t, mem, 0, LogSuffix, damaged)
			if refuse {
				_, err := open(t, openDir(mem, 100), 0).Recover(RecoverOptions{RefuseDamageBeforeData: true})
				c, ok := errors.AsType[*CorruptionError](err)
				if !ok || c.Position != position || c.Path == "" {
					t.Fatalf("%s: %v", name, err)
				}
				if got := readFile(t, mem, 0, LogSuffix); !slices.Equal(got, damaged) {
					t.Fatalf("%s: a refused recovery changed the log", name)
				}
				continue
			}
			_, r, left := recovered(t, mem, 100, RecoverOptions{}, batches)
			if name == "base offset" && len(left) == 20 {
				continue // now negative, found by its order
			}
			if len(left) != 20 || r.Damage == nil || r.Damage.Position != position || r.TruncatedBytes != int64(len(data))-position {
				t.Fatalf("%s: %d batches left, %+v", name, len(left), r)
			}
		}
	}
}

// TestRecoverReadsOnlyPastTheRecoveryPoint proves it with a CRC that is wrong below.
func TestRecoverReadsOnlyPastTheRecoveryPoint(t *testing.T) {
	t.Parallel()
	batches := randomBatches(t, rand.New(rand.NewPCG(7, 1)), 0, 100)
	mem := vfs.NewMem()
	s := create(t, memDir(t, mem, 100), 0)
	check(t, s.Append(join(batches[:50])))
	check(t, s.Flush())
	check(t, s.Append(join(batches[50:])))
	mem = mem.KillClone() // the entries of the second half are lost
	data := readFile(t, mem, 0, LogSuffix)
	data[len(join(batches[:10]))+61] ^= 1
	writeFile(t, mem, 0, LogSuffix, data)
	visited := batches[50].base()
	from := visited
	_, r, left := recovered(t, mem, 100, RecoverOptions{FromOffset: from, Visit: func(b record.Batch) error {
		if b.LastOffset() < from || b.BaseOffset() < visited {
			t.Errorf("visited offsets %d to %d", b.BaseOffset(), b.LastOffset())
		}
		visited = b.NextOffset()
		return nil
	}}, batches)
	if len(left) != 100 || visited != r.NextOffset || r.Damage != nil || r.IndexesRebuilt {
		t.Errorf("%d batches, visited up to %d, %+v", len(left), visited, r)
	}
	failure := errors.New("no")
	_, err := open(t, openDir(mem, 100), 0).Recover(RecoverOptions{FromOffset: from, Visit: func(record.Batch) error { return failure }})
	if !errors.Is(err, failure) {
		t.Errorf("error of Visit: %v", err)
	}
}

// TestRecoverDistrustsTheIndex gives it indexes that lie below the recovery point.
func TestRecoverDistrustsTheIndex(t *testing.T) {
	t.Parallel()
	batches := randomBatches(t, rand.New(rand.NewPCG(8, 1)), 0, 100)
	for name, change := range map[string]func(offsets, times []byte) ([]byte, []byte){
		"position": func(o, ts []byte) ([]byte, []byte) {
			for i := 7; i < len(o); i += 8 {
				o[i]++
			}
			return o, ts
		},
		"descending": func(o, ts []byte) ([]byte, []byte) { copy(o[80:], o[:8]); return o, ts },
		"time":       func(o, ts []byte) ([]byte, []byte) { copy(ts[60:], ts[:12]); return o, ts },
		"empty":      func(o, ts []byte) ([]byte, []byte) { return nil, nil },
	} {
		mem := vfs.NewMem()
		s := create(t, memDir(t, mem, 100), 0)
		check(t, s.Append(join(batches)))
		check(t, s.Flush())
		o, ts := change(readFile(t, mem, 0, IndexSuffix), readFile(t, mem, 0, TimeIndexSuffix))
		writeFile(t, mem, 0, IndexSuffix, o)
		writeFile(t, mem, 0, TimeIndexSuffix, ts)
		_, r, left := recovered(t, mem, 100, RecoverOptions{FromOffset: batches[90].base()}, batches)
		if len(left) != 100 || r.Damage != nil {
			t.Errorf("%s: %d batches, %+v", name, len(left), r)
		}
		if !r.IndexesRebuilt && name != "empty" {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// TestIndexIntoAPayload has an index entry that points at a batch stored as a record's value.
// Recovery must not take the end of that value for the end of the log.
func TestIndexIntoAPayload(t *testing.T) {
	t.Parallel()
	inner := makeBatch(t, 0, []int64{1}, 10).bytes
	o := record.NoProducer(record.CodecNone)
	o.LeaderEpoch = 3
	b := record.NewBuilder(o)
	b.Append(1, nil, append(slices.Clone(inner), "tail"...), nil)
	outer, err := b.Build()
	check(t, err)
	batches := []written{{outer, []int64{1}}, makeBatch(t, 1, []int64{2}, 10), makeBatch(t, 2, []int64{3}, 10)}
	mem := vfs.NewMem()
	s := create(t, memDir(t, mem, 100), 0)
	check(t, s.Append(join(batches)))
	check(t, s.Seal())
	position := bytes.Index(outer, inner)
	writeFile(t, mem, 0, IndexSuffix, appendOffsetEntry(nil, offsetEntry{1, int32(position)}))
	_, r, left := recovered(t, mem, 100, RecoverOptions{FromOffset: 2}, batches)
	if len(left) != 3 || r.Damage != nil || !r.IndexesRebuilt {
		t.Errorf("%d batches left, %+v", len(left), r)
	}
}

// TestHugeLengthAllocatesNothing has a length field that claims nearly the whole file. It is not
// parallel, because allocations are counted for the whole process.
func TestHugeLengthAllocatesNothing(t *testing.T) {
	mem := vfs.NewMem()
	create(t, memDir(t, mem, 100), 0)
	w := makeBatch(t, 0, []int64{1}, 10)
	data := append(slices.Clone([]byte(w.bytes)), make([]byte, 32<<20)...)
	bad := makeBatch(t, 1, []int64{1}, 10).bytes
	copy(data[len(w.bytes):], bad)
	size := len(data) - len(w.bytes) - 12
	copy(data[len(w.bytes)+8:], []byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)})
	writeFile(t, mem, 0, LogSuffix, data)
	s := open(t, openDir(mem, 100), 0)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 3 {
		if err := s.ScanBatches(0, func(BatchPosition, record.Batch) error { return nil }); !isCorruption(err) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

// script appends three runs of batches with flushes between, rolls and truncates; it returns
// what was flushed and everything that an append may have left.
func script(fsys vfs.FS, batches []written) (flushed, appended int, err error) {
	d := openDir(fsys, 100)
	s, err := Create(d, 0)
	if err != nil {
		return 0, 0, err
	}
	for part := range 3 {
		end := (part + 1) * 10
		for i := part * 10; i < end; i++ {
			if err := s.Append(batches[i].bytes); err != nil {
				// A failed append leaves nothing visible, and where it could, the next goes on.
				if errors.Is(err, ErrFailed) {
					return flushed, i, err
				}
				if err := s.Append(batches[i].bytes); err != nil {
					return flushed, i, err
				}
			}
		}
		if err := s.Flush(); err != nil {
			return flushed, end, err
		}
		flushed = end
	}
	if err := s.Seal(); err != nil {
		return 30, 30, err
	}
	return 30, 30, s.Flush()
}

// TestEveryDiskCallMayFail fails the Nth call of the script, then kills the process or cuts the
// power, and recovers: nothing flushed is lost, and what is there is a prefix of what was written.
func TestEveryDiskCallMayFail(t *testing.T) {
	t.Parallel()
	batches := randomBatches(t, rand.New(rand.NewPCG(9, 1)), 0, 30)
	for _, torn := range []bool{false, true} {
		for n := int64(1); ; n++ {
			mem := vfs.NewMem()
			check(t, mem.MkdirAll(logFolder))
			check(t, mem.SyncDir("/"))
			check(t, mem.SyncDir("/data"))
			fail := &vfs.FailAt{N: n, Torn: torn}
			flushed, appended, err := script(vfs.NewFault(mem, fail.Decide), batches)
			afterwards(t, mem.KillClone(), batches, appended, flushed)
			for i := range uint64(8) {
				seed := uint64(n)*8 + i
				afterwards(t, mem.CrashClone(env.NewSeededRandom(seed)), batches, flushed, flushed)
				if t.Failed() {
					t.Fatalf("fault at call %d, torn %v, seed %d: %v", n, torn, seed, err)
				}
			}
			if !fail.Failed() {
				break
			}
		}
	}
}

// afterwards recovers and expects at least the first least batches.
func afterwards(t *testing.T, fsys vfs.FS, batches []written, least, recoveryPoint int) {
	t.Helper()
	if _, err := fsys.Stat(logFolder + "/" + FileName(0, LogSuffix)); err != nil {
		if least > 0 {
			t.Errorf("the log is gone: %v", err)
		}
		return
	}
	from := int64(0)
	if recoveryPoint > 0 {
		from = batches[recoveryPoint-1].last() + 1
	}
	s, r, left := recovered(t, fsys, 100, RecoverOptions{FromOffset: from}, batches)
	if len(left) < least {
		t.Errorf("%d batches are left of %d: %+v", len(left), least, r)
	}
	i := 0
	check(t, s.ScanBatches(0, func(_ BatchPosition, b record.Batch) error {
		if !slices.Equal(b, batches[i].bytes) {
			t.Errorf("batch %d differs", i)
		}
		i++
		return nil
	}))
	for offset := int64(0); offset < r.NextOffset; offset += 9 {
		checkLookups(t, s, left, offset, 1000+offset*10)
	}
}
