// Package leaderelection is kafka-leader-election: it has leaders of partitions elected anew. The command
// table in internal/tools calls Run; nothing here starts a goroutine.
package leaderelection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	summary      = "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are preferred replicas and unclean replicas."
	maxFileBytes = 64 << 20
)

// electionTypes are the names of the protocol's numbers.
var electionTypes = []string{"PREFERRED", "UNCLEAN"}

type options struct {
	bootstrap, oldConfig, config, file, topic, partition, all, kind *cli.Option
}

// Run is kafka-leader-election.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	p := cli.NewParser()
	o := options{
		bootstrap: p.Value("bootstrap-server", "String: host:port", "REQUIRED: brokers to connect to, separated by commas."),
		oldConfig: p.Value("admin.config", "String: config file", "(DEPRECATED) The former name of --command-config."),
		config:    p.Value("command-config", "String: Config file", "File with client properties."),
		file: p.Value("path-to-json-file", "String: Path to JSON file",
			"JSON file with partitions, such as {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1}]}. Not with --all-topic-partitions or --topic."),
		topic:     p.Value("topic", "String: topic name", "The topic; not with --path-to-json-file or --all-topic-partitions."),
		partition: p.Value("partition", "Integer: partition id", "The partition; REQUIRED with --topic."),
		all:       p.Flag("all-topic-partitions", "All partitions that need an election of the type. Not with --topic or --path-to-json-file."),
		kind: p.Value("election-type", "[PREFERRED|UNCLEAN]: election type",
			"REQUIRED: preferred, for partitions whose leader is not their first replica, or unclean, for those that have no leader."),
	}
	set, err := p.Parse(args)
	if err != nil {
		return err
	}
	if done, err := set.HelpOrVersion(s, summary); done {
		return err
	}
	if err := o.check(s, set); err != nil {
		return err
	}
	kind := slices.Index(electionTypes, strings.ToUpper(set.String(o.kind)))
	if kind < 0 {
		return fmt.Errorf("Cannot parse argument '%s' of option election-type", set.String(o.kind)) //nolint:staticcheck // the words of Kafka's tools
	}
	partitions, err := o.partitions(set)
	if err != nil {
		return err
	}
	admin, err := o.connect(s, set)
	if err != nil {
		return err
	}
	defer admin.Close()
	return elect(ctx, s, admin, int8(kind), partitions)
}

