package handler

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/txn"
	"github.com/moldau/moldau/internal/wire"
)

// Produce appends record batches (API key 0). Handle appends in request order; waiting for
// the high watermark overlaps with later requests of the connection.
type Produce struct {
	Replicas   *replica.Manager
	Metadata   func() *metadata.Image
	Authorizer security.Authorizer
	Clock      env.Clock
	Metrics    *DataMetrics
	Enlister   *Enlister
}

// Versions of Produce from which something is different.
const (
	produceTopicIDsFrom            = 13
	produceTransactions2From       = 12
	produceAbortableFrom           = 11
	produceLeaderHintsFrom         = 10
	produceRecordErrorsFrom        = 8
	adminClientID                  = "__admin_client"
	requiredAcksAll          int16 = -1
)

// Handle validates, appends and answers, or leaves the answer to the completing phase.
func (h *Produce) Handle(ctx context.Context, r *Request) Reply {
	h.Metrics.produceRequests.Inc()
	req := r.Body.(*kmsg.ProduceRequest)
	p := newProduce()
	p.h, p.r, p.req, p.version, p.listener, p.image = h, r, req, r.Version(), r.Conn.Listener, h.Metadata()
	keepLast(req.Topics)
	refusal := p.refusal(ctx)
	if ctx.Err() != nil {
		return Reply{CloseConnection: true}
	}
	p.response.Topics = grown(p.response.Topics, len(req.Topics))
	for i := range req.Topics {
		p.topic(ctx, &req.Topics[i], &p.response.Topics[i], refusal)
	}
	h.Metrics.produceFailures.Add(int64(p.failures))
	if req.Acks == 0 {
		if p.failures > 0 {
			slog.Info("closing a connection: a produce request with acks=0 failed, which cannot be answered", "connection", r.Conn.ID, "clientID", r.ClientID(), "peer", r.Conn.PeerAddr, "error", p.firstError)
			return Reply{CloseConnection: true}
		}
		p.release()
		return Reply{NoResponse: true}
	}
	if len(p.pending) == 0 {
		return Reply{Body: &p.body}
	}
	await := h.Replicas.AwaitCommit
	if req.Acks != requiredAcksAll {
		await = h.Replicas.AwaitCounted
	}
	timeout, start := time.Duration(max(req.TimeoutMillis, 0))*time.Millisecond, h.Clock.Now()
	return Reply{Wait: func(ctx context.Context) wire.ResponseBody { return p.complete(ctx, await, start.Add(timeout)) }}
}

// produces are requests that were answered; their memory is used again.
var produces sync.Pool

func newProduce() *produce {
	if p, ok := produces.Get().(*produce); ok {
		return p
	}
	p := new(produce)
	p.response.Default()
	p.body = wire.ProduceBody{Response: &p.response, OnRelease: p.release}
	return p
}

// mostKept is how many topics, or partitions of a topic, an answer has whose memory is used again.
const mostKept = 4096

// release forgets everything but the memory of the answer.
func (p *produce) release() {
	topics, body := p.response.Topics, p.body
	if cap(topics) > mostKept {
		topics = nil
	}
	for i := range topics {
		partitions := topics[i].Partitions
		if cap(partitions) > mostKept || i > 0 { // many topics with many partitions were too much
			partitions = nil
		}
		clear(partitions)
		topics[i] = kmsg.ProduceResponseTopic{Partitions: partitions[:0]}
	}
	*p = produce{body: body}
	p.response.Default()
	p.response.Topics = topics[:0]
	produces.Put(p)
}

// grown returns a slice of n elements, in the memory of s if they fit: the elements are what they
// were.
func grown[T any](s []T, n int) []T {
	if n > cap(s) {
		return make([]T, n)
	}
	return s[:n]
}

