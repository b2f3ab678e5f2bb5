package handler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/txn"
)

// enlistFixture is an Enlister in front of the producer state of two partitions and a coordinator
// that answers as the test says.
type enlistFixture struct {
	logs     map[int32]*producerstate.Manager
	enlister Enlister
	asked    int
}

func newEnlistFixture(answer func(f *enlistFixture, r txn.AddRequest) kafka.ErrorCode) *enlistFixture {
	f := &enlistFixture{logs: map[int32]*producerstate.Manager{0: {}, 1: {}}}
	ask := func(_ context.Context, r txn.AddRequest) (kafka.ErrorCode, error) {
		f.asked++
		return answer(f, r), nil
	}
	f.enlister = Enlister{
		StartVerification: func(tp kafka.TopicPartition, v producerstate.Verification) (producerstate.Guard, error) {
			return f.logs[tp.Partition].StartVerification(v)
		},
		AddPartitions: ask,
		VerifyPartitions: func(ctx context.Context, r txn.AddRequest) ([]kafka.ErrorCode, error) {
			code, err := ask(ctx, r)
			codes := make([]kafka.ErrorCode, len(r.Partitions))
			for i := range codes {
				codes[i] = code
			}
			return codes, err
		},
		NowMs: func() int64 { return 0 }, RetryBackoff: 20 * time.Millisecond, RetryFor: 100 * time.Millisecond,
		Verifies: func() bool { return true },
	}
	return f
}

var enlisting = txn.Producer{ID: 7, Epoch: 3}

// writeMarker writes the marker of the producer's former transaction, which in transaction version 2
// carries the epoch of the next one already.
func (f *enlistFixture) writeMarker(partition int32) {
	f.logs[partition].ApplyMarker(producerstate.Marker{ProducerID: enlisting.ID, Epoch: enlisting.Epoch})
}

// enlist brings the first batch for both partitions into the transaction.
func (f *enlistFixture) enlist(t *testing.T, ability clientAbility) []enlistment {
	t.Helper()
	writes := []firstWrite{{tp: kafka.TopicPartition{Topic: "t", Partition: 0}}, {tp: kafka.TopicPartition{Topic: "t", Partition: 1}}}
	out, err := f.enlister.enlist(t.Context(), "id", enlisting, writes, ability)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// requireWritable fails unless the logs take the writes.
func (f *enlistFixture) requireWritable(t *testing.T, out []enlistment) {
	t.Helper()
	for i, e := range out {
		if e.err != nil {
			t.Errorf("partition %d is refused: %v", i, e.err)
		} else if !f.logs[int32(i)].CheckGuard(enlisting.ID, e.guard) {
			t.Errorf("the guard for partition %d does not hold: its log refuses the batch with INVALID_TXN_STATE", i)
		}
	}
}

// The producer has the answer to EndTxn and writes again before the markers of the transaction that
// it ended are in the logs. They come while the coordinator is asked to add the partitions.
func TestWriteThatOvertakesTheMarkersOfTheFormerTransaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newEnlistFixture(func(f *enlistFixture, _ txn.AddRequest) kafka.ErrorCode {
			if f.asked > 2 {
				return kafka.ErrNone
			}
			f.writeMarker(int32(f.asked - 1))
			return kafka.ErrConcurrentTransactions
		})
		f.requireWritable(t, f.enlist(t, clientVersion2))
	})
}

// Here the former transaction is complete before the coordinator is asked for the first time, but
// after the guard was fetched.
func TestMarkersBetweenTheGuardAndTheCoordinator(t *testing.T) {
	t.Parallel()
	for _, ability := range []clientAbility{clientVersion2, clientAbortable, clientOld} {
		synctest.Test(t, func(t *testing.T) {
			f := newEnlistFixture(func(f *enlistFixture, _ txn.AddRequest) kafka.ErrorCode {
				if f.asked == 1 {
					f.writeMarker(1)
				}
				return kafka.ErrNone
			})
			f.requireWritable(t, f.enlist(t, ability))
			if f.asked != 2 {
				t.Errorf("ability %d: the coordinator was asked %d times, want 2: before and after the marker", ability, f.asked)
			}
		})
	}
}

// A batch that was held up until its transaction had ended must not open it again.
func TestWriteOfAnEndedTransactionIsFenced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newEnlistFixture(func(f *enlistFixture, _ txn.AddRequest) kafka.ErrorCode {
			if f.asked == 1 {
				f.logs[0].ApplyMarker(producerstate.Marker{ProducerID: enlisting.ID, Epoch: enlisting.Epoch + 1})
				return kafka.ErrNone
			}
			return kafka.ErrProducerFenced
		})
		for i, e := range f.enlist(t, clientVersion2) {
			if kafka.CodeOf(e.err) != kafka.ErrInvalidProducerEpoch {
				t.Errorf("partition %d: %v, want INVALID_PRODUCER_EPOCH", i, e.err)
			}
		}
	})
}

// What an old client or a very long wait gets instead of an answer.
func TestMarkersThatDoNotCome(t *testing.T) {
	t.Parallel()
	for ability, want := range map[clientAbility]struct {
		code  kafka.ErrorCode
		waits time.Duration
	}{
		clientVersion2:  {kafka.ErrConcurrentTransactions, 100 * time.Millisecond},
		clientAbortable: {kafka.ErrNotEnoughReplicas, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newEnlistFixture(func(*enlistFixture, txn.AddRequest) kafka.ErrorCode { return kafka.ErrConcurrentTransactions })
			start := time.Now()
			if got := kafka.CodeOf(f.enlist(t, ability)[1].err); got != want.code {
				t.Errorf("ability %d: %v, want %v", ability, got, want.code)
			}
			if waited := time.Since(start); waited < want.waits || waited > want.waits+20*time.Millisecond {
				t.Errorf("ability %d: waited %v, want %v", ability, waited, want.waits)
			}
		})
	}
}