// check is Kafka's check of what belongs together.
func (o options) check(s cli.Streams, set *cli.Set) error {
	var missing []string
	for _, option := range []*cli.Option{o.bootstrap, o.kind} {
		if !set.Has(option) {
			missing = append(missing, option.Name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("Missing required option(s): %s", strings.Join(missing, ", ")) //nolint:staticcheck // the words of Kafka's tools
	}
	if err := set.CheckInvalid(s, o.oldConfig, o.config); err != nil {
		return err
	}
	switch {
	case set.Count(o.topic, o.all, o.file) != 1:
		return errors.New("One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file") //nolint:staticcheck // the words of Kafka's tools
	case set.Has(o.topic) && !set.Has(o.partition):
		return errors.New("Missing required option(s): partition") //nolint:staticcheck // the words of Kafka's tools
	case !set.Has(o.topic) && set.Has(o.partition):
		return errors.New("Option partition is only allowed if topic is used") //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

// partitions are those named; nil stands for all.
func (o options) partitions(set *cli.Set) ([]kafka.TopicPartition, error) {
	if set.Has(o.file) {
		return readFile(set.String(o.file))
	}
	if set.Has(o.topic) {
		tp := kafka.TopicPartition{Topic: set.String(o.topic), Partition: set.Int(o.partition)}
		return []kafka.TopicPartition{tp}, set.Err()
	}
	return nil, nil
}

func readFile(path string) ([]kafka.TopicPartition, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s has more than the %d bytes that are read", path, maxFileBytes)
	}
	return parsePartitions(data)
}

func parsePartitions(data []byte) ([]kafka.TopicPartition, error) {
	var content struct {
		Partitions *[]struct {
			Topic     *string `json:"topic"`
			Partition *int32  `json:"partition"`
		} `json:"partitions"`
	}
	if !json.Valid(data) {
		return nil, errors.New("Replica election data is empty") //nolint:staticcheck // the words of Kafka's tools
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("the replica election data has not the expected form: %w", err)
	}
	if content.Partitions == nil {
		return nil, errors.New("Replica election data is missing \"partitions\" field") //nolint:staticcheck // the words of Kafka's tools
	}
	partitions := []kafka.TopicPartition{} // none is not all
	count := map[kafka.TopicPartition]int{}
	var twice []string
	for i, p := range *content.Partitions {
		if p.Topic == nil || p.Partition == nil {
			return nil, fmt.Errorf("entry %d of the replica election data needs topic and partition", i+1)
		}
		tp := kafka.TopicPartition{Topic: *p.Topic, Partition: *p.Partition}
		if count[tp]++; count[tp] == 2 {
			twice = append(twice, tp.String())
		}
		partitions = append(partitions, tp)
	}
	if len(twice) > 0 {
		return nil, fmt.Errorf("Replica election data contains duplicate partitions: [%s]", strings.Join(twice, ", ")) //nolint:staticcheck // the words of Kafka's tools
	}
	slices.SortFunc(partitions, client.ComparePartitions)
	return partitions, nil
}

func (o options) connect(s cli.Streams, set *cli.Set) (*client.Client, error) {
	config := o.config
	if set.Has(o.oldConfig) {
		s.Println("Option --admin.config has been deprecated and will be removed in a future version. Use --command-config instead.")
		config = o.oldConfig
	}
	return client.Connection{Servers: o.bootstrap, Config: config, Defaults: client.Properties{"default.api.timeout.ms": "30000"}}.Open(s, set)
}

// elect has leaders elected and prints what came of it.
func elect(ctx context.Context, s cli.Streams, admin *client.Client, kind int8, partitions []kafka.TopicPartition) error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrElectLeadersRequest()
	req.ElectionType, req.TimeoutMillis = kind, int32(min(admin.APITimeout.Milliseconds(), 1<<31-1))
	if partitions != nil {
		req.Topics = []kmsg.ElectLeadersRequestTopic{}
	}
	for _, tp := range partitions { // sorted, so a topic's partitions follow each other
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != tp.Topic {
			req.Topics = append(req.Topics, kmsg.ElectLeadersRequestTopic{Topic: tp.Topic})
		}
		topic := &req.Topics[len(req.Topics)-1]
		topic.Partitions = append(topic.Partitions, tp.Partition)
	}
	resp, err := req.RequestWith(ctx, admin.Client)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	if err = client.Convert(err, "electLeaders"); err != nil {
		message := err.Error()
		switch client.Code(err) {
		case kafka.ErrRequestTimedOut:
			message = "Timeout waiting for election results"
			s.Println(message)
		case kafka.ErrClusterAuthorizationFailed:
			message = "Not authorized to perform leader election"
			s.Println(message)
		}
		return errors.New(message)
	}
	return printResults(s, electionTypes[kind], resp)
}

func printResults(s cli.Streams, kind string, resp *kmsg.ElectLeadersResponse) error {
	var elected, needless []string
	failures := map[kafka.TopicPartition]error{}
	var failed []kafka.TopicPartition
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			tp := kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}
			switch err := client.FromCode(p.ErrorCode, p.ErrorMessage); {
			case err == nil:
				elected = append(elected, tp.String())
			case kafka.ErrorCode(p.ErrorCode) == kafka.ErrElectionNotNeeded:
				needless = append(needless, tp.String())
			default:
				failures[tp] = err
				failed = append(failed, tp)
			}
		}
	}
	if len(elected) > 0 {
		s.Printf("Successfully completed leader election (%s) for partitions %s\n", kind, strings.Join(elected, ", "))
	}
	if len(needless) > 0 {
		s.Printf("Valid replica already elected for partitions %s\n", strings.Join(needless, ", "))
	}
	for _, tp := range failed {
		s.Printf("Error completing leader election (%s) for partition: %s: %s\n", kind, tp, client.Exception(failures[tp]))
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d replica(s) could not be elected", len(failed))
	}
	return nil
}