// produce is one request that is being handled.
type produce struct {
	h          *Produce
	r          *Request
	req        *kmsg.ProduceRequest
	version    int16
	listener   string // copied, since the completing phase runs beside the connection's reader
	image      *metadata.Image
	response   kmsg.ProduceResponse
	body       wire.ProduceBody // of response
	pending    []pendingAppend
	enlisted   map[kafka.TopicPartition]enlistment // of a transactional request
	failures   int
	firstError error
	// patientUntil is for how long leaderships are waited for.
	patientUntil time.Time
}

// pendingAppend is a partition whose records are not acknowledged yet.
type pendingAppend struct {
	kafka.TopicPartition
	leaderEpoch int32
	endOffset   int64
	response    *kmsg.ProduceResponseTopicPartition
}

// keepLast drops all but the last mention of each partition: as in Kafka records are appended to
// a partition once per request, and it is answered once.
func keepLast(topics []kmsg.ProduceRequestTopic) {
	count := 0
	for i := range topics {
		count += len(topics[i].Partitions)
	}
	if count <= 1 {
		return
	}
	type mention struct {
		topic     string
		topicID   kafka.UUID
		partition int32
	}
	seen := make(map[mention]struct{}, count)
	for i := range slices.Backward(topics) {
		t := &topics[i]
		kept := len(t.Partitions)
		for j := range slices.Backward(t.Partitions) {
			m := mention{t.Topic, t.TopicID, t.Partitions[j].Partition}
			if _, again := seen[m]; !again {
				seen[m] = struct{}{}
				kept--
				t.Partitions[kept] = t.Partitions[j]
			}
		}
		t.Partitions = t.Partitions[kept:]
	}
}

// refusal returns why the whole request is refused, or nil.
func (p *produce) refusal(ctx context.Context) error {
	if !p.hasTransactionalBatch() {
		return nil
	}
	id := p.req.TransactionID
	if id == nil || !security.Allowed(p.h.Authorizer, p.r.Conn, security.OperationWrite, security.TransactionalID(*id)) {
		return kafka.Errorf(kafka.ErrTransactionalIDAuthorizationFailed, "the client may not write with the transactional id of the request")
	}
	return p.enlist(ctx, *id)
}

// enlist brings the partitions of a transactional request into its transaction.
func (p *produce) enlist(ctx context.Context, id string) error {
	producer := txn.NoProducer
	var writes []firstWrite
	access := topicAccess{p.image, p.h.Authorizer, p.r.Conn, security.OperationWrite}
	for i := range p.req.Topics {
		t := &p.req.Topics[i]
		topic, code := access.named(t.Topic, t.TopicID, p.version >= produceTopicIDsFrom)
		if code != kafka.ErrNone || kafka.IsInternalTopic(topic.Name) {
			continue // refused where it is appended
		}
		for j := range t.Partitions {
			b, _, err := record.Next(t.Partitions[j].Records)
			if err != nil || !b.IsTransactional() || !b.HasProducerID() || topic.Partition(t.Partitions[j].Partition) == nil {
				continue
			}
			of := txn.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
			if producer != txn.NoProducer && producer != of {
				return kafka.Errorf(kafka.ErrInvalidProducerIDMapping, "the transactional batches of the request have several producers")
			}
			producer = of
			writes = append(writes, firstWrite{kafka.TopicPartition{Topic: topic.Name, Partition: t.Partitions[j].Partition}, b.BaseSequence()})
		}
	}
	outcomes, err := p.h.Enlister.enlist(ctx, id, producer, writes, abilityOf(p.version, produceAbortableFrom, produceTransactions2From))
	if err != nil {
		return err
	}
	p.enlisted = make(map[kafka.TopicPartition]enlistment, len(writes))
	for i, w := range writes {
		p.enlisted[w.tp] = outcomes[i]
	}
	return nil
}

func (p *produce) hasTransactionalBatch() bool {
	for i := range p.req.Topics {
		for j := range p.req.Topics[i].Partitions {
			if b, _, err := record.Next(p.req.Topics[i].Partitions[j].Records); err == nil && b.IsTransactional() {
				return true
			}
		}
	}
	return false
}

