package handler

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/replica/fetchsession"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// createReplicated makes a topic of one partition that broker 1 leads, with a replica on broker 2.
func (d *dataPlane) createReplicated(topic string) {
	d.tb.Helper()
	d.apply(&metadata.TopicRecord{Name: topic, TopicID: topicIDOf(topic)},
		&metadata.PartitionRecord{TopicID: topicIDOf(topic), Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1, Directories: make([]kafka.UUID, 2)})
}

// fetchAs sends a fetch as broker 2 that names the broker epoch, on a connection with that peer; nil for a client.
func (d *dataPlane) fetchAs(peer *security.Peer, brokerEpoch int64, req *kmsg.FetchRequest) (*kmsg.FetchResponse, func()) {
	d.tb.Helper()
	req.ReplicaID, req.ReplicaState.ID, req.ReplicaState.Epoch = 2, 2, brokerEpoch
	r := dataRequest(req, "test")
	r.Conn.Peer = peer
	body := d.finish(r, d.fetch.Handle(d.tb.Context(), r)).(*wire.FetchBody)
	return body.Response, body.Release
}

var brokerTwo = &security.Peer{NodeID: 2, Purpose: wire.PurposeReplica}

// TestForgedReplicas (CVE-2018-1288): whoever is not the broker that it names reads nothing and moves no high watermark, and
// gets what Apache Kafka answers to a replica that is none of the partition's.
func TestForgedReplicas(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.createReplicated("t")
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b")))
	log := func() int64 {
		r, err := d.replicas.Lookup(kafka.TopicPartition{Topic: "t"})
		if err != nil {
			t.Fatal(err)
		}
		return r.Log().HighWatermark()
	}
	for name, c := range map[string]struct {
		peer    *security.Peer
		version int16
		epoch   int32
		want    kafka.ErrorCode
	}{
		"a client":                      {nil, 17, 0, kafka.ErrUnknownLeaderEpoch},
		"a client without an epoch":     {nil, 17, -1, kafka.ErrNotLeaderOrFollower},
		"an old client":                 {nil, 8, -1, kafka.ErrNotLeaderOrFollower},
		"a broker by an old version":    {brokerTwo, 14, 0, kafka.ErrUnknownLeaderEpoch},
		"another broker":                {&security.Peer{NodeID: 3, Purpose: wire.PurposeReplica}, 17, 0, kafka.ErrUnknownLeaderEpoch},
		"a connection for other things": {&security.Peer{NodeID: 2, Purpose: wire.PurposeForward}, 17, 0, kafka.ErrUnknownLeaderEpoch},
	} {
		for _, offset := range []int64{0, 2} {
			req := withFetch(newFetchRequest(c.version, 0, -1), "t", 0, offset)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = c.epoch
			resp, release := d.fetchAs(c.peer, 0, req)
			if p := resp.Topics[0].Partitions[0]; kafka.ErrorCode(p.ErrorCode) != c.want || len(p.RecordBatches) > 0 || p.HighWatermark != -1 {
				t.Errorf("%s: %+v", name, p)
			}
			release()
		}
	}
	if log() != 0 {
		t.Errorf("the high watermark is %d", log())
	}
	d.denied[security.Cluster] = true
	resp, release := d.fetchAs(brokerTwo, 0, withFetch(newFetchRequest(17, 0, -1), "t", 0, 2))
	if p := resp.Topics[0].Partitions[0]; kafka.ErrorCode(p.ErrorCode) != kafka.ErrTopicAuthorizationFailed {
		t.Errorf("without ClusterAction: %+v", p)
	}
	release()
	delete(d.denied, security.Cluster)
	d.denied[security.Topic("t")] = true // brokers need no right on the topic
	for offset := range int64(3) {
		req := withFetch(newFetchRequest(17, 0, -1), "t", 0, offset)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
		resp, release := d.fetchAs(brokerTwo, 0, req)
		if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || len(p.RecordBatches) > 0 != (offset < 2) || log() != offset {
			t.Errorf("from offset %d: %+v, committed %d", offset, p, log())
		}
		release()
	}
	if d.fetch.Metrics.bytesOut.Value() != 0 || d.fetch.Metrics.replicationBytesOut.Value() == 0 {
		t.Errorf("%d bytes to consumers, %d to followers", d.fetch.Metrics.bytesOut.Value(), d.fetch.Metrics.replicationBytesOut.Value())
	}
}

