package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// QuorumState is what the metadata quorum says of itself.
type QuorumState struct {
	LeaderID      int32
	LeaderEpoch   int32
	HighWatermark int64
	Voters        []QuorumVoter
}

// QuorumVoter is a member of the metadata quorum, with the end of its log and the times of its last
// fetch and of when it last had all that the leader has; those of the leader are now.
type QuorumVoter struct {
	ID             int32
	DirectoryID    kafka.UUID
	LogEndOffset   int64
	LastFetchMs    int64
	LastCaughtUpMs int64
	// Endpoints are its controller listeners, by name.
	Endpoints []Endpoint
}

// Endpoint is the address of a listener.
type Endpoint struct {
	Name string
	Host string
	Port int32
}

// DescribeQuorum answers who votes on the metadata and how far they are (API key 55).
type DescribeQuorum struct {
	Quorum     func() QuorumState
	Authorizer security.Authorizer
}

// clusterMetadataTopic is the one topic that a quorum stands behind.
const clusterMetadataTopic = "__cluster_metadata"

// Handle answers for partition 0 of __cluster_metadata; a request for anything else is answered
// UNKNOWN_TOPIC_OR_PARTITION throughout.
func (h *DescribeQuorum) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.DescribeQuorumRequest), kmsg.NewPtrDescribeQuorumResponse()
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Cluster) {
		resp.ErrorCode, resp.ErrorMessage = errorFields(kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to describe the cluster"))
		return Respond(resp)
	}
	resp.ErrorMessage = &noMessage
	if len(req.Topics) == 1 && req.Topics[0].Topic == clusterMetadataTopic && len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0 {
		describeVoters(resp, h.Quorum(), r.Version())
		return Respond(resp)
	}
	for i := range req.Topics {
		topic := kmsg.NewDescribeQuorumResponseTopic()
		topic.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			partition := kmsg.NewDescribeQuorumResponseTopicPartition()
			partition.Partition = req.Topics[i].Partitions[j].Partition
			partition.ErrorCode, partition.ErrorMessage = errorFields(kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "only partition 0 of %s has a quorum", clusterMetadataTopic))
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return Respond(resp)
}

func describeVoters(resp *kmsg.DescribeQuorumResponse, state QuorumState, version int16) {
	partition := kmsg.NewDescribeQuorumResponseTopicPartition()
	partition.ErrorMessage = &noMessage
	partition.LeaderID, partition.LeaderEpoch, partition.HighWatermark = state.LeaderID, state.LeaderEpoch, state.HighWatermark
	for _, v := range state.Voters {
		voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		voter.ReplicaID, voter.ReplicaDirectoryID, voter.LogEndOffset = v.ID, v.DirectoryID, v.LogEndOffset
		voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = v.LastFetchMs, v.LastCaughtUpMs
		partition.CurrentVoters = append(partition.CurrentVoters, voter)
		if version >= 2 {
			node := kmsg.NewDescribeQuorumResponseNode()
			node.NodeID = v.ID
			for _, endpoint := range v.Endpoints {
				listener := kmsg.NewDescribeQuorumResponseNodeListener()
				listener.Name, listener.Host, listener.Port = endpoint.Name, endpoint.Host, uint16(endpoint.Port)
				node.Listeners = append(node.Listeners, listener)
			}
			resp.Nodes = append(resp.Nodes, node)
		}
	}
	topic := kmsg.NewDescribeQuorumResponseTopic()
	topic.Topic, topic.Partitions = clusterMetadataTopic, append(topic.Partitions, partition)
	resp.Topics = append(resp.Topics, topic)
}
