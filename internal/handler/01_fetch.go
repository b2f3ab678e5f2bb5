package handler

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/replica/fetchsession"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// Fetch reads records for consumers and followers (API key 1), with incremental sessions and long polls.
type Fetch struct {
	Replicas   *replica.Manager
	Sessions   *fetchsession.Cache
	Metadata   func() *metadata.Image
	Authorizer security.Authorizer
	Clock      env.Clock
	Metrics    *DataMetrics
	Quota      quota.Quota
	// MaxBytes is fetch.max.bytes: more is not answered to one request, beyond a first batch.
	MaxBytes int
}

// Versions of Fetch from which something is different.
const (
	fetchStorageErrorFrom = 6
	fetchSessionsFrom     = 7
	fetchAnyReplicaFrom   = 11
	fetchTopicIDsFrom     = 13
	fetchReplicaStateFrom = 15
	fetchLeaderHintsFrom  = 16
)

// Handle reads what the request or its session asks for, waiting where there is too little.
func (h *Fetch) Handle(ctx context.Context, r *Request) Reply {
	h.Metrics.fetchRequests.Inc()
	req := r.Body.(*kmsg.FetchRequest)
	f := newFetch()
	f.h, f.r, f.req, f.image = h, r, req, h.Metadata()
	f.follower, f.isForged = f.findFollower()
	f.isMending = f.asksToTheEnd()
	if f.follower != nil && !f.isCurrent() {
		f.response.ErrorCode = int16(kafka.ErrStaleBrokerEpoch)
		return Reply{Body: &f.body, Accounted: true}
	}
	if f.follower != nil {
		f.reads.Since = h.Replicas.Now(f.follower.BrokerID) // before the session says what has changed
	}
	session, err := h.Sessions.Begin(f.sessionRequest())
	if err != nil {
		f.response.ErrorCode = int16(kafka.CodeOf(err))
		return Reply{Body: &f.body}
	}
	f.session = session
	f.resolve(0)
	if session.CanExtend() {
		f.reads.Extend, f.reads.HasOthers = f.more, session.HasOthers()
	}
	if len(f.reads.Partitions) > 0 || session.CanExtend() && len(session.Partitions) == 0 {
		f.results = h.Replicas.Fetch(ctx, f.limits(), &f.buffers)
	}
	if f.follower != nil || f.isMending { // exempt from the quotas of clients
		f.respond()
		return Reply{Body: &f.body, Accounted: true}
	}
	now := h.Clock.Now()
	throttle := h.Quota.Throttle(r.Conn, quota.Usage{APIKey: wire.KeyFetch, ResponseBytes: f.responseBytes(), BusyTime: r.BusyTime(now), At: now})
	if throttle > 0 {
		f.respondThrottled()
	} else {
		f.respond()
	}
	return Reply{Body: &f.body, Throttle: throttle, Accounted: true}
}

// Sizes of a response's parts without names and records, about.
const (
	fetchResponseBytes  = 20
	fetchPartitionBytes = 40
)

// responseBytes is what the response will have, near enough, before the session knows what
// is left out of it.
func (f *fetch) responseBytes() int {
	size := fetchResponseBytes
	for i := range f.results {
		if r := &f.results[i]; r.SizeBytes() > 0 || r.Err != nil {
			size += fetchPartitionBytes + r.SizeBytes()
		}
	}
	return size
}

// respondThrottled leaves all partitions out, as Kafka does: the session stays as it is, and the
// client asks again when its throttle time is over.
func (f *fetch) respondThrottled() {
	var err error
	f.response.SessionID, err = f.session.Skip()
	f.response.ErrorCode = int16(kafka.CodeOf(err))
}

// fetch is one request that is being handled.
type fetch struct {
	h        *Fetch
	r        *Request
	req      *kmsg.FetchRequest
	image    *metadata.Image
	session  *fetchsession.Context
	follower *replica.Follower // nil for consumers
	isForged bool              // names a replica without being its broker
	// isMending says that another broker asks for what is damaged there, see kafka.ReadToEnd.
	isMending bool
	response  kmsg.FetchResponse
	body      wire.FetchBody                     // of response
	give      func()                             // release, made once, as is more
	more      func()                             // extend
	first     []kmsg.FetchResponseTopicPartition // memory for the first topic of response

	// Partitions of the session are read, in order, or refused.
	codes   []kafka.ErrorCode // by partition of the session; ErrNone is read
	reads   replica.FetchRequest
	results []replica.FetchResult // by partition of reads
	buffers replica.Buffers
	answers []fetchsession.Answer // by partition of the session, as is send
	send    []bool
	added   int              // partitions that are in response
	files   []wire.FetchFile // of body
}

