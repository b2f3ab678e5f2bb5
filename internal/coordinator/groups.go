package coordinator

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// groupWorkers is how many partitions of __consumer_offsets may be worked on at the same time
// (Kafka's group.coordinator.threads).
const groupWorkers = 4

// GroupsOptions are what Groups needs.
type GroupsOptions struct {
	NodeID  int32
	Log     Log
	Clock   env.Clock
	Random  env.Random // safe for concurrent use
	Spawner *env.Spawner
	Metrics *metrics.Registry
	Config  group.Config
	// CommitTimeout is offsets.commit.timeout.ms.
	CommitTimeout time.Duration
}

// Groups is this broker's group coordinator: it routes requests to the shard that owns their
// group. Methods are safe for concurrent use. They return an error only when ctx has ended;
// everything that a client should know is in the response.
type Groups struct {
	nodeID     int32
	runtime    *Runtime[*group.Shard]
	partitions atomic.Int32 // of __consumer_offsets; 0 while the topic does not exist
}

// NewGroups returns a coordinator without shards; Start it, and publish metadata to it.
func NewGroups(o GroupsOptions) *Groups {
	shardMetrics := group.NewMetrics(o.Metrics)
	r := NewRuntime(RuntimeOptions{
		Name: "group", Topic: kafka.ConsumerOffsetsTopic, Log: o.Log, Clock: o.Clock, SteadyMs: sinceNow(), Spawner: o.Spawner, Metrics: o.Metrics,
		Workers: groupWorkers, MaxBatchSizeBytes: o.Config.MaxBatchSizeBytes, CommitTimeout: o.CommitTimeout,
	}, func() *group.Shard { return group.NewShard(o.Config, o.Random, shardMetrics) })
	return &Groups{nodeID: o.NodeID, runtime: r}
}

// Start starts the goroutines; they end with the Spawner.
func (g *Groups) Start() { g.runtime.Start() }

// Publish is a metadata publisher. It must be registered after the replica manager's, which makes
// this broker the leader of the partitions that are loaded here.
func (g *Groups) Publish(image *metadata.Image, delta *metadata.Delta) {
	count := 0
	if topic := image.TopicByName(kafka.ConsumerOffsetsTopic); topic != nil {
		count = len(topic.Partitions)
	}
	g.partitions.Store(int32(count))
	for _, change := range delta.ChangedPartitions() {
		switch {
		case change.Topic != kafka.ConsumerOffsetsTopic:
		case change.New != nil && change.New.Leader == g.nodeID:
			g.runtime.Elect(change.ID, change.New.LeaderEpoch)
		default:
			g.runtime.Resign(change.ID)
		}
	}
	var deleted []group.DeletedTopic
	for _, topic := range delta.DeletedTopics() {
		deleted = append(deleted, group.DeletedTopic{Name: topic.Name, ID: topic.ID})
	}
	if len(deleted) > 0 {
		g.runtime.Broadcast(func(s *group.Shard, _ shard.Token, nowMs int64) shard.Effects { return s.DeleteTopics(deleted, nowMs) })
	}
}

// CheckLogs has all shards see whether another broker may coordinate their groups by now.
func (g *Groups) CheckLogs() { g.runtime.CheckAppends() }

// groupDo runs step on the shard of groupID. The code is the failure of the whole request.
func groupDo[R any](ctx context.Context, g *Groups, groupID string, step Step[*group.Shard]) (response R, code kafka.ErrorCode, err error) {
	return groupAwait[R](ctx, g, groupID, g.runtime.Begin, step)
}

// groupRead is groupDo for a step that writes nothing.
func groupRead[R any](ctx context.Context, g *Groups, groupID string, step Step[*group.Shard]) (response R, code kafka.ErrorCode, err error) {
	return groupAwait[R](ctx, g, groupID, g.runtime.BeginRead, step)
}

func groupAwait[R any](ctx context.Context, g *Groups, groupID string, begin func(int32, Step[*group.Shard]) Pending, step Step[*group.Shard]) (response R, code kafka.ErrorCode, err error) {
	partition, ok := g.partitionOf(groupID)
	if !ok {
		return response, kafka.ErrNotCoordinator, nil
	}
	return await[R](ctx, begin(partition, step))
}

func partitionDo[R any](ctx context.Context, g *Groups, partition int32, step Step[*group.Shard]) (response R, code kafka.ErrorCode, err error) {
	return await[R](ctx, g.runtime.Begin(partition, step))
}

func partitionRead[R any](ctx context.Context, g *Groups, partition int32, step Step[*group.Shard]) (response R, code kafka.ErrorCode, err error) {
	return await[R](ctx, g.runtime.BeginRead(partition, step))
}

