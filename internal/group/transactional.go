package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// CommitTransactionalOffsets stores offsets within a transaction: they count when its marker says
// that it is committed. Topic ids are as the metadata has them, in the order of the topics. The
// response is a *kmsg.TxnOffsetCommitResponse.
func (s *Shard) CommitTransactionalOffsets(token shard.Token, req *kmsg.TxnOffsetCommitRequest, topicIDs []kafka.UUID, guard uint64, nowMs int64) shard.Effects {
	s.begin(nowMs)
	if code := s.validateTransactionalCommit(req); code != kafka.ErrNone {
		s.respond(token, TransactionalCommitError(req, code))
		return s.end()
	}
	resp := transactionalCommitResponse(req, func(i int, p *kmsg.TxnOffsetCommitRequestTopicPartition) kafka.ErrorCode {
		if p.Metadata != nil && javaLength(*p.Metadata) > int(s.cfg.OffsetMetadataMaxSizeBytes) {
			return kafka.ErrOffsetMetadataTooLarge
		}
		value := committedOffset{offset: p.Offset, leaderEpoch: p.LeaderEpoch, commitTimestampMs: nowMs, expireTimestampMs: noExpiry, topicID: topicIDs[i]}
		if p.Metadata != nil {
			value.metadata = *p.Metadata
		}
		s.appendRecord(offsetCommitRecord(offsetKey{group: req.Group, topic: req.Topics[i].Topic, partition: p.Partition}, value))
		return kafka.ErrNone
	})
	if recordsSizeBytes(s.out.Records...) > int(s.cfg.MaxBatchSizeBytes()) {
		s.out.Records = nil
		s.respond(token, TransactionalCommitError(req, kafka.ErrUnknownServerError))
		return s.end()
	}
	if len(s.out.Records) > 0 {
		s.out.Producer = &shard.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch, Guard: guard}
		s.metrics.commits.Add(int64(len(s.out.Records)))
	}
	s.respond(token, resp)
	return s.end()
}

// validateTransactionalCommit is milder than validateCommit: clients before version 3 say neither
// member nor generation.
func (s *Shard) validateTransactionalCommit(req *kmsg.TxnOffsetCommitRequest) kafka.ErrorCode {
	g := s.group(req.Group)
	switch {
	case g == nil && req.Generation < 0:
		return kafka.ErrNone
	case g == nil:
		return kafka.ErrIllegalGeneration
	case req.Generation < 0 && g.state == stateEmpty:
		return kafka.ErrNone
	case req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil:
		return kafka.ErrNone
	}
	if code := g.validateMember(req.MemberID, req.InstanceID); code != kafka.ErrNone {
		return code
	}
	if req.Generation != g.generation {
		return kafka.ErrIllegalGeneration
	}
	return kafka.ErrNone
}

// EndTransaction writes the marker that ends a producer's transaction. The response is nil.
func (s *Shard) EndTransaction(token shard.Token, marker shard.Marker, nowMs int64) shard.Effects {
	s.begin(nowMs)
	s.out.Marker = &marker
	s.respond(token, nil)
	return s.end()
}

// TransactionalCommitError answers every partition of req with code.
func TransactionalCommitError(req *kmsg.TxnOffsetCommitRequest, code kafka.ErrorCode) *kmsg.TxnOffsetCommitResponse {
	return transactionalCommitResponse(req, func(int, *kmsg.TxnOffsetCommitRequestTopicPartition) kafka.ErrorCode { return code })
}

func transactionalCommitResponse(req *kmsg.TxnOffsetCommitRequest, codeOf func(topic int, p *kmsg.TxnOffsetCommitRequestTopicPartition) kafka.ErrorCode) *kmsg.TxnOffsetCommitResponse {
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	resp.Topics = make([]kmsg.TxnOffsetCommitResponseTopic, len(req.Topics))
	for i := range req.Topics {
		topic, rt := &req.Topics[i], &resp.Topics[i]
		rt.Topic = topic.Topic
		rt.Partitions = make([]kmsg.TxnOffsetCommitResponseTopicPartition, len(topic.Partitions))
		for j := range topic.Partitions {
			rt.Partitions[j].Partition = topic.Partitions[j].Partition
			rt.Partitions[j].ErrorCode = int16(codeOf(i, &topic.Partitions[j]))
		}
	}
	return resp
}
