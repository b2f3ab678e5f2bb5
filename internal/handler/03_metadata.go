package handler

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
)

// Versions of Metadata at which its meaning changes.
const (
	firstMetadataVersionWithListenerErrors   = 6
	firstMetadataVersionWithOperations       = 8
	lastMetadataVersionWithClusterOperations = 10
	firstMetadataVersionByTopicID            = 12
)

// Metadata answers brokers, topics and partitions (API key 3), and creates the topics that a
// client wants to use and that do not exist, where that is allowed.
type Metadata struct {
	NodeID     int32
	ClusterID  string
	Image      func() *metadata.Image
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
	// AutoCreateTopics is auto.create.topics.enable.
	AutoCreateTopics bool
	// Coordinators creates the topics of the coordinators for clients that name them.
	Coordinators *FindCoordinator
	Quota        quota.Quota
}

// metadataQuery is the work on one request.
type metadataQuery struct {
	*Metadata
	r     *Request
	req   *kmsg.MetadataRequest
	image *metadata.Image
	live  map[int32]bool
	resp  *kmsg.MetadataResponse
}

// Handle answers from the present image, after creating topics where needed.
func (h *Metadata) Handle(ctx context.Context, r *Request) Reply {
	q := &metadataQuery{Metadata: h, r: r, req: r.Body.(*kmsg.MetadataRequest), image: h.Image(), resp: kmsg.NewPtrMetadataResponse()}
	if err := q.check(); err != nil {
		q.failAll(err)
		return Respond(q.resp)
	}
	q.live = liveBrokers(q.image, r.Conn.Listener)
	switch {
	case q.wantsAll():
		q.addAll()
	case q.namesIDs():
		q.addByID()
	default:
		q.addByName(ctx)
	}
	q.addCluster()
	return Respond(q.resp)
}

// check refuses what the version does not know: topic ids before version 12, and topics without
// a name or an id.
func (q *metadataQuery) check() error {
	for i := range q.req.Topics {
		topic := &q.req.Topics[i]
		id := kafka.UUID(topic.TopicID)
		switch {
		case topic.Topic == nil && q.r.Version() < firstMetadataVersionByTopicID:
			return kafka.Errorf(kafka.ErrInvalidRequest, "a topic name must not be null in version %d", q.r.Version())
		case !id.IsZero() && q.r.Version() < firstMetadataVersionByTopicID:
			return kafka.Errorf(kafka.ErrInvalidRequest, "topic ids are not supported in version %d", q.r.Version())
		case topic.Topic == nil && id.IsZero():
			return kafka.Errorf(kafka.ErrInvalidRequest, "a topic has neither a name nor an id")
		}
	}
	return nil
}

func (q *metadataQuery) failAll(err error) {
	for i := range q.req.Topics {
		answer := failedMetadataTopic(q.req.Topics[i].Topic, q.req.Topics[i].TopicID, kafka.CodeOf(err))
		if answer.Topic == nil {
			answer.Topic = kmsg.StringPtr("") // null only since version 12
		}
		q.resp.Topics = append(q.resp.Topics, answer)
	}
	q.resp.ErrorCode = int16(kafka.CodeOf(err)) // sent since version 13
	q.resp.ControllerID = -1
}

// wantsAll: in version 0 an empty list asks for all topics, later null does.
func (q *metadataQuery) wantsAll() bool {
	return q.req.Topics == nil || len(q.req.Topics) == 0 && q.r.Version() == 0
}

// namesIDs reports whether any topic is asked for by id; names beside ids are not looked at.
func (q *metadataQuery) namesIDs() bool {
	for i := range q.req.Topics {
		if id := kafka.UUID(q.req.Topics[i].TopicID); !id.IsZero() {
			return true
		}
	}
	return false
}

func (q *metadataQuery) allowed(op security.Operation, topic string) bool {
	return security.Allowed(q.Authorizer, q.r.Conn, op, security.Topic(topic))
}

func (q *metadataQuery) addAll() {
	for topic := range q.image.Topics() {
		if q.allowed(security.OperationDescribe, topic.Name) {
			q.addTopic(topic)
		}
	}
}

func (q *metadataQuery) addByID() {
	seen := map[kafka.UUID]bool{}
	for i := range q.req.Topics {
		id := kafka.UUID(q.req.Topics[i].TopicID)
		if id.IsZero() || seen[id] {
			continue
		}
		seen[id] = true
		topic := q.image.TopicByID(id)
		switch {
		case topic == nil:
			q.resp.Topics = append(q.resp.Topics, failedMetadataTopic(nil, id, kafka.ErrUnknownTopicID))
		case !q.allowed(security.OperationDescribe, topic.Name):
			q.resp.Topics = append(q.resp.Topics, failedMetadataTopic(nil, id, kafka.ErrTopicAuthorizationFailed))
		default:
			q.addTopic(topic)
		}
	}
}

func (q *metadataQuery) addByName(ctx context.Context) {
	seen := map[string]bool{}
	var names, missing []string
	for i := range q.req.Topics {
		name := *q.req.Topics[i].Topic
		if seen[name] {
			continue
		}
		seen[name] = true
		names = append(names, name)
		if q.image.TopicByName(name) == nil && q.allowed(security.OperationDescribe, name) {
			missing = append(missing, name)
		}
	}
	failures := map[string]kafka.ErrorCode{}
	// Before version 4 a client cannot say no (kmsg's default then is yes).
	if len(missing) > 0 && q.AutoCreateTopics && (q.req.AllowAutoTopicCreation || q.r.Version() < 4) {
		q.create(ctx, missing, failures)
	}
	for _, name := range names {
		topic := q.image.TopicByName(name)
		code, failed := failures[name]
		switch {
		case !q.allowed(security.OperationDescribe, name):
			code = kafka.ErrTopicAuthorizationFailed
		case topic != nil:
			q.addTopic(topic)
			continue
		case failed:
		case kafka.ValidateTopicName(name) != nil:
			code = kafka.ErrInvalidTopicException
		default:
			code = kafka.ErrUnknownTopicOrPartition
		}
		q.resp.Topics = append(q.resp.Topics, failedMetadataTopic(&name, kafka.ZeroUUID, code))
	}
}

