package script

import (
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func transactionSubjects() []subject {
	begun := beginAs("")
	return []subject{
		{
			key: 22, build: func(s *Session) kmsg.Request { return initRequest(s) }, forms: initForms(),
			repeat: repeatTransient(func(r *kmsg.InitProducerIDResponse) int16 { return r.ErrorCode }),
			learn: func(s *Session, r kmsg.Response) {
				if answer := r.(*kmsg.InitProducerIDResponse); answer.ErrorCode == 0 && s.pid == 0 {
					s.pid, s.epoch = answer.ProducerID, answer.ProducerEpoch
				}
			},
		},
		{
			key: 24, sorted: true, prepare: []func(*Session) error{begun}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrAddPartitionsToTxnRequest()
				r.TransactionalID, r.ProducerID, r.ProducerEpoch = s.txn(), s.pid, s.epoch
				r.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: txnTopic, Partitions: []int32{0}}}
				r.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{TransactionalID: s.txn(), ProducerID: s.pid, ProducerEpoch: s.epoch, Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: txnTopic, Partitions: []int32{0}}}}}
				return r
			},
			forms: []form{
				shape("two topics", true, 0, func(_ *Session, r *kmsg.AddPartitionsToTxnRequest) {
					r.Topics = append(r.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: fixedTopic, Partitions: []int32{1}})
					r.Transactions[0].Topics = append(r.Transactions[0].Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: fixedTopic, Partitions: []int32{1}})
				}),
				shape("a good and a bad topic", false, 0, func(_ *Session, r *kmsg.AddPartitionsToTxnRequest) {
					r.Topics = append(r.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: "fixed-not-there", Partitions: []int32{0}})
					r.Transactions[0].Topics = append(r.Transactions[0].Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: "fixed-not-there", Partitions: []int32{0}})
				}),
			},
			after: []func(*Session) error{transactionState},
		},
		{
			key: 25, prepare: []func(*Session) error{begun}, after: []func(*Session) error{transactionState}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrAddOffsetsToTxnRequest()
				r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group = s.txn(), s.pid, s.epoch, s.group()
				return r
			},
		},
		{
			key: 26, prepare: []func(*Session) error{begun, addToTxn("", txnTopic)}, after: []func(*Session) error{transactionState},
			build:  func(s *Session) kmsg.Request { return endRequest(s) },
			repeat: repeatTransient(func(r *kmsg.EndTxnResponse) int16 { return r.ErrorCode }),
			forms: []form{
				talk("twice", true, 0, send(endRequest), send(endRequest)),
				talk("committed, then aborted", false, 0, send(endRequest), send(func(s *Session) kmsg.Request {
					r := endRequest(s).(*kmsg.EndTxnRequest)
					r.Commit = false
					return r
				})),
				talk("an epoch too old", false, 0, hush(endTxn("", true)), hush(beginAs("")), hush(addToTxn("", txnTopic)), func(s *Session) error { s.epoch--; return nil }, send(endRequest)),
				talk("an epoch too new", false, 0, func(s *Session) error { s.epoch++; return nil }, send(endRequest)),
				talk("another producer id", false, 0, func(s *Session) error { s.pid += 1000; return nil }, send(endRequest), func(s *Session) error { s.pid -= 1000; return nil }),
			},
		},
		{
			key: 27, sorted: true, pool: "marked", prepare: []func(*Session) error{findEnd, inventProducer}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrWriteTxnMarkersRequest()
				r.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: s.pid, ProducerEpoch: 3, Committed: true, CoordinatorEpoch: 2, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: s.topic(), Partitions: []int32{0}}}}}
				return r
			},
			forms: []form{
				shape("two markers", true, 0, func(_ *Session, r *kmsg.WriteTxnMarkersRequest) {
					other := r.Markers[0]
					other.ProducerID++
					r.Markers = append(r.Markers, other)
				}),
			},
			after: []func(*Session) error{latestOffset},
		},
		{
			key: 28, prepare: []func(*Session) error{begun, func(s *Session) error { return ready(s.group())(s) }, addOffsetsToTxn}, after: []func(*Session) error{storedOffsets},
			build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrTxnOffsetCommitRequest()
				r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch, r.Generation = s.txn(), s.group(), s.pid, s.epoch, -1
				p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
				p.Offset, p.LeaderEpoch, p.Metadata = 3, 0, ptr("metadata")
				r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: fixedTopic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
				return r
			},
			forms: []form{
				shape("too long metadata", false, 0, func(_ *Session, r *kmsg.TxnOffsetCommitRequest) {
					r.Topics[0].Partitions[0].Metadata = ptr(strings.Repeat("m", 4097))
				}),
			},
		},
		{
			key: 65, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrDescribeTransactionsRequest()
				r.TransactionalIDs = []string{fixedTxn}
				return r
			},
			forms: []form{
				talk("open", true, 0, hush(begun), hush(addToTxn("", txnTopic)), send(describeOwn)),
				talk("empty", true, 0, hush(begun), send(describeOwn)),
			},
		},
		{
			key: 66, mineOnly: true, prepare: []func(*Session) error{begun}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrListTransactionsRequest()
				r.StateFilters, r.ProducerIDFilters, r.DurationFilterMillis = []string{"Empty"}, []int64{s.pid}, -1
				r.TransactionalIDPattern = ptr(s.own + ".*")
				return r
			},
			forms: []form{
				shape("no filter", true, 0, func(_ *Session, r *kmsg.ListTransactionsRequest) {
					r.StateFilters, r.ProducerIDFilters, r.TransactionalIDPattern = nil, nil, nil
				}),
				shape("two states", true, 0, func(_ *Session, r *kmsg.ListTransactionsRequest) {
					r.StateFilters = []string{"Ongoing", "Empty", "Nonsense"}
				}),
				shape("another state", true, 0, func(_ *Session, r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Ongoing"} }),
				shape("invalid pattern", false, 2, func(_ *Session, r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = ptr("(") }),
			},
		},
	}
}

