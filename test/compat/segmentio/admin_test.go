package segmentio

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/moldau/moldau/test/compat/expect"
)

func testTopics(t *testing.T) {
	topic := create(t, "admin", 1)
	again, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}, {Topic: topic + "-2", NumPartitions: 1, ReplicationFactor: 7}, {Topic: "no/topic", NumPartitions: 1, ReplicationFactor: 1}}})
	expect.Must(t, err)
	for name, want := range map[string]error{topic: kafka.TopicAlreadyExists, topic + "-2": kafka.InvalidReplicationFactor, "no/topic": kafka.InvalidTopic} {
		if got := again.Errors[name]; !errors.Is(got, want) {
			t.Errorf("create %s: %v instead of %v", name, got, want)
		}
	}
	more, err := client.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 3}}})
	expect.Must(t, err)
	expect.Must(t, more.Errors[topic])
	expect.Until(t, "three partitions", func() bool { return leaders(t, topic) == 3 })
	metadata, err := client.Metadata(t.Context(), &kafka.MetadataRequest{})
	expect.Must(t, err)
	if metadata.Controller.ID < 1 || metadata.Controller.ID > len(expect.Brokers) || metadata.ClusterID == "" || !slices.ContainsFunc(metadata.Topics, func(m kafka.Topic) bool { return m.Name == topic }) {
		t.Errorf("metadata: %+v", metadata)
	}
	elected, err := client.ElectLeaders(t.Context(), &kafka.ElectLeadersRequest{Topic: topic, Partitions: []int{0}, Timeout: 10 * time.Second})
	expect.Must(t, err)
	var got kafka.Error // zero for none
	errors.As(elected.PartitionResults[0].Error, &got)
	expect.Same(t, "election", true, expect.Elected(int(got)))
	versions, err := client.ApiVersions(t.Context(), &kafka.ApiVersionsRequest{})
	expect.Must(t, err)
	if !slices.ContainsFunc(versions.ApiKeys, func(k kafka.ApiVersionsResponseApiKey) bool { return k.ApiName == "Fetch" && k.MaxVersion >= 11 }) {
		t.Errorf("versions: %+v", versions)
	}
	reassigned, err := client.ListPartitionReassignments(t.Context(), &kafka.ListPartitionReassignmentsRequest{})
	expect.Must(t, err)
	expect.Same(t, "reassignments", 0, len(reassigned.Topics))
	deleted, err := client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	expect.Must(t, err)
	expect.Must(t, deleted.Errors[topic])
	expect.Until(t, "the deleted topic is gone", func() bool {
		metadata, err := client.Metadata(t.Context(), &kafka.MetadataRequest{})
		expect.Must(t, err)
		return !slices.ContainsFunc(metadata.Topics, func(m kafka.Topic) bool { return m.Name == topic })
	})
	acls, err := client.DescribeACLs(t.Context(), &kafka.DescribeACLsRequest{Filter: kafka.ACLFilter{ResourceTypeFilter: kafka.ResourceTypeTopic, ResourcePatternTypeFilter: kafka.PatternTypeAny,
		Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny}})
	expect.Must(t, err)
	if !errors.Is(acls.Error, kafka.SecurityDisabled) {
		t.Errorf("ACLs where no authorizer is configured: %v", acls.Error)
	}
}

// configs returns the named configs of the topic, in this order.
func configs(t *testing.T, topic string, names ...string) []string {
	t.Helper()
	described, err := client.DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{IncludeSynonyms: true, IncludeDocumentation: true,
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names}}})
	expect.Must(t, err)
	expect.Must(t, described.Resources[0].Error)
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
	altered, err := client.AlterConfigs(t.Context(), &kafka.AlterConfigsRequest{Resources: []kafka.AlterConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.AlterConfigRequestConfig{{Name: "segment.bytes", Value: "2097152"}}}}})
	expect.Must(t, err)
	for _, err := range altered.Errors {
		expect.Must(t, err)
	}
	expect.Until(t, "altered configs", func() bool {
		return slices.Equal(configs(t, topic, names...), []string{"604800000", "2097152", "delete"})
	})
	incremental, err := client.IncrementalAlterConfigs(t.Context(), &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, Configs: []kafka.IncrementalAlterConfigsRequestConfig{
			{Name: "retention.ms", Value: "100000", ConfigOperation: kafka.ConfigOperationSet},
			{Name: "segment.bytes", ConfigOperation: kafka.ConfigOperationDelete},
			{Name: "cleanup.policy", Value: "compact", ConfigOperation: kafka.ConfigOperationAppend}}}}})
	expect.Must(t, err)
	expect.Must(t, incremental.Resources[0].Error)
	expect.Until(t, "incrementally altered configs", func() bool {
		return slices.Equal(configs(t, topic, names...), []string{"100000", "1073741824", "delete,compact"})
	})
}