func (p *produce) topic(ctx context.Context, in *kmsg.ProduceRequestTopic, out *kmsg.ProduceResponseTopic, refusal error) {
	out.Topic, out.TopicID = in.Topic, in.TopicID
	out.Partitions = grown(out.Partitions, len(in.Partitions))
	var topic *metadata.Topic
	if refusal == nil {
		var code kafka.ErrorCode
		access := topicAccess{p.image, p.h.Authorizer, p.r.Conn, security.OperationWrite}
		topic, code = access.named(in.Topic, in.TopicID, p.version >= produceTopicIDsFrom)
		if code != kafka.ErrNone {
			refusal = code
		}
	}
	for j := range in.Partitions {
		answer := &out.Partitions[j]
		answer.Default()
		answer.Partition, answer.BaseOffset, answer.LogAppendTime, answer.LogStartOffset = in.Partitions[j].Partition, kafka.NoOffset, kafka.NoTimestamp, kafka.NoOffset
		if err := refusal; err != nil {
			p.fail(answer, kafka.TopicPartition{}, err)
		} else {
			p.partition(ctx, topic, &in.Partitions[j], answer)
		}
	}
}

func (p *produce) partition(ctx context.Context, topic *metadata.Topic, in *kmsg.ProduceRequestTopicPartition, out *kmsg.ProduceResponseTopicPartition) {
	tp := kafka.TopicPartition{Topic: topic.Name, Partition: in.Partition}
	r, err := p.writable(topic, tp)
	if err != nil {
		p.fail(out, tp, err)
		return
	}
	result, leaderEpoch, err := p.append(r, tp, in.Records)
	if kafka.CodeOf(err) == kafka.ErrNotLeaderOrFollower && p.awaitLeadership(ctx, tp) {
		result, leaderEpoch, err = p.append(r, tp, in.Records)
	}
	if err != nil {
		out.LogStartOffset = result.LogStartOffset
		p.fail(out, tp, err)
		return
	}
	out.BaseOffset, out.LogAppendTime, out.LogStartOffset = result.BaseOffset, result.LogAppendTimeMs, result.LogStartOffset
	if !result.Duplicate {
		p.h.Metrics.bytesIn.Add(int64(len(in.Records)))
		p.h.Metrics.messagesIn.Add(result.LastOffset - result.BaseOffset + 1)
	}
	if r.Usable() != nil || !p.isAcknowledged(r.Log(), result.LastOffset) {
		p.pending = append(p.pending, pendingAppend{tp, leaderEpoch, result.LastOffset + 1, out})
	}
}

// isAcknowledged reports whether records up to lastOffset need not be waited for: with acks=all
// they are committed, with acks=1 this broker counts them, which flush.messages may put off.
func (p *produce) isAcknowledged(l *storage.Log, lastOffset int64) bool {
	switch p.req.Acks {
	case requiredAcksAll:
		return l.HighWatermark() > lastOffset
	case 0:
		return true
	default:
		return l.CountedOffset() > lastOffset
	}
}

// writable returns the replica that a client may append to.
func (p *produce) writable(topic *metadata.Topic, tp kafka.TopicPartition) (*replica.Replica, error) {
	if topic.Partition(tp.Partition) == nil {
		return nil, kafka.ErrUnknownTopicOrPartition
	}
	if p.req.Acks < -1 || p.req.Acks > 1 {
		return nil, kafka.Errorf(kafka.ErrInvalidRequiredAcks, "acks is %d; it must be -1 (all), 0 or 1", p.req.Acks)
	}
	if kafka.IsInternalTopic(tp.Topic) && p.r.ClientID() != adminClientID {
		return nil, kafka.Errorf(kafka.ErrInvalidTopicException, "topic %s is internal; clients may not write to it", tp.Topic)
	}
	r, err := p.h.Replicas.Lookup(tp)
	if err != nil {
		return nil, err
	}
	if p.req.Acks == requiredAcksAll {
		if err := p.h.Replicas.CheckAbandoned(tp); err != nil {
			return nil, err
		}
	}
	return r, p.enlisted[tp].err
}

