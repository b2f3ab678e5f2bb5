package coordinator

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
)

// groupsFixture is a broker's group coordinator (node 1) over a memLog and a metadata image.
type groupsFixture struct {
	t       *testing.T
	log     *memLog
	image   *metadata.Image
	groups  *Groups
	spawner *env.Spawner
}

const testPartitions = 3

var testTopicID = kafka.UUID{1}

func withGroups(t *testing.T, f func(f *groupsFixture)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fx := &groupsFixture{t: t, log: newMemLog(), image: metadata.EmptyImage()}
		fx.start()
		defer func() { fx.spawner.Stop() }()
		f(fx)
	})
}

// start starts a broker that finds the log and the metadata as the former one has left them.
func (f *groupsFixture) start() {
	f.spawner = env.NewSpawner(f.t.Context(), func(name string, err error) { f.t.Errorf("%s: %v", name, err) })
	f.groups = NewGroups(GroupsOptions{
		NodeID: 1, Log: f.log, Clock: env.SystemClock{}, Random: env.SystemRandom{}, Spawner: f.spawner,
		Metrics: metrics.NewRegistry(), Config: group.DefaultConfig(),
	})
	f.groups.Start()
}

func (f *groupsFixture) publish(records ...metadata.Record) {
	f.t.Helper()
	delta := metadata.NewDelta(f.image)
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			f.t.Fatal(err)
		}
	}
	f.image = delta.Apply(f.image.Offset+int64(len(records)), 1)
	f.groups.Publish(f.image, delta)
	synctest.Wait()
}

func offsetsTopicRecords(leader int32) []metadata.Record {
	records := []metadata.Record{&metadata.TopicRecord{Name: kafka.ConsumerOffsetsTopic, TopicID: testTopicID}}
	for i := range int32(testPartitions) {
		records = append(records, &metadata.PartitionRecord{
			PartitionID: i, TopicID: testTopicID, Replicas: []int32{leader}, ISR: []int32{leader}, Leader: leader, Directories: []kafka.UUID{{}},
		})
	}
	return records
}

func (f *groupsFixture) join(groupID, memberID string) chan *kmsg.JoinGroupResponse {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, groupID, memberID, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 30_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0}}}
	done := make(chan *kmsg.JoinGroupResponse, 1)
	go func() {
		resp, err := f.groups.JoinGroup(f.t.Context(), "client", "/127.0.0.1", req)
		if err != nil {
			f.t.Error(err)
		}
		done <- resp
	}()
	return done
}

// member joins a group for good and returns the member id.
func (f *groupsFixture) member(groupID string) (memberID string) {
	f.t.Helper()
	first := <-f.join(groupID, "")
	if first.ErrorCode != int16(kafka.ErrMemberIDRequired) {
		f.t.Fatalf("first join: %v", kafka.ErrorCode(first.ErrorCode))
	}
	joined := <-f.join(groupID, first.MemberID)
	if joined.ErrorCode != 0 || joined.LeaderID != first.MemberID {
		f.t.Fatalf("join: %+v", joined)
	}
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = groupID, first.MemberID, joined.Generation
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: first.MemberID, MemberAssignment: []byte("all")}}
	synced, err := f.groups.SyncGroup(f.t.Context(), req)
	if err != nil || synced.ErrorCode != 0 || string(synced.MemberAssignment) != "all" {
		f.t.Fatalf("sync: %+v %v", synced, err)
	}
	return first.MemberID
}

func (f *groupsFixture) heartbeat(groupID, memberID string, generation int32) kafka.ErrorCode {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = groupID, memberID, generation
	resp, err := f.groups.Heartbeat(f.t.Context(), req)
	if err != nil {
		f.t.Fatal(err)
	}
	return kafka.ErrorCode(resp.ErrorCode)
}

