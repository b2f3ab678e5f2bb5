package group

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// Replay implements shard.Shard. Records of consumer, share and streams groups are counted and
// skipped.
func (s *Shard) Replay(p shard.Position, r shard.Record) error {
	if len(r.Key) < 2 {
		return fmt.Errorf("offset %d: key: %w", p.Offset, errShortRecord)
	}
	var err error
	switch int16(binary.BigEndian.Uint16(r.Key)) {
	case keyTypeLegacyOffsetCommit, keyTypeOffsetCommit:
		err = s.replayOffset(p, r)
	case keyTypeGroupMetadata:
		err = s.replayGroup(r)
	default:
		s.metrics.skippedRecords.Inc()
	}
	if err != nil {
		return fmt.Errorf("offset %d: %w", p.Offset, err)
	}
	return nil
}

func (s *Shard) replayOffset(p shard.Position, r shard.Record) error {
	key, err := decodeOffsetCommitKey(r.Key)
	if err != nil {
		return err
	}
	if r.Value == nil {
		s.removeOffset(key)
		s.pending.remove(key)
		return nil
	}
	value, err := decodeOffsetCommit(r.Value)
	if err != nil {
		return err
	}
	s.lastRecord = max(s.lastRecord, p.Offset)
	value.recordOffset = s.lastRecord
	if p.ProducerID == kafka.NoProducerID {
		s.putOffset(key, value)
		return nil
	}
	s.pending.put(p.ProducerID, key, value)
	s.groupOf(key.group)
	return nil
}

// ReplayEndTransaction implements shard.Shard.
func (s *Shard) ReplayEndTransaction(producerID int64, committed bool) {
	pending := s.pending.take(producerID)
	if !committed {
		return
	}
	for key, value := range pending { // order does not matter: the keys differ
		if existing, ok := s.offsetOf(key); !ok || existing.recordOffset < value.recordOffset {
			s.putOffset(key, value)
		}
	}
}

func (s *Shard) replayGroup(r shard.Record) error {
	id, err := decodeGroupKey(r.Key)
	if err != nil {
		return err
	}
	former := s.groups[id]
	if former != nil {
		offsets := former.offsets
		former.offsets = nil
		s.forgetGroup(former)
		if r.Value != nil || len(offsets) > 0 {
			// A tombstone with offsets left is a group that became one of another kind: the
			// offsets stay, as those of a simple group.
			s.createGroup(id).offsets = offsets
		}
	}
	if r.Value == nil {
		return nil
	}
	value, err := decodeGroupMetadata(r.Value)
	if err != nil {
		return err
	}
	g := s.groupOf(id)
	g.protocolType, g.generation, g.stateSinceMs = value.ProtocolType, value.Generation, value.CurrentStateTimestamp
	if value.Protocol != nil {
		g.protocol = *value.Protocol
	}
	for i := range value.Members {
		v := &value.Members[i]
		if g.membersByID[v.MemberID] != nil {
			return fmt.Errorf("group %q has member %q twice", id, v.MemberID)
		}
		m := &member{
			id: v.MemberID, instanceID: v.InstanceID, clientID: v.ClientID, clientHost: v.ClientHost,
			rebalanceTimeoutMs: v.RebalanceTimeoutMillis, sessionTimeoutMs: v.SessionTimeoutMillis,
			protocols:  []assignorProtocol{{name: g.protocol, metadata: append([]byte{}, v.Subscription...)}},
			assignment: append([]byte(nil), v.Assignment...),
		}
		s.initHeartbeat(g, m)
		g.addMember(m, value.ProtocolType)
	}
	g.leader = ""
	if value.Leader != nil {
		g.leader = *value.Leader
	}
	if g.leader != "" && g.membersByID[g.leader] == nil {
		return fmt.Errorf("group %q names a leader %q that is not a member", id, g.leader)
	}
	if len(g.members) > 0 {
		stateSinceMs := g.stateSinceMs
		s.transition(g, stateStable)
		g.stateSinceMs = stateSinceMs
	}
	g.updateSubscribed()
	return nil
}

func decodeGroupKey(b []byte) (string, error) {
	// int16 key type, then a string with an int16 length.
	if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) != len(b)-4 {
		return "", fmt.Errorf("key of group metadata has %d bytes, which its length field contradicts", len(b))
	}
	return strings.Clone(string(b[4:])), nil
}

// groupOf returns the group called id; one that only commits offsets comes into being with its
// first commit.
func (s *Shard) groupOf(id string) *classicGroup {
	if g := s.groups[id]; g != nil {
		return g
	}
	return s.createGroup(id)
}

func (s *Shard) offsetOf(k offsetKey) (committedOffset, bool) {
	g := s.groups[k.group]
	if g == nil {
		return committedOffset{}, false
	}
	o, ok := g.offsets[k.topic][k.partition]
	return o, ok
}

func (s *Shard) putOffset(k offsetKey, o committedOffset) {
	g := s.groupOf(k.group)
	partitions := g.offsets[k.topic]
	if partitions == nil {
		partitions = map[int32]committedOffset{}
		g.offsets[k.topic] = partitions
	}
	if _, exists := partitions[k.partition]; !exists {
		s.metrics.offsets.Add(1)
	}
	partitions[k.partition] = o
}

func (s *Shard) removeOffset(k offsetKey) {
	g := s.groups[k.group]
	if g == nil {
		return
	}
	partitions := g.offsets[k.topic]
	if _, exists := partitions[k.partition]; !exists {
		return
	}
	s.metrics.offsets.Add(-1)
	delete(partitions, k.partition)
	if len(partitions) == 0 {
		delete(g.offsets, k.topic)
	}
}
