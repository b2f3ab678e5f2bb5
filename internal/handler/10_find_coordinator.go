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

// OffsetsTopic is what __consumer_offsets is created with.
type OffsetsTopic struct {
	Partitions        int32 // offsets.topic.num.partitions
	ReplicationFactor int16 // offsets.topic.replication.factor; -1 leaves it to the controller
	SegmentSizeBytes  int32 // offsets.topic.segment.bytes
}

// FindCoordinator says which broker coordinates a group (API key 10). The first question creates
// __consumer_offsets.
type FindCoordinator struct {
	Authorizer   security.Authorizer
	Metadata     func() *metadata.Image
	Controller   peer.ControllerChannel
	OffsetsTopic OffsetsTopic
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
	resp.NodeID, resp.Host, resp.Port = found.NodeID, found.Host, found.Port
	return Respond(resp)
}

func (h *FindCoordinator) find(ctx context.Context, r *Request, coordinatorType int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	found := kmsg.NewFindCoordinatorResponseCoordinator()
	found.Key, found.NodeID, found.Port = key, -1, -1
	err := h.checkRequest(r, coordinatorType, key)
	if err == nil {
		err = h.findGroup(ctx, r, &found)
	}
	found.ErrorCode, found.ErrorMessage = int16(kafka.CodeOf(err)), kafka.MessageOf(err)
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
		// Not COORDINATOR_NOT_AVAILABLE, which clients would retry until they time out.
		return kafka.Errorf(kafka.ErrUnsupportedVersion, "this broker does not serve transactions yet; use a producer without transactional.id")
	default:
		return kafka.Errorf(kafka.ErrInvalidRequest, "coordinators of type %d are not served", coordinatorType)
	}
}

// findGroup fills in the broker that leads the partition of __consumer_offsets that owns the group.
func (h *FindCoordinator) findGroup(ctx context.Context, r *Request, found *kmsg.FindCoordinatorResponseCoordinator) error {
	topic := h.Metadata().TopicByName(kafka.ConsumerOffsetsTopic)
	if topic == nil {
		if err := h.createOffsetsTopic(ctx, r); err != nil {
			slog.Warn("The topic of committed offsets could not be created; clients with groups keep asking until it can", "topic", kafka.ConsumerOffsetsTopic, "error", err)
		}
		if topic = h.Metadata().TopicByName(kafka.ConsumerOffsetsTopic); topic == nil {
			return kafka.Errorf(kafka.ErrCoordinatorNotAvailable, "the topic %s does not exist yet", kafka.ConsumerOffsetsTopic)
		}
	}
	partition := topic.Partition(kafka.CoordinatorPartition(found.Key, int32(len(topic.Partitions))))
	if partition == nil || partition.Leader == kafka.NoLeader {
		return kafka.Errorf(kafka.ErrCoordinatorNotAvailable, "the partition of %s that owns the group has no leader", kafka.ConsumerOffsetsTopic)
	}
	broker := h.Metadata().Broker(partition.Leader)
	if broker == nil || broker.Fenced {
		return kafka.Errorf(kafka.ErrCoordinatorNotAvailable, "broker %d, which coordinates the group, is not available", partition.Leader)
	}
	endpoint, ok := broker.Endpoint(r.Conn.Listener)
	if !ok {
		return kafka.Errorf(kafka.ErrCoordinatorNotAvailable, "broker %d, which coordinates the group, has no listener %s", broker.ID, r.Conn.Listener)
	}
	found.NodeID, found.Host, found.Port = broker.ID, endpoint.Host, int32(endpoint.Port)
	return nil
}

func (h *FindCoordinator) createOffsetsTopic(ctx context.Context, r *Request) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(req.MaxVersion())
	req.TimeoutMillis = 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = kafka.ConsumerOffsetsTopic, h.OffsetsTopic.Partitions, h.OffsetsTopic.ReplicationFactor
	for _, config := range [][2]string{
		{"cleanup.policy", "compact"},
		{"compression.type", "producer"},
		{"segment.bytes", strconv.Itoa(int(h.OffsetsTopic.SegmentSizeBytes))},
	} {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = config[0], &config[1]
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
