package streamsreset

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const maxPlanBytes = 64 << 20

// resetOffsets sets the group's offsets; missing says that a topic does not exist.
func (t *tool) resetOffsets(ctx context.Context) (missing bool, err error) {
	input, intermediate := t.Values(t.input), t.Values(t.intermediate)
	if t.Has(t.intermediate) {
		t.Println("WARN: `--intermediate-topics` is deprecated and will be removed in a future release")
	}
	if len(input)+len(intermediate) == 0 {
		t.Println("No input or intermediate topics specified. Skipping seek.")
		return false, nil
	}
	if len(input) > 0 {
		t.Printf("Reset-offsets for input topics [%s]\n", strings.Join(input, ", "))
	}
	if len(intermediate) > 0 {
		t.Printf("Seek-to-end for intermediate topics [%s]\n", strings.Join(intermediate, ", "))
	}
	inputPartitions, absentInput := t.partitions(input)
	endPartitions, absentIntermediate := t.partitions(intermediate)
	t.complain("input", "Topic: ", absentInput)
	t.complain("intermediate", "Topic:", absentIntermediate)
	missing = len(absentInput)+len(absentIntermediate) > 0
	if len(inputPartitions)+len(endPartitions) == 0 {
		return missing, nil
	}
	offsets := map[kafka.TopicPartition]int64{}
	if len(inputPartitions) > 0 {
		if offsets, err = t.newOffsets(ctx, inputPartitions); err != nil {
			return missing, err
		}
		for _, tp := range inputPartitions {
			t.Printf("Topic: %s Partition: %d Offset: %d\n", tp.Topic, tp.Partition, offsets[tp])
		}
	}
	if len(endPartitions) > 0 {
		t.Printf("Following intermediate topics offsets will be reset to end (for consumer group %s)\n", t.String(t.application))
		ends, err := t.listed(ctx, endPartitions, kafka.LatestTimestamp)
		if err != nil {
			return missing, err
		}
		for _, tp := range endPartitions {
			t.Println("Topic: " + tp.Topic)
			offsets[tp] = ends[tp]
		}
	}
	if !t.Has(t.dryRun) {
		if err := t.client.SetOffsets(ctx, t.String(t.application), offsets); err != nil {
			return missing, err
		}
	}
	t.Println("Done.")
	return missing, nil
}

// partitions lists those of the topics that exist, and the topics that do not.
func (t *tool) partitions(topics []string) (partitions []kafka.TopicPartition, absent []string) {
	for _, name := range topics {
		topic, ok := t.topics.Find(name)
		if !ok {
			absent = append(absent, name)
			continue
		}
		for _, p := range topic.Partitions {
			partitions = append(partitions, kafka.TopicPartition{Topic: name, Partition: p.Index})
		}
	}
	client.SortPartitions(partitions)
	return slices.Compact(partitions), absent
}

func (t *tool) complain(kind, label string, absent []string) {
	if len(absent) == 0 {
		return
	}
	t.Printf("Following %s topics are not found, skipping them\n", kind)
	for _, name := range absent {
		t.Println(label + name)
	}
}

// newOffsets are what the scenario that was asked for sets.
func (t *tool) newOffsets(ctx context.Context, partitions []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
	t.Printf("Following input topics offsets will be reset to (for consumer group %s)\n", t.String(t.application))
	wanted := map[kafka.TopicPartition]int64{}
	switch {
	case t.Has(t.toOffset):
		for _, tp := range partitions {
			wanted[tp] = t.Long(t.toOffset)
		}
	case t.Has(t.toLatest):
		return t.listed(ctx, partitions, kafka.LatestTimestamp)
	case t.Has(t.shiftBy):
		current, err := t.positions(ctx, partitions)
		if err != nil {
			return nil, err
		}
		for _, tp := range partitions {
			wanted[tp] = current[tp] + t.Long(t.shiftBy)
		}
	case t.Has(t.toDatetime):
		timestampMs, err := cli.ParseDatetime(t.String(t.toDatetime))
		if err != nil {
			return nil, err
		}
		return t.at(ctx, partitions, timestampMs)
	case t.Has(t.byDuration):
		duration, err := cli.ParseDuration(t.String(t.byDuration))
		if err != nil {
			return nil, fmt.Errorf("java.time.format.DateTimeParseException: %w", err)
		}
		return t.at(ctx, partitions, time.Now().Add(-duration).UnixMilli())
	case t.Has(t.fromFile):
		plan, err := readPlan(t.String(t.fromFile))
		if err != nil {
			t.Errorln("ERROR: Resetting offsets failed.")
			return nil, err
		}
		for _, tp := range partitions {
			offset, ok := plan[tp]
			if !ok {
				return nil, fmt.Errorf("%s has no offset for %s", t.String(t.fromFile), tp)
			}
			wanted[tp] = offset
		}
	default:
		return t.listed(ctx, partitions, kafka.EarliestTimestamp)
	}
	if err := t.options.Err(); err != nil {
		return nil, err
	}
	return t.withinRange(ctx, partitions, wanted)
}

