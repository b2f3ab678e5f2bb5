package groups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const offsetsLogger = "org.apache.kafka.tools.OffsetsUtils"

// resetPlan maps groups to the offsets they get.
type resetPlan map[string]map[kafka.TopicPartition]int64

func (t *tool) resetOffsets(ctx context.Context) error {
	ids, err := t.groupIDs(ctx)
	if err != nil {
		return err
	}
	plan := resetPlan{}
	for _, id := range ids {
		if plan[id], err = t.resetGroup(ctx, id); err != nil {
			return err
		}
	}
	if t.Has(t.export) {
		text, err := plan.csv(len(t.Values(t.group)) == 1)
		if err != nil {
			return err
		}
		t.streams.Println(text)
		return nil
	}
	printPlan(t.streams, plan)
	return nil
}

func (t *tool) resetGroup(ctx context.Context, id string) (map[kafka.TopicPartition]int64, error) {
	g, err := t.described(ctx, id)
	switch {
	case errors.Is(err, kafka.ErrGroupIDNotFound):
		// Offsets may be set before a group exists.
	case err != nil:
		return nil, err
	case g.state != "Empty" && g.state != "Dead":
		printError(t.streams, "Assignments can only be reset if the group '"+id+"' is inactive, but the current state is "+g.state+".")
		return nil, nil
	}
	offsets, err := t.resetInactive(ctx, id)
	if answered, ok := errors.AsType[*client.Error](err); ok {
		err = errors.New(answered.Message) // Kafka's tool shows no class here
	}
	return offsets, err
}

func (t *tool) resetInactive(ctx context.Context, id string) (map[kafka.TopicPartition]int64, error) {
	partitions, err := t.partitionsToReset(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := t.checkPartitions(ctx, partitions); err != nil {
		return nil, err
	}
	offsets, err := t.newOffsets(ctx, id, partitions)
	if err != nil {
		return nil, err
	}
	if t.Has(t.execute) {
		err = t.client.SetOffsets(ctx, id, offsets)
	}
	return offsets, err
}

func (t *tool) partitionsToReset(ctx context.Context, id string) ([]kafka.TopicPartition, error) {
	switch {
	case t.Has(t.allTopics):
		offsets, err := t.committedOffsets(ctx, id)
		return slices.Collect(maps.Keys(offsets)), err
	case t.Has(t.topic):
		return t.topicPartitions(ctx, t.Values(t.topic))
	case t.Has(t.fromFile):
		return nil, nil
	}
	return nil, t.parser.UsageError(t.streams, "One of the reset scopes should be defined: --all-topics, --topic.")
}

// topicPartitions resolves arguments of the form topic or topic:0,1.
func (t *tool) topicPartitions(ctx context.Context, args []string) ([]kafka.TopicPartition, error) {
	var partitions []kafka.TopicPartition
	var topics []string
	for _, arg := range args {
		if !strings.Contains(arg, ":") {
			topics = append(topics, arg)
			continue
		}
		parsed, err := parseTopicPartitions(arg)
		if err != nil {
			return nil, err
		}
		partitions = append(partitions, parsed...)
	}
	if len(topics) == 0 {
		return partitions, nil
	}
	cluster, err := t.client.Metadata(ctx, topics, "describeTopics")
	if err != nil {
		return nil, err
	}
	for _, name := range topics {
		topic, ok := cluster.Find(name)
		if !ok {
			return nil, client.FromCode(int16(kafka.ErrUnknownTopicOrPartition), nil)
		}
		for _, p := range topic.Partitions {
			partitions = append(partitions, kafka.TopicPartition{Topic: name, Partition: p.Index})
		}
	}
	return partitions, nil
}

func parseTopicPartitions(arg string) ([]kafka.TopicPartition, error) {
	words := strings.Split(arg, ":")
	if len(words) != 2 || words[1] == "" {
		return nil, usageErrorf("Invalid topic arg '%s', expected topic name and partitions", arg)
	}
	var partitions []kafka.TopicPartition
	for word := range strings.SplitSeq(words[1], ",") {
		index, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, usageErrorf("Invalid partition '%s' specified in topic arg '%s''", word, arg)
		}
		partitions = append(partitions, kafka.TopicPartition{Topic: words[0], Partition: int32(index)})
	}
	return partitions, nil
}

