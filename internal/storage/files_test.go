package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// sendable is a file system whose files could be sent.
type sendable struct{ vfs.FS }

type sendableFile struct{ vfs.File }

func (s sendable) Open(name string, writable bool) (vfs.File, error) {
	f, err := s.FS.Open(name, writable)
	if err == nil {
		f = sendableFile{f}
	}
	return f, err
}

// SendTo sends nothing: these tests read the ranges.
func (sendableFile) SendTo(uintptr, int64, int) (int, error) { return 0, syscall.EAGAIN }

func filesConfig() *LogConfig {
	c := testConfig()
	c.SegmentBytes, c.IndexIntervalBytes, c.IndexMaxBytes = 700_000, 4096, 10<<20
	return c
}

// appendBytes appends a batch of one record.
func appendBytes(t testing.TB, l *Log, valueBytes int, nowMs int64) AppendResult {
	t.Helper()
	s := plain(1)
	s.valueBytes, s.timestampMs = valueBytes, nowMs
	r, err := produce(l, s.build(t, uint64(l.LogEndOffset())), 0, nowMs)
	if err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	return r
}

// bytesOf returns the records that were found, wherever they are, and gives them back.
func bytesOf(t testing.TB, r ReadResult) []byte {
	t.Helper()
	if r.File == nil {
		return r.Records
	}
	defer r.File.Release()
	data, err := r.File.Bytes()
	if err != nil || len(data) != r.File.SizeBytes {
		t.Fatalf("%d bytes of %d: %v", len(data), r.File.SizeBytes, err)
	}
	return data
}

func readFiles(l *Log, offset int64, maxBytes int, nowMs int64) (ReadResult, error) {
	return l.Read(ReadRequest{Offset: offset, MaxBytes: maxBytes, MinOneBatch: true, UpTo: math.MaxInt64, Files: true, NowMs: nowMs})
}

// TestFilesAreWhatIsRead compares reads of all shapes that may find a part of a file with such that may
// not, while the log is appended to, truncated, rolled and cut at its start, and time passes.
func TestFilesAreWhatIsRead(t *testing.T) {
	t.Parallel()
	files, all := 0, 0
	eachSeed(12, func(seed uint64) {
		w := filesWorld{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: startMs, producer: 7}
		_, w.log = openLogOn(t, sendable{newMem(t)}, filesConfig())
		for step := range 300 {
			what := w.step()
			if err := w.compare(); err != nil {
				t.Fatalf("seed %d, step %d after %s: %v", seed, step, what, err)
			}
		}
		files, all = files+w.files, all+w.reads
	})
	if files < all/20 {
		t.Errorf("%d of %d reads found a part of a file", files, all)
	}
}

type filesWorld struct {
	t            testing.TB
	r            *rand.Rand
	log          *Log
	now          int64
	producer     int64
	files, reads int
	offset       int64 // of a reader that reads on
}

func (w *filesWorld) step() string {
	l := w.log
	switch n := w.r.IntN(40); {
	case n < 24:
		appendBytes(w.t, l, 1<<(3+w.r.IntN(15))+w.r.IntN(1000), w.now)
		return "an append"
	case n < 28:
		w.producer++
		if _, err := writeInTransaction(w.t, l, w.producer, 0, 0, 400); err != nil {
			w.t.Fatal(err)
		}
		if w.r.IntN(2) == 0 {
			if _, err := appendMarker(w.t, l, w.producer, 0, 0, w.r.IntN(2) == 0, 0); err != nil {
				w.t.Fatal(err)
			}
			l.AdvanceHighWatermark(math.MaxInt64)
		}
		return "a transaction"
	case n == 28 && l.LogEndOffset() > 0:
		if err := l.TruncateTo(max(0, l.LogEndOffset()-w.r.Int64N(40)), w.now); err != nil {
			w.t.Fatal(err)
		}
		return "a truncation"
	case n == 29:
		if err := l.AdvanceLogStartOffset(min(l.HighWatermark(), l.LogStartOffset()+w.r.Int64N(20))); err != nil {
			w.t.Fatal(err)
		}
		return "a raised log start offset"
	case n == 30:
		if _, err := l.DeleteOldSegments(w.now); err != nil {
			w.t.Fatal(err)
		}
		return "a deletion"
	}
	w.now += w.r.Int64N(segment.SoundMs / 3)
	return "some time"
}

