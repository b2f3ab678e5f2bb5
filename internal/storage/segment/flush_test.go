package segment

import (
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
)

// TestFlushDuringAppend syncs a segment between the moment an append marks it as unsynced and
// its write. The mark was gone then, and the next flush took the records for durable.
func TestFlushDuringAppend(t *testing.T) {
	t.Parallel()
	for name, flush := range map[string]func(s *Segment) error{"all": (*Segment).Flush, "the log": (*Segment).FlushLog} {
		mem := vfs.NewMem()
		var between func()
		fsys := vfs.NewFault(mem, func(op vfs.Op, name string) error {
			if op == vfs.OpWrite && strings.HasSuffix(name, LogSuffix) && between != nil {
				between()
			}
			return nil
		})
		s := create(t, memDir(t, fsys, 4096), 0)
		check(t, s.dir.fs.SyncDir("/data"))
		check(t, s.dir.fs.SyncDir("/"))
		check(t, flush(s))
		between = func() { check(t, flush(s)) }
		w := makeBatch(t, 0, []int64{1000}, 2000)
		check(t, s.Append(w.bytes))
		between = nil
		check(t, flush(s))
		for seed := range uint64(20) {
			after := open(t, openDir(mem.CrashClone(env.NewSeededRandom(seed)), 4096), 0)
			r, err := after.Recover(RecoverOptions{})
			check(t, err)
			if r.NextOffset != 1 {
				t.Fatalf("flushing %s, power loss %d: the flushed record is gone: %+v", name, seed, r)
			}
		}
	}
}

// TestFlushOfTheTransactionIndexDuringAppend is the same for an entry of the transaction index.
func TestFlushOfTheTransactionIndexDuringAppend(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	var between func()
	fsys := vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if op == vfs.OpWrite && strings.HasSuffix(name, TxnIndexSuffix) && between != nil {
			between()
		}
		return nil
	})
	s := create(t, memDir(t, fsys, 4096), 0)
	check(t, s.dir.fs.SyncDir("/data"))
	check(t, s.dir.fs.SyncDir("/"))
	between = func() { check(t, s.sync(&s.unsyncedTxnIndex, TxnIndexSuffix)) }
	check(t, s.AppendAborted(AbortedTransaction{ProducerID: 1, FirstOffset: 0, LastOffset: 3, LastStableOffset: 4}))
	between = nil
	check(t, s.Flush())
	for seed := range uint64(20) {
		after := open(t, openDir(mem.CrashClone(env.NewSeededRandom(seed)), 4096), 0)
		found, _, err := after.Aborted(nil, 0, 4)
		if err != nil || len(found) != 1 {
			t.Fatalf("power loss %d: %v, %v; want one aborted transaction", seed, found, err)
		}
	}
}
