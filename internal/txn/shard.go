package txn

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// Config is what the shards need of the broker's configs.
type Config struct {
	MaxTimeoutMs         int32        // transaction.max.timeout.ms
	ExpirationMs         int64        // transactional.id.expiration.ms
	AbortCheckIntervalMs int64        // transaction.abort.timed.out.transaction.cleanup.interval.ms
	ExpiryIntervalMs     int64        // transaction.remove.expired.transaction.cleanup.interval.ms
	TransactionVersion   func() int16 // returns the finalized level of transaction.version
	MaxBatchSizeBytes    func() int32 // returns max.message.bytes of __transaction_state as it is now
}

// Shard is the transaction coordinator's state for one partition of __transaction_state.
type Shard struct {
	cfg     Config
	metrics *Metrics

	transactions map[string]*transaction
	ongoing      int // of them in StateOngoing

	abortCheckMs  int64 // when time-outs are looked at next
	expiryCheckMs int64

	// The step under way.
	nowMs int64
	out   shard.Effects
}

var _ shard.Shard = (*Shard)(nil)

// NewShard returns an empty shard.
func NewShard(cfg Config, m *Metrics) *Shard {
	return &Shard{cfg: cfg, metrics: m, transactions: map[string]*transaction{}}
}

// Markers is the notice that a transaction's end is decided and committed: its markers are to be
// written, then CompleteMarkers is to be called.
type Markers struct {
	TransactionalID string
	Producer
	Commit     bool
	Partitions []kafka.TopicPartition
	// TransactionVersion says by which rules the logs check the markers' epoch.
	TransactionVersion int16
	// StartMs and PreparedMs are when the transaction began and when its end was decided. They tell it from the one
	// before, which in version 1 had the same producer.
	StartMs, PreparedMs int64
}

// areOf reports whether the markers are the transaction's.
func (m *Markers) areOf(t *transaction) bool {
	return t.state.isPrepared() && m.Producer == (Producer{t.producerID, t.epoch}) && m.StartMs == t.startMs && m.PreparedMs == t.lastUpdateMs
}

// ProducerIDWanted is the notice that the transaction has taken too long but cannot be aborted
// without a fresh producer id: AbortTimedOut is to be called with one.
type ProducerIDWanted struct{ TransactionalID string }

// Producer is a producer id and epoch.
type Producer struct {
	ID    int64
	Epoch int16
}

// NoProducer is none.
var NoProducer = Producer{ID: kafka.NoProducerID, Epoch: kafka.NoProducerEpoch}

// Replay implements shard.Shard.
func (s *Shard) Replay(p shard.Position, r shard.Record) error {
	id, known, err := decodeKey(r.Key)
	if err != nil {
		return fmt.Errorf("offset %d: %w", p.Offset, err)
	}
	if !known {
		s.metrics.skipped.Inc()
		return nil
	}
	var t *transaction
	if r.Value != nil {
		if t, err = decode(id, r.Value); err != nil {
			return fmt.Errorf("offset %d: %w", p.Offset, err)
		}
	}
	s.forget(id)
	if t != nil {
		s.put(t)
	}
	return nil
}

// ReplayEndTransaction implements shard.Shard: no transactions are written to this log.
func (s *Shard) ReplayEndTransaction(int64, bool) {}

// Activate implements shard.Shard: markers whose writing was cut short are written again.
func (s *Shard) Activate(nowMs int64) shard.Effects {
	s.begin(nowMs)
	s.abortCheckMs, s.expiryCheckMs = nowMs+s.cfg.AbortCheckIntervalMs, nowMs+s.cfg.ExpiryIntervalMs
	for _, t := range s.sorted(func(t *transaction) bool { return t.state.isPrepared() }) {
		s.sendMarkers(t)
	}
	return s.end()
}

// NextDeadlineMs implements shard.Shard. A shard without transactional ids waits for nothing.
func (s *Shard) NextDeadlineMs() int64 {
	deadline := shard.NoDeadline
	if len(s.transactions) > 0 {
		deadline = s.expiryCheckMs
	}
	if s.ongoing > 0 {
		deadline = min(deadline, s.abortCheckMs)
	}
	return deadline
}

// Tick implements shard.Shard.
func (s *Shard) Tick(nowMs int64) shard.Effects {
	s.begin(nowMs)
	if s.abortCheckMs <= nowMs {
		s.abortCheckMs = nowMs + s.cfg.AbortCheckIntervalMs
		s.abortTimedOut()
	}
	if s.expiryCheckMs <= nowMs {
		s.expiryCheckMs = nowMs + s.cfg.ExpiryIntervalMs
		s.expire()
	}
	return s.end()
}

// ShiftDeadlines implements shard.Shard. The start of an open transaction moves, too: it has as
// much time left as before.
func (s *Shard) ShiftDeadlines(byMs int64) {
	s.abortCheckMs += byMs
	s.expiryCheckMs += byMs
	for _, t := range s.transactions { // the order does not matter
		if t.state == StateOngoing {
			t.startMs += byMs
		}
	}
}

// Deactivate implements shard.Shard.
func (s *Shard) Deactivate() {
	for _, t := range s.transactions { // gauges: the order does not matter
		s.metrics.transactions[t.state].Add(-1)
	}
	s.transactions = map[string]*transaction{}
	s.ongoing = 0
}

