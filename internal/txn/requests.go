package txn

import (
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/shard"
)

// Result answers a request about one transactional id.
type Result struct {
	Code     kafka.ErrorCode
	Producer Producer
	// NeedsProducerID is set instead of everything else when the request needs a fresh producer id
	// and came without one. Nothing has changed; it is to be asked again with one.
	NeedsProducerID bool
}

// InitRequest is an InitProducerId with a transactional id.
type InitRequest struct {
	TransactionalID string
	TimeoutMs       int32
	// Expected is the id and epoch that the producer has and wants to go on from (KIP-360); nil for
	// a new instance.
	Expected *Producer
	// FreshID is a producer id that nobody has, or kafka.NoProducerID.
	FreshID int64
}

// InitProducerID gives a producer its id and epoch, and fences whoever had the transactional id
// before. An open transaction of the former is aborted first: the answer is then
// CONCURRENT_TRANSACTIONS until that is done. The response is a Result.
func (s *Shard) InitProducerID(token shard.Token, r InitRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	s.respond(token, s.fencing(s.initProducerID(r)))
	return s.end()
}

func (s *Shard) initProducerID(r InitRequest) Result {
	if r.TimeoutMs <= 0 || r.TimeoutMs > s.cfg.MaxTimeoutMs {
		return failed(kafka.ErrInvalidTransactionTimeout)
	}
	t := s.transactions[r.TransactionalID]
	if t == nil {
		if r.FreshID == kafka.NoProducerID {
			return Result{NeedsProducerID: true}
		}
		t = newTransaction(r.TransactionalID, r.FreshID)
		s.put(t)
	}
	switch {
	case t.state.isPrepared():
		return failed(kafka.ErrConcurrentTransactions)
	case r.Expected != nil && !t.isValidProducer(*r.Expected):
		return failed(kafka.ErrProducerFenced)
	case t.state == StateOngoing:
		if isExhausted(t.epoch) && r.FreshID == kafka.NoProducerID {
			return Result{NeedsProducerID: true}
		}
		s.abort(t, r.FreshID)
		return failed(kafka.ErrConcurrentTransactions)
	case isExhausted(t.epoch) && (r.Expected == nil || r.Expected.Epoch == t.epoch):
		if r.FreshID == kafka.NoProducerID {
			return Result{NeedsProducerID: true}
		}
		s.change(t, func() { t.rotate(r.FreshID, r.TimeoutMs, r.Expected != nil, s.nowMs) })
	default:
		code := kafka.ErrNone
		before := *t
		if code = t.bump(r.Expected, r.TimeoutMs, s.nowMs); code != kafka.ErrNone {
			return failed(code)
		}
		after := *t
		*t = before
		s.change(t, func() { *t = after })
	}
	return Result{Producer: Producer{t.producerID, t.epoch}}
}

// AddRequest names the partitions that a producer is about to write to.
type AddRequest struct {
	TransactionalID string
	Producer        Producer
	Partitions      []kafka.TopicPartition
	// Version is the transaction version of the client.
	Version int16
}

// AddPartitions takes partitions into a transaction, beginning it if need be. The response is a
// Result.
func (s *Shard) AddPartitions(token shard.Token, r AddRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	s.respond(token, s.fencing(s.addPartitions(r)))
	return s.end()
}

// endBytes is at least what the record that ends a transaction takes more than the one of its partitions: it may name the next producer id, and a
// newer version.
const endBytes = 32

func (s *Shard) addPartitions(r AddRequest) Result {
	t := s.transactions[r.TransactionalID]
	switch {
	case t == nil:
		return failed(kafka.ErrInvalidProducerIDMapping)
	case t.state.isPrepared():
		return failed(kafka.ErrConcurrentTransactions)
	case t.producerID != r.Producer.ID:
		return failed(kafka.ErrInvalidProducerIDMapping)
	case t.epoch != r.Producer.Epoch:
		return failed(kafka.ErrProducerFenced)
	case t.state == StateOngoing && t.hasAll(r.Partitions):
		return Result{}
	}
	after := *t
	after.add(r.Partitions, r.Version, s.nowMs)
	if rec := after.record(s.cfg.TransactionVersion()); record.BatchOverhead+record.SizeBytes(0, rec.Key, rec.Value)+endBytes > int(s.cfg.MaxBatchSizeBytes()) {
		return failed(kafka.ErrUnknownServerError) // as Kafka answers where the record does not fit
	}
	if t.state.isIdle() {
		s.metrics.started.Inc()
	}
	s.change(t, func() { *t = after })
	return Result{}
}