func (w *filesWorld) compare() error {
	l := w.log
	for range 3 {
		offset := l.LogStartOffset() + w.r.Int64N(l.LogEndOffset()-l.LogStartOffset()+2)
		if w.r.IntN(2) == 0 && w.offset >= l.LogStartOffset() {
			offset = w.offset
		}
		upTo := int64(math.MaxInt64)
		if w.r.IntN(3) == 0 {
			upTo = offset + w.r.Int64N(100)
		}
		request := ReadRequest{Offset: offset, MaxBytes: 1 << w.r.IntN(22), MinOneBatch: w.r.IntN(2) == 0, UpTo: upTo, Aborted: w.r.IntN(2) == 0}
		want, wantErr := l.Read(request)
		request.Files, request.NowMs, request.IsReplica = true, w.now, w.r.IntN(4) > 0
		got, err := l.Read(request)
		w.reads++
		if (err == nil) != (wantErr == nil) || kafka.CodeOf(err) != kafka.CodeOf(wantErr) {
			return fmt.Errorf("%+v: %w, want %w", request, err, wantErr)
		}
		if got.File != nil {
			w.files++
		}
		w.offset = got.NextOffset(offset)
		if next := want.NextOffset(offset); w.offset != next {
			return fmt.Errorf("%+v: the next offset is %d, want %d (a file: %t)", request, w.offset, next, got.File != nil)
		}
		if !slices.Equal(got.Aborted, want.Aborted) {
			return fmt.Errorf("%+v: aborted %v, want %v", request, got.Aborted, want.Aborted)
		}
		if isFile, data := got.File != nil, bytesOf(w.t, got); !bytes.Equal(data, want.Records) {
			return fmt.Errorf("%+v: %d bytes, want %d (a file: %t)", request, len(data), len(want.Records), isFile)
		}
	}
	return nil
}

// TestOnlyWhatIsKnownIsSent says when a part of a file is found: what was appended or read a short time
// ago, and never what was damaged before.
func TestOnlyWhatIsKnownIsSent(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, sendable{mem}, filesConfig())
	for range 3 {
		appendBytes(t, l, 100_000, startMs)
	}
	wantFile := func(l *Log, nowMs int64, want bool) {
		t.Helper()
		r, err := readFiles(l, 0, 210_000, nowMs)
		if err != nil || (r.File != nil) != want || r.NextOffset(0) != 2 {
			t.Fatalf("a file: %t, up to %d, %v; want %t", r.File != nil, r.NextOffset(0), err, want)
		}
		bytesOf(t, r)
	}
	wantFile(l, startMs+segment.SoundMs, true)
	wantFile(l, startMs+segment.SoundMs+1, false)   // is read and checked,
	wantFile(l, startMs+2*segment.SoundMs+1, true)  // and so known again
	wantFile(l, startMs+2*segment.SoundMs+2, false) // for as long
	wantFile(l, startMs-5000, false)                // the clock was set back
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	path := testFolder + segment.FileName(0, segment.LogSuffix)
	_, l = openLogOn(t, sendable{mem}, filesConfig())
	wantFile(l, startMs, false)
	wantFile(l, startMs, true)
	patch(t, mem, path, 110_000, func(b []byte) { b[0] ^= 1 }) // in the second batch
	late := startMs + segment.SoundMs + 1
	for range 2 {
		r, err := readFiles(l, 0, 210_000, late)
		if err != nil || r.NextOffset(0) != 1 {
			t.Fatalf("read up to %d, %v; want the batch before the damaged one", r.NextOffset(0), err)
		}
		bytesOf(t, r)
		_, err = readFiles(l, 1, 210_000, late)
		wantCode(t, err, kafka.ErrCorruptMessage)
	}
}

