package topics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const logger = "org.apache.kafka.tools.TopicCommand"

// Run is kafka-topics.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	var err error
	if o.Set, err = o.parser.Parse(args); err != nil {
		return err
	}
	if len(args) > 0 {
		if done, err := o.HelpOrVersion(s, Summary); done {
			return err
		}
	}
	if err := o.check(s); err != nil {
		return err
	}
	admin, err := newAdmin(s, o)
	if err != nil {
		return err
	}
	defer admin.Close()

	action, call := describe, "listTopics"
	switch {
	case o.Has(o.create):
		action, call = create, "createTopics"
	case o.Has(o.alter):
		action = alter
	case o.Has(o.list):
		action = list
	case o.Has(o.del):
		action = deleteTopics
	}
	err = admin.Connect(ctx, call)
	if err == nil {
		err = action(ctx, s, admin, o)
	}
	if err != nil {
		s.Println("Error while executing topic command : " + err.Error())
		s.Log("ERROR", client.Exception(err), logger)
		return cli.Failed
	}
	return nil
}

func newAdmin(s cli.Streams, o *options) (*client.Client, error) {
	return client.Connection{Servers: o.bootstrap, Config: o.commandConfig}.Open(s, o.Set)
}

// requestedTopics returns the names of existing topics that --topic matches, sorted; it is an
// error if there are none, unless --if-exists says otherwise.
func requestedTopics(ctx context.Context, admin *client.Client, o *options) ([]string, error) {
	expression := o.String(o.topic)
	if err := o.Err(); err != nil {
		return nil, err
	}
	cluster, err := admin.Metadata(ctx, nil, "listTopics")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, topic := range cluster.Topics {
		if !(topic.IsInternal && o.Has(o.excludeInternal)) {
			names = append(names, topic.Name)
		}
	}
	if !o.Has(o.topic) {
		return names, nil
	}
	filter, err := cli.NewTopicFilter(expression)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !filter.Allows(name, o.Has(o.excludeInternal)) })
	if len(names) == 0 && expression != "" && !o.Has(o.ifExists) && !o.Has(o.list) {
		return nil, fmt.Errorf("Topic '%s' does not exist as expected", expression) //nolint:staticcheck // the words of Kafka's tools
	}
	return names, nil
}

func list(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	names, err := requestedTopics(ctx, admin, o)
	if err != nil {
		return err
	}
	s.Println(strings.Join(names, "\n"))
	return nil
}

func create(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	topic, err := newTopic(o)
	if err != nil {
		return err
	}
	if strings.ContainsAny(topic.Topic, "._") {
		s.Println("WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both.")
	}
	if topic.ReplicationFactor == 0 {
		return fmt.Errorf("The replication factor must be between 1 and %d inclusive", math.MaxInt16) //nolint:staticcheck // the words of Kafka's tools
	}
	if topic.NumPartitions == 0 {
		return errors.New("The partitions must be greater than 0") //nolint:staticcheck // the words of Kafka's tools
	}
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = timeoutMs(admin)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, admin.Client)
	if err != nil {
		return client.Convert(err, "createTopics")
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("the broker answered for %d topics instead of one", len(resp.Topics))
	}
	err = client.FromCode(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
	if errors.Is(err, kafka.ErrTopicAlreadyExists) && o.Has(o.ifNotExists) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Println("Created topic " + topic.Topic + ".")
	return nil
}

func timeoutMs(admin *client.Client) int32 {
	return int32(min(admin.APITimeout.Milliseconds(), math.MaxInt32))
}

var equalsSign = regexp.MustCompile(`\s*=\s*`)

