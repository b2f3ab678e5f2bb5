package segment

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// TestModel appends, flushes, seals, reopens and truncates at random and compares every
// answer with a slice.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		interval := []int{1, 300, 4096}[r.IntN(3)]
		mem := vfs.NewMem()
		d := memDir(t, mem, interval)
		base := r.Int64N(3) * 1000
		s := create(t, d, base)
		var model []written
		for step := range 60 {
			next := base
			if len(model) > 0 {
				next = model[len(model)-1].last() + 1
			}
			switch op := r.IntN(12); {
			case op < 5:
				batches := randomBatches(t, r, next, 1+r.IntN(12))
				check(t, s.Append(join(batches)))
				model = append(model, batches...)
			case op == 5:
				check(t, s.Flush())
			case op == 6:
				check(t, s.Seal())
				if r.IntN(2) == 0 {
					s = open(t, openDir(mem, interval), base)
				}
				checkLookups(t, s, model, base+r.Int64N(next-base+2), 1000+r.Int64N(next*10+10))
				checkEnds(t, s, model)
				check(t, s.Activate())
			case op == 7 && r.IntN(2) == 0:
				to := base + r.Int64N(next-base+2)
				before := s.SizeBytes()
				n, err := s.Truncate(to)
				check(t, err)
				for len(model) > 0 && model[len(model)-1].last() >= to {
					model = model[:len(model)-1]
				}
				if s.SizeBytes() != before-n {
					t.Fatalf("seed %d step %d: truncation says %d bytes went", seed, step, n)
				}
			default:
				checkLookups(t, s, model, base+r.Int64N(next-base+2), 1000+r.Int64N(next*10+10))
			}
			if t.Failed() {
				t.Fatalf("seed %d step %d", seed, step)
			}
			checkEnds(t, s, model)
			if n := s.dir.cache.rebuilds.Value(); n != 0 {
				t.Fatalf("seed %d step %d: %d rebuilds of good indexes", seed, step, n)
			}
		}
		check(t, s.Flush())
		var all int
		check(t, s.ScanBatches(0, func(at BatchPosition, b record.Batch) error {
			if string(b) != string(model[all].bytes) {
				t.Fatalf("seed %d: batch %d differs", seed, all)
			}
			all++
			return nil
		}))
		if all != len(model) {
			t.Fatalf("seed %d: %d batches of %d", seed, all, len(model))
		}
	}
}

func TestAppendRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	s := create(t, memDir(t, vfs.NewMem(), 0), 100)
	check(t, s.Append(makeBatch(t, 100, []int64{1, 2}, 5).bytes))
	huge := makeBatch(t, 102, []int64{1}, 5)
	huge.bytes.SetBaseOffset(100 + math.MaxInt32 + 1)
	for name, data := range map[string][]byte{
		"an offset again":        makeBatch(t, 101, []int64{1}, 5).bytes,
		"a torn batch":           makeBatch(t, 102, []int64{1}, 5).bytes[:70],
		"an offset out of range": huge.bytes,
	} {
		if err := s.Append(data); err == nil {
			t.Errorf("%s was appended", name)
		}
	}
	if s.FitsOffset(99) || s.FitsOffset(100+math.MaxInt32+1) || !s.FitsOffset(100+math.MaxInt32) {
		t.Error("FitsOffset")
	}
	if s.FitsBytes(math.MaxInt32) || !s.FitsBytes(1<<30) {
		t.Error("FitsBytes")
	}
	check(t, s.Append(makeBatch(t, 102, []int64{1}, 5).bytes))
}

func TestFailedAppendLeavesNothing(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	var fail func(vfs.Op) error
	fault := vfs.NewFault(mem, func(op vfs.Op, _ string) error { return fail(op) })
	fail = func(vfs.Op) error { return nil }
	s := create(t, memDir(t, fault, 0), 0)
	torn := func(op vfs.Op) error {
		if op == vfs.OpWrite {
			return &vfs.TornWrite{Bytes: 900, Err: vfs.ErrInjected}
		}
		return nil
	}
	fail = torn
	if err := s.Append(makeBatch(t, 0, []int64{1}, 1000).bytes); !errors.Is(err, vfs.ErrInjected) || errors.Is(err, ErrFailed) {
		t.Errorf("append: %v", err)
	}
	fail = func(vfs.Op) error { return nil }
	small := makeBatch(t, 0, []int64{1}, 10)
	check(t, s.Append(small.bytes))
	if data := readFile(t, mem, 0, LogSuffix); string(data) != string(small.bytes) {
		t.Errorf("%d bytes in the log, %d were appended", len(data), len(small.bytes))
	}
	fail = func(op vfs.Op) error {
		if op == vfs.OpTruncate {
			return vfs.ErrInjected
		}
		return torn(op)
	}
	if err := s.Append(makeBatch(t, 1, []int64{1}, 1000).bytes); !errors.Is(err, ErrFailed) {
		t.Errorf("append that cannot be cut back: %v", err)
	}
	fail = func(vfs.Op) error { return nil }
	if err := s.Append(makeBatch(t, 1, []int64{1}, 10).bytes); !errors.Is(err, ErrFailed) {
		t.Errorf("append to a failed segment: %v", err)
	}
	checkLookups(t, s, []written{small}, 0, 1)
}

