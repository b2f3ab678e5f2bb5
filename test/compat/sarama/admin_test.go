package sarama

import (
	"errors"
	"slices"
	"testing"

	"github.com/IBM/sarama"

	"github.com/moldau/moldau/test/compat/expect"
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
	expect.Must(t, admin.CreateTopic(topic+"-2", &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, true)) // validated only
	expect.Must(t, admin.CreatePartitions(topic, 3, nil, false))
	expect.Until(t, "three partitions, and no topic that was only validated", func() bool {
		topics, err := admin.ListTopics()
		expect.Must(t, err)
		_, validated := topics[topic+"-2"]
		return topics[topic].NumPartitions == 3 && !validated && *topics[topic].ConfigEntries["retention.ms"] == "7200000"
	})
	expect.Until(t, "all brokers are there, and one of them is the controller", func() bool {
		brokers, controller, err := admin.DescribeCluster()
		expect.Must(t, err)
		return len(brokers) == len(expect.Brokers) && slices.ContainsFunc(brokers, func(b *sarama.Broker) bool { return b.ID() == controller })
	})
	testConfigs(t, v, admin, topic)
	testRecordsAndGroups(t, v, admin, topic)
	expect.Until(t, "the topic is in a log dir", func() bool { // of whichever broker answers, if they are restarted
		dirs, err := admin.DescribeLogDirs([]int32{1})
		expect.Must(t, err)
		return len(dirs[1]) == 1 && slices.ContainsFunc(dirs[1][0].Topics, func(d sarama.DescribeLogDirsResponseTopic) bool { return d.Topic == topic })
	})
	if v.IsAtLeast(sarama.V2_4_0_0) {
		reassigned, err := admin.ListPartitionReassignments(topic, []int32{0, 1})
		expect.Must(t, err)
		expect.Same(t, "reassignments", 0, len(reassigned))
		elected, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}})
		expect.Must(t, err)
		expect.Same(t, "election", true, expect.Elected(int(elected[topic][0].ErrorCode)))
	}
	if _, err := admin.ListAcls(sarama.AclFilter{ResourceType: sarama.AclResourceTopic, Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny,
		ResourcePatternTypeFilter: sarama.AclPatternAny}); err == nil {
		t.Error("ACLs are listed where no authorizer is configured")
	}
	expect.Must(t, admin.DeleteTopic(topic))
	expect.Until(t, "the deleted topic is gone", func() bool {
		topics, err := admin.ListTopics()
		expect.Must(t, err)
		_, ok := topics[topic]
		return !ok
	})
}

// configOf returns a topic's config.
func configOf(t *testing.T, admin *patientAdmin, topic, name string) string {
	t.Helper()
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	expect.Must(t, err)
	i := slices.IndexFunc(entries, func(e sarama.ConfigEntry) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("%s has no config %s", topic, name)
	}
	return entries[i].Value
}

func testConfigs(t *testing.T, v version, admin *patientAdmin, topic string) {
	t.Helper()
	size := "2097152"
	// This request replaces all the configs of the topic.
	expect.Must(t, admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.bytes": &size}, false))
	expect.Until(t, "altered configs", func() bool {
		return configOf(t, admin, topic, "segment.bytes") == size && configOf(t, admin, topic, "retention.ms") == "604800000"
	})
	bad := "much"
	if err := admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"segment.bytes": &bad}, false); !errors.Is(err, sarama.ErrInvalidConfig) {
		t.Errorf("an invalid value: %v", err)
	}
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.BrokerResource, Name: "1"})
	expect.Must(t, err)
	if !slices.ContainsFunc(entries, func(e sarama.ConfigEntry) bool { return e.Name == "log.dirs" && e.ReadOnly }) {
		t.Errorf("log.dirs is not among the broker's %d configs", len(entries))
	}
	if v.IsAtLeast(sarama.V2_3_0_0) {
		compact := "compact"
		expect.Must(t, admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
			"cleanup.policy": {Operation: sarama.IncrementalAlterConfigsOperationAppend, Value: &compact},
			"segment.bytes":  {Operation: sarama.IncrementalAlterConfigsOperationDelete},
		}, false))
		expect.Until(t, "incrementally altered configs", func() bool {
			return configOf(t, admin, topic, "cleanup.policy") == "delete,compact" && configOf(t, admin, topic, "segment.bytes") == "1073741824"
		})
	}
}

func testRecordsAndGroups(t *testing.T, v version, admin *patientAdmin, topic string) {
	t.Helper()
	v.produce(t, topic, expect.Numbered("v", 10), func(c *sarama.Config) {
		c.Producer.Partitioner = func(string) sarama.Partitioner { return partitionTwo{} }
	})
	expect.Must(t, admin.DeleteRecords(topic, map[int32]int64{2: 4}))
	expect.Same(t, "what is left", "v4 v5 v6 v7 v8 v9", values(v.read(t, topic, 6)))
	listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: {2: sarama.OffsetOldest}}, nil)
	expect.Must(t, err)
	expect.Same(t, "first offset", 4, listed[topic][2].Offset)
	group, all := v.topicName("admin"), &members{}
	m := v.join(t, all, group, topic)
	expect.Until(t, "all records", func() bool { return all.count() >= 6 })
	m.leave(t)
	groups, err := admin.ListConsumerGroups()
	expect.Must(t, err)
	expect.Same(t, "listed group", "consumer", groups[group])
	coordinator, err := admin.Coordinator(group)
	expect.Must(t, err)
	expect.Same(t, "coordinator", true, expect.IsNode(int(coordinator.ID())))
	offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {2}})
	expect.Must(t, err)
	expect.Same(t, "committed offset", 10, offsets.GetBlock(topic, 2).Offset)
	expect.Must(t, admin.DeleteConsumerGroup(group))
	if err := admin.DeleteConsumerGroup(group); !errors.Is(err, sarama.ErrGroupIDNotFound) {
		t.Errorf("delete twice: %v", err)
	}
}

// partitionTwo sends everything to partition 2.
type partitionTwo struct{}

func (partitionTwo) Partition(*sarama.ProducerMessage, int32) (int32, error) { return 2, nil }
func (partitionTwo) RequiresConsistency() bool                               { return true }
