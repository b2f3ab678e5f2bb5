package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// firstVersionKnowingGroupIDNotFound is the OffsetCommit version from which clients understand
// that a group does not exist; lastVersionWithRetention the last one in which a client says how
// long its offsets are to live (KIP-211).
const (
	firstVersionKnowingGroupIDNotFound = 9
	lastVersionWithRetention           = 4
)

// CommitOffsets stores offsets. Each topic of the request has both its name and its id, and its
// partitions exist. The response is a *kmsg.OffsetCommitResponse.
func (s *Shard) CommitOffsets(token shard.Token, req *kmsg.OffsetCommitRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	if code := s.validateCommit(req); code != kafka.ErrNone {
		s.respond(token, CommitError(req, code))
		return s.end()
	}
	var (
		records []shard.Record
		keys    []offsetKey
		values  []committedOffset
	)
	resp := commitResponse(req, func(topic *kmsg.OffsetCommitRequestTopic, p *kmsg.OffsetCommitRequestTopicPartition) kafka.ErrorCode {
		if p.Metadata != nil && javaLength(*p.Metadata) > int(s.cfg.OffsetMetadataMaxSizeBytes) {
			return kafka.ErrOffsetMetadataTooLarge
		}
		key, value := offsetKey{group: req.Group, topic: topic.Topic, partition: p.Partition}, s.newCommit(req, topic, p)
		keys, values, records = append(keys, key), append(values, value), append(records, offsetCommitRecord(key, value))
		return kafka.ErrNone
	})
	if recordsSizeBytes(records...) > int(s.cfg.MaxBatchSizeBytes()) {
		// A commit is all or nothing, so it must fit in one batch.
		s.respond(token, CommitError(req, kafka.ErrUnknownServerError))
		return s.end()
	}
	for i := range keys {
		s.appendRecord(records[i])
		s.lastRecord++
		values[i].recordOffset = s.lastRecord
		s.putOffset(keys[i], values[i])
	}
	s.metrics.commits.Add(int64(len(records)))
	s.respond(token, resp)
	return s.end()
}

// validateCommit checks that the caller may commit for the group, and counts a member's commit
// as a sign of life.
func (s *Shard) validateCommit(req *kmsg.OffsetCommitRequest) kafka.ErrorCode {
	g := s.group(req.Group)
	switch {
	case g == nil && req.Generation < 0:
		return kafka.ErrNone // a simple group comes into being
	case g == nil && req.Version >= firstVersionKnowingGroupIDNotFound:
		return kafka.ErrGroupIDNotFound
	case g == nil:
		return kafka.ErrIllegalGeneration
	case req.Generation < 0 && g.state == stateEmpty:
		return kafka.ErrNone // an administrator, or a consumer that assigns itself
	case req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil:
		return kafka.ErrUnknownMemberID
	}
	if code := g.validateMember(req.MemberID, req.InstanceID); code != kafka.ErrNone {
		return code
	}
	if req.Generation != g.generation {
		return kafka.ErrIllegalGeneration
	}
	if g.state == stateCompletingRebalance {
		return kafka.ErrRebalanceInProgress
	}
	m := g.membersByID[req.MemberID]
	s.scheduleHeartbeat(m, int64(m.sessionTimeoutMs))
	return kafka.ErrNone
}

func (s *Shard) newCommit(req *kmsg.OffsetCommitRequest, topic *kmsg.OffsetCommitRequestTopic, p *kmsg.OffsetCommitRequestTopicPartition) committedOffset {
	o := committedOffset{
		offset: p.Offset, leaderEpoch: p.LeaderEpoch, commitTimestampMs: s.nowMs,
		expireTimestampMs: noExpiry, topicID: topic.TopicID,
	}
	if p.Metadata != nil {
		o.metadata = *p.Metadata
	}
	if req.Version <= lastVersionWithRetention && req.RetentionTimeMillis != -1 {
		// The record version with an expiry has neither topic id nor leader epoch: the state shall
		// be what a reload would give.
		o.expireTimestampMs = later(s.nowMs, req.RetentionTimeMillis)
		o.topicID, o.leaderEpoch = kafka.ZeroUUID, kafka.NoLeaderEpoch
	}
	return o
}

// CommitError answers every partition of req with code.
func CommitError(req *kmsg.OffsetCommitRequest, code kafka.ErrorCode) *kmsg.OffsetCommitResponse {
	return commitResponse(req, func(*kmsg.OffsetCommitRequestTopic, *kmsg.OffsetCommitRequestTopicPartition) kafka.ErrorCode {
		return code
	})
}

func commitResponse(req *kmsg.OffsetCommitRequest, codeOf func(*kmsg.OffsetCommitRequestTopic, *kmsg.OffsetCommitRequestTopicPartition) kafka.ErrorCode) *kmsg.OffsetCommitResponse {
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	for i := range req.Topics {
		topic, rt := &req.Topics[i], &resp.Topics[i]
		rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
		rt.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(topic.Partitions))
		for j := range topic.Partitions {
			rt.Partitions[j].Partition = topic.Partitions[j].Partition
			rt.Partitions[j].ErrorCode = int16(codeOf(topic, &topic.Partitions[j]))
		}
	}
	return resp
}

