package storage

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// TestStartOverAtEveryFault fails every disk call of a start that sets the segments of a log aside, and
// then kills the process or cuts the power: the next start comes to the same end, and the records that
// nobody decided to delete are still there.
func TestStartOverAtEveryFault(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := env.NewSeededRandom(seed)
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	for range 30 {
		mustProduce(t, l, idempotent(1, 0, int32(l.LogEndOffset()), 1), 0)
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	segments := logBytes(t, mem)
	starts := map[kafka.TopicPartition]int64{testTP.TopicPartition: 1000}
	if err := checkpoint.WriteOffsets(mem, filepath.Join(testDir, checkpoint.LogStartOffsetFileName), starts); err != nil {
		t.Fatal(err)
	}
	for n := int64(1); ; n++ {
		broken := mem.KillClone()
		fault := &vfs.FailAt{N: n, Torn: n%2 == 0}
		_, _, err := tryOpen(vfs.NewFault(broken, fault.Decide), testConfig())
		for i, after := range []*vfs.Mem{broken.KillClone(), broken.CrashClone(random), broken.CrashClone(random)} {
			_, l, err := tryOpen(after, testConfig())
			if err != nil {
				t.Fatalf("call %d, state %d, seed %d: %v", n, i, seed, err)
			}
			if l.LogStartOffset() != 1000 || l.LogEndOffset() != 1000 {
				t.Fatalf("call %d, state %d, seed %d: the log has %d to %d", n, i, seed, l.LogStartOffset(), l.LogEndOffset())
			}
			if left := logBytes(t, after); left < segments {
				t.Fatalf("call %d, state %d, seed %d: %d bytes of records are left of %d", n, i, seed, left, segments)
			}
			if _, err := produce(l, plain(1).build(t, 1), 0, startMs); err != nil {
				t.Fatalf("call %d, state %d, seed %d: %v", n, i, seed, err)
			}
		}
		if err == nil && !fault.Failed() {
			break
		}
	}
}

// logBytes is the size of all .log files, wherever they are.
func logBytes(t *testing.T, fsys vfs.FS) (size int64) {
	t.Helper()
	for _, path := range filesBelow(t, fsys, testDir) {
		if info, err := fsys.Stat(path); err != nil {
			t.Fatal(err)
		} else if strings.HasSuffix(strings.TrimSuffix(path, asideSuffix), ".log") {
			size += info.Size()
		}
	}
	return size
}

// TestStartAtShowsNoHole: readers beside it are told that what they ask for is out of range, and not that it is damaged.
func TestStartAtShowsNoHole(t *testing.T) {
	t.Parallel()
	var look func()
	_, l := openLogOn(t, vfs.NewFault(newMem(t), func(vfs.Op, string) error {
		if look != nil {
			look()
		}
		return nil
	}), testConfig())
	for l.SegmentCount() < 3 {
		mustProduce(t, l, plain(3), 0)
	}
	looks, offset := 0, l.LogEndOffset()+1000
	look = func() {
		looks++
		if first := l.segments.Load().all[0].BaseOffset(); first > l.LogStartOffset() && l.LogEndOffset() > l.LogStartOffset() {
			t.Errorf("look %d: the log goes from offset %d to %d, its first segment begins at %d", looks, l.LogStartOffset(), l.LogEndOffset(), first)
		}
	}
	if err := l.StartAt(offset, startMs); err != nil {
		t.Fatal(err)
	}
	if look(); looks < 3 || l.LogStartOffset() != offset || l.LogEndOffset() != offset || l.HighWatermark() != offset {
		t.Errorf("%d looks, the log goes from offset %d to %d, the high watermark is %d", looks, l.LogStartOffset(), l.LogEndOffset(), l.HighWatermark())
	}
}
