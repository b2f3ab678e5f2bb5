package coordinator

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/txn"
)

const (
	// enlistTimeout is how long a write waits for its transaction's coordinator, here or on another broker. It is
	// refused then, and its producer comes back.
	enlistTimeout = 2 * time.Second
	// enlistCallTimeout is how long a coordinator on another broker may take all in all: a slow one may finish what
	// nobody waits for any more, so that producers find it done.
	enlistCallTimeout = 5 * time.Second
	// EnlistmentLanes is how many questions to one broker may be under way at a time: one for each of its
	// coordinator's workers.
	EnlistmentLanes = transactionWorkers
)

// Enlistments ask the coordinators of transactions, wherever they are, about the partitions that
// their producers write to (KIP-890).
type Enlistments struct {
	local  *Transactions
	call   Call
	remote *outbox[*enlistment]
}

// enlistment is a question for another broker.
type enlistment struct {
	txn.AddRequest
	verifyOnly bool
	codes      []kafka.ErrorCode
	done       chan struct{} // closed when codes are there
	left       atomic.Bool   // nobody waits any more, and it need not be sent
}

// NewEnlistments returns the way to the coordinators of all brokers, of which local is this one's.
func NewEnlistments(local *Transactions) *Enlistments {
	e := &Enlistments{local: local, call: local.o.Call}
	e.remote = newOutbox("transaction-enlistments", EnlistmentLanes, local.o.Spawner, local.o.Metrics, e.send)
	return e
}

// AddPartitions takes partitions into a transaction.
func (e *Enlistments) AddPartitions(ctx context.Context, r txn.AddRequest) (kafka.ErrorCode, error) {
	broker, code := e.coordinator(r.TransactionalID)
	switch {
	case code != kafka.ErrNone:
		return code, nil
	case broker == e.local.o.NodeID:
		code := kafka.ErrCoordinatorNotAvailable
		err := inTime(ctx, func(ctx context.Context) (err error) {
			code, err = e.local.AddPartitions(ctx, r)
			return err
		}, func() { code = kafka.ErrCoordinatorNotAvailable })
		return code, err
	}
	codes, err := e.ask(ctx, broker, &enlistment{AddRequest: r})
	for _, code := range codes {
		if code != kafka.ErrNone { // all are added or none
			return code, err
		}
	}
	return kafka.ErrNone, err
}

// VerifyPartitions tells for each partition whether it is in the transaction.
func (e *Enlistments) VerifyPartitions(ctx context.Context, r txn.AddRequest) ([]kafka.ErrorCode, error) {
	broker, code := e.coordinator(r.TransactionalID)
	switch {
	case code != kafka.ErrNone:
		return slices.Repeat([]kafka.ErrorCode{code}, len(r.Partitions)), nil
	case broker == e.local.o.NodeID:
		var codes []kafka.ErrorCode
		err := inTime(ctx, func(ctx context.Context) (err error) {
			codes, err = e.local.VerifyPartitions(ctx, r)
			return err
		}, func() { codes = unavailable(r) })
		return codes, err
	}
	return e.ask(ctx, broker, &enlistment{AddRequest: r, verifyOnly: true})
}

// coordinator returns the broker that leads the partition of a transactional id.
func (e *Enlistments) coordinator(id string) (broker int32, code kafka.ErrorCode) {
	topic := e.local.image.Load().TopicByName(kafka.TransactionStateTopic)
	if topic == nil {
		return kafka.NoLeader, kafka.ErrNotCoordinator
	}
	p := topic.Partition(kafka.CoordinatorPartition(id, int32(len(topic.Partitions))))
	if p == nil || p.Leader == kafka.NoLeader {
		return kafka.NoLeader, kafka.ErrCoordinatorNotAvailable
	}
	return p.Leader, kafka.ErrNone
}

