package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestOffsetDelete(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	f.publish(topicRecords("secret", kafka.UUID{7}, 1)...)
	f.denied = []security.Resource{security.Group("theirs"), security.Topic("secret")}
	h := &OffsetDelete{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	request := func(groupID string) *kmsg.OffsetDeleteRequest {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = groupID
		for _, topic := range []string{"t1", "secret", "unknown"} {
			rt := kmsg.NewOffsetDeleteRequestTopic()
			rt.Topic, rt.Partitions = topic, []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}
			if topic == "t1" {
				rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: 8})
			}
			req.Topics = append(req.Topics, rt)
		}
		return req
	}
	wantCode(t, "theirs", handleGroup[*kmsg.OffsetDeleteResponse](f, h, 0, request("theirs")).ErrorCode, kafka.ErrGroupAuthorizationFailed)
	resp := handleGroup[*kmsg.OffsetDeleteResponse](f, h, 0, request("none"))
	wantCode(t, "no group", resp.ErrorCode, kafka.ErrGroupIDNotFound)
	if len(resp.Topics) > 0 {
		t.Errorf("an error of the request comes alone: %+v", resp.Topics)
	}
	joinedMember(f, "reader") // of t1
	resp = handleGroup[*kmsg.OffsetDeleteResponse](f, h, 0, request("reader"))
	wantCode(t, "subscribed", partitionCode(t, resp, "t1", 0), kafka.ErrGroupSubscribedToTopic)

	commit := &OffsetCommit{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	handleGroup[*kmsg.OffsetCommitResponse](f, commit, 9, commitRequest("g", commitTopic("t1", t1ID, 5, 0, 1)))
	resp = handleGroup[*kmsg.OffsetDeleteResponse](f, h, 0, request("g"))
	wantCode(t, "t1-0", partitionCode(t, resp, "t1", 0), kafka.ErrNone)
	wantCode(t, "t1-8", partitionCode(t, resp, "t1", 8), kafka.ErrUnknownTopicOrPartition)
	wantCode(t, "secret", partitionCode(t, resp, "secret", 0), kafka.ErrTopicAuthorizationFailed)
	wantCode(t, "unknown", partitionCode(t, resp, "unknown", 0), kafka.ErrUnknownTopicOrPartition)
	if len(resp.Topics) != 3 {
		t.Errorf("%d topics in the response, want each once", len(resp.Topics))
	}
	fetch := &OffsetFetch{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	if got := fetchOne(f, fetch, "g", 0); got != -1 {
		t.Errorf("t1-0 still has %d", got)
	}
	if got := fetchOne(f, fetch, "g", 1); got != 5 {
		t.Errorf("t1-1 has %d, want 5", got)
	}
}

func partitionCode(t *testing.T, resp *kmsg.OffsetDeleteResponse, topic string, partition int32) int16 {
	t.Helper()
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			if rt.Topic == topic && rp.Partition == partition {
				return rp.ErrorCode
			}
		}
	}
	t.Fatalf("%s-%d is missing in %+v", topic, partition, resp.Topics)
	return 0
}