// javaLength is the length of s in UTF-16 code units, in which Kafka measures
// offset.metadata.max.bytes.
func javaLength(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// FetchOffsets answers with the committed offsets of one group: of the topics in req, or of all
// where Topics is nil. Names are resolved from topic ids by the caller. An offset that was
// committed for another incarnation of the topic counts as none. With requireStable, offsets that
// an open transaction may replace are refused. The response is a *kmsg.OffsetFetchResponseGroup.
func (s *Shard) FetchOffsets(token shard.Token, req *kmsg.OffsetFetchRequestGroup, requireStable bool, nowMs int64) shard.Effects {
	s.begin(nowMs)
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = req.Group
	g := s.group(req.Group)
	if req.Topics == nil {
		if g != nil {
			resp.Topics = s.allOffsets(g, requireStable)
		}
		s.respond(token, &resp)
		return s.end()
	}
	for i := range req.Topics {
		topic := &req.Topics[i]
		rt := kmsg.OffsetFetchResponseGroupTopic{Topic: topic.Topic, TopicID: topic.TopicID}
		for _, partition := range topic.Partitions {
			o, found := s.offsetOf(offsetKey{group: req.Group, topic: topic.Topic, partition: partition})
			if found && !o.topicID.IsZero() && topic.TopicID != kafka.ZeroUUID && o.topicID != topic.TopicID {
				found = false
			}
			rt.Partitions = append(rt.Partitions, s.fetchedOffset(req.Group, topic.Topic, partition, o, found, requireStable))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	s.respond(token, &resp)
	return s.end()
}

func (s *Shard) allOffsets(g *classicGroup, requireStable bool) []kmsg.OffsetFetchResponseGroupTopic {
	topics := []kmsg.OffsetFetchResponseGroupTopic{}
	for _, topic := range sortedKeys(g.offsets) {
		rt := kmsg.OffsetFetchResponseGroupTopic{Topic: topic}
		for _, partition := range sortedKeys(g.offsets[topic]) {
			o := g.offsets[topic][partition]
			rt.Partitions = append(rt.Partitions, s.fetchedOffset(g.id, topic, partition, o, true, requireStable))
		}
		topics = append(topics, rt)
	}
	return topics
}

func (s *Shard) fetchedOffset(group, topic string, partition int32, o committedOffset, found, requireStable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	rp := kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: partition, Offset: kafka.NoOffset, LeaderEpoch: kafka.NoLeaderEpoch, Metadata: new(string),
	}
	switch {
	case requireStable && s.pending.has(offsetKey{group, topic, partition}):
		rp.ErrorCode = int16(kafka.ErrUnstableOffsetCommit)
	case found:
		rp.Offset, rp.LeaderEpoch = o.offset, o.leaderEpoch
		*rp.Metadata = o.metadata
	}
	return rp
}

// DeleteOffsets removes committed offsets of topics that the group is not subscribed to. The
// response is a *kmsg.OffsetDeleteResponse.
func (s *Shard) DeleteOffsets(token shard.Token, req *kmsg.OffsetDeleteRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	resp := kmsg.NewPtrOffsetDeleteResponse()
	g := s.group(req.Group)
	switch {
	case g == nil:
		resp.ErrorCode = int16(kafka.ErrGroupIDNotFound)
	case g.state != stateEmpty && g.protocolType != consumerProtocolType:
		resp.ErrorCode = int16(kafka.ErrNonEmptyGroup)
	default:
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, s.deleteTopicOffsets(g, &req.Topics[i]))
		}
	}
	s.respond(token, resp)
	return s.end()
}

func (s *Shard) deleteTopicOffsets(g *classicGroup, topic *kmsg.OffsetDeleteRequestTopic) kmsg.OffsetDeleteResponseTopic {
	rt := kmsg.OffsetDeleteResponseTopic{Topic: topic.Topic}
	for i := range topic.Partitions {
		rp := kmsg.OffsetDeleteResponseTopicPartition{Partition: topic.Partitions[i].Partition}
		if g.isSubscribedTo(topic.Topic) {
			rp.ErrorCode = int16(kafka.ErrGroupSubscribedToTopic)
		} else {
			s.deleteOffset(offsetKey{group: g.id, topic: topic.Topic, partition: rp.Partition})
		}
		rt.Partitions = append(rt.Partitions, rp)
	}
	return rt
}

// deleteOffset removes an offset, and what an open transaction has for it, with a tombstone.
func (s *Shard) deleteOffset(k offsetKey) {
	_, committed := s.offsetOf(k)
	if !committed && !s.pending.has(k) {
		return
	}
	s.appendRecord(offsetTombstone(k))
	s.removeOffset(k)
	s.pending.remove(k)
	s.metrics.deletions.Inc()
}
