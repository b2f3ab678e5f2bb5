package topics

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// reassignment is the replicas that a partition is gaining and losing.
type reassignment struct{ replicas, adding, removing []int32 }

// description is everything that --describe prints from.
type description struct {
	topics        []client.Topic
	configs       map[string][]client.Config
	liveBrokers   map[int32]bool
	reassignments map[kafka.TopicPartition]reassignment
}

// filters say which lines --describe prints.
type filters struct {
	underReplicated, unavailable, underMin, atMin, overridesOnly bool
}

func (f filters) topicLines() bool {
	return !f.underReplicated && !f.unavailable && !f.underMin && !f.atMin
}

func describe(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	names, err := describedNames(ctx, admin, o)
	if err != nil {
		return err
	}
	d := &description{}
	if len(names) > 0 {
		if d.topics, err = admin.DescribeTopics(ctx, names, o.Int(o.partitionLimit)); err != nil {
			return err
		}
		if d.configs, err = admin.DescribeConfigs(ctx, kafka.ConfigResourceTopic, names, false); err != nil {
			return err
		}
	}
	cluster, err := admin.Metadata(ctx, []string{}, "describeCluster")
	if err != nil {
		return err
	}
	d.liveBrokers = map[int32]bool{}
	for _, broker := range cluster.Brokers {
		d.liveBrokers[broker.NodeID] = true
	}
	d.reassignments = listReassignments(ctx, admin, d.topics)
	d.print(s, filters{
		underReplicated: o.Has(o.underReplicated), unavailable: o.Has(o.unavailable),
		underMin: o.Has(o.underMin), atMin: o.Has(o.atMin), overridesOnly: o.Has(o.overrides),
	})
	return o.Err()
}

// describedNames resolves --topic-id, which wins, or --topic to the names of existing topics.
func describedNames(ctx context.Context, admin *client.Client, o *options) ([]string, error) {
	if !o.Has(o.topicID) {
		return requestedTopics(ctx, admin, o)
	}
	id, err := parseTopicID(o.String(o.topicID))
	if err != nil {
		return nil, err
	}
	if id.IsZero() {
		return requestedTopics(ctx, admin, o)
	}
	cluster, err := admin.Metadata(ctx, nil, "listTopics")
	if err != nil {
		return nil, err
	}
	for _, topic := range cluster.Topics {
		if topic.ID == id && !(topic.IsInternal && o.Has(o.excludeInternal)) {
			return []string{topic.Name}, nil
		}
	}
	if o.Has(o.ifExists) {
		return nil, nil
	}
	return nil, fmt.Errorf("TopicId '%s' does not exist as expected", id)
}

func parseTopicID(text string) (kafka.UUID, error) {
	id, err := kafka.ParseUUID(text)
	if err != nil {
		return id, fmt.Errorf("the value of --topic-id is wrong: %w", err)
	}
	return id, nil
}

// listReassignments asks for partitions on the move. Brokers that do not serve the request, or
// refuse it, have none to show.
func listReassignments(ctx context.Context, admin *client.Client, topics []client.Topic) map[kafka.TopicPartition]reassignment {
	result := map[kafka.TopicPartition]reassignment{}
	if len(topics) == 0 {
		return result
	}
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	for _, topic := range topics {
		asked := kmsg.NewListPartitionReassignmentsRequestTopic()
		asked.Topic = topic.Name
		for _, p := range topic.Partitions {
			asked.Partitions = append(asked.Partitions, p.Index)
		}
		req.Topics = append(req.Topics, asked)
	}
	resp, err := req.RequestWith(ctx, admin.Client)
	if err != nil || resp.ErrorCode != 0 {
		return result
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			result[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = reassignment{p.Replicas, p.AddingReplicas, p.RemovingReplicas}
		}
	}
	return result
}

func (d *description) print(s cli.Streams, f filters) {
	for _, topic := range d.topics {
		configs := d.configs[topic.Name]
		if f.topicLines() && (!f.overridesOnly || slices.ContainsFunc(configs, isOverride)) {
			s.Println(d.topicLine(topic, configs))
		}
		if f.overridesOnly {
			continue
		}
		minISR := minInsyncReplicas(configs)
		for _, p := range topic.Partitions {
			if f.topicLines() || d.matches(f, topic.Name, p, minISR) {
				s.Println(d.partitionLine(topic.Name, p))
			}
		}
	}
}

func isOverride(c client.Config) bool { return c.Source != kafka.ConfigSourceDefault }

func minInsyncReplicas(configs []client.Config) int {
	for _, c := range configs {
		if c.Name == "min.insync.replicas" && c.Value != nil {
			if n, err := strconv.Atoi(*c.Value); err == nil {
				return n
			}
		}
	}
	return 1
}

func (d *description) topicLine(topic client.Topic, configs []client.Config) string {
	var b strings.Builder
	b.WriteString("Topic: " + topic.Name)
	if !topic.ID.IsZero() {
		b.WriteString("\tTopicId: " + topic.ID.String())
	}
	replicationFactor := 0
	if len(topic.Partitions) > 0 {
		replicationFactor = d.replicationFactor(topic.Name, topic.Partitions[0])
	}
	fmt.Fprintf(&b, "\tPartitionCount: %d\tReplicationFactor: %d\tConfigs: ", len(topic.Partitions), replicationFactor)
	separator := ""
	for _, c := range configs {
		if !isOverride(c) {
			continue
		}
		value := "null"
		if c.Value != nil {
			value = *c.Value
		}
		b.WriteString(separator + c.Name + "=" + value)
		separator = ","
	}
	return b.String()
}

// replicationFactor leaves out replicas that a reassignment in progress has yet to add.
func (d *description) replicationFactor(topic string, p client.Partition) int {
	r, ok := d.reassignments[kafka.TopicPartition{Topic: topic, Partition: p.Index}]
	moving := ok && slices.ContainsFunc(p.Replicas, func(id int32) bool {
		return slices.Contains(r.adding, id) || slices.Contains(r.removing, id)
	})
	if moving {
		return len(r.replicas) - len(r.adding)
	}
	return len(p.Replicas)
}

func (d *description) matches(f filters, topic string, p client.Partition, minISR int) bool {
	switch {
	case f.underReplicated && d.replicationFactor(topic, p) > len(p.ISR):
	case f.unavailable && (p.Leader < 0 || !d.liveBrokers[p.Leader]):
	case f.underMin && (p.Leader < 0 || len(p.ISR) < minISR):
	case f.atMin && len(p.ISR) == minISR:
	default:
		return false
	}
	return true
}

func (d *description) partitionLine(topic string, p client.Partition) string {
	var b strings.Builder
	leader := "none"
	if p.Leader >= 0 {
		leader = strconv.Itoa(int(p.Leader))
	}
	fmt.Fprintf(&b, "\tTopic: %s\tPartition: %d\tLeader: %s\tReplicas: %s\tIsr: %s", topic, p.Index, leader, joinIDs(p.Replicas), joinIDs(p.ISR))
	if r, ok := d.reassignments[kafka.TopicPartition{Topic: topic, Partition: p.Index}]; ok {
		fmt.Fprintf(&b, "\tAdding Replicas: %s\tRemoving Replicas: %s", joinIDs(r.adding), joinIDs(r.removing))
	}
	b.WriteString("\tElr: " + joinKnownIDs(p.ELR) + "\tLastKnownElr: " + joinKnownIDs(p.LastKnownELR))
	return b.String()
}

func joinIDs(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	return strings.Join(words, ",")
}

func joinKnownIDs(ids []int32) string {
	if ids == nil {
		return "N/A"
	}
	return joinIDs(ids)
}
