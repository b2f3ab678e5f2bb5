package handler

import (
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/security"
)

// DataMetrics count what producers and consumers move. Produce and Fetch share them.
type DataMetrics struct {
	messagesIn      *metrics.Counter
	bytesIn         *metrics.Counter
	bytesOut        *metrics.Counter
	bytesFromFiles  *metrics.Counter
	produceRequests *metrics.Counter
	// replicationBytesOut are those sent to followers, which bytesOut leaves out.
	replicationBytesOut *metrics.Counter
	produceFailures     *metrics.Counter
	fetchRequests       *metrics.Counter
	fetchFailures       *metrics.Counter
}

// NewDataMetrics registers the metrics.
func NewDataMetrics(r *metrics.Registry) *DataMetrics {
	return &DataMetrics{
		messagesIn:          r.Counter("moldau_messages_in_total", "Records appended for producers."),
		bytesIn:             r.Counter("moldau_bytes_in_total", "Bytes of record batches appended for producers."),
		bytesOut:            r.Counter("moldau_bytes_out_total", "Bytes of record batches sent to consumers."),
		bytesFromFiles:      r.Counter("moldau_bytes_out_from_files_total", "Bytes of record batches that the system sent to consumers and followers out of files, without a copy in the broker."),
		produceRequests:     r.Counter("moldau_produce_requests_total", "Produce requests."),
		produceFailures:     r.Counter("moldau_produce_failures_total", "Partitions of Produce requests that were answered with an error."),
		fetchRequests:       r.Counter("moldau_fetch_requests_total", "Fetch requests."),
		replicationBytesOut: r.Counter("kafka_server_brokertopicmetrics_replicationbytesout_total", "Bytes of record batches sent to followers."),
		fetchFailures:       r.Counter("moldau_fetch_failures_total", "Partitions of Fetch requests that were answered with an error."),
	}
}

// leaderHint tells a client that asked the wrong broker where the leader is (KIP-951).
type leaderHint struct {
	leaderID    int32
	leaderEpoch int32
	node        *metadata.Broker // nil where the leader is not reachable on the listener
	endpoint    metadata.Endpoint
}

// hintFor returns the hint for a client of listener; the ids are -1 where nothing is known.
func hintFor(image *metadata.Image, listener string, tp kafka.TopicPartition) leaderHint {
	hint := leaderHint{leaderID: kafka.NoLeader, leaderEpoch: kafka.NoLeaderEpoch}
	p := image.Partition(tp.Topic, tp.Partition)
	if p == nil {
		return hint
	}
	hint.leaderID, hint.leaderEpoch = p.Leader, p.LeaderEpoch
	if b := image.Broker(p.Leader); b != nil {
		if endpoint, ok := b.Endpoint(listener); ok {
			hint.node, hint.endpoint = b, endpoint
		}
	}
	return hint
}

// topicAccess finds the topics that a request names, where the client may do op on them.
type topicAccess struct {
	image      *metadata.Image
	authorizer security.Authorizer
	conn       *security.Connection
	op         security.Operation
}

// byName returns a topic or why it cannot be used. A name that is not allowed is refused
// before it is looked up, so that nobody learns which topics exist.
func (a topicAccess) byName(name string) (*metadata.Topic, kafka.ErrorCode) {
	if !security.Allowed(a.authorizer, a.conn, a.op, security.Topic(name)) {
		return nil, kafka.ErrTopicAuthorizationFailed
	}
	if topic := a.image.TopicByName(name); topic != nil {
		return topic, kafka.ErrNone
	}
	return nil, kafka.ErrUnknownTopicOrPartition
}

// named returns a topic by its id or its name.
func (a topicAccess) named(name string, id kafka.UUID, useID bool) (*metadata.Topic, kafka.ErrorCode) {
	if useID {
		return a.byID(id)
	}
	return a.byName(name)
}

// byID returns a topic or why it cannot be used.
func (a topicAccess) byID(id kafka.UUID) (*metadata.Topic, kafka.ErrorCode) {
	topic := a.image.TopicByID(id)
	if topic == nil {
		return nil, kafka.ErrUnknownTopicID
	}
	if !security.Allowed(a.authorizer, a.conn, a.op, security.Topic(topic.Name)) {
		return nil, kafka.ErrTopicAuthorizationFailed
	}
	return topic, kafka.ErrNone
}
