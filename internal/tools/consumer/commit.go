package consumer

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/client"
)

const defaultCommitInterval = 5 * time.Second

// committer commits what a group member has printed. Like Kafka's consumer, and unlike the
// client library's own automatic commits, it commits the position of every partition that the
// member owns, read or not, so that a description of the group shows the lag of all.
//
// The client library calls resolve, revoked and lost from its own goroutine.
type committer struct {
	client   *client.Client
	earliest bool
	fixed    bool // auto.offset.reset=none: positions come from the group alone
	interval time.Duration
	warn     func(message string)

	mu        sync.Mutex
	positions map[string]map[int32]kgo.EpochOffset
	dirty     bool
	lastAt    time.Time
}

// resolve learns the positions from which partitions are read. It turns "start" and "end" into
// numbers, because these can be committed.
func (c *committer) resolve(ctx context.Context, starts map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	var edges kadm.ListedOffsets
	if !c.fixed && len(starts) > 0 {
		admin := kadm.NewClient(c.client.Client)
		list := admin.ListEndOffsets
		if c.earliest {
			list = admin.ListStartOffsets
		}
		// Without an answer the client library finds its own way from "start" or "end".
		edges, _ = list(ctx, slices.Sorted(maps.Keys(starts))...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, partitions := range starts {
		for partition, start := range partitions {
			position := start.EpochOffset()
			if position.Offset < 0 {
				edge, ok := edges.Lookup(topic, partition)
				if !ok || edge.Err != nil || edge.Offset < 0 {
					continue
				}
				position = kgo.EpochOffset{Epoch: -1, Offset: edge.Offset}
				partitions[partition] = kgo.NewOffset().At(edge.Offset)
			}
			c.set(topic, partition, position)
		}
	}
	return starts, nil
}

// set is called with the lock held.
func (c *committer) set(topic string, partition int32, position kgo.EpochOffset) {
	if c.positions[topic] == nil {
		c.positions[topic] = map[int32]kgo.EpochOffset{}
	}
	c.positions[topic][partition] = position
	c.dirty = true
}

// printed moves the positions behind records.
func (c *committer) printed(records []*kgo.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		c.set(r.Topic, r.Partition, kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1})
	}
}

// due returns when the next commit is wanted; the zero time if nothing has changed.
func (c *committer) due() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return time.Time{}
	}
	return c.lastAt.Add(c.interval)
}

func (c *committer) revoked(ctx context.Context, _ *kgo.Client, partitions map[string][]int32) {
	c.commit(ctx)
	c.lost(ctx, nil, partitions)
}

func (c *committer) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, indexes := range partitions {
		for _, partition := range indexes {
			delete(c.positions[topic], partition)
		}
	}
}

// commit commits the positions that have changed since the last commit, with all others.
func (c *committer) commit(ctx context.Context) {
	c.mu.Lock()
	offsets := make(map[string]map[int32]kgo.EpochOffset, len(c.positions))
	for topic, partitions := range c.positions {
		if len(partitions) > 0 {
			offsets[topic] = maps.Clone(partitions)
		}
	}
	wanted := c.dirty && len(offsets) > 0
	c.dirty, c.lastAt = false, time.Now()
	c.mu.Unlock()
	if !wanted {
		return
	}
	c.client.CommitOffsetsSync(client.CommitContext(ctx), offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err == nil {
			err = client.FirstCommitError(resp)
		}
		if err != nil {
			c.warn("Offset commit failed: " + client.Convert(err, "commit").Error())
			c.mu.Lock()
			c.dirty = true
			c.mu.Unlock()
		}
	})
}