func TestFailedSyncEndsAppends(t *testing.T) {
	t.Parallel()
	var failing bool
	fault := vfs.NewFault(vfs.NewMem(), func(op vfs.Op, _ string) error {
		if failing && op == vfs.OpSync {
			return vfs.ErrInjected
		}
		return nil
	})
	s := create(t, memDir(t, fault, 0), 0)
	check(t, s.Append(makeBatch(t, 0, []int64{1}, 10).bytes))
	failing = true
	if err := s.Flush(); !errors.Is(err, ErrFailed) || !errors.Is(err, vfs.ErrInjected) {
		t.Errorf("flush: %v", err)
	}
	failing = false
	if err := s.Flush(); !errors.Is(err, ErrFailed) {
		t.Errorf("a second flush takes lost pages for durable: %v", err)
	}
	if err := s.Append(makeBatch(t, 1, []int64{1}, 10).bytes); !errors.Is(err, ErrFailed) {
		t.Errorf("append: %v", err)
	}
}

func TestOpenRefusesAnOversizedLog(t *testing.T) {
	t.Parallel()
	d := NewDir(t.TempDir(), DirOptions{FS: vfs.OS{}, Cache: NewFileCache(FileCacheOptions{FS: vfs.OS{}, MaxOpen: 2})})
	f, err := vfs.OS{}.Create(d.join(FileName(0, LogSuffix)))
	check(t, err)
	check(t, f.Truncate(MaxSizeBytes+1)) // sparse
	check(t, f.Close())
	if _, err := Open(d, 0); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("opened: %v", err)
	}
}

func TestIndexesFull(t *testing.T) {
	t.Parallel()
	d := memDir(t, vfs.NewMem(), 1)
	d.SetIndexLimits(1, 3*offsetEntryBytes)
	s := create(t, d, 0)
	for i := int64(0); !s.IndexesFull(); i++ {
		if i == 6 {
			t.Fatal("the indexes never get full")
		}
		check(t, s.Append(makeBatch(t, i, []int64{5}, 5).bytes))
	}
}

func TestReadAt(t *testing.T) {
	t.Parallel()
	s := create(t, memDir(t, vfs.NewMem(), 0), 0)
	w := makeBatch(t, 0, []int64{7}, 50)
	check(t, s.Append(w.bytes))
	buf := make([]byte, 1000)
	if n, err := s.ReadAt(buf, 10); err != nil || string(buf[:n]) != string(w.bytes[10:]) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := s.ReadAt(buf, s.SizeBytes()); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if ts, err := s.FirstTimestamp(); ts != 7 || err != nil {
		t.Errorf("first timestamp %d, %v", ts, err)
	}
}

func TestDeletionWaitsForReaders(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	d := memDir(t, mem, 100)
	s := create(t, d, 0)
	batches := randomBatches(t, rand.New(rand.NewPCG(1, 1)), 0, 50)
	check(t, s.Append(join(batches)))
	check(t, s.Seal())
	if !s.Acquire() {
		t.Fatal("cannot acquire")
	}
	check(t, s.MarkDeleted())
	check(t, s.MarkDeleted())
	if _, err := mem.Stat(logFolder + "/00000000000000000000.log.deleted"); err != nil {
		t.Error(err)
	}
	checkLookups(t, s, batches, 30, 1200)
	if err := s.Remove(); !errors.Is(err, ErrInUse) {
		t.Errorf("removed under a reader: %v", err)
	}
	s.Release()
	check(t, s.Remove())
	check(t, s.Remove())
	if s.Acquire() {
		t.Error("acquired after the removal")
	}
	if entries, _ := mem.ReadDir(logFolder); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestReadsGoOnAcrossRenames(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	d := memDir(t, mem, 100)
	s := create(t, d, 0)
	batches := randomBatches(t, rand.New(rand.NewPCG(2, 1)), 0, 100)
	check(t, s.Append(join(batches)))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 3 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 9))
			for {
				select {
				case <-stop:
					return
				default:
					if _, found, err := s.Lookup(r.Int64N(batches[99].last())); err != nil || !found {
						t.Errorf("lookup: %v, %v", found, err)
						return
					}
				}
			}
		})
	}
	for i := range 50 {
		check(t, d.Rename([]string{"/data/b", "/data/a"}[i%2], []*Segment{s}))
	}
	check(t, s.MarkDeleted())
	close(stop)
	readers.Wait()
	checkLookups(t, s, batches, 50, 1500)
}

