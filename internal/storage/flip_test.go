package storage

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/segment"
)

// flipTopics are the kinds of data whose files lose a bit.
var flipTopics = []string{"plain", "idempotent", "transactional", "compacted"}

func flipTP(topic string) kafka.TopicIDPartition {
	return kafka.TopicIDPartition{TopicID: kafka.UUID{1, 2, 3, 4, 5, 6, 0x47, 8, 0x80 | byte(len(topic))}, TopicPartition: kafka.TopicPartition{Topic: topic}}
}

func flipConfig(topic string) *LogConfig {
	c := testConfig()
	c.SegmentBytes, c.IndexIntervalBytes = 900, 150
	c.Compact = topic == "compacted"
	c.MinCleanableRatio = 0
	return c
}

// flipData writes a log dir with a log of every kind, in several leader epochs, partly flushed.
func flipData(t testing.TB, clean bool) *vfs.Mem {
	t.Helper()
	mem := newMem(t)
	m := open(t, mem, testConfig())
	now := startMs
	for i, topic := range flipTopics {
		l, err := m.GetOrCreate(flipTP(topic), flipConfig(topic), startMs)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 24 {
			now += 10
			flipAppend(t, l, topic, n, now)
			if n == 17 {
				if err := errors.Join(l.Flush(), m.FlushDir(0, now+flushIntervalMs)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if topic == "compacted" {
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
			if _, err := m.CleanDirtiest(CleanOptions{NowMs: now, MapBytes: 1 << 20, MapLoadFactor: 0.9, BufferBytes: 1 << 10, Throttle: func(int) error { return nil }}); err != nil {
				t.Fatal(err)
			}
			if l.CleanedOffset() == 0 {
				t.Fatal("nothing was compacted")
			}
		}
		if i == 0 {
			if err := l.AdvanceLogStartOffset(3); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(m.CheckpointHighWatermarks(), m.CheckpointLogStartOffsets(), m.RemoveDeleted(math.MaxInt64), m.FlushDir(0, startMs)); err != nil {
		t.Fatal(err)
	}
	if clean {
		if err := m.Shutdown(5); err != nil {
			t.Fatal(err)
		}
	}
	return mem
}

func flipAppend(t testing.TB, l *Log, topic string, n int, nowMs int64) {
	t.Helper()
	epoch := int32(n / 9)
	if topic == "transactional" {
		epoch = 0
	}
	if err := l.AssignEpochStart(epoch, l.LogEndOffset()); err != nil {
		t.Fatal(err)
	}
	s := plain(1 + n%3)
	s.timestampMs = nowMs
	producer := int64(7 + n%2)
	switch {
	case topic == "transactional" && n%6 >= 4:
		_, err := appendMarker(t, l, 7+int64(n%2), 0, 0, n%12 == 4, 0)
		if err != nil {
			t.Fatal(err)
		}
		l.AdvanceHighWatermark(math.MaxInt64)
		return
	case topic == "transactional":
		if _, err := writeInTransaction(t, l, producer, 0, int32(n/6*4+n%6/2*2), 2); err != nil {
			t.Fatal(err)
		}
		return
	case topic == "idempotent":
		s = idempotent(producer, 0, int32(2*(n/2)), 2)
		s.timestampMs = nowMs
	}
	if _, err := produce(l, s.build(t, uint64(1000*n)), epoch, nowMs); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(math.MaxInt64)
}

// flipView is what readers can see of a log.
type flipView struct {
	start, end int64
	flushed    int64            // the recovery point
	records    map[int64]string // by offset
	offsets    []int64
	batchOf    map[int64]int64 // offset to its batch's base offset
	aborted    []segment.AbortedTransaction
	byTime     map[int64]int64
}

func viewOf(t testing.TB, l *Log) flipView {
	t.Helper()
	v := flipView{start: l.LogStartOffset(), end: l.LogEndOffset(), records: map[int64]string{}, batchOf: map[int64]int64{}, byTime: map[int64]int64{}}
	for _, b := range readAll(t, l) {
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			offset := b.BaseOffset() + int64(r.OffsetDelta)
			v.records[offset], v.batchOf[offset] = recordText(b, r), b.BaseOffset()
			v.offsets = append(v.offsets, offset)
		}
	}
	var err error
	if v.aborted, err = abortedOf(l, v); err != nil {
		t.Fatal(err)
	}
	for ms := startMs; ms < startMs+1000; ms += 37 {
		if v.byTime[ms], err = offsetByTime(l, ms); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func recordText(b record.Batch, r record.Record) string {
	if string(r.Value) == "appended" {
		return "appended"
	}
	return fmt.Sprintf("%d %d %d %q %x", b.PartitionLeaderEpoch(), b.ProducerID(), r.Timestamp, r.Key, r.Value)
}

func offsetByTime(l *Log, ms int64) (int64, error) {
	r, found, err := l.OffsetForTimestamp(ms, math.MaxInt64)
	if !found {
		return -1, err
	}
	return r.Offset, err
}

// checkFlipped reads the log from every offset. Whatever is read is what was written there; the
// errors name the damage. It returns how many batches could not be read.
func checkFlipped(l *Log, want flipView, mayLoseFrom int64) (unreadable map[int64]bool, err error) {
	unreadable = map[int64]bool{}
	start, end := l.LogStartOffset(), l.LogEndOffset()
	if end < mayLoseFrom && end < want.end {
		return nil, fmt.Errorf("the log ends at %d, want %d", end, want.end)
	}
	if end > want.end {
		return nil, fmt.Errorf("the log ends at %d, want %d", end, want.end)
	}
	for offset := max(start, want.start); offset < end; offset++ {
		r, err := l.Read(ReadRequest{Offset: offset, MaxBytes: 1 << 20, MinOneBatch: true, UpTo: math.MaxInt64})
		next, _ := slices.BinarySearch(want.offsets, offset)
		if err != nil {
			if kafka.CodeOf(err) != kafka.ErrCorruptMessage || !strings.Contains(err.Error(), ".log is corrupt at position") {
				return nil, fmt.Errorf("reading at %d: %w", offset, err)
			}
			// In a hole before a batch it is the one before the hole that may have had the offset.
			if next < len(want.offsets) && want.batchOf[want.offsets[next]] <= offset {
				unreadable[want.batchOf[want.offsets[next]]] = true
			}
			continue
		}
		if len(r.Records) == 0 {
			return nil, fmt.Errorf("nothing to read at %d below the end %d", offset, end)
		}
		for rest := r.Records; len(rest) > 0; {
			b, left, err := record.Next(rest)
			if err != nil {
				return nil, err
			}
			rest = left
			for rec, err := range b.Records(1 << 20) {
				if err != nil {
					return nil, err
				}
				at := b.BaseOffset() + int64(rec.OffsetDelta)
				if at < offset {
					continue
				}
				if next >= len(want.offsets) || want.offsets[next] != at {
					return nil, fmt.Errorf("read offset %d from %d on, which is not the next one", at, offset)
				}
				if got := recordText(b, rec); got != want.records[at] {
					return nil, fmt.Errorf("offset %d: %s, want %s", at, got, want.records[at])
				}
				next++
			}
		}
	}
	return unreadable, nil
}

// flipped is one bit of one file.
type flipped struct {
	path     string
	position int64
	bit      byte
	clean    bool
}

// check opens what is left after the bit was flipped, twice, and checks every log.
func (f flipped) check(mem *vfs.Mem, want map[string]flipView) error {
	damaged := mem.KillClone()
	if err := f.flip(damaged); err != nil {
		return err
	}
	ends := map[string]int64{}
	for round := range 2 {
		m, err := OpenManager(testOptions(damaged, testConfig()))
		if err != nil {
			return err
		}
		if err := m.Load(LoadOptions{NowMs: startMs}); err != nil {
			return fmt.Errorf("round %d: the start fails: %w", round, err)
		}
		for _, topic := range flipTopics {
			if err := f.checkTopic(m, topic, want[topic], round, ends); err != nil {
				return fmt.Errorf("round %d, %s: %w", round, topic, err)
			}
		}
		damaged = damaged.KillClone() // no crash loop: the next start finds what this one left
	}
	return nil
}

func (f flipped) flip(mem *vfs.Mem) error {
	file, err := mem.Open(f.path, true)
	if err != nil {
		return err
	}
	defer file.Close()
	var b [1]byte
	if _, err := file.ReadAt(b[:], f.position); err != nil {
		return err
	}
	b[0] ^= f.bit
	_, err = file.WriteAt(b[:], f.position)
	return err
}

func (f flipped) checkTopic(m *Manager, topic string, want flipView, round int, ends map[string]int64) error {
	l, err := m.GetOrCreate(flipTP(topic), flipConfig(topic), startMs)
	if err != nil {
		return err
	}
	isLog := strings.HasPrefix(f.path, filepath.Join(testDir, topic+"-0")) && strings.HasSuffix(f.path, ".log")
	mayLoseFrom := want.end
	if isLog && !f.clean {
		mayLoseFrom = want.flushed
	}
	if round == 1 {
		want = want.cutAt(ends[topic])
		mayLoseFrom, want.end = want.end, want.end+1
		want.offsets = append(want.offsets, want.end-1)
		want.records[want.end-1], want.batchOf[want.end-1] = "appended", want.end-1
	}
	unreadable, err := checkFlipped(l, want, mayLoseFrom)
	if err != nil {
		return err
	}
	if len(unreadable) > 1 || len(unreadable) > 0 && !isLog {
		return fmt.Errorf("%d batches cannot be read: %v", len(unreadable), unreadable)
	}
	if round == 0 && l.LogStartOffset() == want.start && l.LogEndOffset() == want.end {
		if err := f.checkSearches(l, want); err != nil && !(isLog && kafka.CodeOf(err) == kafka.ErrCorruptMessage) {
			return err
		}
	}
	if round == 1 {
		return nil
	}
	ends[topic] = l.LogEndOffset()
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	b.Append(startMs, []byte("k"), []byte("appended"), nil)
	batch, err := b.Build()
	if err != nil {
		return err
	}
	r, err := produce(l, batch, 9, startMs)
	if err != nil || r.BaseOffset != ends[topic] {
		return fmt.Errorf("appended at %d, want %d: %w", r.BaseOffset, ends[topic], err)
	}
	return nil
}

func (f flipped) checkSearches(l *Log, want flipView) error {
	aborted, err := abortedOf(l, want)
	if err != nil {
		return err
	}
	if !slices.Equal(aborted, want.aborted) {
		return fmt.Errorf("aborted transactions: %+v, want %+v", aborted, want.aborted)
	}
	for ms, offset := range want.byTime {
		got, err := offsetByTime(l, ms)
		if err != nil {
			return err
		}
		if got != offset {
			return fmt.Errorf("the first record from %d ms on: %d, want %d", ms-startMs, got, offset)
		}
	}
	return nil
}

// abortedOf is what a reader of committed records is told.
func abortedOf(l *Log, want flipView) ([]segment.AbortedTransaction, error) {
	var all []segment.AbortedTransaction
	for offset := want.start; offset < want.end; {
		r, err := l.Read(ReadRequest{Offset: offset, MaxBytes: 1 << 20, MinOneBatch: true, UpTo: math.MaxInt64, Aborted: true})
		if err != nil {
			return nil, err
		}
		for _, a := range r.Aborted {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
		offset = endOf(r.Records)
	}
	return all, nil
}

// cutAt is the view of a log that ends there.
func (v flipView) cutAt(end int64) flipView {
	n, _ := slices.BinarySearch(v.offsets, end)
	v.offsets, v.end, v.byTime, v.aborted = slices.Clone(v.offsets[:n]), end, nil, nil
	v.records, v.batchOf = maps.Clone(v.records), maps.Clone(v.batchOf)
	return v
}

// flipSeeds have found faults.
var flipSeeds = []uint64{3912451989196525190}

// TestOneFlippedBit flips a bit of every file of a log dir, after a clean stop and after a kill. No
// start fails, nothing wrong is read, only the batch that was hit cannot be, and appends go on.
func TestOneFlippedBit(t *testing.T) {
	t.Parallel()
	stride := int64(23)
	switch {
	case underRace: // one goroutine does it all
		stride = 311
	case os.Getenv("MOLDAU_APPTEST") == "full":
		stride = 1
	}
	for _, clean := range []bool{true, false} {
		mem := flipData(t, clean)
		want := flipViews(t, mem)
		for _, seed := range append(slices.Clone(flipSeeds), rand.Uint64()) {
			t.Run(fmt.Sprintf("clean=%v/seed=%d", clean, seed), func(t *testing.T) {
				t.Parallel()
				flipEach(t, mem, want, flipped{clean: clean}, rand.New(rand.NewPCG(seed, 1)), stride)
			})
		}
	}
}

// TestFlippedBitOfATimeEntry moves the only time entry from the first batch with its timestamp to a
// later one, which has the same: a search for that timestamp must not begin there.
func TestFlippedBitOfATimeEntry(t *testing.T) {
	t.Parallel()
	mem := flipData(t, false)
	f := flipped{filepath.Join(testDir, "transactional-0", segment.FileName(0, segment.TimeIndexSuffix)), 11, 4, false}
	if err := f.check(mem, flipViews(t, mem)); err != nil {
		t.Error(err)
	}
}

// flipViews is what readers see before anything is damaged.
func flipViews(t testing.TB, mem *vfs.Mem) map[string]flipView {
	t.Helper()
	want := map[string]flipView{}
	m := open(t, mem.KillClone(), testConfig())
	points, err := checkpoint.ReadOffsets(mem, filepath.Join(testDir, checkpoint.RecoveryPointFileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range flipTopics {
		l, err := m.GetOrCreate(flipTP(topic), flipConfig(topic), startMs)
		if err != nil {
			t.Fatal(err)
		}
		v := viewOf(t, l)
		v.flushed = points[flipTP(topic).TopicPartition]
		want[topic] = v
	}
	return want
}

// flipEach tries one bit after the other, about stride bytes apart.
func flipEach(t *testing.T, mem *vfs.Mem, want map[string]flipView, f flipped, random *rand.Rand, stride int64) {
	tried := map[string]int{}
	for _, path := range filesBelow(t, mem, testDir) {
		data, err := vfs.ReadFile(mem, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		step := stride
		if filepath.Ext(path) == "" || strings.HasSuffix(path, "checkpoint") {
			step = (stride + 7) / 8
		}
		for position := random.Int64N(step); position < int64(len(data)); position += 1 + random.Int64N(2*step-1) {
			f.path, f.position, f.bit = path, position, 1<<random.IntN(8)
			if f.staysInHole(data, want) {
				continue
			}
			tried[filepath.Ext(path)]++
			if err := f.check(mem, want); err != nil {
				t.Errorf("%s at position %d, bit %d: %v", path, position, f.bit, err)
			}
		}
	}
	t.Log(tried)
}

// staysInHole reports whether the bit moves a batch of a compacted log within the holes around it,
// or onto one behind a hole, which might as well be the moved one. No checksum covers a base offset,
// so nobody can tell.
func (f flipped) staysInHole(data []byte, want map[string]flipView) bool {
	base, suffix, ok := segment.ParseFileName(filepath.Base(f.path))
	v := want["compacted"]
	if !ok || suffix != segment.LogSuffix || filepath.Base(filepath.Dir(f.path)) != flipTP("compacted").TopicPartition.String() {
		return false
	}
	moved := slices.Clone(data)
	moved[f.position] ^= f.bit
	least, before := base, base
	for position := int64(0); position+record.BatchOverhead <= int64(len(data)); {
		b := record.Batch(data[position:])
		if f.position < position+8 {
			base, last := record.Batch(moved[position:]).BaseOffset(), record.Batch(moved[position:]).LastOffset()
			next, _ := slices.BinarySearch(v.offsets, b.LastOffset()+1)
			return f.position >= position && base >= before && next < len(v.offsets) && last < v.batchOf[v.offsets[next]]
		}
		size, err := record.SizeOf(b)
		if err != nil {
			return false
		}
		before = least
		if b.BaseOffset() == least {
			before = b.NextOffset()
		}
		least, position = b.NextOffset(), position+int64(size)
	}
	return false
}

// TestOneFlippedBitOfABaseOffset does the same to every bit that can matter of every base offset in
// a log: no checksum covers it.
func TestOneFlippedBitOfABaseOffset(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		mem := flipData(t, clean)
		want := flipViews(t, mem)
		for _, path := range filesBelow(t, mem, testDir) {
			data, err := vfs.ReadFile(mem, path, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Ext(path) != segment.LogSuffix {
				continue
			}
			step := 1
			if underRace {
				step = 6
			}
			for position, rest := int64(0), data; len(rest) > 0; {
				b, next, err := record.Next(rest)
				if err != nil {
					t.Fatal(err)
				}
				for bit := 0; bit < 7; bit += step {
					f := flipped{path, position + 7, 1 << bit, clean}
					if f.staysInHole(data, want) {
						continue
					}
					if err := f.check(mem, want); err != nil {
						t.Errorf("clean %v, %s, batch of %d at position %d, bit %d: %v", clean, path, b.BaseOffset(), position, f.bit, err)
					}
				}
				position, rest = position+int64(len(b)), next
			}
		}
	}
}

func filesBelow(t testing.TB, fsys vfs.FS, dir string) (paths []string) {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			paths = append(paths, filesBelow(t, fsys, path)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}

// TestRetentionOfADamagedEnd: of a topic that nobody writes to any more, what is damaged goes like the rest.
func TestRetentionOfADamagedEnd(t *testing.T) {
	t.Parallel()
	mem, config := newMem(t), testConfig()
	m, l := openLogOn(t, mem, config)
	for l.SegmentCount() < 3 {
		mustProduce(t, l, plain(5), 0)
	}
	mustProduce(t, l, plain(5), 0)
	end, path, size := l.LogEndOffset(), l.segments.Load().last().Path(), l.segments.Load().last().SizeBytes()
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	if err := (flipped{path: path, position: size/2 + 16, bit: 4}).flip(mem); err != nil {
		t.Fatal(err)
	}
	c := *config
	c.RetentionMs = 1000
	_, l = openLogOn(t, mem, &c)
	if l.active {
		t.Fatal("the end is not damaged")
	}
	n, err := l.DeleteOldSegments(startMs + 100_000)
	if err != nil || n != 3 || l.LogStartOffset() != end || l.LogEndOffset() != end {
		t.Errorf("retention takes %d segments, %v; the log goes from %d to %d", n, err, l.LogStartOffset(), l.LogEndOffset())
	}
	if r := mustProduce(t, l, plain(1), 0); r.BaseOffset != end {
		t.Errorf("the next record gets offset %d, want %d", r.BaseOffset, end)
	}
}