func initRequest(s *Session) *kmsg.InitProducerIDRequest {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionalID, r.TransactionTimeoutMillis = ptr(s.txn()), 60_000
	return r
}

func initForms() []form {
	as := func(pid int64, epochs int16) func(*Session) error {
		return send(func(s *Session) kmsg.Request {
			r := initRequest(s)
			r.ProducerID, r.ProducerEpoch = s.pid+pid, s.epoch+epochs
			return r
		})
	}
	timeout := func(name string, good bool, timeoutMs int32) form {
		return shape(name, good, 0, func(_ *Session, r *kmsg.InitProducerIDRequest) { r.TransactionTimeoutMillis = timeoutMs })
	}
	return []form{
		talk("again", true, 0, hush(beginAs("")), send(func(s *Session) kmsg.Request { return initRequest(s) })),
		talk("again with its producer id", true, 3, hush(beginAs("")), as(0, 0)),
		talk("again with an older epoch", false, 3, hush(beginAs("")), hush(beginAs("")), as(0, -1)),
		talk("again with an epoch to come", false, 3, hush(beginAs("")), as(0, 4)),
		talk("again with another producer id", false, 3, hush(beginAs("")), as(1000, 0)),
		talk("in an open transaction", true, 0, hush(beginAs("")), hush(addToTxn("", txnTopic)), send(func(s *Session) kmsg.Request { return initRequest(s) })),
		timeout("longest time-out", true, 900_000), timeout("too long a time-out", false, 900_001),
		shape("producer id and no transactional id", false, 3, func(_ *Session, r *kmsg.InitProducerIDRequest) {
			r.TransactionalID, r.ProducerID, r.ProducerEpoch = nil, 7, 1
		}),
	}
}

// inventProducer takes a producer id that nobody else has.
func inventProducer(s *Session) error {
	for _, c := range s.own {
		s.pid = (s.pid*31 + int64(c)) % 1_000_000_007
	}
	s.pid += 1 << 32
	return nil
}

func endRequest(s *Session) kmsg.Request {
	r := kmsg.NewPtrEndTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = s.txn(), s.pid, s.epoch, true
	return r
}

func addOffsetsToTxn(s *Session) error {
	r := kmsg.NewPtrAddOffsetsToTxnRequest()
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group = s.txn(), s.pid, s.epoch, s.group()
	return until(func() (bool, error) {
		response, err := s.fetch(r, 3)
		if err != nil {
			return false, err
		}
		code := response.(*kmsg.AddOffsetsToTxnResponse).ErrorCode
		return !transient(code), codeErrorUnless(transient, code)
	})
}

func describeOwn(s *Session) kmsg.Request {
	r := kmsg.NewPtrDescribeTransactionsRequest()
	r.TransactionalIDs = []string{s.txn()}
	return r
}

// transactionState writes down the case's transaction once its markers are written.
func transactionState(s *Session) error {
	for deadline := time.Now().Add(answerTime); time.Now().Before(deadline); {
		response, err := s.fetch(describeOwn(s), 0)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(response.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].State, "Prepare") {
			break
		}
	}
	return s.converse(describeOwn(s), 0)
}