func (t *tool) listed(ctx context.Context, partitions []kafka.TopicPartition, timestampMs int64) (map[kafka.TopicPartition]int64, error) {
	listed, err := t.client.ListOffsets(ctx, partitions, timestampMs)
	if err != nil {
		return nil, err
	}
	offsets := map[kafka.TopicPartition]int64{}
	for _, tp := range partitions {
		if err := listed[tp].Err; err != nil {
			return nil, err
		}
		offsets[tp] = listed[tp].Offset
	}
	return offsets, nil
}

// at are the first offsets at or after a time; the end where there is none.
func (t *tool) at(ctx context.Context, partitions []kafka.TopicPartition, timestampMs int64) (map[kafka.TopicPartition]int64, error) {
	offsets, err := t.listed(ctx, partitions, timestampMs)
	if err != nil {
		return nil, err
	}
	ends, err := t.listed(ctx, partitions, kafka.LatestTimestamp)
	if err != nil {
		return nil, err
	}
	for _, tp := range partitions {
		if offsets[tp] < 0 {
			offsets[tp] = ends[tp]
			t.Printf("Partition %d from topic %s is empty, without a committed record. Falling back to latest known offset.\n", tp.Partition, tp.Topic)
		}
	}
	return offsets, nil
}

// positions are the committed offsets; where there is none, the end, from where a consumer would read.
func (t *tool) positions(ctx context.Context, partitions []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error) {
	current, err := t.listed(ctx, partitions, kafka.LatestTimestamp)
	if err != nil {
		return nil, err
	}
	ctx, cancel := t.client.Context(ctx)
	defer cancel()
	committed, err := t.admin.FetchOffsets(ctx, t.String(t.application))
	if err != nil {
		return nil, client.Convert(err, "listConsumerGroupOffsets")
	}
	for _, tp := range partitions {
		if o, ok := committed.Lookup(tp.Topic, tp.Partition); ok && o.Err == nil && o.At >= 0 {
			current[tp] = o.At
		}
	}
	return current, nil
}

// withinRange moves offsets outside a partition to its nearest edge, and says so.
func (t *tool) withinRange(ctx context.Context, partitions []kafka.TopicPartition, wanted map[kafka.TopicPartition]int64) (map[kafka.TopicPartition]int64, error) {
	starts, err := t.listed(ctx, partitions, kafka.EarliestTimestamp)
	if err != nil {
		return nil, err
	}
	ends, err := t.listed(ctx, partitions, kafka.LatestTimestamp)
	if err != nil {
		return nil, err
	}
	offsets := map[kafka.TopicPartition]int64{}
	for _, tp := range partitions {
		switch offset := wanted[tp]; {
		case offset >= ends[tp]:
			t.Printf("New offset (%d) is higher than latest offset. Value will be set to %d\n", offset, ends[tp])
			offsets[tp] = ends[tp]
		case offset <= starts[tp]:
			t.Printf("New offset (%d) is lower than earliest offset. Value will be set to %d\n", offset, starts[tp])
			offsets[tp] = starts[tp]
		default:
			offsets[tp] = offset
		}
	}
	return offsets, nil
}

// readPlan reads lines of topic,partition,offset.
func readPlan(path string) (map[kafka.TopicPartition]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("java.io.IOException: Unable to read file %s", path)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPlanBytes))
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("java.text.ParseException: Error parsing reset plan CSV file. It is empty,")
	}
	plan := map[kafka.TopicPartition]int64{}
	for line := range strings.SplitSeq(strings.TrimRight(string(data), "\n"), "\n") {
		cells := strings.Split(line, ",")
		if len(cells) != 3 {
			return nil, fmt.Errorf("java.text.ParseException: Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`.") //nolint:staticcheck // the words of Kafka's tools
		}
		partition, err := strconv.ParseInt(cells[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("java.lang.NumberFormatException: For input string: %q", cells[1])
		}
		offset, err := strconv.ParseInt(cells[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("java.lang.NumberFormatException: For input string: %q", cells[2])
		}
		plan[kafka.TopicPartition{Topic: cells[0], Partition: int32(partition)}] = offset
	}
	return plan, nil
}