// fetches are requests that were answered; their memory is used again.
var fetches sync.Pool

func newFetch() *fetch {
	f, ok := fetches.Get().(*fetch)
	if !ok {
		f = new(fetch)
		f.give, f.more = f.release, f.extend
	}
	f.response.Default()
	f.body = wire.FetchBody{Response: &f.response, OnRelease: f.give}
	return f
}

// release gives everything back that the answer lies in, and keeps the memory that a request of as
// many partitions needs again.
func (f *fetch) release() {
	if f.session != nil {
		f.session.Release()
	}
	f.buffers.Reset()
	topics, first := f.response.Topics, f.first
	if len(topics) > 0 {
		first = topics[0].Partitions
	}
	clear(topics)
	clear(first)
	clear(f.reads.Partitions)
	clear(f.files)
	if cap(f.codes) > mostKept || cap(first) > mostKept || cap(topics) > mostKept {
		return
	}
	reads := replica.FetchRequest{Partitions: f.reads.Partitions[:0]}
	*f = fetch{give: f.give, more: f.more, first: first[:0], codes: f.codes[:0], reads: reads, buffers: f.buffers, answers: f.answers[:0], send: f.send[:0], files: f.files[:0]}
	f.response.Topics = topics[:0]
	fetches.Put(f)
}

func (f *fetch) usesTopicIDs() bool { return f.r.Version() >= fetchTopicIDsFrom }

func (f *fetch) sessionRequest() fetchsession.Request {
	s := fetchsession.Request{SessionID: f.req.SessionID, Epoch: f.req.SessionEpoch, UsesTopicIDs: f.usesTopicIDs(), NowMs: f.h.Clock.Now().UnixMilli()}
	if f.follower != nil {
		s.Owner, s.BrokerEpoch = fetchsession.Owner{IsFollower: true, BrokerID: f.follower.BrokerID}, f.follower.BrokerEpoch
		s.Changes = f.h.Replicas.ChangesFor(f.follower.BrokerID)
	}
	if f.r.Version() < fetchSessionsFrom {
		s.SessionID, s.Epoch = fetchsession.NoSession, fetchsession.FinalEpoch
	}
	count := 0
	for i := range f.req.Topics {
		count += len(f.req.Topics[i].Partitions)
	}
	s.Partitions = make([]fetchsession.Partition, 0, count)
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			s.Partitions = append(s.Partitions, fetchsession.Partition{Key: f.key(t.Topic, t.TopicID, p.Partition), FetchOffset: p.FetchOffset,
				CurrentLeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch, LogStartOffset: p.LogStartOffset, MaxBytes: p.PartitionMaxBytes})
		}
	}
	for i := range f.req.ForgottenTopics {
		t := &f.req.ForgottenTopics[i]
		for _, p := range t.Partitions {
			s.Forgotten = append(s.Forgotten, f.key(t.Topic, t.TopicID, p))
		}
	}
	return s
}

func (f *fetch) key(topic string, id kafka.UUID, partition int32) fetchsession.Key {
	if f.usesTopicIDs() {
		return fetchsession.Key{TopicID: id, Partition: partition}
	}
	return fetchsession.Key{Topic: topic, Partition: partition}
}

// resolve sorts the session's partitions, from the first one that is not yet known on, into those to read and those to refuse.
func (f *fetch) resolve(first int) {
	partitions := f.session.Partitions
	f.codes = slices.Grow(f.codes[:first], len(partitions)-first)[:len(partitions)]
	f.reads.Partitions = slices.Grow(f.reads.Partitions, len(partitions)-first)
	var topic *metadata.Topic
	var code kafka.ErrorCode
	for i := first; i < len(partitions); i++ {
		p := &partitions[i]
		if i == first || p.Topic != partitions[i-1].Topic || p.TopicID != partitions[i-1].TopicID {
			topic, code = f.resolveTopic(p)
		}
		f.codes[i] = code
		if code != kafka.ErrNone {
			continue
		}
		if topic.Partition(p.Partition) == nil {
			f.codes[i] = kafka.ErrUnknownTopicOrPartition
			continue
		}
		if f.isForged {
			f.codes[i] = forgedReplicaCode(p)
			continue
		}
		f.reads.Partitions = append(f.reads.Partitions, replica.FetchPartition{
			TopicPartition: kafka.TopicPartition{Topic: topic.Name, Partition: p.Partition}, TopicID: p.TopicID,
			Offset: p.FetchOffset, MaxBytes: p.MaxBytes, CurrentLeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch, LogStartOffset: p.LogStartOffset, Standing: p.Standing})
	}
}

