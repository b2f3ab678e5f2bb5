package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/storage"
)

// DescribeLogDirs tells what lies in this broker's log dirs (API key 35).
type DescribeLogDirs struct {
	Storage    *storage.Manager
	Authorizer security.Authorizer
}

// Handle answers every log dir; one that has failed with KAFKA_STORAGE_ERROR.
func (h *DescribeLogDirs) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DescribeLogDirsRequest)
	response := kmsg.NewPtrDescribeLogDirsResponse()
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Cluster) {
		response.ErrorCode = int16(kafka.ErrClusterAuthorizationFailed)
		return Respond(response)
	}
	for _, d := range h.Storage.DescribeDirs(wantedLogs(req)) {
		dir := kmsg.NewDescribeLogDirsResponseDir()
		dir.ErrorCode, dir.Dir = int16(kafka.CodeOf(d.Err)), d.Path
		dir.TotalBytes, dir.UsableBytes, dir.IsCordoned = d.TotalBytes, d.UsableBytes, d.Cordoned && d.Err == nil
		for _, l := range d.Logs { // sorted, so a topic's partitions follow each other
			if n := len(dir.Topics); n == 0 || dir.Topics[n-1].Topic != l.TopicPartition.Topic {
				dir.Topics = append(dir.Topics, kmsg.DescribeLogDirsResponseDirTopic{Topic: l.TopicPartition.Topic})
			}
			topic := &dir.Topics[len(dir.Topics)-1]
			topic.Partitions = append(topic.Partitions, kmsg.DescribeLogDirsResponseDirTopicPartition{
				Partition: l.TopicPartition.Partition, Size: l.SizeBytes, OffsetLag: l.OffsetLag, IsFuture: l.IsFuture,
			})
		}
		response.Dirs = append(response.Dirs, dir)
	}
	return Respond(response)
}

// wantedLogs takes a request without a list of topics as one for all.
func wantedLogs(req *kmsg.DescribeLogDirsRequest) func(kafka.TopicPartition) bool {
	if req.Topics == nil {
		return func(kafka.TopicPartition) bool { return true }
	}
	wanted := map[kafka.TopicPartition]bool{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			wanted[kafka.TopicPartition{Topic: t.Topic, Partition: p}] = true
		}
	}
	return func(tp kafka.TopicPartition) bool { return wanted[tp] }
}
