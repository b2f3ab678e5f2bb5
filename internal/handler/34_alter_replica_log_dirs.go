package handler

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/security"
)

// AlterReplicaLogDirs moves replicas of this broker to other log dirs of it (API key 34).
type AlterReplicaLogDirs struct {
	Replicas   *replica.Manager
	Authorizer security.Authorizer
}

// Handle begins the moves and answers every partition once. One that is named for several log dirs
// moves to the last.
func (h *AlterReplicaLogDirs) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.AlterReplicaLogDirsRequest)
	var order []kafka.TopicPartition
	wanted := map[kafka.TopicPartition]string{}
	for _, d := range req.Dirs {
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				tp := kafka.TopicPartition{Topic: t.Topic, Partition: p}
				if _, again := wanted[tp]; !again {
					order = append(order, tp)
				}
				wanted[tp] = d.Dir
			}
		}
	}
	allowed := security.Allowed(h.Authorizer, r.Conn, security.OperationAlter, security.Cluster)
	response := kmsg.NewPtrAlterReplicaLogDirsResponse()
	index := map[string]int{}
	for _, tp := range order {
		code := kafka.ErrClusterAuthorizationFailed
		if allowed {
			err := h.Replicas.MoveReplica(tp, wanted[tp])
			if code = kafka.CodeOf(err); err != nil {
				slog.Warn("A replica cannot be moved to another log dir", "partition", tp.String(), "dir", wanted[tp], "error", err)
			}
		}
		at, known := index[tp.Topic]
		if !known {
			at = len(response.Topics)
			index[tp.Topic] = at
			response.Topics = append(response.Topics, kmsg.AlterReplicaLogDirsResponseTopic{Topic: tp.Topic})
		}
		topic := &response.Topics[at]
		topic.Partitions = append(topic.Partitions, kmsg.AlterReplicaLogDirsResponseTopicPartition{Partition: tp.Partition, ErrorCode: int16(code)})
	}
	return Respond(response)
}
