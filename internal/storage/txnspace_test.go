package storage

import (
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/segment"
)

// TestAbortOnAFullDisk leaves room for a marker and none for its entry in the transaction index: the
// marker is refused as a whole, the log dir stays in use, and the marker goes in when there is space.
func TestAbortOnAFullDisk(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	if _, err := writeInTransaction(t, l, 7, 0, 0, 2); err != nil {
		t.Fatal(err)
	}
	total, free, err := mem.Usage(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for room := int64(0); room < 112; room += 7 { // marker 78, entry 34
		mem.SetTotalBytes(total - free + room)
		_, err := appendMarker(t, l, 7, 0, 0, false, 0)
		wantCode(t, err, kafka.ErrKafkaStorageError)
		if offline := m.OfflineDirs(); len(offline) > 0 {
			t.Fatalf("with room for %d bytes the log dir goes offline: %v", room, err)
		}
		if l.LastStableOffset() != 0 {
			t.Fatalf("the transaction has ended at %d without its marker", l.LastStableOffset())
		}
	}
	mem.SetTotalBytes(total)
	checkAborted(t, l, mustAbort(t, l, 7))
	_, l = openLogOn(t, mem.KillClone(), testConfig())
	checkAborted(t, l, l.LogEndOffset()-1)
}

// TestAbortWithADamagedIndex appends a marker where the index was damaged meanwhile.
func TestAbortWithADamagedIndex(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	for sequence := range int32(2) {
		if _, err := writeInTransaction(t, l, 7, 0, sequence, 1); err != nil {
			t.Fatal(err)
		}
		mustAbort(t, l, 7)
	}
	if _, err := writeInTransaction(t, l, 7, 0, 2, 1); err != nil {
		t.Fatal(err)
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	path := l.segments.Load().last().Path()
	path = path[:len(path)-len(segment.LogSuffix)] + segment.TxnIndexSuffix
	if err := (flipped{path: path, position: 34 + 1, bit: 1}).flip(mem); err != nil { // the last entry's version
		t.Fatal(err)
	}
	m, l = openLogOn(t, mem, testConfig())
	mustAbort(t, l, 7)
	if offline := m.OfflineDirs(); len(offline) > 0 {
		t.Fatalf("a damaged index took the log dir offline: %v", offline)
	}
	aborted, err := abortedIn(l.segments.Load(), 0, l.LogEndOffset())
	if err != nil || len(aborted) != 3 {
		t.Fatalf("%+v, %v", aborted, err)
	}
}

func mustAbort(t *testing.T, l *Log, producerID int64) int64 {
	t.Helper()
	r, err := appendMarker(t, l, producerID, 0, 0, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	return r.BaseOffset
}

func checkAborted(t *testing.T, l *Log, marker int64) {
	t.Helper()
	aborted, err := abortedIn(l.segments.Load(), 0, l.LogEndOffset())
	if err != nil || len(aborted) != 1 || aborted[0].LastOffset != marker || aborted[0].FirstOffset != 0 {
		t.Fatalf("%+v, %v", aborted, err)
	}
}
