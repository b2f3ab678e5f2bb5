package storage

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// closedHistory is a log whose transactions, all ended, lie in segments that can be compacted;
// some were compacted before.
func closedHistory(t *testing.T, seed uint64) *cleanRun {
	t.Helper()
	r := newCleanRun(t, seed)
	config := *r.config
	config.MinCompactionLagMs = 0
	r.config = &config
	r.l.UpdateConfig(r.config)
	for range 40 + r.random.IntN(60) {
		r.write()
		switch r.random.IntN(12) {
		case 0, 1, 2:
			r.endTransaction(int64(10 + r.random.IntN(3)))
		case 3:
			r.cleanLog()
		}
	}
	for id := range int64(3) {
		r.endTransaction(10 + id)
	}
	for until := r.l.SegmentCount() + 2; r.l.SegmentCount() < until; {
		b := record.NewBuilder(record.NoProducer(record.CodecNone))
		w := &written{offset: r.l.LogEndOffset(), timestampMs: r.nowMs, atMs: r.nowMs, producerID: -1, key: []byte("filler"), value: make([]byte, 200)}
		b.Append(w.timestampMs, w.key, w.value, nil)
		r.all = append(r.all, w)
		r.append(b)
	}
	if err := r.m.FlushDir(0, r.nowMs+flushIntervalMs); err != nil {
		r.fail("%v", err)
	}
	r.l.AdvanceHighWatermark(r.l.LogEndOffset())
	return r
}

// damageTxnIndexes removes transaction indexes, as a copy without them does, or flips one bit.
func (r *cleanRun) damageTxnIndexes() {
	r.t.Helper()
	entries, err := r.mem.ReadDir(testDir + "/events-0")
	if err != nil {
		r.fail("%v", err)
	}
	removeAll := r.random.IntN(3) == 0
	for _, e := range entries {
		path := filepath.Join(testDir, "events-0", e.Name())
		if !strings.HasSuffix(path, segment.TxnIndexSuffix) {
			continue
		}
		data, err := vfs.ReadFile(r.mem, path, 1<<20)
		if err != nil {
			r.fail("%v", err)
		}
		if removeAll || len(data) == 0 || r.random.IntN(4) == 0 {
			r.note("remove %s", e.Name())
			if err := r.mem.Remove(path); err != nil {
				r.fail("%v", err)
			}
			continue
		}
		// The last field of an entry only says where a reader may stop looking.
		at := 34*r.random.IntN(len(data)/34) + r.random.IntN(26)
		data[at] ^= 1 << r.random.IntN(8)
		r.note("flip a bit of byte %d of %s", at, e.Name())
		if err := vfs.WriteFileAtomic(r.mem, path, data); err != nil {
			r.fail("%v", err)
		}
	}
}

// TestCompactionNeverTrustsADamagedTransactionIndex takes the indexes away, or flips bits in them,
// and compacts: no committed record goes, and afterwards readers are told the truth again.
func TestCompactionNeverTrustsADamagedTransactionIndex(t *testing.T) {
	t.Parallel()
	eachSeed(60, func(seed uint64) {
		r := closedHistory(t, seed)
		if err := r.m.Shutdown(1); err != nil {
			r.fail("%v", err)
		}
		r.damageTxnIndexes()
		r.restart(r.mem)
		for n := 0; ; n++ {
			options := r.options()
			options.MapBytes = 1 << 16
			found, err := r.m.CleanDirtiest(options)
			if err != nil {
				r.fail("clean: %v", err)
			}
			if !found {
				break
			}
			if n > 20 {
				r.fail("compaction does not come to an end")
			}
		}
		r.check(r.l)
	})
}