// await waits for a step. The code is its failure; the error says that ctx has ended.
func await[R any](ctx context.Context, p Pending) (response R, code kafka.ErrorCode, err error) {
	value, err := p.Wait(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return response, kafka.ErrNone, err
		}
		return response, kafka.CodeOf(err), nil
	}
	return value.(R), kafka.ErrNone, nil
}

func (g *Groups) partitionOf(groupID string) (int32, bool) {
	count := g.partitions.Load()
	if count == 0 {
		return 0, false
	}
	return kafka.CoordinatorPartition(groupID, count), true
}

// JoinGroup answers when the member may go on, which can take a whole rebalance.
func (g *Groups) JoinGroup(ctx context.Context, clientID, clientHost string, req *kmsg.JoinGroupRequest) (*kmsg.JoinGroupResponse, error) {
	code := kafka.ErrInvalidGroupID
	if req.Group != "" {
		var resp *kmsg.JoinGroupResponse
		var err error
		resp, code, err = groupDo[*kmsg.JoinGroupResponse](ctx, g, req.Group, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.JoinGroup(group.Caller{Token: token, ClientID: clientID, ClientHost: clientHost}, req, nowMs)
		})
		if err != nil || code == kafka.ErrNone {
			return resp, err
		}
	}
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.Generation, resp.ErrorCode = req.MemberID, -1, int16(code)
	return resp, nil
}

// SyncGroup answers when the leader has brought the assignments.
func (g *Groups) SyncGroup(ctx context.Context, req *kmsg.SyncGroupRequest) (*kmsg.SyncGroupResponse, error) {
	code := kafka.ErrInvalidGroupID
	if req.Group != "" {
		var resp *kmsg.SyncGroupResponse
		var err error
		resp, code, err = groupDo[*kmsg.SyncGroupResponse](ctx, g, req.Group, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.SyncGroup(token, req, nowMs)
		})
		if err != nil || code == kafka.ErrNone {
			return resp, err
		}
	}
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = int16(code)
	return resp, nil
}

// Heartbeat keeps a member alive. While the shard is being loaded it says yes: the session clocks
// start when it is loaded.
func (g *Groups) Heartbeat(ctx context.Context, req *kmsg.HeartbeatRequest) (*kmsg.HeartbeatResponse, error) {
	code := kafka.ErrInvalidGroupID
	if req.Group != "" {
		var resp *kmsg.HeartbeatResponse
		var err error
		resp, code, err = groupRead[*kmsg.HeartbeatResponse](ctx, g, req.Group, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.Heartbeat(token, req, nowMs)
		})
		if err != nil || code == kafka.ErrNone {
			return resp, err
		}
	}
	if code == kafka.ErrCoordinatorLoadInProgress {
		code = kafka.ErrNone
	}
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.ErrorCode = int16(code)
	return resp, nil
}

// LeaveGroup removes the members of req; requests before version 3 have them in Members, too.
func (g *Groups) LeaveGroup(ctx context.Context, req *kmsg.LeaveGroupRequest) (*kmsg.LeaveGroupResponse, error) {
	code := kafka.ErrInvalidGroupID
	if req.Group != "" {
		var resp *kmsg.LeaveGroupResponse
		var err error
		resp, code, err = groupDo[*kmsg.LeaveGroupResponse](ctx, g, req.Group, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.LeaveGroup(token, req, nowMs)
		})
		if err != nil || code == kafka.ErrNone {
			return resp, err
		}
	}
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.ErrorCode = int16(code)
	return resp, nil
}

// CommitOffsets stores offsets; topics of req have names and ids, and exist.
func (g *Groups) CommitOffsets(ctx context.Context, req *kmsg.OffsetCommitRequest) (*kmsg.OffsetCommitResponse, error) {
	resp, code, err := groupDo[*kmsg.OffsetCommitResponse](ctx, g, req.Group, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.CommitOffsets(token, req, nowMs)
	})
	if err != nil || code == kafka.ErrNone {
		return resp, err
	}
	return group.CommitError(req, code), nil
}

// FetchOffsets returns the committed offsets of one group.
func (g *Groups) FetchOffsets(ctx context.Context, req *kmsg.OffsetFetchRequestGroup, requireStable bool) (*kmsg.OffsetFetchResponseGroup, error) {
	resp, code, err := groupRead[*kmsg.OffsetFetchResponseGroup](ctx, g, req.Group, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.FetchOffsets(token, req, requireStable, nowMs)
	})
	if err != nil || code == kafka.ErrNone {
		return resp, err
	}
	if code == kafka.ErrCoordinatorNotAvailable {
		code = kafka.ErrNotCoordinator // which consumers before 3.9 retry; they do not know the other here
	}
	failed := kmsg.NewOffsetFetchResponseGroup()
	failed.Group, failed.ErrorCode = req.Group, int16(code)
	return &failed, nil
}

