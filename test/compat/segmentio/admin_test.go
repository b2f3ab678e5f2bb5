package segmentio

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/moldau/moldau/test/compat/expect"
)

func testTopics(t *testing.T) {
	topic := create(t, "admin", 1)
	again := ask(t, client.CreateTopics, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}, {Topic: topic + "-2", NumPartitions: 1, ReplicationFactor: 7}, {Topic: "no/topic", NumPartitions: 1, ReplicationFactor: 1}}},
		func(r *kafka.CreateTopicsResponse) error { return passing(r.Errors[topic]) })
	for name, want := range map[string]error{topic: kafka.TopicAlreadyExists, topic + "-2": kafka.InvalidReplicationFactor, "no/topic": kafka.InvalidTopic} {
		if got := again.Errors[name]; !errors.Is(got, want) {
			t.Errorf("create %s: %v instead of %v", name, got, want)
		}
	}
	ask(t, client.CreatePartitions, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 3}}}, func(r *kafka.CreatePartitionsResponse) error {
		if err := r.Errors[topic]; !expect.Three || !errors.Is(err, kafka.InvalidPartitionNumber) { // three already, in a repetition
			return err
		}
		return nil
	})
	expect.Until(t, "three partitions", func() bool { return leaders(t, topic) == 3 })
	metadata := ask(t, client.Metadata, &kafka.MetadataRequest{}, func(r *kafka.MetadataResponse) error {
		if expect.Three && !slices.ContainsFunc(r.Topics, func(m kafka.Topic) bool { return m.Name == topic }) {
			return kafka.UnknownTopicOrPartition // so far
		}
		return nil
	})
	if metadata.Controller.ID < 1 || metadata.Controller.ID > len(expect.Brokers) || metadata.ClusterID == "" || !slices.ContainsFunc(metadata.Topics, func(m kafka.Topic) bool { return m.Name == topic }) {
		t.Errorf("metadata: %+v", metadata)
	}
	elected := ask(t, client.ElectLeaders, &kafka.ElectLeadersRequest{Topic: topic, Partitions: []int{0}, Timeout: 10 * time.Second})
	var got kafka.Error // zero for none
	errors.As(elected.PartitionResults[0].Error, &got)
	expect.Same(t, "election", true, expect.Elected(int(got)))
	versions := ask(t, client.ApiVersions, &kafka.ApiVersionsRequest{})
	if !slices.ContainsFunc(versions.ApiKeys, func(k kafka.ApiVersionsResponseApiKey) bool { return k.ApiName == "Fetch" && k.MaxVersion >= 11 }) {
		t.Errorf("versions: %+v", versions)
	}
	reassigned := ask(t, client.ListPartitionReassignments, &kafka.ListPartitionReassignmentsRequest{})
	expect.Same(t, "reassignments", 0, len(reassigned.Topics))
	ask(t, client.DeleteTopics, &kafka.DeleteTopicsRequest{Topics: []string{topic}}, func(r *kafka.DeleteTopicsResponse) error {
		if err := r.Errors[topic]; !expect.Three || !errors.Is(err, kafka.UnknownTopicOrPartition) { // gone already, in a repetition
			return err
		}
		return nil
	})
	expect.Until(t, "the deleted topic is gone", func() bool {
		metadata := ask(t, client.Metadata, &kafka.MetadataRequest{})
		return !slices.ContainsFunc(metadata.Topics, func(m kafka.Topic) bool { return m.Name == topic })
	})
	acls := ask(t, client.DescribeACLs, &kafka.DescribeACLsRequest{Filter: kafka.ACLFilter{ResourceTypeFilter: kafka.ResourceTypeTopic, ResourcePatternTypeFilter: kafka.PatternTypeAny,
		Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny}})
	if !errors.Is(acls.Error, kafka.SecurityDisabled) {
		t.Errorf("ACLs where no authorizer is configured: %v", acls.Error)
	}
}

// configs returns the named configs of the topic, in this order.
func configs(t *testing.T, topic string, names ...string) []string {
	t.Helper()
	described := ask(t, client.DescribeConfigs, &kafka.DescribeConfigsRequest{IncludeSynonyms: true, IncludeDocumentation: true,
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names}}},
		func(r *kafka.DescribeConfigsResponse) error { return r.Resources[0].Error })
	var list []string
	for _, name := range names {
		i := slices.IndexFunc(described.Resources[0].ConfigEntries, func(e kafka.DescribeConfigResponseConfigEntry) bool { return e.ConfigName == name })
		if i < 0 {
			t.Fatalf("%s has no config %s", topic, name)
		}
		list = append(list, described.Resources[0].ConfigEntries[i].ConfigValue)
	}
	return list
}

func testConfigs(t *testing.T) {
	topic := create(t, "configs", 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "7200000"})
	names := []string{"retention.ms", "segment.bytes", "cleanup.policy"}
	expect.Same(t, "retention.ms", "7200000", configs(t, topic, names...)[0])
	// This request replaces all the configs of the topic.
	ask(t, client.AlterConfigs, &kafka.AlterConfigsRequest{Resources: []kafka.AlterConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.AlterConfigRequestConfig{{Name: "segment.bytes", Value: "2097152"}}}}},
		func(r *kafka.AlterConfigsResponse) error {
			return errors.Join(slices.Collect(maps.Values(r.Errors))...)
		})
	expect.Until(t, "altered configs", func() bool {
		return slices.Equal(configs(t, topic, names...), []string{"604800000", "2097152", "delete"})
	})
	ask(t, client.IncrementalAlterConfigs, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.IncrementalAlterConfigsRequestConfig{
			{Name: "retention.ms", Value: "100000", ConfigOperation: kafka.ConfigOperationSet},
			{Name: "segment.bytes", ConfigOperation: kafka.ConfigOperationDelete},
			{Name: "cleanup.policy", Value: "compact", ConfigOperation: kafka.ConfigOperationAppend}}}}},
		func(r *kafka.IncrementalAlterConfigsResponse) error { return r.Resources[0].Error })
	expect.Until(t, "incrementally altered configs", func() bool {
		return slices.Equal(configs(t, topic, names...), []string{"100000", "1073741824", "delete,compact"})
	})
}