func (f *fetch) resolveTopic(p *fetchsession.Partition) (*metadata.Topic, kafka.ErrorCode) {
	access := topicAccess{f.image, f.h.Authorizer, f.r.Conn, security.OperationRead}
	if f.follower != nil || f.isForged || f.isMending {
		if !security.Allowed(f.h.Authorizer, f.r.Conn, security.OperationClusterAction, security.Cluster) {
			return nil, kafka.ErrTopicAuthorizationFailed
		}
		access.authorizer = security.AllowAll{}
	}
	if f.usesTopicIDs() {
		return access.byID(p.TopicID)
	}
	return access.byName(p.Topic)
}

// asksToTheEnd reports whether a broker asks, of a leader or a follower, for what is damaged there.
func (f *fetch) asksToTheEnd() bool {
	peer := f.r.Conn.Peer
	return f.follower == nil && !f.isForged && kafka.IsolationLevel(f.req.IsolationLevel) == kafka.ReadToEnd && peer != nil && peer.Purpose == wire.PurposeReplica
}

func (f *fetch) limits() *replica.FetchRequest {
	f.reads.MaxWait = time.Duration(f.req.MaxWaitMillis) * time.Millisecond
	f.reads.MaxBytes = min(int(f.req.MaxBytes), f.h.MaxBytes)
	f.reads.Files = f.r.Conn.SendsFiles
	f.reads.Isolation = kafka.IsolationLevel(f.req.IsolationLevel)
	switch {
	case f.isMending:
		f.reads.Files = false // what is not committed may be cut
	case f.reads.Isolation == kafka.ReadToEnd:
		f.reads.Isolation = kafka.ReadUncommitted
	}
	if f.follower != nil {
		f.reads.Follower, f.reads.Isolation = f.follower, kafka.ReadUncommitted
	} else {
		if !f.isMending {
			f.reads.MaxBytes = min(f.reads.MaxBytes, f.h.Quota.FetchBytes(f.r.Conn))
		}
		f.reads.AnyReplica, f.reads.Rack, f.reads.Listener = f.r.Version() >= fetchAnyReplicaFrom, f.req.Rack, f.r.Conn.Listener
	}
	f.reads.MinBytes = min(int(f.req.MinBytes), f.reads.MaxBytes)
	return &f.reads
}

// respond writes what must be told about the partitions into the response: first what was
// read, then what was refused. In a session that is mostly nothing, so only what is sent is
// put together.
func (f *fetch) respond() {
	partitions := f.session.Partitions
	f.answers, f.send = grown(f.answers, len(partitions)), grown(f.send, len(partitions))
	answers, send := f.answers, f.send
	read := 0
	for i, code := range f.codes {
		answers[i] = fetchsession.Answer{HighWatermark: kafka.NoOffset, LogStartOffset: kafka.NoOffset, IsError: true}
		if code != kafka.ErrNone {
			continue
		}
		if r := &f.results[read]; r.Err == nil {
			a := fetchsession.Answer{HighWatermark: r.HighWatermark, LogStartOffset: r.LogStartOffset, HasRecords: r.SizeBytes() > 0, MustSend: r.Diverging != nil || r.ReadReplica != kafka.NoLeader}
			a.Stands = r.Stands && !a.HasRecords && !a.MustSend && f.reads.Partitions[read].Offset == r.LogEndOffset
			answers[i] = a
		}
		read++
	}
	sessionID, err := f.session.Finish(answers, send, f.h.Clock.Now().UnixMilli())
	f.response.SessionID = sessionID
	if err != nil {
		f.response.ErrorCode = int16(kafka.CodeOf(err))
		return
	}
	read = 0
	for i, code := range f.codes {
		if code != kafka.ErrNone {
			continue
		}
		if send[i] {
			f.fill(f.add(&partitions[i]), f.reads.Partitions[read].TopicPartition, &f.results[read])
		}
		read++
	}
	for i, code := range f.codes {
		if code != kafka.ErrNone && send[i] {
			out := f.add(&partitions[i])
			if topic, known := f.resolveTopic(&partitions[i]); f.isForged && known == kafka.ErrNone {
				f.fill(out, kafka.TopicPartition{Topic: topic.Name, Partition: out.Partition}, &replica.FetchResult{Err: code})
				continue
			}
			out.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
			f.refuse(out, code)
		}
	}
}

