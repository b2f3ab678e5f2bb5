package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

func transactional(t testing.TB, producerID int64, epoch int16, sequence int32, records int) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderOptions{LeaderEpoch: -1, ProducerID: producerID, ProducerEpoch: epoch, BaseSequence: sequence, Transactional: true})
	for i := range records {
		b.Append(startMs, fmt.Appendf(nil, "k%d", i), make([]byte, 20), nil)
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// writeInTransaction writes as a producer does whose partition the coordinator has added.
func writeInTransaction(t testing.TB, l *Log, producerID int64, epoch int16, sequence int32, records int) (AppendResult, error) {
	t.Helper()
	guard, err := l.StartVerification(producerstate.Verification{ProducerID: producerID, Epoch: epoch, FirstSequence: sequence, Strict: true, NowMs: startMs})
	if err != nil {
		return AppendResult{}, err
	}
	r, err := l.Append(AppendRequest{Records: transactional(t, producerID, epoch, sequence, records), Origin: OriginClient, NowMs: startMs, ProduceVersion: 12, Guard: guard})
	if err == nil {
		l.AdvanceHighWatermark(l.LogEndOffset())
	}
	return r, err
}

func appendMarker(t testing.TB, l *Log, producerID int64, epoch int16, coordinatorEpoch int32, commit bool, version int16) (AppendResult, error) {
	t.Helper()
	kind := record.ControlAbort
	if commit {
		kind = record.ControlCommit
	}
	o := record.BuilderOptions{LeaderEpoch: -1, ProducerID: producerID, ProducerEpoch: epoch, BaseSequence: -1, Transactional: true}
	b, err := record.BuildControl(o, startMs, kind, record.EndTxnMarker{CoordinatorEpoch: coordinatorEpoch}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return l.Append(AppendRequest{Records: b, Origin: OriginCoordinator, NowMs: startMs, TransactionVersion: version})
}

func TestFirstWriteOfATransactionNeedsTheGuard(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	unguarded := AppendRequest{Records: transactional(t, 7, 0, 0, 1), Origin: OriginClient, NowMs: startMs, ProduceVersion: 12}
	_, err := l.Append(unguarded)
	wantCode(t, err, kafka.ErrInvalidTxnState)
	v := producerstate.Verification{ProducerID: 7, NowMs: startMs, Strict: true}
	guard, err := l.StartVerification(v)
	if err != nil || guard == producerstate.NoGuard {
		t.Fatalf("guard %d, %v", guard, err)
	}
	// A marker in between takes the guard away: the write would open a transaction that nobody ends.
	if _, err := appendMarker(t, l, 7, 1, 0, false, 2); err != nil {
		t.Fatal(err)
	}
	unguarded.Records, unguarded.Guard = transactional(t, 7, 1, 0, 1), guard
	_, err = l.Append(unguarded)
	wantCode(t, err, kafka.ErrInvalidTxnState)
	if _, err := writeInTransaction(t, l, 7, 1, 0, 2); err != nil {
		t.Fatal(err)
	}
	_, err = writeInTransaction(t, l, 7, 0, 0, 1)
	wantCode(t, err, kafka.ErrInvalidProducerEpoch)
	_, err = writeInTransaction(t, l, 9, 0, 3, 1)
	wantCode(t, err, kafka.ErrOutOfOrderSequenceNumber)
}

func TestMarkersAreStrict(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	if _, err := writeInTransaction(t, l, 7, 3, 0, 1); err != nil {
		t.Fatal(err)
	}
	_, err := appendMarker(t, l, 7, 3, 5, true, 2) // held up: of the transaction before
	wantCode(t, err, kafka.ErrInvalidProducerEpoch)
	_, err = appendMarker(t, l, 7, 2, 5, true, 0)
	wantCode(t, err, kafka.ErrInvalidProducerEpoch)
	if r, err := appendMarker(t, l, 7, 4, 5, true, 2); err != nil || !r.EndedTransaction {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := appendMarker(t, l, 7, 4, 5, true, 2); err != nil || r.EndedTransaction { // repeated
		t.Fatalf("%+v, %v", r, err)
	}
	_, err = appendMarker(t, l, 7, 5, 4, true, 2)
	wantCode(t, err, kafka.ErrTransactionCoordinatorFenced)
}

// The last stable offset waits until the marker is replicated: else it would fall back when a new
// leader has not got it.
func TestLastStableOffsetWaitsForTheMarkersReplication(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	mustProduce(t, l, plain(2), 0)
	l.AdvanceHighWatermark(2)
	if _, err := writeInTransaction(t, l, 7, 0, 0, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := appendMarker(t, l, 7, 1, 0, true, 2); err != nil {
		t.Fatal(err)
	}
	if got := l.LastStableOffset(); got != 2 {
		t.Fatalf("last stable offset %d before the marker is committed", got)
	}
	l.AdvanceHighWatermark(6)
	if got := l.LastStableOffset(); got != 6 {
		t.Fatalf("last stable offset %d", got)
	}
}

// history is a model of one log's transactions.
type history struct {
	aborted []segment.AbortedTransaction
	open    map[int64]int64
	epochs  map[int64]int16
	next    map[int64]int32
}

// TestTransactionsSurviveKillsTruncationsAndPowerLoss compares the aborted transactions and the last
// stable offset with a model over random histories. With an odd seed every append is followed by a
// group commit, and the power may be lost at any time: nothing may change then.
func TestTransactionsSurviveKillsTruncationsAndPowerLoss(t *testing.T) {
	t.Parallel()
	eachSeed(12, func(seed uint64) {
		random := rand.New(rand.NewPCG(seed, 9))
		mem, config := newMem(t), testConfig()
		flushing := seed%2 == 1
		if flushing {
			config.FlushMessages = 1
		}
		m, l := openLogOn(t, mem, config)
		h := history{open: map[int64]int64{}, epochs: map[int64]int16{}, next: map[int64]int32{}}
		for step := range 250 {
			id := 100 + random.Int64N(5)
			switch _, open := h.open[id]; {
			case random.IntN(40) == 0:
				if err := l.Flush(); err != nil {
					t.Fatal(err)
				}
			case random.IntN(30) == 0:
				mem = mem.KillClone()
				m, l = openLogOn(t, mem, config)
			case flushing && random.IntN(10) == 0:
				mem = mem.CrashClone(env.NewSeededRandom(random.Uint64()))
				m, l = openLogOn(t, mem, config)
			case random.IntN(60) == 0:
				if err := m.Shutdown(1); err != nil {
					t.Fatal(err)
				}
				m, l = openLogOn(t, mem, config)
			case random.IntN(3) > 0 || !open:
				r, err := writeInTransaction(t, l, id, h.epochs[id], h.next[id], 1+random.IntN(3))
				if err != nil {
					t.Fatalf("seed %d step %d: %v", seed, step, err)
				}
				if !open {
					h.open[id] = r.BaseOffset
				}
				h.next[id] += int32(r.LastOffset - r.BaseOffset + 1)
			default:
				commit := random.IntN(2) == 0
				h.epochs[id]++
				r, err := appendMarker(t, l, id, h.epochs[id], 0, commit, 2)
				if err != nil {
					t.Fatalf("seed %d step %d: %v", seed, step, err)
				}
				if !commit {
					h.aborted = append(h.aborted, segment.AbortedTransaction{ProducerID: id, FirstOffset: h.open[id], LastOffset: r.BaseOffset})
				}
				delete(h.open, id)
				h.next[id] = 0
			}
			if _, err := m.CommitDir(0, startMs, nil); err != nil {
				t.Fatal(err)
			}
			if l.CountedOffset() != l.LogEndOffset() {
				t.Fatalf("seed %d step %d: counted %d of %d", seed, step, l.CountedOffset(), l.LogEndOffset())
			}
			l.AdvanceHighWatermark(l.LogEndOffset())
			h.check(t, l, seed, step, random)
		}
		// After power loss the log is a prefix; its index must say the same of it as its records.
		_, l = openLogOn(t, mem.CrashClone(env.NewSeededRandom(seed)), testConfig())
		h.checkPrefix(t, l, seed)
	})
}

func (h *history) check(t *testing.T, l *Log, seed uint64, step int, random *rand.Rand) {
	t.Helper()
	stable := l.LogEndOffset()
	for _, first := range h.open {
		stable = min(stable, first)
	}
	if got := l.LastStableOffset(); got != stable {
		t.Fatalf("seed %d step %d: last stable offset %d, want %d", seed, step, got, stable)
	}
	if stable == 0 {
		return
	}
	h.compare(t, l, random.Int64N(stable), stable, fmt.Sprintf("seed %d step %d", seed, step))
}

func (h *history) compare(t *testing.T, l *Log, offset, upTo int64, where string) {
	t.Helper()
	r, err := l.Read(ReadRequest{Offset: offset, MaxBytes: 1000, MinOneBatch: true, UpTo: upTo, Aborted: true})
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	var want, got []string
	if end := endOf(r.Records); end > 0 {
		for _, a := range h.aborted {
			if a.LastOffset >= offset && a.FirstOffset < end && a.LastOffset < l.LogEndOffset() {
				want = append(want, fmt.Sprint(a.ProducerID, a.FirstOffset, a.LastOffset))
			}
		}
	}
	last := int64(-1)
	for _, a := range r.Aborted {
		if a.FirstOffset < last {
			t.Fatalf("%s: not sorted by first offset: %v", where, r.Aborted)
		}
		last = a.FirstOffset
		got = append(got, fmt.Sprint(a.ProducerID, a.FirstOffset, a.LastOffset))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: aborted from %d: %v, want %v", where, offset, got, want)
	}
}

func (h *history) checkPrefix(t *testing.T, l *Log, seed uint64) {
	t.Helper()
	l.AdvanceHighWatermark(l.LogEndOffset())
	for offset := l.LogStartOffset(); offset < l.LastStableOffset(); offset += 7 {
		h.compare(t, l, offset, l.LastStableOffset(), fmt.Sprintf("seed %d after power loss", seed))
	}
}

func TestDamagedTransactionIndexIsBuiltAgain(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	for i := range int16(4) {
		if _, err := writeInTransaction(t, l, 7, i, 0, 2); err != nil {
			t.Fatal(err)
		}
		if _, err := appendMarker(t, l, 7, i+1, 0, false, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	path := testDir + "/events-0/" + segment.FileName(0, segment.TxnIndexSuffix)
	data, err := vfs.ReadFile(mem, path, 1<<20)
	if err != nil || len(data) != 4*34+8 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	data[1] = 9 // the version of the first entry
	if err := vfs.WriteFileAtomic(mem, path, data); err != nil {
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem, testConfig())
	r, err := l.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: l.LogEndOffset(), Aborted: true})
	if err != nil || len(r.Aborted) != 4 || r.Aborted[0].FirstOffset != 0 {
		t.Fatalf("%+v, %v", r.Aborted, err)
	}
}

func TestTruncationTakesTheTransactionIndexAlong(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	for i := range int16(2) {
		if _, err := writeInTransaction(t, l, 7, i, 0, 2); err != nil {
			t.Fatal(err)
		}
		if _, err := appendMarker(t, l, 7, i+1, 0, false, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.TruncateTo(5, startMs); err != nil { // the second marker goes
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	if got := l.LastStableOffset(); got != 3 {
		t.Fatalf("last stable offset %d", got)
	}
	r, err := l.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: 3, Aborted: true})
	if err != nil || len(r.Aborted) != 1 {
		t.Fatalf("%+v, %v", r.Aborted, err)
	}
}

// TestDeletedMarkerStillEndsItsTransaction moves the log start past a marker that no snapshot knows:
// after kill -9 the transaction was open for good, and the last stable offset stood still.
func TestDeletedMarkerStillEndsItsTransaction(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	if _, err := writeInTransaction(t, l, 7, 0, 0, 2); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil { // writes a snapshot
		t.Fatal(err)
	}
	if _, err := appendMarker(t, l, 7, 1, 0, true, 2); err != nil {
		t.Fatal(err)
	}
	mustProduce(t, l, plain(2), 0)
	if err := l.AdvanceLogStartOffset(4); err != nil {
		t.Fatal(err)
	}
	if err := m.CheckpointLogStartOffsets(); err != nil {
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem.KillClone(), testConfig())
	l.AdvanceHighWatermark(5)
	mustProduce(t, l, plain(1), 0)
	if got := l.LastStableOffset(); got != 6 || l.LogStartOffset() != 4 {
		t.Fatalf("last stable offset %d, log start %d; want 6 and 4", got, l.LogStartOffset())
	}
}

// Retention may take the beginning of a transaction that is open, or aborted later: readers are
// never held up below the log start offset, and what is left of it is still skipped.
func TestRetentionTakesTheBeginningOfATransaction(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.SegmentBytes, config.RetentionBytes = 300, 700
	mem := newMem(t)
	m, l := openLogOn(t, mem, config)
	for sequence := range int32(10) {
		if _, err := writeInTransaction(t, l, 7, 0, 2*sequence, 2); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := l.DeleteOldSegments(startMs); err != nil || n == 0 {
		t.Fatalf("%d segments deleted, %v", n, err)
	}
	start := l.LogStartOffset()
	if got := l.LastStableOffset(); start == 0 || got != start {
		t.Fatalf("last stable offset %d, log start offset %d", got, start)
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem, config)
	l.AdvanceHighWatermark(l.LogEndOffset())
	if got := l.LastStableOffset(); got != start {
		t.Fatalf("last stable offset %d after a restart, log start offset %d", got, start)
	}
	if _, err := appendMarker(t, l, 7, 1, 0, false, 2); err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	for range 2 {
		r, err := l.Read(ReadRequest{Offset: l.LogStartOffset(), MaxBytes: 1 << 20, MinOneBatch: true, UpTo: l.LastStableOffset(), Aborted: true})
		if err != nil || l.LastStableOffset() != l.LogEndOffset() || len(r.Aborted) != 1 || r.Aborted[0].ProducerID != 7 || r.Aborted[0].FirstOffset != 0 {
			t.Fatalf("last stable offset %d of %d, aborted %+v, %v", l.LastStableOffset(), l.LogEndOffset(), r.Aborted, err)
		}
		// Aborted: its segments go one after the other, and its entry with the last of them.
		mustProduce(t, l, plain(2), 0)
		if _, err := l.DeleteOldSegments(startMs); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCutTransactionIndexStaysCut: a recovery cuts an entry off whose marker power loss has taken, and
// is killed; after the next power loss the entry was back, now of a committed transaction.
func TestCutTransactionIndexStaysCut(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	_, l := openLogOn(t, mem, testConfig())
	if _, err := writeInTransaction(t, l, 7, 0, 0, 2); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := appendMarker(t, l, 7, 1, 0, false, 2); err != nil {
		t.Fatal(err)
	}
	f, err := mem.Open(testDir+"/events-0/"+segment.FileName(0, segment.TxnIndexSuffix), true)
	if err == nil {
		err = errors.Join(f.Sync(), mem.SyncDir(testDir+"/events-0")) // the system wrote it back earlier than the log
	}
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for seed := range uint64(60) {
		crashed := mem.CrashClone(env.NewSeededRandom(seed))
		if _, l := openLogOn(t, crashed, testConfig()); l.LogEndOffset() != 2 {
			continue // the marker has survived
		}
		tried++
		killed := crashed.KillClone()
		_, l := openLogOn(t, killed, testConfig())
		if _, err := appendMarker(t, l, 7, 1, 0, true, 2); err != nil {
			t.Fatal(err)
		}
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		for again := range uint64(4) {
			_, l := openLogOn(t, killed.CrashClone(env.NewSeededRandom(again)), testConfig())
			r, err := l.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: l.LogEndOffset(), Aborted: true})
			if err != nil || l.LogEndOffset() != 3 || len(r.Aborted) != 0 {
				t.Fatalf("seed %d, %d: the log ends at %d, aborted are %v, %v", seed, again, l.LogEndOffset(), r.Aborted, err)
			}
		}
	}
	if tried == 0 {
		t.Fatal("no power loss took the marker")
	}
}

// TestTransactionIndexThatWasCutIsBuiltAgain cuts the file under a log in use, as an operator may:
// readers would go round in circles between an index that lacks entries and a repair that sees none.
func TestTransactionIndexThatWasCutIsBuiltAgain(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	_, l := openLogOn(t, mem, testConfig())
	for i := range int16(4) {
		if _, err := writeInTransaction(t, l, 7, i, 0, 2); err != nil {
			t.Fatal(err)
		}
		if _, err := appendMarker(t, l, 7, i+1, 0, false, 2); err != nil {
			t.Fatal(err)
		}
	}
	f, err := mem.Open(testDir+"/events-0/"+segment.FileName(0, segment.TxnIndexSuffix), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(34), f.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := l.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: l.LogEndOffset(), Aborted: true})
	if err != nil || len(r.Aborted) != 4 {
		t.Fatalf("%+v, %v", r.Aborted, err)
	}
}

// TestAbortOfNothingLeavesNoEntry writes the marker of a transaction that has no records here, and
// one twice. The space that was taken for an entry must not stay in the index: the next start would
// find it damaged and read the whole log to build it again.
func TestAbortOfNothingLeavesNoEntry(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	if _, err := writeInTransaction(t, l, 0, 0, 0, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := appendMarker(t, l, 0, 0, 0, true, 1); err != nil {
		t.Fatal(err)
	}
	for _, id := range []int64{0, 9} {
		if r, err := appendMarker(t, l, id, 0, 0, false, 1); err != nil || r.EndedTransaction {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	path := testDir + "/events-0/" + segment.FileName(0, segment.TxnIndexSuffix)
	if info, err := mem.Stat(path); err == nil && info.Size() > 0 {
		t.Errorf("the transaction index has %d bytes", info.Size())
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem, testConfig())
	r, err := l.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: l.LogEndOffset(), Aborted: true})
	if err != nil || len(r.Aborted) > 0 {
		t.Fatalf("%+v, %v", r.Aborted, err)
	}
}

// TestTruncationShowsNoOpenTransaction: followers serve consumers, and what is left of a log when it is cut is the same as before: while the state
// of its producers is built anew, nothing that waits for its marker passes for committed.
func TestTruncationShowsNoOpenTransaction(t *testing.T) {
	t.Parallel()
	var look func()
	_, l := openLogOn(t, vfs.NewFault(newMem(t), func(op vfs.Op, _ string) error {
		if op == vfs.OpRead && look != nil {
			look()
		}
		return nil
	}), testConfig())
	mustProduce(t, l, idempotent(1, 0, 0, 1), 0)
	if _, err := writeInTransaction(t, l, 7, 0, 0, 2); err != nil {
		t.Fatal(err)
	}
	for l.SegmentCount() == 1 {
		mustProduce(t, l, plain(3), 0)
	}
	stable, end, looks := l.LastStableOffset(), l.LogEndOffset(), 0
	if stable != 1 {
		t.Fatalf("the last stable offset is %d", stable)
	}
	look = func() {
		looks++
		if now := l.LastStableOffset(); now > stable {
			t.Errorf("look %d: the last stable offset is %d, a transaction that begins at %d is open", looks, now, stable)
		}
	}
	if err := l.TruncateTo(end-1, startMs); err != nil {
		t.Fatal(err)
	}
	if look(); looks < 2 || l.LastStableOffset() != stable || l.LogEndOffset() >= end {
		t.Errorf("%d looks, the last stable offset is %d, the end %d", looks, l.LastStableOffset(), l.LogEndOffset())
	}
}
