package handler

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// creatingController creates topics in the fixture's image, or refuses.
type creatingController struct {
	f       *groupFixture
	refuse  kafka.ErrorCode
	created *kmsg.CreateTopicsRequestTopic
}

func (c *creatingController) Send(_ context.Context, _ peer.Origin, req kmsg.Request) (kmsg.Response, error) {
	create := req.(*kmsg.CreateTopicsRequest)
	resp := kmsg.NewPtrCreateTopicsResponse()
	c.created = &create.Topics[0]
	rt := kmsg.NewCreateTopicsResponseTopic()
	rt.Topic, rt.ErrorCode = c.created.Topic, int16(c.refuse)
	resp.Topics = append(resp.Topics, rt)
	if c.refuse == kafka.ErrNone {
		c.f.publish(topicRecords(c.created.Topic, offsetsTopicID, c.created.NumPartitions)...)
	}
	return resp, nil
}

func findRequest(coordinatorType int8, keys ...string) *kmsg.FindCoordinatorRequest {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = coordinatorType, keys[0], keys
	return req
}

func newFindCoordinator(f *groupFixture, c *creatingController) *FindCoordinator {
	return &FindCoordinator{
		Authorizer: f, Metadata: f.metadata, Controller: c,
		OffsetsTopic: NewOffsetsTopic(5, -1, 104857600), TransactionTopic: NewTransactionTopic(7, -1, 104857600, 2),
	}
}

func TestFindCoordinatorCreatesTheTopic(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t)
	c := &creatingController{f: f, refuse: kafka.ErrInvalidReplicationFactor}
	h := newFindCoordinator(f, c)
	resp := handleGroup[*kmsg.FindCoordinatorResponse](f, h, 3, findRequest(0, "g"))
	wantCode(t, "no topic", resp.ErrorCode, kafka.ErrCoordinatorNotAvailable)
	c.refuse = kafka.ErrNone
	resp = handleGroup[*kmsg.FindCoordinatorResponse](f, h, 3, findRequest(0, "g"))
	wantCode(t, "topic created", resp.ErrorCode, kafka.ErrNone)
	configs := map[string]string{}
	for _, config := range c.created.Configs {
		configs[config.Name] = *config.Value
	}
	if c.created.Topic != kafka.ConsumerOffsetsTopic || c.created.NumPartitions != 5 || c.created.ReplicationFactor != -1 ||
		configs["cleanup.policy"] != "compact" || configs["compression.type"] != "producer" || configs["segment.bytes"] != "104857600" {
		t.Errorf("created %+v with %v", c.created, configs)
	}
	for version := int16(0); version <= 6; version++ {
		resp := handleGroup[*kmsg.FindCoordinatorResponse](f, h, version, findRequest(0, "g", "h"))
		if version < 4 && (resp.NodeID != 1 || resp.Host != "broker.example" || resp.Port != 9092) {
			t.Errorf("version %d: %+v", version, resp)
		}
		if version >= 4 && (len(resp.Coordinators) != 2 || resp.Coordinators[1].Key != "h" || resp.Coordinators[1].NodeID != 1 || resp.Coordinators[1].Port != 9092) {
			t.Errorf("version %d: %+v", version, resp.Coordinators)
		}
	}
}

func TestFindCoordinatorErrors(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	h := newFindCoordinator(f, &creatingController{f: f})
	f.denied = []security.Resource{security.Group("theirs"), security.TransactionalID("theirs")}
	resp := handleGroup[*kmsg.FindCoordinatorResponse](f, h, 6, findRequest(0, "theirs", "g"))
	wantCode(t, "group of another", resp.Coordinators[0].ErrorCode, kafka.ErrGroupAuthorizationFailed)
	wantCode(t, "own group", resp.Coordinators[1].ErrorCode, kafka.ErrNone)
	resp = handleGroup[*kmsg.FindCoordinatorResponse](f, h, 3, findRequest(1, "theirs"))
	wantCode(t, "transactional id of another", resp.ErrorCode, kafka.ErrTransactionalIDAuthorizationFailed)
	resp = handleGroup[*kmsg.FindCoordinatorResponse](f, h, 6, findRequest(2, "g:t:0"))
	wantCode(t, "share", resp.Coordinators[0].ErrorCode, kafka.ErrInvalidRequest)

	// The leader's broker is fenced, or there is none.
	f.image = applyRecords(f, &metadata.FenceBrokerRecord{ID: 1, Epoch: 0})
	resp = handleGroup[*kmsg.FindCoordinatorResponse](f, h, 3, findRequest(0, "g"))
	wantCode(t, "fenced", resp.ErrorCode, kafka.ErrCoordinatorNotAvailable)
	var records []metadata.Record
	for i := range int32(5) {
		change := metadata.NewPartitionChangeRecord(offsetsTopicID, i)
		change.Leader = kafka.NoLeader
		records = append(records, change)
	}
	f.image = applyRecords(f, records...)
	resp = handleGroup[*kmsg.FindCoordinatorResponse](f, h, 3, findRequest(0, "g"))
	wantCode(t, "no leader", resp.ErrorCode, kafka.ErrCoordinatorNotAvailable)
}

// applyRecords returns the fixture's image with records, without telling the coordinator.
func applyRecords(f *groupFixture, records ...metadata.Record) *metadata.Image {
	f.t.Helper()
	delta := metadata.NewDelta(f.image)
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			f.t.Fatal(err)
		}
	}
	return delta.Apply(f.image.Offset+1, 1)
}

// metadataWithout returns the fixture's image without a topic.
func metadataWithout(f *groupFixture, topic string) *metadata.Image {
	return applyRecords(f, &metadata.RemoveTopicRecord{TopicID: f.image.TopicByName(topic).ID})
}