// DeleteOffsets removes committed offsets.
func (g *Groups) DeleteOffsets(ctx context.Context, req *kmsg.OffsetDeleteRequest) (*kmsg.OffsetDeleteResponse, error) {
	code := kafka.ErrInvalidGroupID
	if req.Group != "" {
		var resp *kmsg.OffsetDeleteResponse
		var err error
		resp, code, err = groupDo[*kmsg.OffsetDeleteResponse](ctx, g, req.Group, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.DeleteOffsets(token, req, nowMs)
		})
		if err != nil || code == kafka.ErrNone {
			return resp, err
		}
	}
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.ErrorCode = int16(code)
	return resp, nil
}

// DescribeGroups describes groups, in the order of ids.
func (g *Groups) DescribeGroups(ctx context.Context, ids []string, version int16) ([]kmsg.DescribeGroupsResponseGroup, error) {
	described := make([]kmsg.DescribeGroupsResponseGroup, len(ids))
	err := g.eachPartition(ids, func(partition int32, indexes []int) error {
		some := pick(ids, indexes)
		result, code, err := partitionRead[[]kmsg.DescribeGroupsResponseGroup](ctx, g, partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.DescribeGroups(token, some, version, nowMs)
		})
		for i, index := range indexes {
			if code == kafka.ErrNone && err == nil {
				described[index] = result[i]
				continue
			}
			failed := kmsg.NewDescribeGroupsResponseGroup()
			failed.Group, failed.ErrorCode = ids[index], int16(code)
			described[index] = failed
		}
		return err
	})
	return described, err
}

// DeleteGroups deletes groups, in the order of ids.
func (g *Groups) DeleteGroups(ctx context.Context, ids []string) ([]kmsg.DeleteGroupsResponseGroup, error) {
	deleted := make([]kmsg.DeleteGroupsResponseGroup, len(ids))
	err := g.eachPartition(ids, func(partition int32, indexes []int) error {
		some := pick(ids, indexes)
		result, code, err := partitionDo[[]kmsg.DeleteGroupsResponseGroup](ctx, g, partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.DeleteGroups(token, some, nowMs)
		})
		for i, index := range indexes {
			if code == kafka.ErrNone && err == nil {
				deleted[index] = result[i]
				continue
			}
			deleted[index] = kmsg.DeleteGroupsResponseGroup{Group: ids[index], ErrorCode: int16(code)}
		}
		return err
	})
	return deleted, err
}

// ListGroups lists the groups that this broker coordinates, sorted by id. The code tells that not
// all of them are loaded yet.
func (g *Groups) ListGroups(ctx context.Context, states, types []string) ([]kmsg.ListGroupsResponseGroup, kafka.ErrorCode, error) {
	var listed []kmsg.ListGroupsResponseGroup
	partitions := g.runtime.Partitions()
	slices.Sort(partitions)
	for _, partition := range partitions {
		some, code, err := partitionRead[[]kmsg.ListGroupsResponseGroup](ctx, g, partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.ListGroups(token, states, types, nowMs)
		})
		if err != nil {
			return nil, kafka.ErrNone, err
		}
		if code == kafka.ErrNotCoordinator {
			continue // it has moved meanwhile; the other broker is asked, too
		}
		if code != kafka.ErrNone {
			return nil, code, nil
		}
		listed = append(listed, some...)
	}
	slices.SortFunc(listed, func(a, b kmsg.ListGroupsResponseGroup) int {
		if a.Group < b.Group {
			return -1
		}
		return 1
	})
	return listed, kafka.ErrNone, nil
}

// eachPartition calls f once per partition that owns some of ids, with their indexes.
func (g *Groups) eachPartition(ids []string, f func(partition int32, indexes []int) error) error {
	byPartition := map[int32][]int{}
	var order []int32
	for i, id := range ids {
		partition, ok := g.partitionOf(id)
		if !ok {
			partition = -1 // nobody's: answered NOT_COORDINATOR
		}
		if byPartition[partition] == nil {
			order = append(order, partition)
		}
		byPartition[partition] = append(byPartition[partition], i)
	}
	for _, partition := range order {
		if err := f(partition, byPartition[partition]); err != nil {
			return err
		}
	}
	return nil
}

func pick(ids []string, indexes []int) []string {
	some := make([]string, len(indexes))
	for i, index := range indexes {
		some[i] = ids[index]
	}
	return some
}

// sinceNow returns a steady time that begins now.
func sinceNow() func() int64 {
	began := time.Now()
	return func() int64 { return time.Since(began).Milliseconds() }
}
