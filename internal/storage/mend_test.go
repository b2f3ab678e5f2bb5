package storage

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/segment"
)

// mendConfig has several batches in each of several segments.
func mendConfig() *LogConfig {
	c := testConfig()
	c.SegmentBytes = 900
	return c
}

// twoReplicas are a log on disk as it was closed, and the same in another process.
func twoReplicas(t *testing.T) (disk *vfs.Mem, other *Log) {
	t.Helper()
	disk = newMem(t)
	m, l := openLogOn(t, disk, mendConfig())
	for n := range 24 {
		mustProduce(t, l, plain(1+n%3), int32(n/9))
	}
	if err := errors.Join(l.Flush(), m.Shutdown(1)); err != nil {
		t.Fatal(err)
	}
	_, other = openLogOn(t, disk.KillClone(), mendConfig())
	return disk.KillClone(), other
}

func logFiles(t *testing.T, fsys *vfs.Mem) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := fsys.ReadDir(testDir + "/" + testTP.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, suffix, ok := segment.ParseFileName(e.Name()); ok && suffix == segment.LogSuffix {
			path := testDir + "/" + testTP.String() + "/" + e.Name()
			if files[path], err = vfs.ReadFile(fsys, path, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
	}
	return files
}

// readEverywhere meets all damage that a reader can meet.
func readEverywhere(l *Log) (isDamaged bool) {
	for offset := l.LogStartOffset(); offset < l.LogEndOffset(); offset++ {
		_, err := l.Read(ReadRequest{Offset: offset, MaxBytes: 1, MinOneBatch: true, UpTo: math.MaxInt64})
		isDamaged = isDamaged || kafka.CodeOf(err) == kafka.ErrCorruptMessage
	}
	return isDamaged
}

// mendFrom mends all damage with what another replica has.
func mendFrom(l, other *Log) (mended int, err error) {
	for {
		d, found, err := l.FirstDamage()
		if err != nil || !found {
			return mended, err
		}
		r, err := other.Read(ReadRequest{Offset: d.Offset, MaxBytes: int(d.SizeBytes()) + 100, MinOneBatch: true, UpTo: math.MaxInt64})
		if err != nil {
			return mended, err
		}
		fits, err := l.Mend(d, r.Records)
		if err != nil || !fits {
			return mended, errors.Join(err, d.Cause, errors.New("what another replica has does not fit"))
		}
		mended++
	}
}

// TestDamageIsMendedFromAnotherReplica flips a bit of every byte of every .log file: where a reader meets the damage, mending leaves the
// file as it was.
func TestDamageIsMendedFromAnotherReplica(t *testing.T) {
	t.Parallel()
	disk, other := twoReplicas(t)
	files := logFiles(t, disk)
	if len(files) < 3 {
		t.Fatalf("%d segments", len(files))
	}
	met := 0
	for path, data := range files {
		for position := range data {
			damaged := disk.KillClone()
			f := flipped{path: path, position: int64(position), bit: 1 << (position % 8)}
			if err := f.flip(damaged); err != nil {
				t.Fatal(err)
			}
			_, l := openLogOn(t, damaged, mendConfig())
			if !readEverywhere(l) {
				continue
			}
			met++
			if _, err := mendFrom(l, other); err != nil {
				t.Fatalf("%s, byte %d: %v", path, position, err)
			}
			if readEverywhere(l) {
				t.Fatalf("%s, byte %d: still damaged", path, position)
			}
			if after := logFiles(t, damaged); !bytes.Equal(after[path], data) {
				t.Fatalf("%s, byte %d: the file is not what it was", path, position)
			}
		}
	}
	if met < 1000 {
		t.Errorf("damage was met %d times only", met)
	}
}

// TestSeveralDamagedPlacesAreMended has bits flipped here and there, in batches beside each other too.
func TestSeveralDamagedPlacesAreMended(t *testing.T) {
	t.Parallel()
	disk, other := twoReplicas(t)
	files := logFiles(t, disk)
	last := slices.Max(slices.Collect(maps.Keys(files)))
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		damaged := disk.KillClone()
		for _, path := range slices.Sorted(maps.Keys(files)) {
			data := files[path]
			flips := 1 + random.IntN(4)
			if path == last { // with several, nothing tells where the log ends
				flips = 1
			}
			for range flips {
				if err := (flipped{path: path, position: random.Int64N(int64(len(data))), bit: 1 << random.IntN(8)}).flip(damaged); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, l := openLogOn(t, damaged, mendConfig())
		for readEverywhere(l) {
			if n, err := mendFrom(l, other); err != nil || n == 0 {
				t.Fatalf("seed %d: %d mended: %v", seed, n, err)
			}
		}
		if l.LogEndOffset() != other.LogEndOffset() {
			t.Fatalf("seed %d: the log ends at %d", seed, l.LogEndOffset())
		}
	}
}

// TestNothingElseIsPutInThePlaceOfDamage offers batches of other offsets, other sizes, another epoch, and damaged ones.
func TestNothingElseIsPutInThePlaceOfDamage(t *testing.T) {
	t.Parallel()
	disk, other := twoReplicas(t)
	files := logFiles(t, disk)
	first := testDir + "/" + testTP.String() + "/" + segment.FileName(0, segment.LogSuffix)
	if err := (flipped{path: first, position: 70, bit: 4}).flip(disk); err != nil {
		t.Fatal(err)
	}
	_, l := openLogOn(t, disk, mendConfig())
	readEverywhere(l)
	d, found, err := l.FirstDamage()
	if err != nil || !found || d.Offset != 0 || d.Next != 1 {
		t.Fatalf("found %v at %d to %d, %v", found, d.Offset, d.Next, err)
	}
	read := func(offset int64) []byte {
		r, err := other.Read(ReadRequest{Offset: offset, MaxBytes: 1, MinOneBatch: true, UpTo: math.MaxInt64})
		if err != nil {
			t.Fatal(err)
		}
		return r.Records
	}
	right := read(0)
	wrong := bytes.Clone(right)
	wrong[70] ^= 1
	anotherEpoch := bytes.Clone(right)
	anotherEpoch[15] = 7
	for name, records := range map[string][]byte{"nothing": nil, "the next batch": read(1), "a damaged one": wrong, "half of one": right[:50], "another epoch": anotherEpoch} {
		if fits, err := l.Mend(d, records); fits || err != nil {
			t.Errorf("%s: %v, %v", name, fits, err)
		}
	}
	if fits, err := l.Mend(d, append(bytes.Clone(right), read(1)[:30]...)); !fits || err != nil {
		t.Fatalf("the right one: %v, %v", fits, err)
	}
	if after := logFiles(t, disk); !bytes.Equal(after[first], files[first]) {
		t.Error("the file is not what it was")
	}
	if err := l.TruncateTo(3, startMs); err != nil {
		t.Fatal(err)
	}
	if fits, err := l.Mend(d, right); fits || err != nil {
		t.Errorf("after a truncation: %v, %v", fits, err)
	}
}

// TestDamageIsForgottenWithItsRecords says that damage is told to who watches, and is none below the log start offset.
func TestDamageIsForgottenWithItsRecords(t *testing.T) {
	t.Parallel()
	disk, _ := twoReplicas(t)
	first := testDir + "/" + testTP.String() + "/" + segment.FileName(0, segment.LogSuffix)
	if err := (flipped{path: first, position: 70, bit: 4}).flip(disk); err != nil {
		t.Fatal(err)
	}
	_, l := openLogOn(t, disk, mendConfig())
	told := 0
	l.OnDamage(func() { told++ })
	readEverywhere(l)
	if told == 0 {
		t.Fatal("nobody was told")
	}
	told = 0
	l.OnDamage(func() { told++ })
	if told != 1 {
		t.Errorf("who comes later was told %d times", told)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	if err := l.AdvanceLogStartOffset(1); err != nil {
		t.Fatal(err)
	}
	if d, found, err := l.FirstDamage(); found || err != nil {
		t.Errorf("damage at %d is found below the log start offset: %v", d.Offset, err)
	}
}

// oneSegment is a log in one segment, and where its batches begin in the file.
func oneSegment(t *testing.T, count func()) (l *Log, positions []int64, flip func(batch int)) {
	t.Helper()
	mem := newMem(t)
	path := testDir + "/" + testTP.String() + "/" + segment.FileName(0, segment.LogSuffix)
	config := testConfig()
	config.SegmentBytes = 1 << 20
	_, l = openLogOn(t, vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if op == vfs.OpRead && name == path {
			count()
		}
		return nil
	}), config)
	for range 24 {
		positions = append(positions, l.SizeBytes())
		mustProduce(t, l, plain(1), 0)
	}
	if last := positions[23]; logFiles(t, mem)[path] == nil || int64(len(logFiles(t, mem)[path])) <= last {
		t.Fatal("more than one segment")
	}
	return l, positions, func(batch int) {
		t.Helper()
		if err := (flipped{path: path, position: positions[batch] + 16, bit: 4}).flip(mem); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Read(ReadRequest{Offset: int64(batch), MaxBytes: 1, MinOneBatch: true, UpTo: math.MaxInt64}); kafka.CodeOf(err) != kafka.ErrCorruptMessage {
			t.Fatal(err)
		}
	}
}

// TestASegmentIsNotReadAgainForEachDamagedPlace, unless damage is met before the place that was found.
func TestASegmentIsNotReadAgainForEachDamagedPlace(t *testing.T) {
	t.Parallel()
	reads := 0
	l, _, flip := oneSegment(t, func() { reads++ })
	find := func(want int64) (d segment.Damage, cost int) {
		t.Helper()
		before := reads
		d, found, err := l.FirstDamage()
		if err != nil || found != (want >= 0) || found && d.Offset != want {
			t.Fatalf("found %v at %d, %v; want it at %d", found, d.Offset, err, want)
		}
		return d, reads - before
	}
	var right [24][]byte
	for _, batch := range []int{3, 20, 22} {
		r, err := l.Read(ReadRequest{Offset: int64(batch), MaxBytes: 1, MinOneBatch: true, UpTo: math.MaxInt64})
		if err != nil {
			t.Fatal(err)
		}
		right[batch] = bytes.Clone(r.Records)
	}
	mend := func(d segment.Damage) {
		t.Helper()
		if fits, err := l.Mend(d, right[d.Offset]); !fits || err != nil {
			t.Fatal(fits, err)
		}
	}
	flip(20)
	flip(22)
	d, whole := find(20)
	if _, again := find(20); 2*again > whole {
		t.Errorf("%d reads to find it, %d to find it again", whole, again)
	}
	mend(d)
	d, rest := find(22)
	if 2*rest > whole {
		t.Errorf("%d reads to find the first place, %d for the second", whole, rest)
	}
	flip(3)
	earlier, _ := find(3)
	mend(earlier)
	find(22)
	mend(d)
	find(-1)
	if readEverywhere(l) {
		t.Error("still damaged")
	}
}

// TestDamageIsCutOffBehindOtherDamage, as behind what DeleteRecords has hidden.
func TestDamageIsCutOffBehindOtherDamage(t *testing.T) {
	t.Parallel()
	for _, offset := range []int64{5, 6, 10, 11, 12, 23} {
		l, positions, flip := oneSegment(t, func() {})
		for _, batch := range []int{2, 5, 10, 11} {
			flip(batch)
		}
		l.AdvanceHighWatermark(l.LogEndOffset())
		if err := l.AdvanceLogStartOffset(4); err != nil {
			t.Fatal(err)
		}
		if err := l.TruncateDamage(offset, startMs); (err != nil) != (offset == 11) {
			t.Errorf("cut at %d: %v", offset, err)
		} else if err == nil && (l.LogEndOffset() != offset || l.SizeBytes() != positions[offset]) {
			t.Errorf("cut at %d, it ends at %d, with %d bytes", offset, l.LogEndOffset(), l.SizeBytes())
		}
		if l.Usable() != nil {
			t.Error(l.Usable())
		}
	}
}

// TestLostByMoreThanAKill: a kill leaves at most the last write incomplete. Where more had to be cut off, the broker must not say that it has everything.
func TestLostByMoreThanAKill(t *testing.T) {
	t.Parallel()
	disk := newMem(t)
	_, l := openLogOn(t, disk, testConfig())
	for range 5 {
		mustProduce(t, l, plain(1), 0)
	}
	path := testDir + "/" + testTP.String() + "/" + segment.FileName(0, segment.LogSuffix)
	size := l.SizeBytes()
	for name, c := range map[string]struct {
		harm func(f vfs.File) error
		lost bool
	}{
		"nothing":                            {func(vfs.File) error { return nil }, false},
		"an incomplete last batch":           {func(f vfs.File) error { return f.Truncate(size - 10) }, false},
		"a flipped bit in the middle":        {func(f vfs.File) error { _, err := f.WriteAt([]byte{0xff}, 150); return err }, true},
		"a flipped bit in the last batch":    {func(f vfs.File) error { _, err := f.WriteAt([]byte{0xff}, size-1); return err }, true},
		"a length that says it is not whole": {func(f vfs.File) error { _, err := f.WriteAt([]byte{0x7f}, 8); return err }, true},
	} {
		damaged := disk.KillClone()
		f, err := damaged.Open(path, true)
		if err == nil {
			err = errors.Join(c.harm(f), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		m, _ := openLogOn(t, damaged, testConfig())
		if m.HasLost() != c.lost {
			t.Errorf("%s: lost %v", name, m.HasLost())
		}
	}
}

// TestMendingForgetsNothingThatWasSent: pages of the file may lie in sockets, and a truncation must go on to leave them alone.
func TestMendingForgetsNothingThatWasSent(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	_, l := openLogOn(t, sendable{mem}, filesConfig())
	for range 3 {
		appendBytes(t, l, 100_000, startMs)
	}
	r, err := readFiles(l, 0, 250_000, startMs)
	if err != nil || r.File == nil || r.File.NextOffset != 2 {
		t.Fatalf("no part of a file, %v", err)
	}
	before, err := r.File.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	third := ReadRequest{Offset: 2, MaxBytes: 1, MinOneBatch: true, UpTo: math.MaxInt64}
	right, err := l.Read(third)
	if err != nil {
		t.Fatal(err)
	}
	right.Records = bytes.Clone(right.Records)
	if err := (flipped{path: testDir + "/" + testTP.String() + "/" + segment.FileName(0, segment.LogSuffix), position: l.SizeBytes() - 1, bit: 1}).flip(mem); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(third); kafka.CodeOf(err) != kafka.ErrCorruptMessage {
		t.Fatal(err)
	}
	d, found, err := l.FirstDamage()
	if err != nil || !found {
		t.Fatal(found, err)
	}
	if fits, err := l.Mend(d, right.Records); !fits || err != nil {
		t.Fatal(fits, err)
	}
	if err := l.TruncateTo(0, startMs); err != nil {
		t.Fatal(err)
	}
	appendBytes(t, l, 110_000, startMs)
	if after := bytesOf(t, r); !bytes.Equal(after, before) {
		t.Fatal("the pages that were sent have changed")
	}
}

// TestMendingWithoutRoomCostsNoLogDir: nor does it where too many files are open. It is tried again.
func TestMendingWithoutRoomCostsNoLogDir(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{syscall.ENOSPC, syscall.EMFILE} {
		disk, other := twoReplicas(t)
		first := testDir + "/" + testTP.String() + "/" + segment.FileName(0, segment.LogSuffix)
		if err := (flipped{path: first, position: 70, bit: 4}).flip(disk); err != nil {
			t.Fatal(err)
		}
		fails := false
		_, l := openLogOn(t, vfs.NewFault(disk, func(op vfs.Op, name string) error {
			if fails && op == vfs.OpWrite && name == first {
				return failure
			}
			return nil
		}), mendConfig())
		readEverywhere(l)
		fails = true
		if n, err := mendFrom(l, other); n > 0 || err == nil || l.Usable() != nil {
			t.Errorf("%v: %d mended, %v; %v", failure, n, err, l.Usable())
		}
		fails = false
		if n, err := mendFrom(l, other); n != 1 || err != nil {
			t.Errorf("%v is over: %d mended, %v", failure, n, err)
		}
	}
}

// TestLogGoesOnBehindADamagedEnd cuts off what is behind a batch whose base offset, which no checksum covers, has a flipped bit: it must not say
// where the log goes on.
func TestLogGoesOnBehindADamagedEnd(t *testing.T) {
	t.Parallel()
	disk := newMem(t)
	m, l := openLogOn(t, disk, testConfig())
	for range 3 {
		mustProduce(t, l, plain(1), 0)
	}
	first, err := l.Read(ReadRequest{MaxBytes: 1, MinOneBatch: true, UpTo: 3})
	if err := errors.Join(err, l.Flush(), m.Shutdown(1)); err != nil {
		t.Fatal(err)
	}
	disk = disk.KillClone()
	_, other := openLogOn(t, disk.KillClone(), testConfig())
	for _, mends := range []bool{true, false} {
		damaged := disk.KillClone()
		f := flipped{path: testDir + "/" + testTP.String() + "/" + segment.FileName(0, segment.LogSuffix), position: int64(len(first.Records)) + 2, bit: 128}
		if err := f.flip(damaged); err != nil {
			t.Fatal(err)
		}
		_, l := openLogOn(t, damaged, testConfig())
		if err := l.TruncateTo(2, startMs); err != nil {
			t.Fatal(err)
		}
		if !readEverywhere(l) {
			t.Fatal("there is no damage")
		}
		if mends {
			if n, err := mendFrom(l, other); n != 1 || err != nil {
				t.Fatalf("mended %d places, %v", n, err)
			}
		}
		mustProduce(t, l, plain(1), 0)
		if end := l.LogEndOffset(); end != 3 || readEverywhere(l) == mends {
			t.Errorf("mended %v: the log ends at %d", mends, end)
		}
	}
}
