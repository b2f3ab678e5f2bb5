package client

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// CommitContext lets a commit carry empty metadata, as Kafka's consumer does: the client library
// would send its member id.
func CommitContext(ctx context.Context) context.Context {
	return kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				req.Topics[i].Partitions[j].Metadata = kmsg.StringPtr("")
			}
		}
		return nil
	})
}

// FirstCommitError returns the first failure of an answer to a commit.
func FirstCommitError(resp *kmsg.OffsetCommitResponse) error {
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := FromCode(p.ErrorCode, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetOffsets commits offsets in the place of a group's members; without any it does nothing.
func (c *Client) SetOffsets(ctx context.Context, group string, offsets map[kafka.TopicPartition]int64) error {
	if len(offsets) == 0 {
		return nil
	}
	ctx, cancel := c.Context(ctx)
	defer cancel()
	var commits kadm.Offsets
	for tp, offset := range offsets {
		commits.AddOffset(tp.Topic, tp.Partition, offset, -1)
	}
	answers, err := kadm.NewClient(c.Client).CommitOffsets(ctx, group, commits)
	if err == nil {
		err = answers.Error()
	}
	return Convert(err, "alterConsumerGroupOffsets")
}