func (f *groupsFixture) commit(groupID string, offset int64) kafka.ErrorCode {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, groupID, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t1", TopicID: kafka.UUID{9}, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	resp, err := f.groups.CommitOffsets(f.t.Context(), req)
	if err != nil {
		f.t.Fatal(err)
	}
	return kafka.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// fetch returns the group's offset of t1-0, or the error.
func (f *groupsFixture) fetch(groupID string) string {
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group, req.Topics = groupID, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t1", Partitions: []int32{0}}}
	resp, err := f.groups.FetchOffsets(f.t.Context(), &req, true)
	if err != nil {
		f.t.Fatal(err)
	}
	if resp.ErrorCode != 0 {
		return kafka.ErrorCode(resp.ErrorCode).Error()
	}
	return fmt.Sprint(resp.Topics[0].Partitions[0].Offset)
}

func TestWithoutTopicNobodyCoordinates(t *testing.T) {
	withGroups(t, func(f *groupsFixture) {
		if got := f.commit("g", 1); got != kafka.ErrNotCoordinator {
			t.Errorf("commit: %v", got)
		}
		if got := f.heartbeat("g", "m", 1); got != kafka.ErrNotCoordinator {
			t.Errorf("heartbeat: %v", got)
		}
		if got := f.fetch("g"); got != "NOT_COORDINATOR" {
			t.Errorf("fetch: %v", got)
		}
		described, err := f.groups.DescribeGroups(f.t.Context(), []string{"g"}, 6)
		if err != nil || described[0].ErrorCode != int16(kafka.ErrNotCoordinator) {
			t.Errorf("describe: %+v %v", described, err)
		}
		if listed, code, err := f.groups.ListGroups(f.t.Context(), nil, nil); len(listed) > 0 || code != kafka.ErrNone || err != nil {
			t.Errorf("list: %v %v %v", listed, code, err)
		}
	})
}

func TestEmptyGroupIDs(t *testing.T) {
	withGroups(t, func(f *groupsFixture) {
		f.publish(offsetsTopicRecords(1)...)
		if resp := <-f.join("", ""); resp.ErrorCode != int16(kafka.ErrInvalidGroupID) {
			t.Errorf("join: %+v", resp)
		}
		if got := f.heartbeat("", "m", 1); got != kafka.ErrInvalidGroupID {
			t.Errorf("heartbeat: %v", got)
		}
		synced, err := f.groups.SyncGroup(f.t.Context(), kmsg.NewPtrSyncGroupRequest())
		if err != nil || synced.ErrorCode != int16(kafka.ErrInvalidGroupID) {
			t.Errorf("sync: %+v %v", synced, err)
		}
		left, err := f.groups.LeaveGroup(f.t.Context(), kmsg.NewPtrLeaveGroupRequest())
		if err != nil || left.ErrorCode != int16(kafka.ErrInvalidGroupID) {
			t.Errorf("leave: %+v %v", left, err)
		}
		deleted, err := f.groups.DeleteOffsets(f.t.Context(), kmsg.NewPtrOffsetDeleteRequest())
		if err != nil || deleted.ErrorCode != int16(kafka.ErrInvalidGroupID) {
			t.Errorf("delete offsets: %+v %v", deleted, err)
		}
		// Offsets of the group without a name are allowed, as they always were.
		if got := f.commit("", 3); got != kafka.ErrNone || f.fetch("") != "3" {
			t.Errorf("commit %v, fetch %v", got, f.fetch(""))
		}
	})
}

func TestMembershipOverARestart(t *testing.T) {
	withGroups(t, func(f *groupsFixture) {
		f.publish(offsetsTopicRecords(1)...)
		memberID := f.member("g")
		if f.commit("simple", 7) != kafka.ErrNone {
			t.Fatal("commit")
		}
		f.spawner.Stop()

		f.start()
		image := f.image
		f.image = metadata.EmptyImage()
		f.publish(offsetsTopicRecords(1)...)
		f.image = image
		if got := f.heartbeat("g", memberID, 1); got != kafka.ErrNone {
			t.Errorf("heartbeat after the restart: %v", got)
		}
		if got := f.fetch("simple"); got != "7" {
			t.Errorf("offset after the restart: %s", got)
		}
		described, err := f.groups.DescribeGroups(f.t.Context(), []string{"none", "g", "simple"}, 6)
		if err != nil || described[0].State != "Dead" || described[1].State != "Stable" || described[2].State != "Empty" {
			t.Errorf("describe: %+v %v", described, err)
		}
		listed, _, err := f.groups.ListGroups(f.t.Context(), nil, nil)
		if err != nil || len(listed) != 2 || listed[0].Group != "g" || listed[1].Group != "simple" {
			t.Errorf("list: %+v %v", listed, err)
		}
		// Nobody heartbeats: the session ends by the clock alone.
		<-time.After(10_001 * time.Millisecond)
		synctest.Wait()
		if got := f.heartbeat("g", memberID, 1); got != kafka.ErrUnknownMemberID {
			t.Errorf("heartbeat after the session: %v", got)
		}
		deleted, err := f.groups.DeleteGroups(f.t.Context(), []string{"g", "simple", "none"})
		if err != nil || deleted[0].ErrorCode != 0 || deleted[1].ErrorCode != 0 || deleted[2].ErrorCode != int16(kafka.ErrGroupIDNotFound) {
			t.Errorf("delete: %+v %v", deleted, err)
		}
		if got := f.fetch("simple"); got != "-1" {
			t.Errorf("offset of a deleted group: %s", got)
		}
	})
}

func TestLeadershipMoves(t *testing.T) {
	withGroups(t, func(f *groupsFixture) {
		f.publish(offsetsTopicRecords(1)...)
		if f.commit("g", 5) != kafka.ErrNone {
			t.Fatal("commit")
		}
		parked := f.join("parked", f.parkedMember("parked"))
		synctest.Wait()
		var away, back []metadata.Record
		for i := range int32(testPartitions) {
			change := metadata.NewPartitionChangeRecord(testTopicID, i)
			change.Leader = 2
			away = append(away, change)
			change = metadata.NewPartitionChangeRecord(testTopicID, i)
			change.Leader = 1
			back = append(back, change)
		}
		f.publish(away...)
		if resp := <-parked; resp.ErrorCode != int16(kafka.ErrNotCoordinator) {
			t.Errorf("parked join: %+v", resp)
		}
		if got := f.commit("g", 6); got != kafka.ErrNotCoordinator {
			t.Errorf("commit elsewhere: %v", got)
		}
		f.log.set(func() { f.log.epoch = 2 })
		f.publish(back...)
		if got := f.fetch("g"); got != "5" {
			t.Errorf("offset: %s", got)
		}
	})
}

func (f *groupsFixture) parkedMember(groupID string) string { return (<-f.join(groupID, "")).MemberID }

func TestDeletedTopicsLoseTheirOffsets(t *testing.T) {
	withGroups(t, func(f *groupsFixture) {
		f.publish(offsetsTopicRecords(1)...)
		f.publish(&metadata.TopicRecord{Name: "t1", TopicID: kafka.UUID{9}})
		for _, g := range []string{"a", "b", "c", "d"} {
			if f.commit(g, 5) != kafka.ErrNone {
				t.Fatal("commit")
			}
		}
		f.publish(&metadata.RemoveTopicRecord{TopicID: kafka.UUID{9}})
		for _, g := range []string{"a", "b", "c", "d"} {
			if got := f.fetch(g); got != "-1" {
				t.Errorf("offset of %s: %s", g, got)
			}
		}
	})
}

func TestHeartbeatsWhileLoading(t *testing.T) {
	withGroups(t, func(f *groupsFixture) {
		f.publish(offsetsTopicRecords(1)...)
		memberID := f.member("g")
		f.spawner.Stop()
		f.start()
		f.log.set(func() { f.log.reading = make(chan struct{}) })
		f.image = metadata.EmptyImage()
		f.publish(offsetsTopicRecords(1)...)
		if got := f.heartbeat("g", memberID, 1); got != kafka.ErrNone {
			t.Errorf("heartbeat while loading: %v", got)
		}
		if got := f.commit("g", 1); got != kafka.ErrCoordinatorLoadInProgress {
			t.Errorf("commit while loading: %v", got)
		}
		if _, code, _ := f.groups.ListGroups(f.t.Context(), nil, nil); code != kafka.ErrCoordinatorLoadInProgress {
			t.Errorf("list while loading: %v", code)
		}
		close(f.log.reading)
		synctest.Wait()
		if got := f.heartbeat("g", memberID, 1); got != kafka.ErrNone {
			t.Errorf("heartbeat: %v", got)
		}
	})
}

func TestContextEnds(t *testing.T) {
	withGroups(t, func(f *groupsFixture) {
		f.publish(offsetsTopicRecords(1)...)
		ctx, cancel := context.WithCancel(f.t.Context())
		cancel()
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.ProtocolType, req.SessionTimeoutMillis = "g", "consumer", 10_000
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
		if _, err := f.groups.JoinGroup(ctx, "c", "/h", req); err == nil {
			t.Error("a join with nobody waiting should say so")
		}
	})
}