// checkPartitions complains about partitions that do not exist or have no leader to ask.
func (t *tool) checkPartitions(ctx context.Context, partitions []kafka.TopicPartition) error {
	if len(partitions) == 0 {
		return nil
	}
	var topics []string
	for _, tp := range partitions {
		topics = append(topics, tp.Topic)
	}
	cluster, err := t.client.Metadata(ctx, slices.Compact(slices.Sorted(slices.Values(topics))), "describeTopics")
	if err != nil {
		return wrapped(err)
	}
	var absent, leaderless []string
	for _, tp := range partitions {
		topic, ok := cluster.Find(tp.Topic)
		if !ok {
			return wrapped(client.FromCode(int16(kafka.ErrUnknownTopicOrPartition), nil))
		}
		i := slices.IndexFunc(topic.Partitions, func(p client.Partition) bool { return p.Index == tp.Partition })
		switch {
		case i < 0:
			absent = append(absent, tp.String())
		case topic.Partitions[i].Leader < 0:
			leaderless = append(leaderless, tp.String())
		}
	}
	if len(absent) > 0 {
		return &client.Error{Code: kafka.ErrUnknownTopicOrPartition, Message: `The partitions "` + strings.Join(absent, ",") + `" do not exist`}
	}
	if len(leaderless) > 0 {
		return &client.Error{Code: kafka.ErrLeaderNotAvailable, Message: `The partitions "` + strings.Join(leaderless, ",") + `" have no leader`}
	}
	return nil
}

// wrapped shows what a broker answered as Kafka's tool does where it does not unpack it.
func wrapped(err error) error {
	if answered, ok := errors.AsType[*client.Error](err); ok {
		return errors.New(client.Wrapped(answered))
	}
	return err
}

// newOffsets computes what the scenario that was asked for sets.
func (t *tool) newOffsets(ctx context.Context, id string, partitions []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
	switch {
	case t.Has(t.toOffset):
		offset := t.Long(t.toOffset)
		if err := t.Err(); err != nil {
			return nil, err
		}
		return t.withinRange(ctx, uniform(partitions, offset))
	case t.Has(t.toEarliest):
		return t.edge(ctx, partitions, kafka.EarliestTimestamp, "starting")
	case t.Has(t.toLatest):
		return t.edge(ctx, partitions, kafka.LatestTimestamp, "ending")
	case t.Has(t.shiftBy):
		return t.shifted(ctx, id, partitions)
	case t.Has(t.toDatetime):
		timestamp, err := cli.ParseDatetime(t.String(t.toDatetime))
		if err != nil {
			return nil, err
		}
		return t.byTimestamp(ctx, partitions, timestamp)
	case t.Has(t.byDuration):
		duration, err := cli.ParseDuration(t.String(t.byDuration))
		if err != nil {
			return nil, err
		}
		return t.byTimestamp(ctx, partitions, time.Now().Add(-duration).UnixMilli())
	case t.Has(t.fromFile):
		return t.fromPlan(ctx, id)
	case t.Has(t.toCurrent):
		return t.current(ctx, id, partitions)
	}
	return nil, t.parser.UsageError(t.streams, "Option '%s' requires one of the following scenarios: [%s]", t.reset, cli.JoinOptions(t.scenarios()...))
}

func uniform(partitions []kafka.TopicPartition, offset int64) map[kafka.TopicPartition]int64 {
	offsets := make(map[kafka.TopicPartition]int64, len(partitions))
	for _, tp := range partitions {
		offsets[tp] = offset
	}
	return offsets
}

// edge returns the beginning or the end of partitions.
func (t *tool) edge(ctx context.Context, partitions []kafka.TopicPartition, timestamp int64, what string) (map[kafka.TopicPartition]int64, error) {
	listed, err := t.client.ListOffsets(ctx, partitions, timestamp)
	if err != nil {
		return nil, err
	}
	offsets := make(map[kafka.TopicPartition]int64, len(partitions))
	for _, tp := range partitions {
		found, ok := listed[tp]
		switch {
		case !ok:
			return nil, t.parser.UsageError(t.streams, "Error getting %s offset of topic partition: %s", what, tp)
		case found.Err != nil:
			return nil, found.Err
		}
		offsets[tp] = found.Offset
	}
	return offsets, nil
}

