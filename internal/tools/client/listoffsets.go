package client

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// ListedOffset is the answer to a question about one partition.
type ListedOffset struct {
	Offset    int64 // -1: there is none
	Timestamp int64
	Err       error
}

// ListOffsets asks the partitions' leaders for the offset of a timestamp or one of
// ListOffsets' special values. Partitions that nobody answered for are missing in the result.
func (c *Client) ListOffsets(ctx context.Context, partitions []kafka.TopicPartition, timestamp int64) (map[kafka.TopicPartition]ListedOffset, error) {
	result := make(map[kafka.TopicPartition]ListedOffset, len(partitions))
	if len(partitions) == 0 {
		return result, nil
	}
	ctx, cancel := c.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.TimeoutMillis = int32(min(c.APITimeout.Milliseconds(), 1<<31-1))
	index := map[string]int{}
	for _, tp := range partitions {
		at, known := index[tp.Topic]
		if !known {
			at = len(req.Topics)
			index[tp.Topic] = at
			topic := kmsg.NewListOffsetsRequestTopic()
			topic.Topic = tp.Topic
			req.Topics = append(req.Topics, topic)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = tp.Partition, timestamp
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, p)
	}
	for _, shard := range c.RequestSharded(ctx, req) {
		if shard.Err != nil {
			failed, ok := shard.Req.(*kmsg.ListOffsetsRequest)
			if !ok || ctx.Err() != nil {
				return nil, Convert(shard.Err, "listOffsets")
			}
			recordFailures(result, failed, Convert(shard.Err, "listOffsets"))
			continue
		}
		if resp, ok := shard.Resp.(*kmsg.ListOffsetsResponse); ok {
			recordOffsets(result, resp)
		}
	}
	return result, nil
}

func recordFailures(result map[kafka.TopicPartition]ListedOffset, req *kmsg.ListOffsetsRequest, err error) {
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			result[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = ListedOffset{Offset: -1, Err: err}
		}
	}
}

func recordOffsets(result map[kafka.TopicPartition]ListedOffset, resp *kmsg.ListOffsetsResponse) {
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			result[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = ListedOffset{
				Offset: p.Offset, Timestamp: p.Timestamp, Err: FromCode(p.ErrorCode, nil),
			}
		}
	}
}

// ComparePartitions orders partitions by topic, then by index.
func ComparePartitions(a, b kafka.TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// SortPartitions sorts partitions by topic, then by index.
func SortPartitions(partitions []kafka.TopicPartition) {
	slices.SortFunc(partitions, ComparePartitions)
}
