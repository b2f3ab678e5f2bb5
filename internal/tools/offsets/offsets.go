// Package offsets is kafka-get-offsets: it prints offsets of partitions. The command table in
// internal/tools calls Run; nothing here starts a goroutine.
package offsets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const summary = "An interactive shell for getting topic-partition offsets."

type options struct {
	*cli.Set
	parser                                        *cli.Parser
	bootstrap, commandConfig                      *cli.Option
	topicPartitions, topic, partitions, timestamp *cli.Option
	excludeInternal                               *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	return &options{
		parser:    p,
		bootstrap: p.Value("bootstrap-server", "String: HOST1:PORT1,...,HOST3:PORT3", "REQUIRED: brokers to connect to."),
		topicPartitions: p.Value("topic-partitions", "String: topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
			"What to ask for: topic patterns, each with a partition, a range whose end is left out, or neither."),
		topic:      p.Value("topic", "String: topic", "Topic or regular expression; all topics if absent."),
		partitions: p.Value("partitions", "String: partition ids", "Partitions, separated by commas; all if absent."),
		timestamp: p.Add(cli.Option{
			Name: "time", Arg: cli.RequiredArg, Default: "latest",
			ArgName: "String: <timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload",
			Help:    "Which offset: that of the first record at or after a time in milliseconds, or a special one.",
		}),
		commandConfig:   p.Value("command-config", "String: config file", "File with client properties."),
		excludeInternal: p.Flag("exclude-internal-topics", "Leave internal topics out."),
	}
}

// Run is kafka-get-offsets.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	set, err := o.parser.Parse(args)
	if err != nil {
		return fail(s, err)
	}
	o.Set = set
	if done, err := o.HelpOrVersion(s, summary); done {
		return err
	}
	if err := o.CheckRequired(s, o.bootstrap); err != nil {
		return err
	}
	if err := client.CheckBootstrap(o.String(o.bootstrap)); err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	if err := o.print(ctx, s); err != nil {
		return fail(s, err)
	}
	return nil
}

func fail(s cli.Streams, err error) error {
	s.Errorln("Error occurred: " + err.Error())
	return cli.Failed
}

func (o *options) print(ctx context.Context, s cli.Streams) error {
	if o.Has(o.topicPartitions) && o.Count(o.topic, o.partitions) > 0 {
		return errors.New("--topic-partitions cannot be used with --topic or --partitions")
	}
	timestamp, err := parseTime(o.String(o.timestamp))
	if err != nil {
		return err
	}
	filter, err := o.filter()
	if err != nil {
		return err
	}
	props, err := client.LoadCommandConfig(o.Set, o.commandConfig)
	if err != nil {
		return err
	}
	props["bootstrap.servers"] = o.String(o.bootstrap)
	props["client.id"] = "GetOffsetShell"
	if err := o.Err(); err != nil {
		return err
	}
	admin, err := client.NewAdmin(s, props)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := admin.Connect(ctx, "listTopics"); err != nil {
		return err
	}
	cluster, err := admin.Metadata(ctx, nil, "listTopics")
	if err != nil {
		return err
	}
	partitions := matching(cluster, filter, o.Has(o.excludeInternal))
	if len(partitions) == 0 {
		return errors.New("Could not match any topic-partitions with the specified filters") //nolint:staticcheck // the words of Kafka's tools
	}
	listed, err := admin.ListOffsets(ctx, partitions, timestamp)
	if err != nil {
		return err
	}
	write(s, partitions, listed)
	return nil
}

// write prints in the order of the partitions' names as text: t-10 before t-2.
func write(s cli.Streams, partitions []kafka.TopicPartition, listed map[kafka.TopicPartition]client.ListedOffset) {
	slices.SortFunc(partitions, func(a, b kafka.TopicPartition) int { return strings.Compare(a.String(), b.String()) })
	for _, tp := range partitions {
		switch found, ok := listed[tp]; {
		case !ok:
			s.Errorln("Skip getting offsets for topic-partition " + tp.String() + " due to error: the broker did not answer for it")
		case found.Err != nil:
			s.Errorln("Skip getting offsets for topic-partition " + tp.String() + " due to error: " + client.Exception(found.Err))
		case found.Offset >= 0:
			s.Printf("%s:%d:%d\n", tp.Topic, tp.Partition, found.Offset)
		}
	}
}

