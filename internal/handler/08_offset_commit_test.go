package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func commitRequest(groupID string, topics ...kmsg.OffsetCommitRequestTopic) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.Topics = groupID, -1, topics
	return req
}

func commitTopic(name string, id kafka.UUID, offset int64, partitions ...int32) kmsg.OffsetCommitRequestTopic {
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = name, id
	for _, partition := range partitions {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = partition, offset
		topic.Partitions = append(topic.Partitions, p)
	}
	return topic
}

func TestOffsetCommitVersions(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	h := &OffsetCommit{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	for version := int16(2); version <= 10; version++ {
		resp := handleGroup[*kmsg.OffsetCommitResponse](f, h, version, commitRequest("g", commitTopic("t1", t1ID, int64(version), 1)))
		wantCode(t, "commit", resp.Topics[0].Partitions[0].ErrorCode, kafka.ErrNone)
		if version >= 10 && resp.Topics[0].TopicID != t1ID || version < 10 && resp.Topics[0].Topic != "t1" {
			t.Errorf("version %d names the topic %q %v", version, resp.Topics[0].Topic, resp.Topics[0].TopicID)
		}
		fetch := &OffsetFetch{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
		if got := fetchOne(f, fetch, "g", 1); got != int64(version) {
			t.Errorf("version %d: offset %d", version, got)
		}
	}
}

func TestOffsetCommitChecksEachPartition(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	f.publish(topicRecords("secret", kafka.UUID{7}, 1)...)
	f.denied = []security.Resource{security.Topic("secret"), security.Topic("unknown secret"), security.Group("theirs")}
	h := &OffsetCommit{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	resp := handleGroup[*kmsg.OffsetCommitResponse](f, h, 9, commitRequest("g",
		commitTopic("secret", kafka.UUID{}, 1, 0), commitTopic("unknown secret", kafka.UUID{}, 1, 0),
		commitTopic("unknown", kafka.UUID{}, 1, 0), commitTopic("t1", kafka.UUID{}, 1, 5, 1, -1)))
	for i, want := range [][]kafka.ErrorCode{
		{kafka.ErrTopicAuthorizationFailed}, {kafka.ErrTopicAuthorizationFailed}, {kafka.ErrUnknownTopicOrPartition},
		{kafka.ErrUnknownTopicOrPartition, kafka.ErrNone, kafka.ErrUnknownTopicOrPartition},
	} {
		for j, code := range want {
			wantCode(t, resp.Topics[i].Topic, resp.Topics[i].Partitions[j].ErrorCode, code)
		}
	}
	resp = handleGroup[*kmsg.OffsetCommitResponse](f, h, 10, commitRequest("g", commitTopic("", kafka.UUID{99}, 1, 0)))
	wantCode(t, "unknown id", resp.Topics[0].Partitions[0].ErrorCode, kafka.ErrUnknownTopicID)
	resp = handleGroup[*kmsg.OffsetCommitResponse](f, h, 9, commitRequest("theirs", commitTopic("t1", kafka.UUID{}, 1, 0)))
	wantCode(t, "group", resp.Topics[0].Partitions[0].ErrorCode, kafka.ErrGroupAuthorizationFailed)
}

func TestOffsetCommitErrorsOfTheGroup(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t)
	h := &OffsetCommit{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	resp := handleGroup[*kmsg.OffsetCommitResponse](f, h, 9, commitRequest("g", commitTopic("t1", kafka.UUID{}, 1, 0, 1)))
	for _, p := range resp.Topics[0].Partitions {
		wantCode(t, "no coordinator", p.ErrorCode, kafka.ErrNotCoordinator)
	}
	f.withOffsetsTopic()
	req := commitRequest("g", commitTopic("t1", kafka.UUID{}, 1, 0))
	req.Generation, req.MemberID = 3, "m"
	resp = handleGroup[*kmsg.OffsetCommitResponse](f, h, 9, req)
	wantCode(t, "no group", resp.Topics[0].Partitions[0].ErrorCode, kafka.ErrGroupIDNotFound)
	resp = handleGroup[*kmsg.OffsetCommitResponse](f, h, 8, req)
	wantCode(t, "no group", resp.Topics[0].Partitions[0].ErrorCode, kafka.ErrIllegalGeneration)
}
