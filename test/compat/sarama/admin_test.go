package sarama

import (
	"errors"
	"slices"
	"testing"

	"github.com/IBM/sarama"
)

func testAdministration(t *testing.T, v version) {
	admin := v.admin(t)
	topic := v.create(t, "admin", 1, map[string]string{"retention.ms": "7200000"})
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		t.Errorf("create twice: %v", err)
	}
	if err := admin.CreateTopic(topic+"-2", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 7}, true); !errors.Is(err, sarama.ErrInvalidReplicationFactor) {
		t.Errorf("seven replicas on one node: %v", err)
	}
	must(t, admin.CreateTopic(topic+"-2", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, true)) // validated only
	must(t, admin.CreatePartitions(topic, 3, nil, false))
	until(t, "three partitions, and no topic that was only validated", func() bool {
		topics, err := admin.ListTopics()
		must(t, err)
		_, validated := topics[topic+"-2"]
		return topics[topic].NumPartitions == 3 && !validated && *topics[topic].ConfigEntries["retention.ms"] == "7200000"
	})
	brokers, controller, err := admin.DescribeCluster()
	must(t, err)
	same(t, "brokers", 1, len(brokers))
	same(t, "controller", 1, controller)
	testConfigs(t, v, admin, topic)
	testRecordsAndGroups(t, v, admin, topic)
	dirs, err := admin.DescribeLogDirs([]int32{1})
	must(t, err)
	if !slices.ContainsFunc(dirs[1][0].Topics, func(d sarama.DescribeLogDirsResponseTopic) bool { return d.Topic == topic }) {
		t.Errorf("the topic is in no log dir: %+v", dirs)
	}
	if v.IsAtLeast(sarama.V2_4_0_0) {
		reassigned, err := admin.ListPartitionReassignments(topic, []int32{0, 1})
		must(t, err)
		same(t, "reassignments", 0, len(reassigned))
		elected, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}})
		must(t, err)
		same(t, "election", sarama.KError(84), elected[topic][0].ErrorCode) // ELECTION_NOT_NEEDED
	}
	if _, err := admin.ListAcls(sarama.AclFilter{ResourceType: sarama.AclResourceTopic, Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny,
		ResourcePatternTypeFilter: sarama.AclPatternAny}); err == nil {
		t.Error("ACLs are listed where no authorizer is configured")
	}
	must(t, admin.DeleteTopic(topic))
	until(t, "the deleted topic is gone", func() bool {
		topics, err := admin.ListTopics()
		must(t, err)
		_, ok := topics[topic]
		return !ok
	})
}

// configOf returns a topic's config.
func configOf(t *testing.T, admin sarama.ClusterAdmin, topic, name string) string {
	t.Helper()
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	must(t, err)
	i := slices.IndexFunc(entries, func(e sarama.ConfigEntry) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("%s has no config %s", topic, name)
	}
	return entries[i].Value
}

func testConfigs(t *testing.T, v version, admin sarama.ClusterAdmin, topic string) {
	t.Helper()
	size := "2097152"
	// This request replaces all the configs of the topic.
	must(t, admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.bytes": &size}, false))
	until(t, "altered configs", func() bool {
		return configOf(t, admin, topic, "segment.bytes") == size && configOf(t, admin, topic, "retention.ms") == "604800000"
	})
	bad := "much"
	if err := admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.bytes": &bad}, false); !errors.Is(err, sarama.ErrInvalidConfig) {
		t.Errorf("an invalid value: %v", err)
	}
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.BrokerResource, Name: "1"})
	must(t, err)
	if !slices.ContainsFunc(entries, func(e sarama.ConfigEntry) bool { return e.Name == "log.dirs" && e.ReadOnly }) {
		t.Errorf("log.dirs is not among the broker's %d configs", len(entries))
	}
	if v.IsAtLeast(sarama.V2_3_0_0) {
		compact := "compact"
		must(t, admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
			"cleanup.policy": {Operation: sarama.IncrementalAlterConfigsOperationAppend, Value: &compact},
			"segment.bytes":  {Operation: sarama.IncrementalAlterConfigsOperationDelete},
		}, false))
		until(t, "incrementally altered configs", func() bool {
			return configOf(t, admin, topic, "cleanup.policy") == "delete,compact" && configOf(t, admin, topic, "segment.bytes") == "1073741824"
		})
	}
}

func testRecordsAndGroups(t *testing.T, v version, admin sarama.ClusterAdmin, topic string) {
	t.Helper()
	v.produce(t, topic, numbered("v", 10), func(c *sarama.Config) {
		c.Producer.Partitioner = func(string) sarama.Partitioner { return partitionTwo{} }
	})
	must(t, admin.DeleteRecords(topic, map[int32]int64{2: 4}))
	same(t, "what is left", "v4 v5 v6 v7 v8 v9", values(v.read(t, topic, 6)))
	listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: {2: sarama.OffsetOldest}}, nil)
	must(t, err)
	same(t, "first offset", 4, listed[topic][2].Offset)
	group, all := v.topicName("admin"), &members{}
	m := v.join(t, all, group, topic)
	until(t, "all records", func() bool { return all.count() >= 6 })
	m.leave(t)
	groups, err := admin.ListConsumerGroups()
	must(t, err)
	same(t, "listed group", "consumer", groups[group])
	same(t, "coordinator", 1, coordinatorOf(t, admin, group).ID())
	offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {2}})
	must(t, err)
	same(t, "committed offset", 10, offsets.GetBlock(topic, 2).Offset)
	must(t, admin.DeleteConsumerGroup(group))
	if err := admin.DeleteConsumerGroup(group); !errors.Is(err, sarama.ErrGroupIDNotFound) {
		t.Errorf("delete twice: %v", err)
	}
}

func coordinatorOf(t *testing.T, admin sarama.ClusterAdmin, group string) *sarama.Broker {
	t.Helper()
	b, err := admin.Coordinator(group)
	must(t, err)
	return b
}

// partitionTwo sends everything to partition 2.
type partitionTwo struct{}

func (partitionTwo) Partition(*sarama.ProducerMessage, int32) (int32, error) { return 2, nil }
func (partitionTwo) RequiresConsistency() bool                               { return true }