func (e *Enlistments) ask(ctx context.Context, broker int32, work *enlistment) ([]kafka.ErrorCode, error) {
	work.done = make(chan struct{})
	if !e.remote.add(broker, work) {
		return unavailable(work.AddRequest), nil
	}
	timer := time.NewTimer(enlistTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		work.left.Store(true)
		return unavailable(work.AddRequest), nil
	case <-work.done:
		return work.codes, nil
	case <-ctx.Done():
		work.left.Store(true)
		return nil, ctx.Err()
	case <-e.local.o.Spawner.Context().Done():
		return unavailable(work.AddRequest), nil
	}
}

// inTime runs f for at most enlistTimeout; late is called where that was not enough. The error says that ctx has ended.
func inTime(ctx context.Context, f func(ctx context.Context) error, late func()) error {
	bounded, cancel := context.WithTimeout(ctx, enlistTimeout)
	defer cancel()
	err := f(bounded)
	if err != nil && ctx.Err() == nil {
		late()
		return nil
	}
	return err
}

func unavailable(r txn.AddRequest) []kafka.ErrorCode {
	return slices.Repeat([]kafka.ErrorCode{kafka.ErrCoordinatorNotAvailable}, len(r.Partitions))
}

// send asks one broker about several transactions.
func (e *Enlistments) send(ctx context.Context, broker int32, batch []*enlistment) {
	if batch = slices.DeleteFunc(batch, func(work *enlistment) bool { return work.left.Load() }); len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, enlistCallTimeout)
	defer cancel()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.SetVersion(req.MaxVersion())
	for _, work := range batch {
		t := kmsg.NewAddPartitionsToTxnRequestTransaction()
		t.TransactionalID, t.ProducerID, t.ProducerEpoch, t.VerifyOnly = work.TransactionalID, work.Producer.ID, work.Producer.Epoch, work.verifyOnly
		for _, tp := range work.Partitions {
			if n := len(t.Topics); n == 0 || t.Topics[n-1].Topic != tp.Topic {
				t.Topics = append(t.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: tp.Topic})
			}
			topic := &t.Topics[len(t.Topics)-1]
			topic.Partitions = append(topic.Partitions, tp.Partition)
		}
		req.Transactions = append(req.Transactions, t)
	}
	resp, err := e.call(ctx, broker, req)
	answers, _ := resp.(*kmsg.AddPartitionsToTxnResponse)
	if err == nil && answers != nil && answers.ErrorCode != 0 {
		err = kafka.ErrorCode(answers.ErrorCode)
	}
	if err != nil {
		slog.Warn("a transaction coordinator on another broker did not answer; producers ask again", "broker", broker, "transactions", len(batch), "error", err)
		answers = nil
	}
	for i, work := range batch {
		work.codes = make([]kafka.ErrorCode, len(work.Partitions))
		if answers == nil || len(answers.Transactions) != len(batch) || !work.take(&answers.Transactions[i]) {
			for j := range work.codes {
				work.codes[j] = kafka.ErrCoordinatorNotAvailable
			}
		}
		close(work.done)
	}
}

// take reads the codes out of an answer; false says that it is none to this question.
func (w *enlistment) take(t *kmsg.AddPartitionsToTxnResponseTransaction) bool {
	if t.TransactionalID != w.TransactionalID {
		return false
	}
	i := 0
	for _, topic := range t.Topics {
		for _, p := range topic.Partitions {
			if i == len(w.Partitions) || w.Partitions[i] != (kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}) {
				return false
			}
			w.codes[i] = kafka.ErrorCode(p.ErrorCode)
			i++
		}
	}
	w.hideNotAttempted()
	return i == len(w.Partitions)
}

// hideNotAttempted gives the partitions that were not tried because of another one the other one's
// refusal: producers do not know the word and would give up.
func (w *enlistment) hideNotAttempted() {
	refusal := kafka.ErrCoordinatorNotAvailable
	for _, code := range w.codes {
		if code != kafka.ErrNone && code != kafka.ErrOperationNotAttempted {
			refusal = code
		}
	}
	for i, code := range w.codes {
		if code == kafka.ErrOperationNotAttempted {
			w.codes[i] = refusal
		}
	}
}
