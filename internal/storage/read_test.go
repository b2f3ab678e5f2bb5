package storage

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// afterRead calls hook after every read of a .log file.
type afterRead struct {
	vfs.FS
	hook *func()
}

type afterReadFile struct {
	vfs.File
	hook *func()
}

func (a afterRead) Open(name string, writable bool) (vfs.File, error) {
	f, err := a.FS.Open(name, writable)
	if err == nil && strings.HasSuffix(name, segment.LogSuffix) {
		f = afterReadFile{f, a.hook}
	}
	return f, err
}

func (f afterReadFile) ReadAt(p []byte, position int64) (int, error) {
	n, err := f.File.ReadAt(p, position)
	if hook := *f.hook; hook != nil {
		*f.hook = nil
		hook()
	}
	return n, err
}

// TestTruncationBetweenLookupAndRead truncates the log when a read has found its batch and has
// not read it yet: what is left of the segment is then less than nothing.
func TestTruncationBetweenLookupAndRead(t *testing.T) {
	t.Parallel()
	var hook func()
	_, l := openLogOn(t, afterRead{newMem(t), &hook}, testConfig())
	mustProduce(t, l, plain(1), 0)
	mustProduce(t, l, plain(1), 0)
	hook = func() {
		if err := l.TruncateTo(0, startMs); err != nil {
			t.Error(err)
		}
	}
	_, err := l.Read(ReadRequest{Offset: 1, MaxBytes: 1000, UpTo: math.MaxInt64})
	wantCode(t, err, kafka.ErrOffsetOutOfRange)
}

// TestLengthIsNotBelieved reads where a damaged length field claims a batch of eight megabytes.
func TestLengthIsNotBelieved(t *testing.T) {
	t.Parallel()
	const claimed = 8 << 20
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	mustProduce(t, l, plain(3), 0)
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	path := testFolder + segment.FileName(0, segment.LogSuffix)
	patch(t, mem, path, 8, func(b []byte) { binary.BigEndian.PutUint32(b, claimed-12) })
	f, err := mem.Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(claimed); err != nil {
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem, testConfig())
	largest := 0
	_, err = l.Read(ReadRequest{Offset: 0, MaxBytes: 1, MinOneBatch: true, UpTo: math.MaxInt64, Buffer: func(n int) []byte {
		largest = max(largest, n)
		return make([]byte, n)
	}})
	wantCode(t, err, kafka.ErrCorruptMessage)
	if largest > 4<<20 {
		t.Fatalf("%d bytes were allocated on the word of a damaged batch", largest)
	}
	if err := l.AdvanceLogStartOffset(1); err != nil {
		t.Fatal(err)
	}
	_, _, err = l.MaxTimestampOffset(math.MaxInt64)
	wantCode(t, err, kafka.ErrCorruptMessage)
}

// TestReadEndsDoNotOutliveACut has a value look like a batch just where a read ended before a truncation: a reader
// that goes on there must not get what a producer has made up.
func TestReadEndsDoNotOutliveACut(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), filesConfig())
	build := func(value []byte) record.Batch {
		b := record.NewBuilder(record.BuilderOptions{LeaderEpoch: -1, ProducerID: kafka.NoProducerID, ProducerEpoch: -1, BaseSequence: -1})
		b.Append(startMs, nil, value, nil)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return batch
	}
	write := func(b record.Batch) {
		if _, err := produce(l, b, 0, startMs); err != nil {
			t.Fatal(err)
		}
		l.AdvanceHighWatermark(l.LogEndOffset())
	}
	read := func(offset int64) []byte {
		r, err := l.Read(ReadRequest{Offset: offset, MinOneBatch: true, MaxBytes: 500, UpTo: math.MaxInt64})
		if err != nil {
			t.Fatal(err)
		}
		return r.Records
	}
	write(build(make([]byte, 1000)))
	position := len(read(0)) // of offset 1
	if err := l.TruncateTo(0, startMs); err != nil {
		t.Fatal(err)
	}
	forged := build([]byte("made up"))
	forged.SetBaseOffset(1)
	outer := build(bytes.Repeat([]byte{'v'}, 2000))
	value := make([]byte, 2000)
	copy(value[position-bytes.IndexByte(outer, 'v'):], forged)
	write(build(value))
	write(build([]byte("real")))
	if got := read(1); bytes.Contains(got, []byte("made up")) || !bytes.Contains(got, []byte("real")) {
		t.Errorf("%q is served as the batch at offset 1", got)
	}
}
