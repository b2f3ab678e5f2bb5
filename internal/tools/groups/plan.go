package groups

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

func sortedPartitions(offsets map[kafka.TopicPartition]int64) []kafka.TopicPartition {
	return slices.SortedFunc(maps.Keys(offsets), client.ComparePartitions)
}

func printPlan(s cli.Streams, plan resetPlan) {
	groupWidth, topicWidth := 15, 15
	for group, offsets := range plan {
		groupWidth = max(groupWidth, len(group))
		for tp := range offsets {
			topicWidth = max(topicWidth, len(tp.Topic))
		}
	}
	line := func(group, topic, partition, offset string) {
		s.Printf("\n%-*s %-*s %-10s %s", groupWidth, group, topicWidth, topic, partition, offset)
	}
	if len(plan) > 0 {
		line("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")
	}
	for _, group := range slices.Sorted(maps.Keys(plan)) {
		for _, tp := range sortedPartitions(plan[group]) {
			line(group, tp.Topic, strconv.Itoa(int(tp.Partition)), strconv.FormatInt(plan[group][tp], 10))
		}
	}
	s.Println("")
}

// csv is the plan as --export prints it: without the group's name if there is only one group.
func (p resetPlan) csv(singleGroup bool) (string, error) {
	var b strings.Builder
	w := csv.NewWriter(&b)
	for _, group := range slices.Sorted(maps.Keys(p)) {
		for _, tp := range sortedPartitions(p[group]) {
			row := []string{group, tp.Topic, strconv.Itoa(int(tp.Partition)), strconv.FormatInt(p[group][tp], 10)}
			if singleGroup {
				row = row[1:]
			}
			if err := w.Write(row); err != nil {
				return "", err
			}
		}
	}
	w.Flush()
	return b.String(), w.Error()
}

// parsePlan reads what csv wrote. Rows of three columns belong to the one group that was asked
// for.
func parsePlan(text string, groups []string) (resetPlan, error) {
	plan := resetPlan{}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	r.TrimLeadingSpace = true
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return plan, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := r.FieldPos(0)
		if len(row) == 3 && len(groups) == 1 {
			row = append([]string{groups[0]}, row...)
		}
		if len(row) != 4 {
			return nil, fmt.Errorf("line %d has %d columns; want [group,]topic,partition,offset", line, len(row))
		}
		partition, err := strconv.ParseInt(strings.TrimSpace(row[2]), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("line %d: the partition %q is not a number", line, row[2])
		}
		offset, err := strconv.ParseInt(strings.TrimSpace(row[3]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: the offset %q is not a number", line, row[3])
		}
		if plan[row[0]] == nil {
			plan[row[0]] = map[kafka.TopicPartition]int64{}
		}
		plan[row[0]][kafka.TopicPartition{Topic: row[1], Partition: int32(partition)}] = offset
	}
}
