package controller

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// topicCreation is the work on one CreateTopics request.
type topicCreation struct {
	*Controller
	Input
	placer *placer
	// created maps the collision keys of topics that this request creates to their names.
	created map[string]string
	// plainConfigs are the effective configs of a topic without overrides, once they are known, by the
	// number of replicas.
	plainConfigs map[int][]kmsg.CreateTopicsResponseTopicConfig
	records      []metadata.Record
}

func (c *Controller) createTopics(in Input, req *kmsg.CreateTopicsRequest) Result {
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Version = req.Version
	tc := &topicCreation{Controller: c, Input: in, placer: newPlacer(in.Image, in.Random, c.BalancerSettings(in.Image).Draining), created: map[string]string{},
		plainConfigs: map[int][]kmsg.CreateTopicsResponseTopicConfig{}}
	occurrences := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		occurrences[req.Topics[i].Topic]++
	}
	tooMany := c.checkPartitionCount(req)
	var repeated []string
	for i := range req.Topics {
		topic := &req.Topics[i]
		if n := occurrences[topic.Topic]; n != 1 {
			if n > 1 {
				repeated = append(repeated, topic.Topic)
				occurrences[topic.Topic] = -1 // one answer for all of them
			}
			continue
		}
		err := tooMany
		if err == nil {
			var answer kmsg.CreateTopicsResponseTopic
			if answer, err = tc.create(topic); err == nil {
				resp.Topics = append(resp.Topics, answer)
				continue
			}
		}
		resp.Topics = append(resp.Topics, failedTopic(topic.Topic, err))
	}
	for _, name := range repeated {
		resp.Topics = append(resp.Topics, failedTopic(name, kafka.Errorf(kafka.ErrInvalidRequest, "Duplicate topic name.")))
	}
	if req.ValidateOnly {
		tc.records = nil
	}
	return Result{Response: resp, Records: tc.records}
}

func failedTopic(name string, err error) kmsg.CreateTopicsResponseTopic {
	answer := kmsg.NewCreateTopicsResponseTopic()
	answer.Topic, answer.ErrorCode, answer.ErrorMessage = name, int16(kafka.CodeOf(err)), errorText(err)
	answer.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	return answer
}

// checkPartitionCount bounds one request, whichever of its topics turn out to be valid.
func (c *Controller) checkPartitionCount(req *kmsg.CreateTopicsRequest) error {
	total := int64(0)
	for i := range req.Topics {
		switch topic := &req.Topics[i]; {
		case len(topic.ReplicaAssignment) > 0:
			total += int64(len(topic.ReplicaAssignment))
		case topic.NumPartitions == -1:
			total += int64(c.o.Broker.NumPartitions)
		default:
			total += int64(max(0, topic.NumPartitions))
		}
	}
	if total > maxPartitionsPerRequest {
		return kafka.Errorf(kafka.ErrPolicyViolation,
			"Excessively large number of partitions per request: %d, at most %d are allowed.", total, maxPartitionsPerRequest)
	}
	return nil
}

func (tc *topicCreation) create(topic *kmsg.CreateTopicsRequestTopic) (kmsg.CreateTopicsResponseTopic, error) {
	answer := kmsg.NewCreateTopicsResponseTopic()
	if err := tc.checkName(topic.Topic); err != nil {
		return answer, err
	}
	overrides, err := tc.checkConfigs(topic)
	if err != nil {
		return answer, err
	}
	assignments, err := tc.assign(topic)
	if err != nil {
		return answer, err
	}
	if err := tc.permit(len(assignments)); err != nil {
		return answer, err
	}
	id := kafka.NewUUID(tc.Random)
	for tc.Image.TopicByID(id) != nil {
		id = kafka.NewUUID(tc.Random)
	}
	tc.created[kafka.CollisionKey(topic.Topic)] = topic.Topic
	tc.records = append(tc.records, &metadata.TopicRecord{Name: topic.Topic, TopicID: id})
	for i := range topic.Configs {
		config := &topic.Configs[i]
		if overrides[config.Name] == *config.Value { // of a repeated name the last counts
			tc.records = append(tc.records, &metadata.ConfigRecord{ResourceType: kafka.ConfigResourceTopic,
				ResourceName: topic.Topic, Name: config.Name, Value: config.Value})
		}
	}
	for i, replicas := range assignments {
		tc.records = append(tc.records, newPartition(tc.Image, id, int32(i), replicas))
	}
	answer.Topic, answer.TopicID = topic.Topic, id
	answer.NumPartitions, answer.ReplicationFactor = int32(len(assignments)), int16(len(assignments[0]))
	answer.Configs = tc.describe(overrides, len(assignments[0]))
	return answer, nil
}