// TestStaleBrokerEpoch (KIP-903): a broker that has been registered anew since may have lost what it had.
func TestStaleBrokerEpoch(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.createReplicated("t")
	d.apply(&metadata.RegisterBrokerRecord{BrokerID: 2, BrokerEpoch: 40})
	for epoch, want := range map[int64]kafka.ErrorCode{40: kafka.ErrNone, 39: kafka.ErrStaleBrokerEpoch, 41: kafka.ErrStaleBrokerEpoch, -1: kafka.ErrStaleBrokerEpoch} {
		resp, release := d.fetchAs(brokerTwo, epoch, withFetch(newFetchRequest(17, 0, -1), "t", 0, 0))
		if kafka.ErrorCode(resp.ErrorCode) != want || len(resp.Topics) > 0 != (want == kafka.ErrNone) {
			t.Errorf("epoch %d: %+v", epoch, resp)
		}
		release()
	}
}

// TestFollowersSessions: a follower's session is its own, and it hears where the log begins that it has fallen behind.
func TestFollowersSessions(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.createReplicated("t")
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b", "c")))
	fetch := func(id, epoch int32, offset int64) *kmsg.FetchResponse {
		req := newFetchRequest(17, id, epoch)
		if offset >= 0 {
			withFetch(req, "t", 0, offset).Topics[0].Partitions[0].CurrentLeaderEpoch = 0
		}
		resp, release := d.fetchAs(brokerTwo, 0, req)
		t.Cleanup(release)
		return resp
	}
	first := fetch(0, 0, 3)
	if first.SessionID == 0 || first.Topics[0].Partitions[0].HighWatermark != 0 {
		t.Fatalf("the first fetch: %+v", first)
	}
	again := fetch(first.SessionID, 1, -1)
	if again.SessionID != first.SessionID || len(again.Topics) != 1 || again.Topics[0].Partitions[0].HighWatermark != 3 {
		t.Fatalf("the high watermark does not come: %+v", again)
	}
	for _, epoch := range []int32{2, fetchsession.FinalEpoch, fetchsession.InitialEpoch} { // a client that has guessed the id
		resp, release := d.doFetch(newFetchRequest(17, first.SessionID, epoch))
		if epoch == 2 && kafka.ErrorCode(resp.ErrorCode) != kafka.ErrFetchSessionIDNotFound {
			t.Errorf("a client uses it: %+v", resp)
		}
		release()
	}
	// Broker 2 does not raise its log start offset.
	if deleted := d.replicas.DeleteRecords(t.Context(), map[kafka.TopicPartition]int64{{Topic: "t"}: 2}, 0)[kafka.TopicPartition{Topic: "t"}]; kafka.CodeOf(deleted.Err) != kafka.ErrRequestTimedOut || deleted.LowWatermark > 0 {
		t.Fatalf("%+v", deleted)
	}
	behind := fetch(first.SessionID, 2, 1)
	if behind.ErrorCode != 0 || len(behind.Topics) != 1 {
		t.Fatalf("the session is gone: %+v", behind)
	}
	if p := behind.Topics[0].Partitions[0]; kafka.ErrorCode(p.ErrorCode) != kafka.ErrOffsetOutOfRange || p.LogStartOffset != 2 || p.HighWatermark != -1 {
		t.Errorf("behind: %+v", p)
	}
}

// TestCopiesBesideWhatTheSessionLeavesOut: also while there is no news of what a follower has in sync, it gets what it lacks in pieces,
// behind which the news will not wait long.
func TestCopiesBesideWhatTheSessionLeavesOut(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.createReplicated("in-sync")
	lacking := []string{"one", "two"}
	for _, topic := range lacking {
		d.apply(&metadata.TopicRecord{Name: topic, TopicID: topicIDOf(topic)},
			&metadata.PartitionRecord{TopicID: topicIDOf(topic), Replicas: []int32{1, 2}, ISR: []int32{1}, Leader: 1, Directories: make([]kafka.UUID, 2)})
		for range 3 {
			d.doProduce(withProduce(newProduceRequest(9, 1), topic, 0, records(t, -1, strings.Repeat("x", 300_000))))
		}
	}
	id := int32(0)
	fetch := func(epoch int32, topics ...string) (bytes int) {
		t.Helper()
		req := newFetchRequest(17, id, epoch)
		for i, topic := range topics {
			withFetch(req, topic, 0, 0).Topics[i].Partitions[0].CurrentLeaderEpoch = 0
		}
		resp, release := d.fetchAs(brokerTwo, 0, req)
		defer release()
		id = resp.SessionID
		for i := range resp.Topics {
			bytes += len(resp.Topics[i].Partitions[0].RecordBatches)
		}
		return bytes
	}
	if n := fetch(0, lacking...); n < 6*300_000 {
		t.Errorf("%d bytes where nothing is in sync", n)
	}
	id = 0
	for i, topics := range [][]string{{"one", "two", "in-sync"}, {"one", "two"}, {"two"}, {}} {
		if n := fetch(int32(i), topics...); n < 3*300_000 || n >= 4*300_000 {
			t.Errorf("fetch %d: %d bytes", i, n)
		}
	}
}