// VerifyPartitions reports for each partition whether it is in the producer's transaction:
// TRANSACTION_ABORTABLE if not. The response is a []kafka.ErrorCode in the order of the partitions.
func (s *Shard) VerifyPartitions(token shard.Token, r AddRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	codes := make([]kafka.ErrorCode, len(r.Partitions))
	t := s.transactions[r.TransactionalID]
	var whole kafka.ErrorCode
	switch {
	case t == nil || t.producerID != r.Producer.ID:
		whole = kafka.ErrInvalidProducerIDMapping
	case t.epoch != r.Producer.Epoch:
		whole = kafka.ErrProducerFenced
	case t.state.isPrepared():
		whole = kafka.ErrConcurrentTransactions
	}
	for i, tp := range r.Partitions {
		if codes[i] = whole; whole == kafka.ErrNone && !t.hasPartition(tp) {
			codes[i] = kafka.ErrTransactionAbortable
		}
	}
	s.respond(token, codes)
	return s.end()
}

// EndRequest ends a transaction.
type EndRequest struct {
	TransactionalID string
	Producer        Producer
	Commit          bool
	// Version is the transaction version of the client.
	Version int16
	// FreshID is a producer id that nobody has, or kafka.NoProducerID.
	FreshID int64
}

// EndTransaction commits or aborts. The answer leaves when the decision is committed; the markers
// follow. The response is a Result, in version 2 with the producer's next id and epoch.
func (s *Shard) EndTransaction(token shard.Token, r EndRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	end := s.endVersion2
	if r.Version < Version2 {
		end = s.endVersion1
	}
	result := failed(kafka.ErrInvalidProducerIDMapping)
	if t := s.transactions[r.TransactionalID]; t != nil {
		result = end(t, r)
	}
	s.respond(token, s.fencing(result))
	return s.end()
}

func (s *Shard) endVersion1(t *transaction, r EndRequest) Result {
	switch {
	case t.producerID != r.Producer.ID:
		return failed(kafka.ErrInvalidProducerIDMapping)
	case t.epoch != r.Producer.Epoch:
		return failed(kafka.ErrProducerFenced)
	case t.state.isPrepared():
		return failed(kafka.ErrConcurrentTransactions)
	case t.state == StateOngoing:
		s.prepare(t, r.Commit, Version0, noFreshID)
		return Result{Producer: NoProducer}
	case t.state == StateCompleteCommit && r.Commit, t.state == StateCompleteAbort && !r.Commit:
		return Result{Producer: NoProducer} // a repetition
	}
	return failed(kafka.ErrInvalidTxnState)
}

func (s *Shard) endVersion2(t *transaction, r EndRequest) Result {
	if t.state.isPrepared() {
		// First of all: the producer may already use the id and epoch that it gets with the end.
		return failed(kafka.ErrConcurrentTransactions)
	}
	// A repetition carries the epoch before the end, which may have brought a new producer id.
	afterOverflow := t.prevProducerID == r.Producer.ID && isExhausted(r.Producer.Epoch) && t.epoch == 0 && t.producerID != r.Producer.ID
	isRetry := afterOverflow || t.producerID == r.Producer.ID && t.epoch > 0 && t.epoch-1 == r.Producer.Epoch
	completed := t.state == StateCompleteCommit || t.state == StateCompleteAbort
	switch {
	case t.producerID != r.Producer.ID && !afterOverflow:
		return failed(kafka.ErrInvalidProducerIDMapping)
	case t.epoch != r.Producer.Epoch && !(completed && isRetry):
		return failed(kafka.ErrProducerFenced)
	case completed && isRetry:
		return s.repeated(t, r)
	case r.Commit && t.state != StateOngoing:
		return failed(kafka.ErrInvalidTxnState) // nothing to commit (KAFKA-18401)
	case isExhausted(t.epoch) && r.FreshID == kafka.NoProducerID:
		return Result{NeedsProducerID: true}
	}
	s.prepare(t, r.Commit, Version2, r.FreshID)
	return Result{Producer: t.completed()}
}

// repeated answers the repetition of an end.
func (s *Shard) repeated(t *transaction, r EndRequest) Result {
	switch {
	case r.Commit == (t.state == StateCompleteCommit):
		return Result{Producer: Producer{t.producerID, t.epoch}}
	case r.Commit:
		// The coordinator has aborted the transaction meanwhile, as it took too long. The producer
		// can abort it and go on (KAFKA-20785); INVALID_TXN_STATE would end it.
		return failed(kafka.ErrTransactionAbortable)
	}
	return failed(kafka.ErrInvalidTxnState)
}

func failed(code kafka.ErrorCode) Result { return Result{Code: code, Producer: NoProducer} }

func (s *Shard) fencing(r Result) Result {
	if r.Code == kafka.ErrProducerFenced {
		s.metrics.fenced.Inc()
	}
	return r
}
