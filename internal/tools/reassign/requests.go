package reassign

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// mover does what the tool is asked for.
type mover struct {
	cli.Streams
	admin         *client.Client
	timeoutMs     int64
	keepThrottles bool
}

// reassignment is one that the controller is carrying out.
type reassignment struct {
	replicas, adding, removing []int32
}

// active returns the reassignments of the partitions that the controller is carrying out; of all
// where partitions is nil.
func (m *mover) active(ctx context.Context, partitions []kafka.TopicPartition) (map[kafka.TopicPartition]reassignment, error) {
	ctx, cancel := m.admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	for topic, indexes := range byTopic(partitions) {
		t := kmsg.NewListPartitionReassignmentsRequestTopic()
		t.Topic, t.Partitions = topic, indexes
		req.Topics = append(req.Topics, t)
	}
	if partitions != nil && req.Topics == nil {
		return nil, nil // nil would ask for all
	}
	resp, err := req.RequestWith(ctx, m.admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, client.Convert(err, "listPartitionReassignments")
	}
	all := map[kafka.TopicPartition]reassignment{}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			all[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = reassignment{p.Replicas, p.AddingReplicas, p.RemovingReplicas}
		}
	}
	return all, nil
}

func byTopic(partitions []kafka.TopicPartition) map[string][]int32 {
	indexes := map[string][]int32{}
	for _, tp := range partitions {
		indexes[tp.Topic] = append(indexes[tp.Topic], tp.Partition)
	}
	return indexes
}

// alter starts reassignments, or cancels them where replicas are nil, and returns what failed.
func (m *mover) alter(ctx context.Context, changes []assignment, sameReplicas bool) (map[kafka.TopicPartition]error, error) {
	ctx, cancel := m.admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.TimeoutMillis = int32(min(m.admin.APITimeout.Milliseconds(), 1<<31-1))
	req.AllowReplicationFactorChange = !sameReplicas
	for _, change := range changes {
		i := slices.IndexFunc(req.Topics, func(t kmsg.AlterPartitionAssignmentsRequestTopic) bool { return t.Topic == change.tp.Topic })
		if i < 0 {
			i = len(req.Topics)
			req.Topics = append(req.Topics, kmsg.AlterPartitionAssignmentsRequestTopic{Topic: change.tp.Topic})
		}
		p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		p.Partition, p.Replicas = change.tp.Partition, change.replicas
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	resp, err := req.RequestWith(ctx, m.admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, client.Convert(err, "alterPartitionReassignments")
	}
	failed := map[kafka.TopicPartition]error{}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := client.FromCode(p.ErrorCode, p.ErrorMessage); err != nil {
				failed[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = err
			}
		}
	}
	return failed, nil
}

// replicaDirs are the log dirs of one replica; future is where it is being moved to.
type replicaDirs struct{ current, future string }

// dirsOf asks the brokers where their replicas lie.
func (m *mover) dirsOf(ctx context.Context, replicas []replica) (map[replica]replicaDirs, error) {
	partitions := map[int32][]kafka.TopicPartition{}
	for _, r := range replicas {
		partitions[r.broker] = append(partitions[r.broker], r.tp)
	}
	all := map[replica]replicaDirs{}
	for _, broker := range slices.Sorted(maps.Keys(partitions)) {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		for topic, indexes := range byTopic(partitions[broker]) {
			req.Topics = append(req.Topics, kmsg.DescribeLogDirsRequestTopic{Topic: topic, Partitions: indexes})
		}
		resp, err := ask[*kmsg.DescribeLogDirsResponse](ctx, m.admin, broker, req, "describeReplicaLogDirs")
		if err != nil {
			return nil, err
		}
		for _, tp := range partitions[broker] {
			all[replica{tp, broker}] = dirsIn(resp, tp)
		}
	}
	return all, nil
}

func dirsIn(resp *kmsg.DescribeLogDirsResponse, tp kafka.TopicPartition) (dirs replicaDirs) {
	for _, dir := range resp.Dirs {
		for _, topic := range dir.Topics {
			for _, p := range topic.Partitions {
				switch {
				case topic.Topic != tp.Topic || p.Partition != tp.Partition:
				case p.IsFuture:
					dirs.future = dir.Dir
				default:
					dirs.current = dir.Dir
				}
			}
		}
	}
	return dirs
}

// ask sends a request to one broker.
func ask[R kmsg.Response](ctx context.Context, admin *client.Client, broker int32, req kmsg.Request, call string) (R, error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	var none R
	answer, err := admin.Broker(int(broker)).RetriableRequest(ctx, req)
	if err != nil {
		return none, client.Convert(err, call)
	}
	resp, ok := answer.(R)
	if !ok {
		return none, fmt.Errorf("broker %d answered something else to %s", broker, call)
	}
	return resp, nil
}