// TestConsumersAtFollowers (KIP-392): from version 11 on a follower serves them, as a leader does.
func TestConsumersAtFollowers(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.createReplicated("t")
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b")))
	req := withFetch(newFetchRequest(17, 0, -1), "t", 0, 2)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
	_, release := d.fetchAs(brokerTwo, 0, req)
	release()
	change := metadata.NewPartitionChangeRecord(topicIDOf("t"), 0)
	change.Leader = 2
	d.apply(change)
	for version, want := range map[int16]kafka.ErrorCode{10: kafka.ErrNotLeaderOrFollower, 11: kafka.ErrNone, 18: kafka.ErrNone} {
		resp, release := d.doFetch(withFetch(newFetchRequest(version, 0, -1), "t", 0, 0))
		if p := resp.Topics[0].Partitions[0]; kafka.ErrorCode(p.ErrorCode) != want || want == kafka.ErrNone && (p.HighWatermark != 2 || len(p.RecordBatches) == 0) {
			t.Errorf("version %d: %+v", version, p)
		}
		release()
	}
}

// TestBrokersMendDamage: a broker that has met damage reads what is not committed, too, by its right to ClusterAction, as followers
// do, and nobody else does; no quota of clients holds it up.
func TestBrokersMendDamage(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.createReplicated("t")
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b")))
	for name, c := range map[string]struct {
		peer   *security.Peer
		denied []security.Resource
		want   kafka.ErrorCode
		hasAll bool
	}{
		"a broker":                      {brokerTwo, nil, kafka.ErrNone, true},
		"without a right on the topic":  {brokerTwo, []security.Resource{security.Topic("t")}, kafka.ErrNone, true},
		"without ClusterAction":         {brokerTwo, []security.Resource{security.Cluster}, kafka.ErrTopicAuthorizationFailed, false},
		"a client":                      {nil, nil, kafka.ErrNone, false},
		"a client without a right":      {nil, []security.Resource{security.Topic("t")}, kafka.ErrTopicAuthorizationFailed, false},
		"a connection for other things": {&security.Peer{NodeID: 2, Purpose: wire.PurposeForward}, nil, kafka.ErrNone, false},
	} {
		for _, r := range c.denied {
			d.denied[r] = true
		}
		req := withFetch(newFetchRequest(17, 0, -1), "t", 0, 0)
		req.IsolationLevel = int8(kafka.ReadToEnd)
		r := dataRequest(req, "test")
		r.Conn.Peer = c.peer
		body := d.finish(r, d.fetch.Handle(t.Context(), r)).(*wire.FetchBody)
		if p := body.Response.Topics[0].Partitions[0]; kafka.ErrorCode(p.ErrorCode) != c.want || len(p.RecordBatches) > 0 != c.hasAll {
			t.Errorf("%s: %+v", name, p)
		}
		body.Release()
		clear(d.denied)
	}
}

// TestAbandonedLeaderSendsProducersAway: who is cut off cannot commit, so producers with acks=all look for another leader at once.
func TestAbandonedLeaderSendsProducersAway(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.createReplicated("t")
	for _, acks := range []int16{-1, 1} {
		for _, isolated := range []bool{true, false} {
			d.isolated = isolated
			req := withProduce(newProduceRequest(9, acks), "t", 0, records(t, -1, "a"))
			req.TimeoutMillis = 0
			want := kafka.ErrNone
			switch {
			case isolated && acks == -1:
				want = kafka.ErrNotLeaderOrFollower
			case acks == -1:
				want = kafka.ErrRequestTimedOut // broker 2 does not fetch
			}
			p := d.doProduce(req).Topics[0].Partitions[0]
			wantCode(t, "produce", p.ErrorCode, want)
			if want == kafka.ErrNotLeaderOrFollower && p.BaseOffset != kafka.NoOffset {
				t.Errorf("acks %d: appended at offset %d", acks, p.BaseOffset)
			}
		}
	}
}

// A follower that goes on in a session has got the answer to its fetch before; any other fetch may be as old as the follower.
func TestWhichFollowersResume(t *testing.T) {
	t.Parallel()
	for epoch, want := range map[int32]bool{fetchsession.InitialEpoch: false, fetchsession.FinalEpoch: false, 1: true, 77: true} {
		req := kmsg.NewPtrFetchRequest()
		req.SetVersion(17)
		req.SessionEpoch, req.ReplicaState.ID, req.ReplicaState.Epoch = epoch, 2, 20
		r := dataRequest(req, "test")
		r.Conn.Peer = brokerTwo
		if follower, forged := (&fetch{r: r, req: req}).findFollower(); forged || follower == nil || follower.Resumes != want {
			t.Errorf("session epoch %d: %+v, forged %t", epoch, follower, forged)
		}
	}
}