// newTopic builds the request from the options; -1 stands for the cluster's default, 0 for a
// count out of range.
func newTopic(o *options) (kmsg.CreateTopicsRequestTopic, error) {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic = o.String(o.topic)
	topic.NumPartitions, topic.ReplicationFactor = -1, -1
	if o.Has(o.partitions) {
		topic.NumPartitions = max(o.Int(o.partitions), 0)
	}
	if o.Has(o.replicationFactor) {
		factor := o.Int(o.replicationFactor)
		if factor < 1 || factor > math.MaxInt16 {
			factor = 0
		}
		topic.ReplicationFactor = int16(factor)
	}
	if err := o.Err(); err != nil {
		return topic, err
	}
	assignment, err := parseAssignment(o.String(o.assignment))
	if err != nil {
		return topic, err
	}
	for i, replicas := range assignment {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), replicas
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, a)
	}
	configs, err := parseConfigs(o.Values(o.config))
	if err != nil {
		return topic, err
	}
	topic.Configs = configs
	return topic, o.Err()
}

func parseConfigs(args []string) ([]kmsg.CreateTopicsRequestTopicConfig, error) {
	var configs []kmsg.CreateTopicsRequestTopicConfig
	for _, arg := range args {
		words := equalsSign.Split(arg, -1)
		if len(words) != 2 || words[1] == "" {
			return nil, errors.New(`requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`)
		}
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name = strings.TrimSpace(words[0])
		config.Value = kmsg.StringPtr(strings.TrimSpace(words[1]))
		// As with Kafka's tool the last of several values counts.
		configs = slices.DeleteFunc(configs, func(c kmsg.CreateTopicsRequestTopicConfig) bool { return c.Name == config.Name })
		configs = append(configs, config)
	}
	return configs, nil
}

// parseAssignment reads replicas of partitions: 1:2,2:3.
func parseAssignment(text string) ([][]int32, error) {
	if text == "" {
		return nil, nil
	}
	var assignment [][]int32
	for list := range strings.SplitSeq(text, ",") {
		var replicas []int32
		for word := range strings.SplitSeq(list, ":") {
			id, err := strconv.ParseInt(strings.TrimSpace(word), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("For input string: \"%s\"", strings.TrimSpace(word)) //nolint:staticcheck // the words of Kafka's tools
			}
			if slices.Contains(replicas, int32(id)) {
				return nil, fmt.Errorf("Partition replica lists may not contain duplicate entries: %d", id) //nolint:staticcheck // the words of Kafka's tools
			}
			replicas = append(replicas, int32(id))
		}
		if len(assignment) > 0 && len(replicas) != len(assignment[0]) {
			return nil, fmt.Errorf("Partition %d has different replication factor: [%s]", //nolint:staticcheck // the words of Kafka's tools
				len(assignment), strings.ReplaceAll(joinIDs(replicas), ",", ", "))
		}
		assignment = append(assignment, replicas)
	}
	return assignment, nil
}

func alter(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	count := o.Int(o.partitions)
	assignment, err := parseAssignment(o.String(o.assignment))
	if err != nil {
		return err
	}
	names, err := requestedTopics(ctx, admin, o)
	if err != nil || len(names) == 0 {
		return err
	}
	cluster, err := admin.Metadata(ctx, names, "describeTopics")
	if err != nil {
		return err
	}
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = timeoutMs(admin)
	for _, topic := range cluster.Topics {
		asked := kmsg.NewCreatePartitionsRequestTopic()
		asked.Topic, asked.Count = topic.Name, count
		// The list describes all partitions; only those to come are sent.
		for i := len(topic.Partitions); i < len(assignment); i++ {
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = assignment[i]
			asked.Assignment = append(asked.Assignment, a)
		}
		req.Topics = append(req.Topics, asked)
	}
	resp, err := req.RequestWith(ctx, admin.Client)
	if err != nil {
		return client.Convert(err, "createPartitions")
	}
	for _, topic := range resp.Topics {
		if err := client.FromCode(topic.ErrorCode, topic.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

func deleteTopics(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	names, err := requestedTopics(ctx, admin, o)
	if err != nil || len(names) == 0 {
		return err
	}
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = timeoutMs(admin)
	req.TopicNames = names // versions to 5
	for _, name := range names {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, admin.Client)
	if err != nil {
		return client.Convert(err, "deleteTopics")
	}
	for _, topic := range resp.Topics {
		if err := client.FromCode(topic.ErrorCode, topic.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}