// TestDamageBehindWhatIsKnown has the batch before the damaged one appended by this process.
func TestDamageBehindWhatIsKnown(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, sendable{mem}, filesConfig())
	appendBytes(t, l, 100_000, startMs)
	appendBytes(t, l, 100_000, startMs)
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	patch(t, mem, testFolder+segment.FileName(0, segment.LogSuffix), 110_000, func(b []byte) { b[0] ^= 1 })
	_, l = openLogOn(t, sendable{mem}, filesConfig())
	appendBytes(t, l, 100_000, startMs)
	for range 2 {
		for offset, want := range []kafka.ErrorCode{kafka.ErrNone, kafka.ErrCorruptMessage, kafka.ErrNone} {
			r, err := readFiles(l, int64(offset), 600_000, startMs)
			wantCode(t, err, want)
			if want == kafka.ErrNone && r.NextOffset(0) != int64(offset)+1 {
				t.Fatalf("read from %d up to %d", offset, r.NextOffset(0))
			}
			bytesOf(t, r)
		}
	}
}

// TestCutWhileItIsSent truncates what a client has not got yet, and appends other records in its place:
// what was found before is not sent any more, and its file does not change.
func TestCutWhileItIsSent(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, sendable{mem}, filesConfig())
	for range 3 {
		appendBytes(t, l, 100_000, startMs)
	}
	r, err := readFiles(l, 0, 1<<20, startMs)
	if err != nil || r.File == nil {
		t.Fatalf("no part of a file, %v", err)
	}
	before, err := r.File.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.File.SendTo(0, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("sending: %v", err)
	}
	if err := l.TruncateTo(1, startMs); err != nil {
		t.Fatal(err)
	}
	appendBytes(t, l, 110_000, startMs)
	if _, err := r.File.SendTo(0, 0); !errors.Is(err, vfs.ErrRangeCut) {
		t.Fatalf("sending after the truncation: %v", err)
	}
	after, err := r.File.Bytes()
	if err != nil || !bytes.Equal(after, before) {
		t.Fatalf("the pages that were sent have changed: %v", err)
	}
	r.File.Release()
	again, err := readFiles(l, 0, 1<<20, startMs) // is read and checked
	if err != nil || again.File != nil || again.NextOffset(0) != 2 {
		t.Fatalf("a file: %t, read up to %d, %v", again.File != nil, again.NextOffset(0), err)
	}
	again, err = readFiles(l, 0, 1<<20, startMs)
	if err != nil || again.File == nil || again.NextOffset(0) != 2 {
		t.Fatalf("read up to %d, %v", again.NextOffset(0), err)
	}
	if _, err := again.File.SendTo(0, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("sending: %v", err)
	}
	sent := bytesOf(t, again)
	_, l = openLogOn(t, mem.KillClone(), filesConfig())
	if kept, err := l.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: math.MaxInt64}); err != nil || !bytes.Equal(kept.Records, sent) {
		t.Fatalf("%d bytes after a restart, want %d: %v", len(kept.Records), len(sent), err)
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
}

// TestCutWhileAFollowerGetsIt truncates what a follower has not got yet, as elections do that cost no committed records: the file
// is cut in place, whatever its size is, and nothing is written again where the follower may still see it.
func TestCutWhileAFollowerGetsIt(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	fs := sendable{vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if op == vfs.OpWrite && strings.HasSuffix(name, segment.LogSuffix+vfs.TemporarySuffix) {
			t.Error("the log is copied")
		}
		return nil
	})}
	_, l := openLogOn(t, fs, filesConfig())
	for range 3 {
		appendBytes(t, l, 100_000, startMs)
	}
	r, err := l.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: math.MaxInt64, Files: true, NowMs: startMs, IsReplica: true})
	if err != nil || r.File == nil {
		t.Fatalf("no part of a file, %v", err)
	}
	before, err := r.File.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.TruncateTo(1, startMs); err != nil {
		t.Fatal(err)
	}
	appendBytes(t, l, 110_000, startMs)
	appendBytes(t, l, 110_000, startMs)
	if _, err := r.File.SendTo(0, 0); !errors.Is(err, vfs.ErrRangeCut) {
		t.Fatalf("sending after the truncation: %v", err)
	}
	first := len(before) / 3
	if left, err := r.File.Bytes(); !errors.Is(err, io.EOF) || !bytes.Equal(left[:first], before[:first]) || slices.ContainsFunc(left[first:], func(b byte) bool { return b != 0 }) {
		t.Fatalf("something else than before or zeros is where the follower may see it: %v", err)
	}
	r.File.Release()
	readAll(t, l)
	// A file that has nothing left has new pages.
	if err := l.TruncateTo(0, startMs); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		appendBytes(t, l, 110_000, startMs)
	}
	if r, err := readFiles(l, 0, 1<<20, startMs); err != nil || r.NextOffset(0) != 2 {
		t.Fatalf("read up to %d, %v; want both batches in one segment", r.NextOffset(0), err)
	} else {
		bytesOf(t, r)
	}
	_, l = openLogOn(t, mem.KillClone(), filesConfig())
	if readAll(t, l); l.LogEndOffset() != 2 {
		t.Errorf("the log ends at %d", l.LogEndOffset())
	}
}