// moveDirs has replicas moved to log dirs; it returns those whose move has begun. A replica that
// is not on its broker yet is no error.
func (m *mover) moveDirs(ctx context.Context, moves map[replica]string) (begun []replica, err error) {
	requests := map[int32]*kmsg.AlterReplicaLogDirsRequest{}
	for _, r := range slices.SortedFunc(maps.Keys(moves), compareReplicas) {
		req := requests[r.broker]
		if req == nil {
			req = kmsg.NewPtrAlterReplicaLogDirsRequest()
			requests[r.broker] = req
		}
		dir := kmsg.AlterReplicaLogDirsRequestDir{Dir: moves[r]}
		dir.Topics = append(dir.Topics, kmsg.AlterReplicaLogDirsRequestDirTopic{Topic: r.tp.Topic, Partitions: []int32{r.tp.Partition}})
		req.Dirs = appendDir(req.Dirs, dir)
	}
	for _, broker := range slices.Sorted(maps.Keys(requests)) {
		resp, err := ask[*kmsg.AlterReplicaLogDirsResponse](ctx, m.admin, broker, requests[broker], "alterReplicaLogDirs")
		if err != nil {
			return nil, err
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				r := replica{kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}, broker}
				switch kafka.ErrorCode(p.ErrorCode) {
				case kafka.ErrNone:
					begun = append(begun, r)
				case kafka.ErrReplicaNotAvailable:
				default:
					return nil, errors.New("Failed to alter dir for " + r.String()) //nolint:staticcheck // the words of Kafka's tools
				}
			}
		}
	}
	return begun, nil
}

// appendDir adds a partition to a dir's list, in the form that requests have.
func appendDir(dirs []kmsg.AlterReplicaLogDirsRequestDir, more kmsg.AlterReplicaLogDirsRequestDir) []kmsg.AlterReplicaLogDirsRequestDir {
	i := slices.IndexFunc(dirs, func(d kmsg.AlterReplicaLogDirsRequestDir) bool { return d.Dir == more.Dir })
	if i < 0 {
		return append(dirs, more)
	}
	topic := more.Topics[0]
	j := slices.IndexFunc(dirs[i].Topics, func(t kmsg.AlterReplicaLogDirsRequestDirTopic) bool { return t.Topic == topic.Topic })
	if j < 0 {
		dirs[i].Topics = append(dirs[i].Topics, topic)
	} else {
		dirs[i].Topics[j].Partitions = append(dirs[i].Topics[j].Partitions, topic.Partitions...)
	}
	return dirs
}

// brokers lists the cluster's brokers by id. Controllers do not tell of them.
func (m *mover) brokers(ctx context.Context) (map[int32]kmsg.DescribeClusterResponseBroker, error) {
	cluster, err := m.admin.Describe(ctx, false)
	if err != nil {
		return nil, err
	}
	byID := map[int32]kmsg.DescribeClusterResponseBroker{}
	for _, broker := range cluster.Brokers {
		byID[broker.NodeID] = broker
	}
	return byID, nil
}

// topics describes topics by name; one that does not exist is an error.
func (m *mover) topics(ctx context.Context, names []string) (map[string]client.Topic, error) {
	cluster, err := m.admin.Metadata(ctx, names, "describeTopics")
	if err != nil {
		return nil, err
	}
	topics := map[string]client.Topic{}
	for _, topic := range cluster.Topics {
		topics[topic.Name] = topic
	}
	for _, name := range names {
		if _, ok := topics[name]; !ok {
			message := "Topic " + name + " not found."
			return nil, client.FromCode(int16(kafka.ErrUnknownTopicOrPartition), &message)
		}
	}
	return topics, nil
}

// alterConfigs sets configs, or deletes those whose value is nil.
func (m *mover) alterConfigs(ctx context.Context, kind kmsg.ConfigResourceType, changes map[string]map[string]*string) error {
	if len(changes) == 0 {
		return nil
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kind, name
		for _, key := range slices.Sorted(maps.Keys(changes[name])) {
			config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			config.Name, config.Value = key, changes[name][key]
			if config.Value == nil {
				config.Op = kmsg.IncrementalAlterConfigOpDelete
			}
			resource.Configs = append(resource.Configs, config)
		}
		req.Resources = append(req.Resources, resource)
	}
	return m.admin.AlterConfigs(ctx, req)
}

func brokerName(id int32) string { return strconv.Itoa(int(id)) }