func (tc *topicCreation) checkName(name string) error {
	if name == kafka.ClusterMetadataTopic {
		return kafka.Errorf(kafka.ErrInvalidRequest, "Creation of internal topic %s is prohibited.", name)
	}
	if tc.Image.TopicByName(name) != nil {
		return kafka.Errorf(kafka.ErrTopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if err := kafka.ValidateTopicName(name); err != nil {
		return err
	}
	other, collides := tc.created[kafka.CollisionKey(name)]
	if !collides {
		other, collides = findCollision(tc.Image, "", name)
	}
	if collides {
		return kafka.Errorf(kafka.ErrInvalidTopicException, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return nil
}

// findCollision looks for a topic whose name is fixed+rest but for '.' and '_', which metric
// names do not tell apart. It walks down the ordered names, trying both at each such place,
// and so touches only prefixes that exist.
func findCollision(image *metadata.Image, fixed, rest string) (string, bool) {
	i := strings.IndexAny(rest, "._")
	if i < 0 {
		name := fixed + rest
		return name, image.TopicByName(name) != nil
	}
	for _, c := range []string{".", "_"} {
		prefix := fixed + rest[:i] + c
		for t := range image.TopicsFrom(prefix) {
			if strings.HasPrefix(t.Name, prefix) {
				if name, found := findCollision(image, prefix, rest[i+1:]); found {
					return name, true
				}
			}
			break
		}
	}
	return "", false
}

func (tc *topicCreation) checkConfigs(topic *kmsg.CreateTopicsRequestTopic) (map[string]string, error) {
	if len(topic.Configs) == 0 {
		return nil, nil
	}
	overrides := make(map[string]string, len(topic.Configs))
	var null []string
	for i := range topic.Configs {
		config := &topic.Configs[i]
		if config.Value == nil {
			null = append(null, config.Name)
			continue
		}
		if err := checkValueSize(*config.Value); err != nil {
			return nil, err
		}
		overrides[config.Name] = *config.Value
	}
	if len(null) > 0 {
		return nil, kafka.Errorf(kafka.ErrInvalidConfig, "Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	return overrides, tc.layers(tc.Image).ValidateTopicConfigs(nil, overrides)
}

// describe returns the effective configs of a new topic.
func (tc *topicCreation) describe(overrides map[string]string, replicas int) []kmsg.CreateTopicsResponseTopicConfig {
	if plain := tc.plainConfigs[replicas]; len(overrides) == 0 && plain != nil {
		return plain
	}
	entries := tc.layers(tc.Image).DescribeTopic(overrides, replicas)
	configs := make([]kmsg.CreateTopicsResponseTopicConfig, len(entries))
	for i, e := range entries {
		configs[i] = kmsg.CreateTopicsResponseTopicConfig{Name: e.Name, Value: e.Value, ReadOnly: e.ReadOnly, Source: int8(e.Source), IsSensitive: e.Sensitive}
	}
	if len(overrides) == 0 {
		tc.plainConfigs[replicas] = configs
	}
	return configs
}

// assign returns the replicas of each partition.
func (tc *topicCreation) assign(topic *kmsg.CreateTopicsRequestTopic) ([][]int32, error) {
	switch {
	case len(topic.ReplicaAssignment) > 0:
		return tc.assignManually(topic)
	case topic.ReplicationFactor < -1 || topic.ReplicationFactor == 0:
		return nil, kafka.Errorf(kafka.ErrInvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case topic.NumPartitions < -1 || topic.NumPartitions == 0:
		return nil, kafka.Errorf(kafka.ErrInvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	partitions, replicationFactor := topic.NumPartitions, topic.ReplicationFactor
	if partitions == -1 {
		partitions = tc.o.Broker.NumPartitions
	}
	if replicationFactor == -1 {
		// Unless the operator chose one, it is the number of brokers that take replicas, at most 3.
		if replicationFactor = tc.o.Broker.DefaultReplicationFactor; !tc.o.Broker.Explicit("default.replication.factor") {
			replicationFactor = int16(max(1, min(config.MaxDefaultReplicas, tc.placer.registered)))
		}
	}
	if err := tc.placer.check(replicationFactor); err != nil {
		return nil, err
	}
	assignments := make([][]int32, partitions)
	for i := range assignments {
		assignments[i] = tc.placer.place(i, replicationFactor)
	}
	tc.placer.start++ // the next topic's first leader is another broker
	return assignments, nil
}

func (tc *topicCreation) assignManually(topic *kmsg.CreateTopicsRequestTopic) ([][]int32, error) {
	if topic.ReplicationFactor != -1 {
		return nil, kafka.Errorf(kafka.ErrInvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if topic.NumPartitions != -1 {
		return nil, kafka.Errorf(kafka.ErrInvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	assignments := make([][]int32, len(topic.ReplicaAssignment))
	outOfSequence, replicationFactor := false, 0
	for i := range topic.ReplicaAssignment {
		a := &topic.ReplicaAssignment[i]
		inRange := a.Partition >= 0 && int(a.Partition) < len(assignments)
		if inRange && assignments[a.Partition] != nil {
			return nil, kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		if err := checkManual(tc.Image, a.Partition, a.Replicas, replicationFactor); err != nil {
			return nil, err
		}
		replicationFactor = len(a.Replicas)
		if !inRange {
			outOfSequence = true
			continue
		}
		assignments[a.Partition] = a.Replicas
	}
	if outOfSequence {
		return nil, kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
	}
	return assignments, nil
}
