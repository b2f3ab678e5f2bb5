package handler

import (
	"context"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/txn"
)

// Enlister brings partitions into transactions on the way of a write, as KIP-890 has it: it asks
// the partition's log for a guard and, unless the transaction is open there, the transaction's
// coordinator. Clients of version 2 rely on it to add the partition; for older ones, which add it
// themselves, it verifies that they did.
type Enlister struct {
	// StartVerification asks a partition's log for its guard.
	StartVerification func(kafka.TopicPartition, producerstate.Verification) (producerstate.Guard, error)
	// AddPartitions and VerifyPartitions ask the transaction's coordinator.
	AddPartitions    func(context.Context, txn.AddRequest) (kafka.ErrorCode, error)
	VerifyPartitions func(context.Context, txn.AddRequest) ([]kafka.ErrorCode, error)
	NowMs            func() int64
	// RetryBackoff and RetryFor say how long a write waits for the end of the former transaction:
	// a client would take longer to come back.
	RetryBackoff time.Duration
	RetryFor     time.Duration
	// Verifies is transaction.partition.verification.enable: whether it is asked for clients of
	// version 1, too. Those of version 2 need it.
	Verifies func() bool
}

// firstWrite is the first batch that a request has for a partition.
type firstWrite struct {
	tp       kafka.TopicPartition
	sequence int32
}

// enlistment is the outcome for one partition.
type enlistment struct {
	guard producerstate.Guard
	err   error
}

// clientAbility says what a client understands.
type clientAbility int8

const (
	// clientOld takes every refusal of its transaction for INVALID_TXN_STATE.
	clientOld clientAbility = iota
	// clientAbortable knows TRANSACTION_ABORTABLE.
	clientAbortable
	// clientVersion2 leaves it to the broker to add partitions.
	clientVersion2
)

func abilityOf(version, abortableFrom, version2From int16) clientAbility {
	switch {
	case version >= version2From:
		return clientVersion2
	case version >= abortableFrom:
		return clientAbortable
	}
	return clientOld
}

// enlist answers for every write in turn. An error of the whole means that ctx has ended. A former
// transaction whose markers are still being written is waited for, shortly.
func (e *Enlister) enlist(ctx context.Context, transactionalID string, producer txn.Producer, writes []firstWrite, ability clientAbility) ([]enlistment, error) {
	if ability != clientVersion2 && !e.Verifies() {
		out := make([]enlistment, len(writes))
		for i := range out {
			out[i].guard = producerstate.Unverified
		}
		return out, nil
	}
	request := txn.AddRequest{TransactionalID: transactionalID, Producer: producer, Version: txn.Version2}
	var waited time.Duration
	for pause := time.Millisecond; ; pause = min(2*pause, e.RetryBackoff) {
		out, asked := e.start(producer, writes, ability)
		if len(asked) == 0 {
			return out, nil
		}
		request.Partitions = request.Partitions[:0:0] // the shard may keep the former ones
		for _, i := range asked {
			request.Partitions = append(request.Partitions, writes[i].tp)
		}
		codes, err := e.ask(ctx, request, ability)
		if err != nil {
			return nil, err
		}
		again := ability == clientVersion2 && slices.Contains(codes, kafka.ErrConcurrentTransactions) || e.lostGuard(producer, writes, out, ability)
		if !again || waited >= e.RetryFor {
			for j, i := range asked {
				if codes[j] != kafka.ErrNone {
					out[i].err = refusalOf(codes[j], ability)
				}
			}
			return out, nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		waited += pause
	}
}

// start fetches the guards; asked are the writes about which the coordinator is to be asked.
func (e *Enlister) start(producer txn.Producer, writes []firstWrite, ability clientAbility) (out []enlistment, asked []int) {
	out = make([]enlistment, len(writes))
	for i, w := range writes {
		out[i].guard, out[i].err = e.StartVerification(w.tp, producerstate.Verification{
			ProducerID: producer.ID, Epoch: producer.Epoch, FirstSequence: w.sequence, Strict: ability == clientVersion2, NowMs: e.NowMs(),
		})
		if out[i].err == nil && out[i].guard != producerstate.NoGuard {
			asked = append(asked, i)
		}
	}
	return out, asked
}

// lostGuard reports whether a marker has taken a guard away while the coordinator was asked. It may
// be the marker of the former transaction, of which the coordinator had heard that it is written
// when it answered: then the write is right, but has to ask with a guard that comes after the marker.
func (e *Enlister) lostGuard(producer txn.Producer, writes []firstWrite, before []enlistment, ability clientAbility) bool {
	now, _ := e.start(producer, writes, ability)
	for i := range before {
		if before[i].err == nil && now[i].guard != before[i].guard {
			return true
		}
	}
	return false
}

// ask adds or verifies the partitions.
func (e *Enlister) ask(ctx context.Context, request txn.AddRequest, ability clientAbility) ([]kafka.ErrorCode, error) {
	if ability != clientVersion2 {
		return e.VerifyPartitions(ctx, request)
	}
	code, err := e.AddPartitions(ctx, request)
	return slices.Repeat([]kafka.ErrorCode{code}, len(request.Partitions)), err
}

// refusalOf puts an answer of the coordinator into terms that producers understand.
func refusalOf(code kafka.ErrorCode, ability clientAbility) error {
	switch code {
	case kafka.ErrProducerFenced:
		return kafka.Errorf(kafka.ErrInvalidProducerEpoch, "the producer is fenced")
	case kafka.ErrTransactionAbortable:
		if ability == clientOld {
			code = kafka.ErrInvalidTxnState
		}
		return kafka.Errorf(code, "the partition was not added to the transaction")
	case kafka.ErrConcurrentTransactions:
		if ability == clientVersion2 {
			return kafka.Errorf(code, "the markers of the former transaction are still being written")
		}
	case kafka.ErrCoordinatorLoadInProgress, kafka.ErrCoordinatorNotAvailable, kafka.ErrNotCoordinator:
	default:
		return code
	}
	// Retriable for every client, and no reason to look for another leader.
	return kafka.Errorf(kafka.ErrNotEnoughReplicas, "the partition could not be verified with the transaction's coordinator: %v", code)
}

// oldFenced is the code that clients before PRODUCER_FENCED know.
func oldFenced(code kafka.ErrorCode, version, knownFrom int16) kafka.ErrorCode {
	if code == kafka.ErrProducerFenced && version < knownFrom {
		return kafka.ErrInvalidProducerEpoch
	}
	return code
}
