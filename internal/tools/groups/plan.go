package groups

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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

// parseDatetime reads YYYY-MM-DDThh:mm:ss.sss, in UTC unless a zone follows.
func parseDatetime(text string) (timestampMs int64, err error) {
	_, clock, ok := strings.Cut(text, "T")
	if !ok || clock == "" {
		return 0, errors.New("java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format")
	}
	if !strings.ContainsAny(clock, "+-Z") {
		text += "Z"
	}
	for _, layout := range []string{"2006-01-02T15:04:05.000Z07:00", "2006-01-02T15:04:05.000Z0700", "2006-01-02T15:04:05.000Z07"} {
		if parsed, err := time.Parse(layout, text); err == nil {
			return parsed.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("java.text.ParseException: Unparseable date: \"%s\"", text)
}

var durationPattern = regexp.MustCompile(`(?i)^([-+]?)P(?:([-+]?[0-9]+)D)?(T(?:([-+]?[0-9]+)H)?(?:([-+]?[0-9]+)M)?(?:([-+]?[0-9]+)(?:[.,]([0-9]{0,9}))?S)?)?$`)

// parseDuration reads ISO-8601 durations of days, hours, minutes and seconds: P1DT2H3M4.5S.
func parseDuration(text string) (time.Duration, error) {
	failed := errors.New("Text cannot be parsed to a Duration") //nolint:staticcheck // the words of Kafka's tools
	groups := durationPattern.FindStringSubmatch(text)
	if groups == nil || strings.EqualFold(groups[3], "T") || groups[2]+groups[3] == "" {
		return 0, failed
	}
	var total time.Duration
	for i, unit := range map[int]time.Duration{2: 24 * time.Hour, 4: time.Hour, 5: time.Minute, 6: time.Second} {
		if groups[i] == "" {
			continue
		}
		count, err := strconv.ParseInt(strings.TrimPrefix(groups[i], "+"), 10, 64)
		if err != nil || count > int64(1<<62)/int64(unit) || count < -int64(1<<62)/int64(unit) {
			return 0, failed
		}
		total += time.Duration(count) * unit
	}
	if groups[7] != "" {
		nanos, err := strconv.ParseInt((groups[7] + "000000000")[:9], 10, 64)
		if err != nil {
			return 0, failed
		}
		if strings.HasPrefix(groups[6], "-") {
			nanos = -nanos
		}
		total += time.Duration(nanos)
	}
	if groups[1] == "-" {
		total = -total
	}
	return total, nil
}