// TestCutToNothingAfterReplicasAndConsumers: where the file was replaced for the sake of consumers, or has nothing left, it is appended to.
func TestCutToNothingAfterReplicasAndConsumers(t *testing.T) {
	t.Parallel()
	for _, cuts := range [][]int64{{1}, {1, 0}, {2, 1, 0}, {0}} {
		_, l := openLogOn(t, sendable{newMem(t)}, filesConfig())
		for range 3 {
			appendBytes(t, l, 100_000, startMs)
		}
		for _, isReplica := range []bool{false, true} {
			r, err := l.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: math.MaxInt64, Files: true, NowMs: startMs, IsReplica: isReplica})
			if err != nil || r.File == nil {
				t.Fatalf("no part of a file, %v", err)
			}
			r.File.Release()
		}
		for _, offset := range cuts {
			if err := l.TruncateTo(offset, startMs); err != nil {
				t.Fatal(err)
			}
		}
		appendBytes(t, l, 110_000, startMs)
		if got := len(l.segments.Load().all); got != 1 {
			t.Errorf("cut to %v: %d segments", cuts, got)
		}
		readAll(t, l)
	}
}

// TestCutTwiceBelowWhatWasSent cuts behind what was sent, and later below it, as by two elections: the pages
// that were sent are still those of the file after the first cut.
func TestCutTwiceBelowWhatWasSent(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, sendable{newMem(t)}, filesConfig())
	for range 3 {
		appendBytes(t, l, 100_000, startMs)
	}
	r, err := readFiles(l, 0, 110_000, startMs)
	if err != nil || r.File == nil || r.File.NextOffset != 1 {
		t.Fatalf("no part of a file, %v", err)
	}
	before, err := r.File.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{2, 0} {
		if err := l.TruncateTo(offset, startMs); err != nil {
			t.Fatal(err)
		}
	}
	appendBytes(t, l, 110_000, startMs)
	if after := bytesOf(t, r); !bytes.Equal(after, before) {
		t.Fatal("the pages that were sent have changed")
	}
}

// TestCutOfWhatWasSentFails lets each call on the disk fail once while committed records are cut that
// were sent: the log is whole as it was or as it should be.
func TestCutOfWhatWasSentFails(t *testing.T) {
	t.Parallel()
	for n := int64(1); ; n++ {
		mem := newMem(t)
		var fail *vfs.FailAt
		faulty := vfs.NewFault(mem, func(op vfs.Op, name string) error {
			if fail == nil {
				return nil
			}
			return fail.Decide(op, name)
		})
		_, l := openLogOn(t, sendable{faulty}, filesConfig())
		for range 3 {
			appendBytes(t, l, 100_000, startMs)
		}
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		r, err := readFiles(l, 0, 1<<20, startMs)
		if err != nil || r.File == nil {
			t.Fatalf("no part of a file, %v", err)
		}
		bytesOf(t, r)
		fail = &vfs.FailAt{N: n, Torn: n%2 == 0}
		err = l.TruncateTo(1, startMs)
		failed := fail.Failed()
		if failed && err == nil {
			t.Fatalf("call %d failed, the truncation did not", n)
		}
		for _, crashed := range []*vfs.Mem{mem.KillClone(), mem.CrashClone(rand.New(rand.NewPCG(uint64(n), 1)))} {
			_, reopened := openLogOn(t, crashed, filesConfig())
			if end := reopened.LogEndOffset(); end != 1 && (err == nil || end != 3) {
				t.Fatalf("call %d failed: the log ends at %d", n, end)
			}
			readAll(t, reopened)
		}
		if !failed {
			return
		}
	}
}

