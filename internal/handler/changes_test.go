package handler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/wire"
)

// quotaOf limits the user ANONYMOUS to one of Kafka's keys.
func quotaOf(t *testing.T, key string, limit float64) *quota.Manager {
	t.Helper()
	window := quota.Window{Samples: 11, Sample: time.Second}
	m := quota.NewManager(quota.Options{Clients: window, Changes: window, Metrics: metrics.NewRegistry(), Clock: env.SystemClock{}})
	user := "ANONYMOUS"
	delta := metadata.NewDelta(metadata.EmptyImage())
	if err := delta.Replay(&metadata.ClientQuotaRecord{Entity: []metadata.QuotaEntityPart{{Type: metadata.QuotaUser, Name: &user}}, Key: key, Value: limit}); err != nil {
		t.Fatal(err)
	}
	m.Update(delta.Apply(1, 1))
	return m
}

// TestThrottledFetch: a fetch over the limit has no records and leaves its session as it was, so
// that what it would have told comes later.
func TestThrottledFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDataPlane(t)
		d.create("a", 1, 1)
		d.create("b", 1, 1)
		d.fetch.Quota = quotaOf(t, "consumer_byte_rate", 100)
		batch := records(t, -1, string(make([]byte, 600)))
		d.doProduce(withProduce(newProduceRequest(9, 1), "a", 0, batch))
		resp, release := d.doFetch(withFetch(withFetch(newFetchRequest(17, 0, 0), "a", 0, 0), "b", 0, 0))
		release()
		id := resp.SessionID
		if id == 0 || len(resp.Topics) != 2 {
			t.Fatalf("full fetch: %+v", resp)
		}
		d.doProduce(withProduce(newProduceRequest(9, 1), "b", 0, batch))
		over := withFetch(newFetchRequest(17, id, 1), "a", 0, 1)
		r := dataRequest(over, "test")
		reply := d.fetch.Handle(t.Context(), r)
		resp = d.finish(r, reply).(*wire.FetchBody).Response
		if reply.Throttle <= 0 || !reply.Accounted || len(resp.Topics) != 0 || resp.SessionID != id || resp.ErrorCode != 0 {
			t.Fatalf("over the limit: throttled for %v: %+v", reply.Throttle, resp)
		}
		if reply.Throttle > 10*time.Second {
			t.Errorf("throttled for %v", reply.Throttle)
		}
		reply.Body.Release()
		<-time.After(11 * time.Second) // until the window is over
		resp, release = d.doFetch(newFetchRequest(17, id, 2))
		defer release()
		if len(resp.Topics) != 1 || resp.Topics[0].TopicID != topicIDOf("b") || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 {
			t.Errorf("later: %+v", resp)
		}
		// A full fetch that is throttled makes no session.
		d.fetch.Quota = quotaOf(t, "consumer_byte_rate", 1)
		d.doFetch(withFetch(newFetchRequest(17, 0, 0), "a", 0, 0))
		resp, release = d.doFetch(withFetch(newFetchRequest(17, 0, 0), "a", 0, 0))
		release()
		if len(resp.Topics) != 0 || resp.SessionID != 0 {
			t.Errorf("a full fetch: %+v", resp)
		}
	})
}

// TestChangesOverTheQuota: KIP-599 tells clients that know the code, and holds back the others, wherever
// the controller is.
func TestChangesOverTheQuota(t *testing.T) {
	t.Parallel()
	t.Run("controller here", func(t *testing.T) { changesOverTheQuota(t, false) })
	t.Run("controller elsewhere", func(t *testing.T) { changesOverTheQuota(t, true) })
}