// create creates the missing topics that have a valid name and that the client may create. Unlike
// Kafka it waits for the outcome, so that the client need not ask again.
func (q *metadataQuery) create(ctx context.Context, missing []string, failures map[string]kafka.ErrorCode) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(req.MaxVersion())
	mayCreateAny := security.Allowed(q.Authorizer, q.r.Conn, security.OperationCreate, security.Cluster)
	for _, name := range missing {
		switch {
		case kafka.ValidateTopicName(name) != nil:
		case !mayCreateAny && !q.allowed(security.OperationCreate, name):
			failures[name] = kafka.ErrTopicAuthorizationFailed
		case q.Coordinators.createTopicNamed(ctx, q.r, name):
		case kafka.IsInternalTopic(name) || name == kafka.ClusterMetadataTopic:
			// Their coordinators are not served, or they are no topics at all.
		default:
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
			req.Topics = append(req.Topics, topic)
		}
	}
	defer func() {
		q.image = q.Image()
		q.live = liveBrokers(q.image, q.r.Conn.Listener)
	}()
	if len(req.Topics) == 0 {
		return
	}
	chargeChanges(q.Quota, q.r, 0)
	response, err := forward(ctx, q.Controller, q.r, defaultForwardWait, req)
	if err != nil {
		slog.Warn("Topics that a client asked for could not be created", "count", len(req.Topics), "first", req.Topics[0].Topic, "error", err)
		return
	}
	created := response.(*kmsg.CreateTopicsResponse)
	for i := range created.Topics {
		code := kafka.ErrorCode(created.Topics[i].ErrorCode)
		switch code {
		case kafka.ErrNone, kafka.ErrTopicAlreadyExists: // somebody else may have been first
		case kafka.ErrInvalidTopicException, kafka.ErrInvalidReplicationFactor, kafka.ErrPolicyViolation:
			failures[created.Topics[i].Topic] = code // asking again does not help
		default:
			failures[created.Topics[i].Topic] = kafka.ErrUnknownTopicOrPartition
		}
	}
}

func failedMetadataTopic(name *string, id [16]byte, code kafka.ErrorCode) kmsg.MetadataResponseTopic {
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic, topic.TopicID, topic.ErrorCode = name, id, int16(code)
	topic.IsInternal = name != nil && kafka.IsInternalTopic(*name)
	return topic
}

func (q *metadataQuery) addTopic(topic *metadata.Topic) {
	answer := kmsg.NewMetadataResponseTopic()
	answer.Topic, answer.TopicID = &topic.Name, topic.ID
	answer.IsInternal = kafka.IsInternalTopic(topic.Name)
	answer.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, len(topic.Partitions))
	for _, p := range topic.Partitions {
		answer.Partitions = append(answer.Partitions, q.partition(p))
	}
	if q.r.Version() >= firstMetadataVersionWithOperations && q.req.IncludeTopicAuthorizedOperations {
		answer.AuthorizedOperations = security.AuthorizedOperations(q.Authorizer, q.r.Conn, security.Topic(topic.Name))
	}
	q.resp.Topics = append(q.resp.Topics, answer)
}

func (q *metadataQuery) partition(p *metadata.Partition) kmsg.MetadataResponseTopicPartition {
	view := viewPartition(q.image, p, q.live, q.r.Conn.Listener)
	answer := kmsg.NewMetadataResponseTopicPartition()
	answer.Partition, answer.Leader, answer.LeaderEpoch = p.ID, view.leader, p.LeaderEpoch
	answer.Replicas, answer.ISR, answer.OfflineReplicas = p.Replicas, p.ISR, view.offline
	if q.r.Version() == 0 {
		answer.Replicas, answer.ISR = onlyLive(p.Replicas, q.live), onlyLive(p.ISR, q.live)
	}
	switch {
	case view.leader < 0 && view.leaderKnown && q.r.Version() >= firstMetadataVersionWithListenerErrors:
		answer.ErrorCode = int16(kafka.ErrListenerNotFound)
	case view.leader < 0:
		answer.ErrorCode = int16(kafka.ErrLeaderNotAvailable)
	case len(answer.Replicas) < len(p.Replicas) || len(answer.ISR) < len(p.ISR):
		answer.ErrorCode = int16(kafka.ErrReplicaNotAvailable)
	}
	return answer
}

func onlyLive(ids []int32, live map[int32]bool) []int32 {
	kept := []int32{}
	for _, id := range ids {
		if live[id] {
			kept = append(kept, id)
		}
	}
	return kept
}

func (q *metadataQuery) addCluster() {
	for b := range q.image.Brokers() {
		if !q.live[b.ID] {
			continue
		}
		endpoint, _ := b.Endpoint(q.r.Conn.Listener)
		broker := kmsg.NewMetadataResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack = b.ID, endpoint.Host, int32(endpoint.Port), b.Rack
		q.resp.Brokers = append(q.resp.Brokers, broker)
	}
	q.resp.ClusterID = &q.ClusterID
	q.resp.ControllerID = anyLiveBroker(q.image, q.NodeID)
	version := q.r.Version()
	if q.req.IncludeClusterAuthorizedOperations && version >= firstMetadataVersionWithOperations && version <= lastMetadataVersionWithClusterOperations {
		q.resp.AuthorizedOperations = clusterOperations(q.Authorizer, q.r.Conn)
	}
}