// TestConcurrentReadersAndFlushes reads what an appender has published, under -race above all.
func TestConcurrentReadersAndFlushes(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := create(t, memDir(t, mem, 200), 0)
	batches := randomBatches(t, rand.New(rand.NewPCG(3, 1)), 0, 300)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for i := range 3 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 9))
			for {
				select {
				case <-done:
					return
				default:
				}
				if i == 0 {
					if err := s.Flush(); err != nil {
						t.Error(err)
						return
					}
					continue
				}
				next, _, err := s.NextOffset()
				if err != nil {
					t.Error(err)
					return
				}
				if next == 0 {
					continue
				}
				if at, found, err := s.Lookup(r.Int64N(next)); err != nil || !found {
					t.Errorf("lookup below %d: %v %v %v", next, at, found, err)
					return
				}
			}
		})
	}
	for _, w := range batches {
		check(t, s.Append(w.bytes))
	}
	close(done)
	readers.Wait()
	check(t, s.Flush())
	checkEnds(t, s, batches)
	checkIndexFiles(t, mem, 0, 200)
}

func TestIdleSegmentIsSmall(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(Segment{}); size > 160 {
		t.Errorf("a segment costs %d bytes", size)
	}
	s := create(t, memDir(t, vfs.NewMem(), 0), 0)
	check(t, s.Append(makeBatch(t, 0, []int64{1}, 10000).bytes))
	check(t, s.Append(makeBatch(t, 1, []int64{2}, 10000).bytes))
	check(t, s.Flush())
	if len(s.tail.offsets)+cap(s.tail.offsets)+cap(s.tail.times) != 0 {
		t.Error("a flushed segment keeps entries in memory")
	}
	check(t, s.Seal())
	if s.tail != nil {
		t.Error("a sealed segment keeps its tail")
	}
}

func TestParseFileName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"00000000000000000042.log":                   ".log",
		"00000000000000000042.timeindex":             ".timeindex",
		"00000000000000000042.index.deleted":         ".index.deleted",
		"00000000000000000042.snapshot":              ".snapshot",
		"00000000000000000042.log.swap":              "",
		"0000000000000000004x.log":                   "",
		"99999999999999999999.log":                   "",
		"leader-epoch-checkpoint":                    "",
		"00000000000000000042":                       "",
		"00000000000000000042-0000000001.checkpoint": "",
	} {
		base, suffix, ok := ParseFileName(name)
		if ok != (want != "") || ok && (base != 42 || suffix != want || FileName(base, suffix) != name) {
			t.Errorf("%s: %d %q %v", name, base, suffix, ok)
		}
	}
	if FileName(math.MaxInt64, LogSuffix) != "09223372036854775807.log" {
		t.Error(FileName(math.MaxInt64, LogSuffix))
	}
}