func (t *tool) byTimestamp(ctx context.Context, partitions []kafka.TopicPartition, timestamp int64) (map[kafka.TopicPartition]int64, error) {
	listed, err := t.edge(ctx, partitions, timestamp, "timestamp")
	if err != nil {
		return nil, err
	}
	var later []kafka.TopicPartition
	for tp, offset := range listed {
		if offset < 0 {
			later = append(later, tp)
		}
	}
	client.SortPartitions(later)
	for _, tp := range later {
		t.streams.Printf("\nWarn: Partition %d from topic %s is empty. Falling back to latest known offset.\n", tp.Partition, tp.Topic)
	}
	ends, err := t.edge(ctx, later, kafka.LatestTimestamp, "ending")
	maps.Copy(listed, ends)
	return listed, err
}

func (t *tool) shifted(ctx context.Context, id string, partitions []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
	shift := t.Long(t.shiftBy)
	if err := t.Err(); err != nil {
		return nil, err
	}
	current, err := t.committedOffsets(ctx, id)
	if err != nil {
		return nil, err
	}
	offsets := make(map[kafka.TopicPartition]int64, len(partitions))
	for _, tp := range partitions {
		c, ok := current[tp]
		if !ok {
			return nil, usageErrorf("Cannot shift offset for partition %s since there is no current committed offset", tp)
		}
		offsets[tp] = c.offset + shift
	}
	return t.withinRange(ctx, offsets)
}

// current keeps committed offsets and takes the end where there is none.
func (t *tool) current(ctx context.Context, id string, partitions []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
	committed, err := t.committedOffsets(ctx, id)
	if err != nil {
		return nil, err
	}
	offsets := make(map[kafka.TopicPartition]int64, len(partitions))
	var without []kafka.TopicPartition
	for _, tp := range partitions {
		if c, ok := committed[tp]; ok {
			offsets[tp] = c.offset
		} else {
			without = append(without, tp)
		}
	}
	ends, err := t.edge(ctx, without, kafka.LatestTimestamp, "ending")
	maps.Copy(offsets, ends)
	return offsets, err
}

func (t *tool) fromPlan(ctx context.Context, id string) (map[kafka.TopicPartition]int64, error) {
	path := t.String(t.fromFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the reset plan: %w", err)
	}
	plan, err := parsePlan(string(data), t.Values(t.group))
	if err != nil {
		return nil, fmt.Errorf("the reset plan %s: %w", path, err)
	}
	wanted, ok := plan[id]
	if !ok {
		printError(t.streams, "No reset plan for group "+id+" found")
		return nil, nil
	}
	if err := t.checkPartitions(ctx, slices.Collect(maps.Keys(wanted))); err != nil {
		return nil, err
	}
	return t.withinRange(ctx, wanted)
}

// withinRange moves offsets outside a partition to its nearest edge, and says so.
func (t *tool) withinRange(ctx context.Context, wanted map[kafka.TopicPartition]int64) (map[kafka.TopicPartition]int64, error) {
	partitions := slices.Collect(maps.Keys(wanted))
	client.SortPartitions(partitions)
	starts, err := t.edge(ctx, partitions, kafka.EarliestTimestamp, "starting")
	if err != nil {
		return nil, err
	}
	ends, err := t.edge(ctx, partitions, kafka.LatestTimestamp, "ending")
	if err != nil {
		return nil, err
	}
	offsets := make(map[kafka.TopicPartition]int64, len(wanted))
	for _, tp := range partitions {
		offset, word, edge := wanted[tp], "", ""
		switch {
		case offset > ends[tp]:
			word, edge, offset = "higher", "latest", ends[tp]
		case offset < starts[tp]:
			word, edge, offset = "lower", "earliest", starts[tp]
		}
		if word != "" {
			t.streams.Log("WARN", fmt.Sprintf("New offset (%d) is %s than %s offset for topic partition %s. Value will be set to %d", wanted[tp], word, edge, tp, offset), offsetsLogger)
		}
		offsets[tp] = offset
	}
	return offsets, nil
}