// awaitLeadership waits until this broker hears that it leads a partition, and reports whether it did: for all
// partitions of a request together no longer than for one.
func (p *produce) awaitLeadership(ctx context.Context, tp kafka.TopicPartition) bool {
	now := p.h.Clock.Now()
	if p.patientUntil.IsZero() {
		p.patientUntil = now.Add(replica.LeadershipPatience)
	}
	left := p.patientUntil.Sub(now)
	if left > 0 {
		p.h.Replicas.AwaitLeadership(ctx, tp, left)
	}
	return left > 0
}

func (p *produce) append(r *replica.Replica, tp kafka.TopicPartition, records []byte) (storage.AppendResult, int32, error) {
	enlisted := p.enlisted[tp]
	leaderEpoch := r.Assignment().LeaderEpoch
	result, err := r.Append(partition.AppendRequest{
		AppendRequest: storage.AppendRequest{Records: records, Origin: storage.OriginClient, NowMs: p.h.Clock.Now().UnixMilli(), ProduceVersion: p.version, Guard: enlisted.guard},
		RequiredAcks:  p.req.Acks, CurrentLeaderEpoch: kafka.NoLeaderEpoch,
	})
	switch kafka.CodeOf(err) {
	case kafka.ErrMessageTooLarge, kafka.ErrRecordListTooLarge, kafka.ErrCorruptMessage, kafka.ErrUnsupportedCompressionType, kafka.ErrKafkaStorageError:
		result.LogStartOffset = kafka.NoOffset // as in Kafka, where these are found before the log is looked at
	}
	return result, leaderEpoch, err
}

// fail writes an error into a partition's answer.
func (p *produce) fail(out *kmsg.ProduceResponseTopicPartition, tp kafka.TopicPartition, err error) {
	p.failures++
	if p.firstError == nil {
		p.firstError = err
	}
	code := kafka.CodeOf(err)
	if code == kafka.ErrUnknownServerError {
		slog.Error("BUG: an append failed without a code", "partition", tp.String(), "error", err)
	}
	out.ErrorCode, out.BaseOffset, out.LogAppendTime = int16(code), kafka.NoOffset, kafka.NoTimestamp
	if p.version >= produceRecordErrorsFrom {
		out.ErrorMessage = kafka.MessageOf(err)
		if refused, ok := errors.AsType[*record.RecordErrors](err); ok {
			for _, e := range refused.Records {
				out.ErrorRecords = append(out.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: e.Index, ErrorMessage: &e.Message})
			}
		}
	}
	if code == kafka.ErrNotLeaderOrFollower && p.version >= produceLeaderHintsFrom {
		p.hint(out, hintFor(p.h.Metadata(), p.listener, tp))
	}
}

func (p *produce) hint(out *kmsg.ProduceResponseTopicPartition, hint leaderHint) {
	out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = hint.leaderID, hint.leaderEpoch
	if hint.node == nil {
		return
	}
	for _, b := range p.response.Brokers {
		if b.NodeID == hint.node.ID {
			return
		}
	}
	p.response.Brokers = append(p.response.Brokers, kmsg.ProduceResponseBroker{NodeID: hint.node.ID, Host: hint.endpoint.Host, Port: int32(hint.endpoint.Port), Rack: hint.node.Rack})
}

// awaitFunc is how the rest of an acknowledgement is waited for.
type awaitFunc func(ctx context.Context, tp kafka.TopicPartition, leaderEpoch int32, endOffset int64, timeout time.Duration) error

// complete waits for what was not acknowledged at once. It runs on the connection's writer.
func (p *produce) complete(ctx context.Context, await awaitFunc, deadline time.Time) wire.ResponseBody {
	for _, pending := range p.pending {
		left := max(deadline.Sub(p.h.Clock.Now()), 0)
		err := await(ctx, pending.TopicPartition, pending.leaderEpoch, pending.endOffset, left)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			p.fail(pending.response, pending.TopicPartition, err)
			p.h.Metrics.produceFailures.Inc()
		}
	}
	return &p.body
}