// add appends a partition to the response, into its topic if that is the last one there. The
// result is valid until the next call.
func (f *fetch) add(p *fetchsession.Partition) *kmsg.FetchResponseTopicPartition {
	topics := f.response.Topics
	if n := len(topics); n == 0 || topics[n-1].Topic != p.Topic || topics[n-1].TopicID != p.TopicID {
		t := kmsg.FetchResponseTopic{Topic: p.Topic, TopicID: p.TopicID}
		if n == 0 {
			t.Partitions = f.first
		}
		topics = append(topics, t)
		f.response.Topics = topics
	}
	f.added++
	last := &topics[len(topics)-1]
	last.Partitions = append(last.Partitions, kmsg.NewFetchResponseTopicPartition())
	out := &last.Partitions[len(last.Partitions)-1]
	out.Partition, out.PreferredReadReplica, out.RecordBatches = p.Partition, -1, []byte{} // Kafka never sends null records
	return out
}

func (f *fetch) refuse(out *kmsg.FetchResponseTopicPartition, code kafka.ErrorCode) {
	f.h.Metrics.fetchFailures.Inc()
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = kafka.NoOffset, kafka.NoOffset, kafka.NoOffset
	if code == kafka.ErrKafkaStorageError && f.r.Version() < fetchStorageErrorFrom {
		code = kafka.ErrNotLeaderOrFollower // older clients do not know the other one
	}
	out.ErrorCode = int16(code)
}

func (f *fetch) fill(out *kmsg.FetchResponseTopicPartition, tp kafka.TopicPartition, result *replica.FetchResult) {
	if result.Err != nil {
		code := kafka.CodeOf(result.Err)
		f.refuse(out, code)
		if code == kafka.ErrOffsetOutOfRange && f.follower != nil {
			f.sayStart(out, tp)
		}
		if (code == kafka.ErrNotLeaderOrFollower || code == kafka.ErrFencedLeaderEpoch) && f.r.Version() >= fetchLeaderHintsFrom {
			f.hint(out, hintFor(f.h.Metadata(), f.r.Conn.Listener, tp))
		}
		return
	}
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = result.HighWatermark, result.LastStableOffset, result.LogStartOffset
	out.PreferredReadReplica = result.ReadReplica
	if f.reads.Isolation == kafka.ReadCommitted {
		out.AbortedTransactions = make([]kmsg.FetchResponseTopicPartitionAbortedTransaction, len(result.Aborted))
		for i, a := range result.Aborted {
			out.AbortedTransactions[i].ProducerID, out.AbortedTransactions[i].FirstOffset = a.ProducerID, a.FirstOffset
		}
	}
	if result.Diverging != nil {
		out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = result.Diverging.LeaderEpoch, result.Diverging.EndOffset
	}
	switch {
	case result.File != nil:
		f.files = append(f.files, wire.FetchFile{Index: f.added - 1, Range: &result.File.Range})
		f.body.Files = f.files
		f.h.Metrics.bytesFromFiles.Add(int64(result.File.SizeBytes))
	case len(result.Records) > 0:
		out.RecordBatches = result.Records
	}
	if n := result.SizeBytes(); n > 0 {
		bytesOut := f.h.Metrics.bytesOut
		if f.follower != nil {
			bytesOut = f.h.Metrics.replicationBytesOut
		}
		bytesOut.Add(int64(n))
	}
}

func (f *fetch) hint(out *kmsg.FetchResponseTopicPartition, hint leaderHint) {
	out.CurrentLeader.LeaderID, out.CurrentLeader.LeaderEpoch = hint.leaderID, hint.leaderEpoch
	if hint.node == nil || f.isForged || f.follower != nil { // brokers know each other's addresses
		return
	}
	for _, b := range f.response.Brokers {
		if b.NodeID == hint.node.ID {
			return
		}
	}
	f.response.Brokers = append(f.response.Brokers, kmsg.FetchResponseBroker{NodeID: hint.node.ID, Host: hint.endpoint.Host, Port: int32(hint.endpoint.Port), Rack: hint.node.Rack})
}
