package storage

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// TestReadersBesideEverything lets readers run beside appends, rolls, flushes, retention and
// truncation. A reader must see only whole batches that were appended, in order, and no error
// but that its offset is gone.
func TestReadersBesideEverything(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.SegmentBytes, config.RetentionBytes, config.FileDeleteDelayMs = 1500, 6000, 0
	m, l := openLogOn(t, newMem(t), config)
	const batches = 1500
	var stop atomic.Bool
	var readers, others sync.WaitGroup
	var appended sync.Map // base offset to value
	problem := make(chan error, 100)
	report := func(err error) {
		select {
		case problem <- err:
		default:
		}
	}
	for range 3 {
		readers.Go(func() {
			for !stop.Load() {
				if err := readOnce(l, &appended); err != nil {
					report(err)
					return
				}
			}
		})
	}
	others.Go(func() {
		for !stop.Load() {
			if _, err := m.CleanupRetention(startMs); err != nil {
				report(err)
			}
			if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
				report(err)
			}
			if err := m.RemoveDeleted(startMs); err != nil {
				report(err)
			}
			if _, _, err := l.OffsetForTimestamp(startMs, l.HighWatermark()); err != nil {
				report(err)
			}
			if err := m.CheckpointHighWatermarks(); err != nil {
				report(err)
			}
		}
	})
	// On a busy machine retention may get its first turn late, and the test is nothing without it.
	for i := 0; i < batches || l.LogStartOffset() == 0 && i < 100*batches; i++ {
		b := plain(1+i%4).build(t, uint64(i)<<20)
		r, err := produce(l, b, 0, startMs)
		if err != nil {
			t.Fatal(err)
		}
		appended.Store(r.BaseOffset, append([]byte(nil), b[record.BatchOverhead:]...))
		if i%50 == 49 {
			// What is above the high watermark goes, readers below it do not notice.
			if err := l.TruncateTo(l.HighWatermark(), startMs); err != nil {
				t.Fatal(err)
			}
		} else if i%50 < 45 {
			l.AdvanceHighWatermark(l.LogEndOffset())
		}
	}
	stop.Store(true)
	readers.Wait()
	others.Wait()
	select {
	case err := <-problem:
		t.Fatal(err)
	default:
	}
	if l.LogStartOffset() == 0 {
		t.Fatal("retention never deleted anything: the test tests nothing")
	}
}

func readOnce(l *Log, appended *sync.Map) error {
	hw := l.HighWatermark()
	for offset := max(l.LogStartOffset(), hw-40); offset < hw; {
		r, err := l.Read(ReadRequest{Offset: offset, MaxBytes: 700, MinOneBatch: true, UpTo: hw})
		if kafka.CodeOf(err) == kafka.ErrOffsetOutOfRange {
			return nil
		}
		if err != nil {
			return err
		}
		if len(r.Records) == 0 {
			return fmt.Errorf("nothing at %d below the high watermark %d", offset, hw)
		}
		for rest := r.Records; len(rest) > 0; {
			b, next, err := record.Next(rest)
			if err != nil {
				return err
			}
			if want, ok := appended.Load(b.BaseOffset()); !ok || !bytes.Equal(b[record.BatchOverhead:], want.([]byte)) {
				return fmt.Errorf("the batch at %d is not the one that was appended", b.BaseOffset())
			}
			if b.LastOffset() < offset && offset-b.LastOffset() > 1 {
				return fmt.Errorf("asked for %d, got the batch at %d", offset, b.BaseOffset())
			}
			offset, rest = b.NextOffset(), next
		}
	}
	return nil
}

// TestRetentionKeepsNoAppendWaiting looks at every fsync of a retention pass whether an append
// could go on.
func TestRetentionKeepsNoAppendWaiting(t *testing.T) {
	t.Parallel()
	var l *Log
	watching, syncs := false, 0
	fsys := vfs.NewFault(newMem(t), func(op vfs.Op, _ string) error {
		if watching && op == vfs.OpSyncDir {
			syncs++
			if !l.mu.TryLock() {
				t.Error("retention syncs under the lock of appends")
			} else {
				l.mu.Unlock()
			}
		}
		return nil
	})
	config := testConfig()
	_, l = openLogOn(t, fsys, config)
	for range 60 {
		mustProduce(t, l, plain(5), 0)
	}
	keep := *config
	keep.RetentionBytes = 0
	l.UpdateConfig(&keep)
	watching = true
	if n, err := l.DeleteOldSegments(startMs); err != nil || n < 2 || syncs < n {
		t.Fatalf("%d segments deleted with %d syncs, %v", n, syncs, err)
	}
}

func TestConcurrentProducersGetDistinctOffsets(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	var producers sync.WaitGroup
	var seen sync.Map
	for p := range int64(4) {
		producers.Go(func() {
			for i := range int32(100) {
				r, err := produce(l, idempotent(p, 0, i, 1).build(t, 0), 0, startMs)
				if err != nil {
					t.Errorf("producer %d: %v", p, err)
					return
				}
				if _, taken := seen.LoadOrStore(r.BaseOffset, p); taken {
					t.Errorf("offset %d given twice", r.BaseOffset)
				}
			}
		})
	}
	producers.Wait()
	if l.LogEndOffset() != 400 || l.ProducerCount() != 4 {
		t.Fatalf("log ends at %d with %d producers", l.LogEndOffset(), l.ProducerCount())
	}
}
