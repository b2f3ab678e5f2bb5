package groups

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
)

// committed is one committed offset.
type committed struct {
	offset      int64
	leaderEpoch int32
}

// offsetRow is one line of --describe --offsets. Nil stands for a dash.
type offsetRow struct {
	topic                    string // empty: the member has no partition
	partition                int32
	offset, logEnd           *int64
	leaderEpoch              *int32
	memberID, host, clientID string
}

// lag is the distance from the committed offset to the end.
func (r offsetRow) lag() *int64 {
	if r.offset == nil || r.logEnd == nil || *r.offset == -1 {
		return nil
	}
	lag := *r.logEnd - *r.offset
	return &lag
}

func (t *tool) describeGroups(ctx context.Context) error {
	ids, err := t.groupIDs(ctx)
	if err != nil {
		return err
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	groups := make([]*description, len(ids))
	for i, id := range ids {
		if groups[i], err = t.described(ctx, id); err != nil {
			return err
		}
	}
	for _, g := range groups {
		printable, err := checkState(t.streams, g)
		if err != nil {
			return err
		}
		switch {
		case t.Has(t.members):
			printMembers(t.streams, g, printable, t.Has(t.verbose))
		case t.Has(t.state):
			if printable {
				printState(t.streams, g, t.Has(t.verbose))
			}
		default:
			rows, err := t.offsetRows(ctx, g)
			if err != nil {
				return err
			}
			if printable && len(rows) > 0 {
				printOffsets(t.streams, g.id, rows, t.Has(t.verbose))
			}
		}
	}
	return nil
}

// offsetRows lists members with their partitions, those with most partitions first, and then
// the partitions with committed offsets that nobody has.
func (t *tool) offsetRows(ctx context.Context, g *description) ([]offsetRow, error) {
	offsets, err := t.committedOffsets(ctx, g.id)
	if err != nil {
		return nil, err
	}
	unassigned := maps.Clone(offsets)
	wanted := slices.Collect(maps.Keys(offsets))
	for _, m := range g.members {
		for _, tp := range m.assignment {
			if _, known := offsets[tp]; !known {
				wanted = append(wanted, tp)
			}
			delete(unassigned, tp)
		}
	}
	ends, err := t.client.ListOffsets(ctx, wanted, kafka.LatestTimestamp)
	if err != nil {
		return nil, err
	}
	members := slices.DeleteFunc(slices.Clone(g.members), func(m groupMember) bool { return len(m.assignment) == 0 })
	slices.SortStableFunc(members, func(a, b groupMember) int { return len(b.assignment) - len(a.assignment) })
	var rows []offsetRow
	for _, m := range members {
		rows = append(rows, rowsOf(m.assignment, offsets, ends, m.id, m.host, m.clientID)...)
	}
	return append(rows, rowsOf(slices.Collect(maps.Keys(unassigned)), offsets, ends, "-", "-", "-")...), nil
}

func rowsOf(partitions []kafka.TopicPartition, offsets map[kafka.TopicPartition]committed, ends map[kafka.TopicPartition]client.ListedOffset, memberID, host, clientID string) []offsetRow {
	sorted := slices.Clone(partitions)
	client.SortPartitions(sorted)
	rows := make([]offsetRow, 0, len(sorted))
	for _, tp := range sorted {
		row := offsetRow{topic: tp.Topic, partition: tp.Partition, memberID: memberID, host: host, clientID: clientID}
		if c, ok := offsets[tp]; ok {
			row.offset = &c.offset
			if c.leaderEpoch >= 0 {
				row.leaderEpoch = &c.leaderEpoch
			}
		}
		if end, ok := ends[tp]; ok && end.Err == nil {
			row.logEnd = &end.Offset
		}
		rows = append(rows, row)
	}
	return rows
}

// committedOffsets returns all offsets that a group has committed.
func (t *tool) committedOffsets(ctx context.Context, group string) (map[kafka.TopicPartition]committed, error) {
	ctx, cancel := t.client.Context(ctx)
	defer cancel()
	fetched, err := t.admin.FetchOffsets(ctx, group)
	if err != nil {
		return nil, client.Convert(err, "listConsumerGroupOffsets")
	}
	offsets := map[kafka.TopicPartition]committed{}
	for topic, partitions := range fetched {
		for partition, o := range partitions {
			if o.Err != nil {
				return nil, fmt.Errorf("the offset of %s-%d: %w", topic, partition, client.Convert(o.Err, "listConsumerGroupOffsets"))
			}
			if o.At >= 0 {
				offsets[kafka.TopicPartition{Topic: topic, Partition: partition}] = committed{o.At, o.LeaderEpoch}
			}
		}
	}
	return offsets, nil
}