func changesOverTheQuota(t *testing.T, elsewhere bool) {
	synctest.Test(t, func(t *testing.T) {
		f := newAdminFixture(t, nil)
		q := quotaOf(t, "controller_mutation_rate", 1)
		create, deletion, partition, auto := f.set.Lookup(wire.KeyCreateTopics).(*CreateTopics), f.set.Lookup(wire.KeyDeleteTopics).(*DeleteTopics),
			f.set.Lookup(wire.KeyCreatePartitions).(*CreatePartitions), f.set.Lookup(wire.KeyMetadata).(*Metadata)
		create.Quota, deletion.Quota, partition.Quota, auto.Quota = q, q, q, q
		if elsewhere {
			other := &forwarding{t: t, to: &PeerForward{Quota: quotaOf(t, "controller_mutation_rate", 1), Controller: func(ctx context.Context, origin peer.Origin, req kmsg.Request) (kmsg.Response, int64, error) {
				resp, err := f.Send(ctx, origin, req)
				return resp, 5, err
			}}}
			create.Controller, deletion.Controller, partition.Controller, auto.Controller = other, other, other, other
		}
		testChanges(t, f)
	})
}

func testChanges(t *testing.T, f *adminFixture) {
	handle := func(version int16, req kmsg.Request) (Reply, kmsg.Response) {
		t.Helper()
		resp := f.ask(version, req)
		return f.reply, resp
	}
	create := func(names ...string) *kmsg.CreateTopicsRequest {
		var topics []kmsg.CreateTopicsRequestTopic
		for _, name := range names {
			topics = append(topics, newTopic(name, 15, 1))
		}
		return createRequest(false, topics...)
	}
	reply, resp := handle(7, create("a", "b"))
	created := resp.(*kmsg.CreateTopicsResponse).Topics
	if created[0].ErrorCode != 0 || kafka.ErrorCode(created[1].ErrorCode) != kafka.ErrThrottlingQuotaExceeded || reply.Throttle != 4*time.Second {
		t.Fatalf("throttled for %v: %+v", reply.Throttle, created)
	}
	partitions := kmsg.NewPtrCreatePartitionsRequest()
	partitions.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "a", Count: 16}}
	reply, resp = handle(3, partitions)
	if added := resp.(*kmsg.CreatePartitionsResponse).Topics; kafka.ErrorCode(added[0].ErrorCode) != kafka.ErrThrottlingQuotaExceeded || reply.Throttle != 4*time.Second {
		t.Errorf("throttled for %v: %+v", reply.Throttle, added)
	}
	deletion := kmsg.NewPtrDeleteTopicsRequest()
	deletion.TopicNames = []string{"a"}
	reply, resp = handle(5, deletion)
	if deleted := resp.(*kmsg.DeleteTopicsResponse).Topics; kafka.ErrorCode(deleted[0].ErrorCode) != kafka.ErrThrottlingQuotaExceeded || reply.Throttle != 4*time.Second {
		t.Errorf("throttled for %v: %+v", reply.Throttle, deleted)
	}
	_, resp = handle(12, metadataRequest(true, "wanted"))
	if found := resp.(*kmsg.MetadataResponse).Topics; kafka.ErrorCode(found[0].ErrorCode) != kafka.ErrUnknownTopicOrPartition {
		t.Errorf("a topic that is created by the way: %+v", found)
	}
	// Older clients do not know the code: their changes are made.
	reply, resp = handle(5, create("old"))
	if created = resp.(*kmsg.CreateTopicsResponse).Topics; created[0].ErrorCode != 0 || reply.Throttle != 19*time.Second {
		t.Errorf("throttled for %v: %+v", reply.Throttle, created)
	}
	reply, resp = handle(2, partitions)
	if added := resp.(*kmsg.CreatePartitionsResponse).Topics; added[0].ErrorCode != 0 || reply.Throttle != 20*time.Second {
		t.Errorf("throttled for %v: %+v", reply.Throttle, added)
	}
	reply, resp = handle(4, deletion)
	if deleted := resp.(*kmsg.DeleteTopicsResponse).Topics; deleted[0].ErrorCode != 0 || reply.Throttle != 36*time.Second {
		t.Errorf("throttled for %v: %+v", reply.Throttle, deleted)
	}
}