var specialTimes = map[string]int64{
	"latest": kafka.LatestTimestamp, "earliest": kafka.EarliestTimestamp, "max-timestamp": kafka.MaxTimestamp,
	"earliest-local": kafka.EarliestLocalTimestamp, "latest-tiered": kafka.LatestTieredTimestamp,
	"earliest-pending-upload": kafka.EarliestPendingUploadTimestamp,
}

func parseTime(text string) (int64, error) {
	if special, ok := specialTimes[text]; ok {
		return special, nil
	}
	timestamp, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("Malformed time argument %s. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp", text) //nolint:staticcheck // the words of Kafka's tools
	}
	return timestamp, nil
}

// rule matches some partitions of some topics.
type rule struct {
	topics      *cli.TopicFilter
	only        []int32 // nil: the range counts
	lower, past int64
}

func (r rule) allows(tp kafka.TopicPartition, excludeInternal bool) bool {
	if !r.topics.Allows(tp.Topic, excludeInternal) {
		return false
	}
	if r.only != nil {
		return slices.Contains(r.only, tp.Partition)
	}
	return int64(tp.Partition) >= r.lower && int64(tp.Partition) < r.past
}

func matching(cluster *client.Cluster, rules []rule, excludeInternal bool) []kafka.TopicPartition {
	var partitions []kafka.TopicPartition
	for _, topic := range cluster.Topics {
		if excludeInternal && topic.IsInternal {
			continue
		}
		for _, p := range topic.Partitions {
			tp := kafka.TopicPartition{Topic: topic.Name, Partition: p.Index}
			if slices.ContainsFunc(rules, func(r rule) bool { return r.allows(tp, excludeInternal) }) {
				partitions = append(partitions, tp)
			}
		}
	}
	return partitions
}

func (o *options) filter() ([]rule, error) {
	if o.Has(o.topicPartitions) {
		return parseRules(o.String(o.topicPartitions))
	}
	expression := ".*"
	if o.Has(o.topic) {
		expression = o.String(o.topic)
	}
	topics, err := cli.NewTopicFilter(expression)
	if err != nil {
		return nil, err
	}
	r := rule{topics: topics, past: math.MaxInt64}
	list := o.String(o.partitions)
	if list == "" {
		return []rule{r}, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		partition, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("--partitions expects a comma separated list of numeric partition ids, but received: %s", list)
		}
		r.only = append(r.only, int32(partition))
	}
	return []rule{r}, nil
}

var rulePattern = regexp.MustCompile(`^([^:,]*)(?::(?:([0-9]*)|([0-9]*)-([0-9]*)))?$`)

func parseRules(list string) ([]rule, error) {
	var rules []rule
	for text := range strings.SplitSeq(list, ",") {
		groups := rulePattern.FindStringSubmatch(text)
		if groups == nil {
			return nil, fmt.Errorf("org.apache.kafka.tools.TerseException: Invalid rule specification: %s", text) //nolint:staticcheck // the words of Kafka's tools
		}
		expression := groups[1]
		if expression == "" {
			expression = ".*"
		}
		topics, err := cli.NewTopicFilter(expression)
		if err != nil {
			return nil, err
		}
		r := rule{topics: topics, past: math.MaxInt64}
		if groups[2] != "" {
			groups[3], groups[4] = groups[2], ""
		}
		for target, word := range map[*int64]string{&r.lower: groups[3], &r.past: groups[4]} {
			if word == "" {
				continue
			}
			if *target, err = strconv.ParseInt(word, 10, 32); err != nil {
				return nil, fmt.Errorf("org.apache.kafka.tools.TerseException: Invalid rule specification: %s", text) //nolint:staticcheck // the words of Kafka's tools
			}
		}
		if groups[2] != "" {
			r.past = r.lower + 1
		}
		rules = append(rules, r)
	}
	return rules, nil
}