// TestWrongIndexesAreRebuilt damages the index files in the ways a disk or another program may.
func TestWrongIndexesAreRebuilt(t *testing.T) {
	t.Parallel()
	batches := randomBatches(t, rand.New(rand.NewPCG(4, 1)), 0, 200)
	mangle := map[string]func(t *testing.T, fsys vfs.FS){
		"index missing": func(t *testing.T, fsys vfs.FS) {
			check(t, fsys.Remove(logFolder+"/"+FileName(0, IndexSuffix)))
		},
		"time index missing": func(t *testing.T, fsys vfs.FS) {
			check(t, fsys.Remove(logFolder+"/"+FileName(0, TimeIndexSuffix)))
		},
		"time index empty": func(t *testing.T, fsys vfs.FS) { writeFile(t, fsys, 0, TimeIndexSuffix, nil) },
		"partial entry": func(t *testing.T, fsys vfs.FS) {
			writeFile(t, fsys, 0, IndexSuffix, readFile(t, fsys, 0, IndexSuffix)[:21])
		},
		"descending": func(t *testing.T, fsys vfs.FS) {
			data := readFile(t, fsys, 0, IndexSuffix)
			copy(data[16:], data[:8])
			writeFile(t, fsys, 0, IndexSuffix, data)
		},
		"entries behind zeros": func(t *testing.T, fsys vfs.FS) {
			data := readFile(t, fsys, 0, TimeIndexSuffix)
			clear(data[12:24])
			writeFile(t, fsys, 0, TimeIndexSuffix, data)
		},
		"positions off by one": func(t *testing.T, fsys vfs.FS) {
			data := readFile(t, fsys, 0, IndexSuffix)
			for i := 7; i < len(data); i += 8 {
				data[i] ^= 1
			}
			writeFile(t, fsys, 0, IndexSuffix, data)
		},
		"positions of later batches": func(t *testing.T, fsys vfs.FS) {
			data := readFile(t, fsys, 0, IndexSuffix)
			var shifted []byte
			for i := 0; i+16 <= len(data); i += 8 {
				shifted = append(append(shifted, data[i:i+4]...), data[i+12:i+16]...)
			}
			writeFile(t, fsys, 0, IndexSuffix, shifted)
		},
		"beyond the log": func(t *testing.T, fsys vfs.FS) {
			data := appendOffsetEntry(readFile(t, fsys, 0, IndexSuffix), offsetEntry{1 << 20, 1 << 30})
			writeFile(t, fsys, 0, IndexSuffix, data)
		},
	}
	for name, change := range mangle {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := vfs.NewMem()
			s := create(t, memDir(t, mem, 100), 0)
			check(t, s.Append(join(batches)))
			check(t, s.Seal())
			change(t, mem)
			d := openDir(mem, 100)
			s = open(t, d, 0)
			for i := int64(0); i <= batches[199].last()+1; i += 7 {
				checkLookups(t, s, batches, i, 1000+i*10)
			}
			checkEnds(t, s, batches)
			if d.cache.rebuilds.Value() != 1 {
				t.Errorf("%d rebuilds", d.cache.rebuilds.Value())
			}
			checkIndexFiles(t, mem, 0, 100)
		})
	}
}

// TestShortIndexOfALongLogIsRebuilt keeps lookups from walking megabytes of log.
func TestShortIndexOfALongLogIsRebuilt(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := create(t, memDir(t, mem, 4096), 0)
	var batches []written
	for i := range int64(300) {
		batches = append(batches, makeBatch(t, i, []int64{i}, 10000))
	}
	check(t, s.Append(join(batches)))
	check(t, s.Seal())
	writeFile(t, mem, 0, IndexSuffix, readFile(t, mem, 0, IndexSuffix)[:80])
	d := openDir(mem, 4096)
	s = open(t, d, 0)
	checkLookups(t, s, batches, 250, 250)
	if d.cache.rebuilds.Value() != 1 {
		t.Error("a short index was not noticed")
	}
}

func TestMissingLog(t *testing.T) {
	t.Parallel()
	if _, err := Open(memDir(t, vfs.NewMem(), 0), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened: %v", err)
	}
	if _, err := Create(memDir(t, vfs.NewMem(), 0), -1); err == nil {
		t.Error("created at a negative offset")
	}
}

// TestTimestampZeroIsNoPadding begins a segment with a record of 1970: its time entry would be
// all zero, which a reader of the index takes for padding.
func TestTimestampZeroIsNoPadding(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	d := memDir(t, mem, 1)
	s := create(t, d, 0)
	for base, timestamp := range []int64{0, 0, 0, 3000} {
		check(t, s.Append(makeBatch(t, int64(base), []int64{timestamp}, 10).bytes))
	}
	check(t, s.Seal())
	check(t, s.Flush())
	s = open(t, d, 0)
	if largest, offset, err := s.LargestTimestamp(); err != nil || largest != 3000 || offset != 3 {
		t.Fatalf("largest timestamp %d at %d, %v", largest, offset, err)
	}
	if n := d.cache.rebuilds.Value(); n != 0 {
		t.Errorf("%d rebuilds of good indexes", n)
	}
	if r, found, err := s.FindByTimestamp(0, 0); err != nil || !found || r.Offset != 0 {
		t.Errorf("the first record by its timestamp: %+v %v %v", r, found, err)
	}
}
