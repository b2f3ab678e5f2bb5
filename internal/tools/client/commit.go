package client

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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
