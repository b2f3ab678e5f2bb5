package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// Topic is one topic as a metadata answer lists it.
type Topic struct {
	Name       string
	ID         kafka.UUID
	IsInternal bool
	Partitions []Partition
}

// Partition is the state of one partition.
type Partition struct {
	Index    int32
	Leader   int32 // negative: none
	Replicas []int32
	ISR      []int32
	// ELR and LastKnownELR are nil where the broker does not tell.
	ELR, LastKnownELR []int32
}

// Cluster is a metadata answer.
type Cluster struct {
	ID      string
	Brokers []kmsg.MetadataResponseBroker
	Topics  []Topic // by name
}

// Find returns a topic by name.
func (c *Cluster) Find(name string) (*Topic, bool) {
	i, ok := slices.BinarySearchFunc(c.Topics, name, func(t Topic, name string) int { return cmp.Compare(t.Name, name) })
	if !ok {
		return nil, false
	}
	return &c.Topics[i], true
}

// Metadata asks for the named topics, or for all where names is nil. A topic that the broker
// reports with an error is an error, except that unknown ones are left out.
func (c *Client) Metadata(ctx context.Context, names []string, call string) (*Cluster, error) {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	if names != nil {
		req.Topics = []kmsg.MetadataRequestTopic{}
		for _, name := range names {
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = kmsg.StringPtr(name)
			req.Topics = append(req.Topics, topic)
		}
	}
	resp, err := req.RequestWith(ctx, c)
	if err != nil {
		return nil, Convert(err, call)
	}
	return clusterOf(resp)
}

func clusterOf(resp *kmsg.MetadataResponse) (*Cluster, error) {
	cluster := &Cluster{Brokers: resp.Brokers}
	if resp.ClusterID != nil {
		cluster.ID = *resp.ClusterID
	}
	for _, t := range resp.Topics {
		if t.ErrorCode == int16(kafka.ErrUnknownTopicOrPartition) || t.Topic == nil {
			continue
		}
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("topic %s: %w", *t.Topic, FromCode(t.ErrorCode, nil))
		}
		topic := Topic{Name: *t.Topic, ID: kafka.UUID(t.TopicID), IsInternal: t.IsInternal}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, Partition{Index: p.Partition, Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR})
		}
		sortPartitions(&topic)
		cluster.Topics = append(cluster.Topics, topic)
	}
	slices.SortFunc(cluster.Topics, func(a, b Topic) int { return cmp.Compare(a.Name, b.Name) })
	return cluster, nil
}

func sortPartitions(topic *Topic) {
	slices.SortFunc(topic.Partitions, func(a, b Partition) int { return cmp.Compare(a.Index, b.Index) })
}

// DescribeTopics returns the named topics with the eligible leader replicas (KIP-966), in the
// order of the names; from brokers that do not serve DescribeTopicPartitions, without them.
func (c *Client) DescribeTopics(ctx context.Context, names []string, partitionLimit int32) ([]Topic, error) {
	topics, err := c.describeTopicPartitions(ctx, names, partitionLimit)
	if err == nil || ctx.Err() != nil {
		return topics, err
	}
	cluster, metadataErr := c.Metadata(ctx, names, "describeTopics")
	if metadataErr != nil {
		return nil, metadataErr
	}
	for _, name := range names {
		if _, ok := cluster.Find(name); !ok {
			return nil, FromCode(int16(kafka.ErrUnknownTopicOrPartition), nil)
		}
	}
	return cluster.Topics, nil
}

func (c *Client) describeTopicPartitions(ctx context.Context, names []string, partitionLimit int32) ([]Topic, error) {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	var (
		topics []Topic
		index  = map[string]int{}
		cursor *kmsg.DescribeTopicPartitionsRequestCursor
	)
	for {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = partitionLimit
		req.Cursor = cursor
		for _, name := range names {
			topic := kmsg.NewDescribeTopicPartitionsRequestTopic()
			topic.Topic = name
			req.Topics = append(req.Topics, topic)
		}
		resp, err := req.RequestWith(ctx, c)
		if err != nil {
			return nil, Convert(err, "describeTopics")
		}
		for _, t := range resp.Topics {
			if err := FromCode(t.ErrorCode, nil); err != nil {
				return nil, err
			}
			if t.Topic == nil {
				continue
			}
			at, known := index[*t.Topic]
			if !known {
				at = len(topics)
				index[*t.Topic] = at
				topics = append(topics, Topic{Name: *t.Topic, ID: kafka.UUID(t.TopicID), IsInternal: t.IsInternal})
			}
			topics[at].Partitions = append(topics[at].Partitions, describedPartitions(t.Partitions)...)
		}
		if resp.NextCursor == nil {
			break
		}
		next := kmsg.NewDescribeTopicPartitionsRequestCursor()
		next.Topic, next.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
		// A broker that does not move on would keep this tool here forever.
		if cursor != nil && cmp.Or(cmp.Compare(next.Topic, cursor.Topic), cmp.Compare(next.Partition, cursor.Partition)) <= 0 {
			return nil, fmt.Errorf("the broker's cursor went from %s-%d to %s-%d", cursor.Topic, cursor.Partition, next.Topic, next.Partition)
		}
		cursor = &next
	}
	for i := range topics {
		sortPartitions(&topics[i])
	}
	return topics, nil
}

func describedPartitions(partitions []kmsg.DescribeTopicPartitionsResponseTopicPartition) []Partition {
	described := make([]Partition, 0, len(partitions))
	for _, p := range partitions {
		described = append(described, Partition{
			Index: p.Partition, Leader: p.LeaderID, Replicas: p.Replicas, ISR: p.ISR,
			ELR: p.EligibleLeaderReplicas, LastKnownELR: p.LastKnownELR,
		})
	}
	return described
}

// Config is one setting as DescribeConfigs answers it.
type Config struct {
	Name      string
	Value     *string
	Source    kafka.ConfigSource
	Sensitive bool
	Synonyms  []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym
}

// DescribeConfigs returns the settings of resources, keyed by resource name.
func (c *Client) DescribeConfigs(ctx context.Context, kind kafka.ConfigResourceType, names []string, synonyms bool) (map[string][]Config, error) {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = synonyms
	for _, name := range names {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType = kmsg.ConfigResourceType(kind)
		resource.ResourceName = name
		req.Resources = append(req.Resources, resource)
	}
	result := make(map[string][]Config, len(names))
	for _, shard := range c.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, Convert(shard.Err, "describeConfigs")
		}
		resp, ok := shard.Resp.(*kmsg.DescribeConfigsResponse)
		if !ok {
			continue
		}
		for _, r := range resp.Resources {
			if err := FromCode(r.ErrorCode, r.ErrorMessage); err != nil {
				return nil, err
			}
			for _, config := range r.Configs {
				result[r.ResourceName] = append(result[r.ResourceName], Config{
					Name: config.Name, Value: config.Value, Source: kafka.ConfigSource(config.Source),
					Sensitive: config.IsSensitive, Synonyms: config.ConfigSynonyms,
				})
			}
		}
	}
	return result, nil
}

// AlterConfigs sends changes of configs to where they belong; the first refusal is the error.
func (c *Client) AlterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) error {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	for _, shard := range c.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return Convert(shard.Err, "incrementalAlterConfigs")
		}
		resp, ok := shard.Resp.(*kmsg.IncrementalAlterConfigsResponse)
		if !ok {
			continue
		}
		for _, r := range resp.Resources {
			if err := FromCode(r.ErrorCode, r.ErrorMessage); err != nil {
				return err
			}
		}
	}
	return nil
}