// TestCutOfWhatWasSentOnAFullDisk has no room for a copy of what stays: that costs no log dir.
func TestCutOfWhatWasSentOnAFullDisk(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	_, l := openLogOn(t, sendable{vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if op == vfs.OpWrite && strings.HasSuffix(name, segment.LogSuffix+vfs.TemporarySuffix) {
			return syscall.ENOSPC
		}
		return nil
	})}, filesConfig())
	for range 3 {
		appendBytes(t, l, 100_000, startMs)
	}
	r, err := readFiles(l, 0, 1<<20, startMs)
	if err != nil || r.File == nil {
		t.Fatalf("no part of a file, %v", err)
	}
	if err := l.TruncateTo(1, startMs); err != nil {
		t.Fatal(err)
	}
	if _, err := r.File.SendTo(0, 0); !errors.Is(err, vfs.ErrRangeCut) {
		t.Fatalf("sending after the truncation: %v", err)
	}
	r.File.Release()
	appendBytes(t, l, 110_000, startMs) // elsewhere: the pages of the file are on their way
	if readAll(t, l); l.LogEndOffset() != 2 || len(l.segments.Load().all) != 2 {
		t.Fatalf("the log ends at %d and has %d segments", l.LogEndOffset(), len(l.segments.Load().all))
	}
	names, err := segment.FileNames(mem, strings.TrimSuffix(testFolder, "/"))
	if err != nil || slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, vfs.TemporarySuffix) }) {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

// TestPartsOfFilesAreBounded holds parts of many files: from half of the open files on, what is found is
// read.
func TestPartsOfFilesAreBounded(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, sendable{newMem(t)}, filesConfig())
	appendBytes(t, l, 100_000, startMs)
	var held []*segment.FileRange
	for {
		r, err := readFiles(l, 0, 1<<20, startMs)
		if err != nil {
			t.Fatal(err)
		}
		if r.File == nil {
			break
		}
		held = append(held, r.File)
	}
	if len(held) != 50 { // half of OpenFilesPerDir
		t.Errorf("%d parts of files", len(held))
	}
	for _, file := range held {
		file.Release()
	}
	r, err := readFiles(l, 0, 1<<20, startMs)
	if err != nil || r.File == nil {
		t.Fatalf("no part of a file after all were given back: %v", err)
	}
	r.File.Release()
}

// TestDeletedWhileItIsSent deletes a segment that a client still gets: the file goes after that.
func TestDeletedWhileItIsSent(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	config := filesConfig()
	config.RetentionBytes = 1
	m, l := openLogOn(t, sendable{mem}, config)
	for range 10 {
		appendBytes(t, l, 100_000, startMs)
	}
	r, err := readFiles(l, 0, 1<<20, startMs)
	if err != nil || r.File == nil {
		t.Fatalf("no part of a file, %v", err)
	}
	before, err := r.File.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := l.DeleteOldSegments(startMs); n == 0 || err != nil {
		t.Fatalf("%d segments deleted, %v", n, err)
	}
	deleted := func() bool {
		if err := m.RemoveDeleted(math.MaxInt64); err != nil {
			t.Fatal(err)
		}
		entries, err := mem.ReadDir(strings.TrimSuffix(testFolder, "/"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), "00000000000000000000.log") {
				return false
			}
		}
		return true
	}
	if deleted() {
		t.Error("the file was removed while it was being sent")
	}
	if after := bytesOf(t, r); !bytes.Equal(before, after) {
		t.Error("the records have changed")
	}
	if !deleted() {
		t.Error("the file is still there")
	}
}

// TestCorrectedEpochIsNotSent flips a bit in a leader epoch, which no checksum covers: the log knows
// better, and so the batch cannot be sent as it is.
func TestCorrectedEpochIsNotSent(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, sendable{mem}, filesConfig())
	appendBytes(t, l, 100_000, startMs)
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	patch(t, mem, testFolder+segment.FileName(0, segment.LogSuffix), 12, func(b []byte) { b[3] ^= 1 })
	_, l = openLogOn(t, sendable{mem}, filesConfig())
	for range 2 {
		r, err := readFiles(l, 0, 1<<20, startMs)
		if err != nil || r.File != nil || record.Batch(r.Records).PartitionLeaderEpoch() != 0 {
			t.Fatalf("a file: %t, %v", r.File != nil, err)
		}
	}
}
