package controller

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// registerDirs registers broker 1 with log dirs and unfences it.
func (cl *cluster) registerDirs(incarnation byte, dirs ...[16]byte) *metadata.Broker {
	cl.t.Helper()
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID, req.LogDirs = 1, "cluster", [16]byte{incarnation}, dirs
	req.Features = supported()
	cl.handle(req)
	cl.heartbeat(1, cl.image.Broker(1).Epoch, false, false)
	return cl.image.Broker(1)
}

func (cl *cluster) assign(b *metadata.Broker, topic kafka.UUID, partition int32, dir kafka.UUID) kafka.ErrorCode {
	cl.t.Helper()
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = b.ID, b.Epoch
	req.Directories = []kmsg.AssignReplicasToDirsRequestDirectory{{ID: dir, Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{
		{TopicID: topic, Partitions: []kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{{Partition: partition}}}}}}
	resp, _ := cl.handle(req)
	r := resp.(*kmsg.AssignReplicasToDirsResponse)
	if r.ErrorCode != 0 {
		return kafka.ErrorCode(r.ErrorCode)
	}
	return kafka.ErrorCode(r.Directories[0].Topics[0].Partitions[0].ErrorCode)
}

// TestLogDirs follows two partitions through the loss of one of two log dirs and its return.
func TestLogDirs(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, nil)
	good, bad := kafka.UUID{0xa}, kafka.UUID{0xb}
	b := cl.registerDirs(1, good, bad)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: 2, ReplicationFactor: 1}}
	cl.handle(create)
	topic := cl.image.TopicByName("t").ID
	expect := func(step string, partition, leader, epoch int32, dir kafka.UUID) {
		t.Helper()
		p := cl.image.Partition("t", partition)
		if p.Leader != leader || p.LeaderEpoch != epoch || p.Directories[0] != dir || len(p.ISR) != 1 || p.ISR[0] != 1 {
			t.Errorf("%s: partition %d: %+v", step, partition, p)
		}
	}
	expect("created", 0, 1, 0, kafka.DirectoryUnassigned)
	for partition, dir := range []kafka.UUID{good, bad} {
		if code := cl.assign(b, topic, int32(partition), dir); code != kafka.ErrNone {
			t.Fatal(code)
		}
		expect("assigned", int32(partition), 1, 0, dir)
	}
	for code, got := range map[kafka.ErrorCode]kafka.ErrorCode{
		kafka.ErrUnknownTopicID:          cl.assign(b, kafka.UUID{9}, 0, good),
		kafka.ErrUnknownTopicOrPartition: cl.assign(b, topic, 7, good),
		kafka.ErrStaleBrokerEpoch:        cl.assign(&metadata.Broker{ID: 1, Epoch: b.Epoch - 1}, topic, 0, bad),
	} {
		if got != code {
			t.Errorf("got %s, want %s", got, code)
		}
	}

	offline := kmsg.NewPtrBrokerHeartbeatRequest()
	offline.BrokerID, offline.BrokerEpoch, offline.CurrentMetadataOffset, offline.OfflineLogDirs = 1, b.Epoch, cl.image.Offset, [][16]byte{bad}
	cl.handle(offline)
	expect("offline", 0, 1, 0, good)
	expect("offline", 1, kafka.NoLeader, 1, bad)
	if dirs := cl.image.Broker(1).LogDirs; len(dirs) != 1 || dirs[0] != good {
		t.Errorf("log dirs %v", dirs)
	}
	if _, records := cl.handle(offline); len(records) != 0 {
		t.Errorf("told again: %v", records)
	}

	b = cl.registerDirs(2, good)
	expect("restarted without it", 0, 1, 1, good)
	expect("restarted without it", 1, kafka.NoLeader, 1, bad)
	b = cl.registerDirs(3, good, bad)
	expect("restarted with it", 1, 1, 2, bad)

	// Moved by hand from a lost log dir to a good one.
	b = cl.registerDirs(4, good)
	expect("lost", 1, kafka.NoLeader, 3, bad)
	cl.assign(b, topic, 1, good)
	expect("moved", 1, 1, 4, good)
	// Assigned to a log dir that has failed meanwhile.
	cl.assign(b, topic, 1, bad)
	expect("failed", 1, kafka.NoLeader, 5, bad)
}

// TestDefaultReplicationLeavesCordonedBrokersOut: of three brokers one takes nothing new (KIP-1066), so a topic whose creator leaves the
// number of replicas to the cluster gets two, and is not refused.
func TestDefaultReplicationLeavesCordonedBrokersOut(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, nil)
	for id := range int32(3) {
		cl.addBroker(id+1, false)
	}
	b := cl.image.Broker(3)
	cl.apply([]metadata.Record{&metadata.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: b.Epoch, CordonedLogDirs: b.LogDirs}})
	var out strings.Builder
	cl.create(&out, [][]string{{"a"}}, false)
	p := cl.image.Partition("a", 0)
	if p == nil || len(p.Replicas) != 2 || slices.Contains(p.Replicas, 3) {
		t.Fatalf("%v: %s", p, out.String())
	}
}

// TestReplicasInAFailedLogDirAreNotInSync: a leader that has not heard of it asks for one to be, with what it fetched just before. Nobody
// would fetch for it any more, and producers would wait until it has lagged for replica.lag.time.max.ms.
func TestReplicasInAFailedLogDirAreNotInSync(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, nil)
	for id := range int32(3) {
		cl.addBroker(id+1, false)
	}
	var out strings.Builder
	cl.create(&out, [][]string{{"a", "assign=1,2,3"}}, false)
	cl.alterISR(&out, 1, false, [][]string{{"a", "0", "1,2"}})
	cl.apply([]metadata.Record{&metadata.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: cl.image.Broker(3).Epoch, LogDirs: []kafka.UUID{{33}}}})
	out.Reset()
	cl.alterISR(&out, 1, false, [][]string{{"a", "0", "1,2,3"}})
	if p := cl.image.Partition("a", 0); !slices.Equal(p.ISR, []int32{1, 2}) || !strings.Contains(out.String(), "INELIGIBLE_REPLICA") {
		t.Errorf("in sync are %v: %s", p.ISR, out.String())
	}
	if code := cl.assign(&metadata.Broker{ID: 3, Epoch: cl.image.Broker(3).Epoch}, cl.image.TopicByName("a").ID, 0, kafka.UUID{33}); code != kafka.ErrNone {
		t.Fatal(code)
	}
	cl.alterISR(&out, 1, false, [][]string{{"a", "0", "1,2,3"}})
	if p := cl.image.Partition("a", 0); len(p.ISR) != 3 {
		t.Errorf("in the other log dir: in sync are %v: %s", p.ISR, out.String())
	}
}
