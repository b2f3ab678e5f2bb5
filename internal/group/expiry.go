package group

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// expireOffsets removes offsets whose retention has passed (KIP-211), and then the groups that
// have neither members nor offsets. It runs every offsets.retention.check.interval.ms.
func (s *Shard) expireOffsets() {
	s.timers.schedule(&s.retention, later(s.nowMs, s.cfg.RetentionCheckIntervalMs))
	for _, g := range s.sortedGroups() {
		s.expireOffsetsOf(g)
		if g.state != stateEmpty || len(g.offsets) > 0 || len(g.pendingMembers) > 0 || s.pending.hasGroup(g.id) {
			continue
		}
		s.appendRecord(groupTombstone(g.id))
		s.forgetGroup(g)
	}
}

func (s *Shard) expireOffsetsOf(g *classicGroup) {
	if !g.mayExpireOffsets() {
		return
	}
	for _, topic := range sortedKeys(g.offsets) {
		if g.isSubscribedTo(topic) {
			continue
		}
		for _, partition := range sortedKeys(g.offsets[topic]) {
			k := offsetKey{group: g.id, topic: topic, partition: partition}
			if s.isExpired(g, g.offsets[topic][partition]) && !s.pending.has(k) {
				s.appendRecord(offsetTombstone(k))
				s.removeOffset(k)
				s.metrics.expirations.Inc()
			}
		}
	}
}

// mayExpireOffsets: offsets of a group that is rebalancing, or whose subscriptions are not
// known, are kept.
func (g *classicGroup) mayExpireOffsets() bool {
	return g.state == stateEmpty || g.protocolType == consumerProtocolType && g.subscribed != nil && g.state == stateStable
}

// isExpired reports whether the retention of o has passed. It counts from the moment the group
// lost its last member; for simple groups, and for topics that a stable group no longer reads,
// from the commit.
func (s *Shard) isExpired(g *classicGroup, o committedOffset) bool {
	if o.expireTimestampMs != noExpiry {
		return s.nowMs >= o.expireTimestampMs
	}
	since := o.commitTimestampMs
	if !g.isSimple() && g.state == stateEmpty && g.stateSinceMs != -1 {
		since = g.stateSinceMs
	}
	return s.nowMs-since >= s.cfg.OffsetsRetentionMs
}

// DeletedTopic names a topic that was deleted.
type DeletedTopic struct {
	Name string
	ID   kafka.UUID
}

// DeleteTopics removes all committed offsets of topics that no longer exist. Offsets that were
// committed for another topic of the same name stay.
func (s *Shard) DeleteTopics(topics []DeletedTopic, nowMs int64) shard.Effects {
	s.begin(nowMs)
	for _, g := range s.sortedGroups() {
		for _, topic := range topics {
			for _, partition := range sortedKeys(g.offsets[topic.Name]) {
				o := g.offsets[topic.Name][partition]
				if o.topicID.IsZero() || o.topicID == topic.ID {
					s.deleteOffset(offsetKey{group: g.id, topic: topic.Name, partition: partition})
				}
			}
		}
	}
	s.deleteFromTransactions(func(k offsetKey, o committedOffset) bool {
		return slices.ContainsFunc(topics, func(t DeletedTopic) bool {
			return t.Name == k.topic && (o.topicID.IsZero() || o.topicID == t.ID)
		})
	})
	return s.end()
}

// deleteFromTransactions removes, with tombstones, the offsets of open transactions that match.
func (s *Shard) deleteFromTransactions(matches func(offsetKey, committedOffset) bool) {
	var doomed []offsetKey
	for _, pending := range s.pending.byProducer {
		for k, o := range pending {
			if matches(k, o) {
				doomed = append(doomed, k)
			}
		}
	}
	slices.SortFunc(doomed, compareOffsetKeys)
	for _, k := range slices.Compact(doomed) {
		s.deleteOffset(k)
	}
}

func compareOffsetKeys(a, b offsetKey) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
