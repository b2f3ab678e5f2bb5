package txn

import (
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// Describe describes a transactional id. The response is a
// kmsg.DescribeTransactionsResponseTransactionState.
func (s *Shard) Describe(token shard.Token, id string, nowMs int64) shard.Effects {
	s.begin(nowMs)
	d := kmsg.NewDescribeTransactionsResponseTransactionState()
	d.TransactionalID = id
	t := s.transactions[id]
	if t == nil {
		d.ErrorCode = int16(kafka.ErrTransactionalIDNotFound)
		s.respond(token, d)
		return s.end()
	}
	d.State, d.TimeoutMillis, d.StartTimestamp = t.state.String(), t.timeoutMs, t.startMs
	d.ProducerID, d.ProducerEpoch = t.producerID, t.epoch
	for _, tp := range t.partitions {
		if n := len(d.Topics); n == 0 || d.Topics[n-1].Topic != tp.Topic {
			d.Topics = append(d.Topics, kmsg.DescribeTransactionsResponseTransactionStateTopic{Topic: tp.Topic})
		}
		last := &d.Topics[len(d.Topics)-1]
		last.Partitions = append(last.Partitions, tp.Partition)
	}
	s.respond(token, d)
	return s.end()
}

// Filter says which transactions to list; its zero value with MinDurationMs -1 lists all.
type Filter struct {
	ProducerIDs   []int64
	States        []State
	AnyState      bool
	MinDurationMs int64
	Pattern       *regexp.Regexp
}

// ParseFilter reads the filters of a ListTransactions request; unknown are state names that do
// not exist. The error is INVALID_REGULAR_EXPRESSION.
func ParseFilter(req *kmsg.ListTransactionsRequest) (f Filter, unknown []string, err error) {
	f = Filter{ProducerIDs: req.ProducerIDFilters, AnyState: len(req.StateFilters) == 0, MinDurationMs: req.DurationFilterMillis}
	for _, name := range req.StateFilters {
		if state, ok := stateNamed(name); ok {
			f.States = append(f.States, state)
		} else {
			unknown = append(unknown, name)
		}
	}
	if p := req.TransactionalIDPattern; p != nil && *p != "" {
		if f.Pattern, err = regexp.Compile("^(?:" + *p + ")$"); err != nil {
			return f, unknown, kafka.Errorf(kafka.ErrInvalidRegularExpression, "the transactional id pattern %q is not a regular expression: %v", *p, err)
		}
	}
	return f, unknown, nil
}

func (f *Filter) matches(t *transaction, nowMs int64) bool {
	return (len(f.ProducerIDs) == 0 || slices.Contains(f.ProducerIDs, t.producerID)) &&
		(f.AnyState || slices.Contains(f.States, t.state)) &&
		(f.MinDurationMs < 0 || nowMs-t.startMs > f.MinDurationMs) &&
		(f.Pattern == nil || f.Pattern.MatchString(t.id))
}

// List lists transactions, by id. The response is a
// []kmsg.ListTransactionsResponseTransactionState.
func (s *Shard) List(token shard.Token, f Filter, nowMs int64) shard.Effects {
	s.begin(nowMs)
	listed := []kmsg.ListTransactionsResponseTransactionState{}
	for _, t := range s.sorted(func(t *transaction) bool { return f.matches(t, nowMs) }) {
		listed = append(listed, kmsg.ListTransactionsResponseTransactionState{TransactionalID: t.id, ProducerID: t.producerID, TransactionState: t.state.String()})
	}
	s.respond(token, listed)
	return s.end()
}