// abortTimedOut aborts the transactions that take longer than their producers said, also those
// without any data.
func (s *Shard) abortTimedOut() {
	for _, t := range s.sorted(func(t *transaction) bool { return s.hasTimedOut(t) }) {
		if isExhausted(t.epoch) {
			s.out.Notices = append(s.out.Notices, ProducerIDWanted{t.id})
			continue
		}
		s.abortOf(t, noFreshID)
	}
}

func (s *Shard) hasTimedOut(t *transaction) bool {
	return t.state == StateOngoing && t.startMs+int64(t.timeoutMs) < s.nowMs
}

// AbortTimedOut aborts a transaction that ProducerIDWanted named, unless it has ended meanwhile.
func (s *Shard) AbortTimedOut(token shard.Token, id string, freshID, nowMs int64) shard.Effects {
	s.begin(nowMs)
	if t := s.transactions[id]; t != nil && s.hasTimedOut(t) {
		s.abortOf(t, freshID)
	}
	s.respond(token, nil)
	return s.end()
}

func (s *Shard) abortOf(t *transaction, freshID int64) {
	s.metrics.timedOut.Inc()
	s.abort(t, freshID)
}

// abort ends a transaction that its producer does not end. It always gets a new epoch, which fences the producer;
// everything else is as at the cluster's level.
func (s *Shard) abort(t *transaction, freshID int64) {
	if !isExhausted(t.epoch) {
		freshID = kafka.NoProducerID
	}
	s.change(t, func() {
		t.prepare(StatePrepareAbort, Version2, freshID, s.nowMs)
		if freshID == kafka.NoProducerID {
			t.clientVersion = min(t.clientVersion, s.cfg.TransactionVersion())
		}
	})
	s.sendMarkers(t)
}

// expire forgets the ids that nobody has used for transactional.id.expiration.ms.
func (s *Shard) expire() {
	due := func(t *transaction) bool { return t.state.isIdle() && t.lastUpdateMs <= s.nowMs-s.cfg.ExpirationMs }
	for _, t := range s.sorted(due) {
		s.out.Records = append(s.out.Records, tombstone(t.id))
		s.forget(t.id)
		s.metrics.expired.Inc()
	}
}

// prepare decides the end of a transaction and has its markers written.
func (s *Shard) prepare(t *transaction, commit bool, version int16, freshID int64) {
	to := StatePrepareAbort
	if commit {
		to = StatePrepareCommit
	}
	if version < Version2 || !isExhausted(t.epoch) {
		freshID = kafka.NoProducerID
	}
	s.change(t, func() { t.prepare(to, version, freshID, s.nowMs) })
	s.sendMarkers(t)
}

func (s *Shard) sendMarkers(t *transaction) {
	s.out.Notices = append(s.out.Notices, Markers{
		TransactionalID: t.id, Producer: Producer{t.producerID, t.epoch}, Commit: t.state == StatePrepareCommit,
		Partitions: slices.Clone(t.partitions), TransactionVersion: t.clientVersion, StartMs: t.startMs, PreparedMs: t.lastUpdateMs,
	})
}

// CompleteMarkers ends a transaction whose markers are written. It changes nothing if the
// transaction is not the one that they were for.
func (s *Shard) CompleteMarkers(token shard.Token, m Markers, nowMs int64) shard.Effects {
	s.begin(nowMs)
	if t := s.transactions[m.TransactionalID]; t != nil && m.areOf(t) {
		if t.state == StatePrepareCommit {
			s.metrics.committed.Inc()
		} else {
			s.metrics.aborted.Inc()
		}
		s.change(t, func() { t.complete(nowMs) })
	}
	s.respond(token, nil)
	return s.end()
}

// change runs a transition and emits the transaction's new record.
func (s *Shard) change(t *transaction, transition func()) {
	s.count(t, -1)
	transition()
	s.count(t, 1)
	s.out.Records = append(s.out.Records, t.record(s.cfg.TransactionVersion()))
}

func (s *Shard) count(t *transaction, n int) {
	s.metrics.transactions[t.state].Add(int64(n))
	if t.state == StateOngoing {
		s.ongoing += n
	}
}

func (s *Shard) put(t *transaction) {
	s.transactions[t.id] = t
	s.count(t, 1)
}

func (s *Shard) forget(id string) {
	if t := s.transactions[id]; t != nil {
		s.count(t, -1)
		delete(s.transactions, id)
	}
}

// sorted returns the transactions that pick wants, by id: what a shard does never depends on map
// order.
func (s *Shard) sorted(pick func(t *transaction) bool) []*transaction {
	var picked []*transaction
	for _, t := range s.transactions {
		if pick(t) {
			picked = append(picked, t)
		}
	}
	slices.SortFunc(picked, func(a, b *transaction) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return picked
}

func (s *Shard) begin(nowMs int64) { s.nowMs, s.out = nowMs, shard.Effects{} }

func (s *Shard) end() shard.Effects {
	out := s.out
	s.out = shard.Effects{}
	return out
}

func (s *Shard) respond(token shard.Token, value any) {
	if token != 0 {
		s.out.Responses = append(s.out.Responses, shard.Response{Token: token, Value: value})
	}
}
