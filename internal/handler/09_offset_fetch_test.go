package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// fetchOne returns the committed offset of one partition of t1, by the last version.
func fetchOne(f *groupFixture, h *OffsetFetch, groupID string, partition int32) int64 {
	resp := handleGroup[*kmsg.OffsetFetchResponse](f, h, 10, fetchRequest(groupID, fetchTopic("t1", t1ID, partition)))
	return resp.Groups[0].Topics[0].Partitions[0].Offset
}

// fetchRequest asks for the same in the form of all versions.
func fetchRequest(groupID string, topics ...kmsg.OffsetFetchRequestGroupTopic) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = groupID
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = groupID, topics
	req.Groups = append(req.Groups, g)
	for _, topic := range topics {
		req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: topic.Topic, Partitions: topic.Partitions})
	}
	return req
}

func fetchTopic(name string, id kafka.UUID, partitions ...int32) kmsg.OffsetFetchRequestGroupTopic {
	return kmsg.OffsetFetchRequestGroupTopic{Topic: name, TopicID: id, Partitions: partitions}
}

func offsetFetchFixture(t *testing.T) (*groupFixture, *OffsetFetch) {
	f := newGroupFixture(t).withOffsetsTopic()
	f.publish(topicRecords("t2", kafka.UUID{3}, 1)...)
	commit := &OffsetCommit{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	handleGroup[*kmsg.OffsetCommitResponse](f, commit, 9, commitRequest("g", commitTopic("t1", t1ID, 11, 1), commitTopic("t2", t1ID, 22, 0)))
	return f, &OffsetFetch{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
}

func TestOffsetFetchVersions(t *testing.T) {
	t.Parallel()
	f, h := offsetFetchFixture(t)
	for version := int16(1); version <= 10; version++ {
		resp := handleGroup[*kmsg.OffsetFetchResponse](f, h, version, fetchRequest("g", fetchTopic("t1", t1ID, 1, 0, 9)))
		var offsets []int64
		if version < 8 {
			wantCode(t, "response", resp.ErrorCode, kafka.ErrNone)
			for _, p := range resp.Topics[0].Partitions {
				offsets = append(offsets, p.Offset)
				wantCode(t, "partition", p.ErrorCode, kafka.ErrNone)
			}
		} else {
			wantCode(t, "group", resp.Groups[0].ErrorCode, kafka.ErrNone)
			for _, p := range resp.Groups[0].Topics[0].Partitions {
				offsets = append(offsets, p.Offset)
				wantCode(t, "partition", p.ErrorCode, kafka.ErrNone)
			}
		}
		if len(offsets) != 3 || offsets[0] != 11 || offsets[1] != -1 || offsets[2] != -1 {
			t.Errorf("version %d: offsets %v, want 11 and none", version, offsets)
		}
	}
}

func TestOffsetFetchAllTopics(t *testing.T) {
	t.Parallel()
	f, h := offsetFetchFixture(t)
	for version := int16(2); version <= 10; version++ {
		resp := handleGroup[*kmsg.OffsetFetchResponse](f, h, version, fetchRequest("g"))
		count := len(resp.Topics)
		if version >= 8 {
			count = len(resp.Groups[0].Topics)
		}
		if count != 2 {
			t.Errorf("version %d: %d topics, want 2", version, count)
		}
	}
	// An empty list is not a missing one.
	none := fetchRequest("g")
	none.Topics, none.Groups[0].Topics = []kmsg.OffsetFetchRequestTopic{}, []kmsg.OffsetFetchRequestGroupTopic{}
	for _, version := range []int16{5, 9} {
		resp := handleGroup[*kmsg.OffsetFetchResponse](f, h, version, none)
		if len(resp.Topics) > 0 || version >= 8 && len(resp.Groups[0].Topics) > 0 {
			t.Errorf("version %d: offsets of topics that nobody asked for", version)
		}
	}
	// A topic that is gone has no id to be named by.
	f.image = metadataWithout(f, "t2")
	resp := handleGroup[*kmsg.OffsetFetchResponse](f, h, 10, fetchRequest("g"))
	if len(resp.Groups[0].Topics) != 1 || resp.Groups[0].Topics[0].TopicID != t1ID {
		t.Errorf("topics %+v, want t1 alone", resp.Groups[0].Topics)
	}
	f.denied = []security.Resource{security.Topic("t1")}
	resp = handleGroup[*kmsg.OffsetFetchResponse](f, h, 9, fetchRequest("g"))
	if len(resp.Groups[0].Topics) != 1 || resp.Groups[0].Topics[0].Topic != "t2" {
		t.Errorf("topics %+v, want t2 alone", resp.Groups[0].Topics)
	}
}

func TestOffsetFetchErrors(t *testing.T) {
	t.Parallel()
	f, h := offsetFetchFixture(t)
	f.denied = []security.Resource{security.Topic("t1"), security.Group("theirs")}
	req := fetchRequest("g", fetchTopic("t1", t1ID, 1), fetchTopic("", kafka.UUID{99}, 0), fetchTopic("t2", kafka.UUID{3}, 0))
	resp := handleGroup[*kmsg.OffsetFetchResponse](f, h, 10, req)
	codes := map[kafka.UUID]int16{}
	for _, topic := range resp.Groups[0].Topics {
		codes[topic.TopicID] = topic.Partitions[0].ErrorCode
	}
	wantCode(t, "t1", codes[t1ID], kafka.ErrTopicAuthorizationFailed)
	wantCode(t, "unknown id", codes[kafka.UUID{99}], kafka.ErrUnknownTopicID)
	wantCode(t, "t2", codes[kafka.UUID{3}], kafka.ErrNone)

	req = fetchRequest("theirs", fetchTopic("t2", kafka.UUID{3}, 0))
	resp = handleGroup[*kmsg.OffsetFetchResponse](f, h, 1, req)
	wantCode(t, "version 1 has errors only per partition", resp.Topics[0].Partitions[0].ErrorCode, kafka.ErrGroupAuthorizationFailed)
	resp = handleGroup[*kmsg.OffsetFetchResponse](f, h, 7, req)
	wantCode(t, "version 7", resp.ErrorCode, kafka.ErrGroupAuthorizationFailed)
	req.Groups = append(req.Groups, fetchRequest("g").Groups...)
	resp = handleGroup[*kmsg.OffsetFetchResponse](f, h, 8, req)
	wantCode(t, "group of another", resp.Groups[0].ErrorCode, kafka.ErrGroupAuthorizationFailed)
	wantCode(t, "own group", resp.Groups[1].ErrorCode, kafka.ErrNone)
}
