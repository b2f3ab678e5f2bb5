package handler

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// Coordinator types of FindCoordinator.
const (
	coordinatorTypeGroup       int8 = 0
	coordinatorTypeTransaction int8 = 1
)

// firstFindCoordinatorVersionWithKeys is the version from which one request names several keys.
const firstFindCoordinatorVersionWithKeys = 4

// CoordinatorTopic is what a coordinator's topic is created with.
type CoordinatorTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16 // -1 leaves it to the controller
	Configs           [][2]string
}

// NewOffsetsTopic returns __consumer_offsets.
func NewOffsetsTopic(partitions int32, replicationFactor int16, segmentSizeBytes int32) CoordinatorTopic {
	return CoordinatorTopic{Name: kafka.ConsumerOffsetsTopic, Partitions: partitions, ReplicationFactor: replicationFactor, Configs: [][2]string{
		{"cleanup.policy", "compact"}, {"compression.type", "producer"}, {"segment.bytes", strconv.Itoa(int(segmentSizeBytes))},
	}}
}

// NewTransactionTopic returns __transaction_state.
func NewTransactionTopic(partitions int32, replicationFactor int16, segmentSizeBytes, minInSyncReplicas int32) CoordinatorTopic {
	return CoordinatorTopic{Name: kafka.TransactionStateTopic, Partitions: partitions, ReplicationFactor: replicationFactor, Configs: [][2]string{
		{"cleanup.policy", "compact"}, {"compression.type", "uncompressed"}, {"min.insync.replicas", strconv.Itoa(int(minInSyncReplicas))},
		{"segment.bytes", strconv.Itoa(int(segmentSizeBytes))}, {"unclean.leader.election.enable", "false"},
	}}
}

// FindCoordinator says which broker coordinates a group or a transactional id (API key 10). The
// first question creates the topic of the coordinator's log.
type FindCoordinator struct {
	Authorizer       security.Authorizer
	Metadata         func() *metadata.Image
	Controller       peer.ControllerChannel
	OffsetsTopic     CoordinatorTopic
	TransactionTopic CoordinatorTopic
}

// Handle answers for one key or several.
func (h *FindCoordinator) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.FindCoordinatorRequest)
	ctx, cancel := context.WithTimeout(ctx, defaultForwardWait) // for all keys together
	defer cancel()
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if r.Version() >= firstFindCoordinatorVersionWithKeys {
		for _, key := range req.CoordinatorKeys {
			resp.Coordinators = append(resp.Coordinators, h.find(ctx, r, req.CoordinatorType, key))
		}
		return Respond(resp)
	}
	found := h.find(ctx, r, req.CoordinatorType, req.CoordinatorKey)
	resp.ErrorCode, resp.ErrorMessage = found.ErrorCode, found.ErrorMessage
	if found.ErrorCode == 0 {
		resp.ErrorMessage = kmsg.StringPtr("NONE") // Kafka's name of no error
	}
	resp.NodeID, resp.Host, resp.Port = found.NodeID, found.Host, found.Port
	return Respond(resp)
}

func (h *FindCoordinator) find(ctx context.Context, r *Request, coordinatorType int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	found := kmsg.NewFindCoordinatorResponseCoordinator()
	found.Key, found.NodeID, found.Port = key, -1, -1
	err := h.checkRequest(r, coordinatorType, key)
	if err == nil {
		topic := &h.OffsetsTopic
		if coordinatorType == coordinatorTypeTransaction {
			topic = &h.TransactionTopic
		}
		err = h.findOwner(ctx, r, topic, &found)
	}
	found.ErrorCode, found.ErrorMessage = int16(kafka.CodeOf(err)), kafka.MessageOf(err)
	if err == nil {
		found.ErrorMessage = &noMessage
	}
	return found
}

func (h *FindCoordinator) checkRequest(r *Request, coordinatorType int8, key string) error {
	switch coordinatorType {
	case coordinatorTypeGroup:
		if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Group(key)) {
			return kafka.Errorf(kafka.ErrGroupAuthorizationFailed, "not authorized to describe group %q", key)
		}
		return nil
	case coordinatorTypeTransaction:
		if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.TransactionalID(key)) {
			return kafka.Errorf(kafka.ErrTransactionalIDAuthorizationFailed, "not authorized to describe transactional id %q", key)
		}
		return nil
	default:
		return kafka.Errorf(kafka.ErrInvalidRequest, "coordinators of type %d are not served", coordinatorType)
	}
}

// findOwner fills in the broker that leads the partition of the coordinator's topic that owns the
// key.
func (h *FindCoordinator) findOwner(ctx context.Context, r *Request, log *CoordinatorTopic, found *kmsg.FindCoordinatorResponseCoordinator) error {
	topic := h.Metadata().TopicByName(log.Name)
	if topic == nil {
		if err := h.createTopic(ctx, r, log); err != nil {
			slog.Warn("The topic of a coordinator could not be created; clients keep asking until it can", "topic", log.Name, "error", err)
		}
		if topic = h.Metadata().TopicByName(log.Name); topic == nil {
			return kafka.Errorf(kafka.ErrCoordinatorNotAvailable, "the topic %s does not exist yet", log.Name)
		}
	}
	partition := topic.Partition(kafka.CoordinatorPartition(found.Key, int32(len(topic.Partitions))))
	if partition == nil || partition.Leader == kafka.NoLeader {
		return kafka.Errorf(kafka.ErrCoordinatorNotAvailable, "the partition of %s that owns %q has no leader", log.Name, found.Key)
	}
	broker := h.Metadata().Broker(partition.Leader)
	if broker == nil || broker.Fenced {
		return kafka.Errorf(kafka.ErrCoordinatorNotAvailable, "broker %d, which coordinates %q, is not available", partition.Leader, found.Key)
	}
	endpoint, ok := broker.Endpoint(r.Conn.Listener)
	if !ok {
		return kafka.Errorf(kafka.ErrCoordinatorNotAvailable, "broker %d, which coordinates %q, has no listener %s", broker.ID, found.Key, r.Conn.Listener)
	}
	found.NodeID, found.Host, found.Port = broker.ID, endpoint.Host, int32(endpoint.Port)
	return nil
}

// createTopicNamed creates the topic of a coordinator; false for any other topic.
func (h *FindCoordinator) createTopicNamed(ctx context.Context, r *Request, name string) bool {
	for _, log := range []*CoordinatorTopic{&h.OffsetsTopic, &h.TransactionTopic} {
		if log.Name != name {
			continue
		}
		if err := h.createTopic(ctx, r, log); err != nil {
			slog.Warn("The topic of a coordinator could not be created", "topic", name, "error", err)
		}
		return true
	}
	return false
}

func (h *FindCoordinator) createTopic(ctx context.Context, r *Request, log *CoordinatorTopic) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(req.MaxVersion())
	req.TimeoutMillis = 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = log.Name, log.Partitions, log.ReplicationFactor
	for i := range log.Configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = log.Configs[i][0], &log.Configs[i][1]
		topic.Configs = append(topic.Configs, c)
	}
	req.Topics = append(req.Topics, topic)
	response, err := forward(ctx, h.Controller, r, defaultForwardWait, req)
	if err != nil {
		return err
	}
	for _, created := range response.(*kmsg.CreateTopicsResponse).Topics {
		code := kafka.ErrorCode(created.ErrorCode)
		if code == kafka.ErrNone || code == kafka.ErrTopicAlreadyExists {
			continue
		}
		if created.ErrorMessage != nil {
			return kafka.Errorf(code, "%s", *created.ErrorMessage)
		}
		return code
	}
	return nil
}
