package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/shard"
)

// Key types of __consumer_offsets: the int16 with which a record's key begins.
const (
	keyTypeLegacyOffsetCommit int16 = 0
	keyTypeOffsetCommit       int16 = 1
	keyTypeGroupMetadata      int16 = 2
)

// Value versions that Kafka 4.3 writes. An offset with an explicit expiry (OffsetCommit before
// version 5) takes version 1, the only one with that field.
const (
	groupMetadataVersion          int16 = 3
	offsetCommitVersion           int16 = 4
	offsetCommitVersionWithExpiry int16 = 1
)

// maxGroupMetadataVersion and maxOffsetCommitVersion are the newest versions that are read.
const (
	maxGroupMetadataVersion int16 = 4
	maxOffsetCommitVersion  int16 = 4
)

// noExpiry says that an offset has no expiry of its own.
const noExpiry int64 = -1

// committedOffset is one committed offset of a group.
type committedOffset struct {
	offset            int64
	leaderEpoch       int32
	metadata          string
	commitTimestampMs int64
	expireTimestampMs int64 // noExpiry but for commits of clients before OffsetCommit version 5
	topicID           kafka.UUID
	// recordOffset orders commits by their place in the log (Shard.lastRecord); a transaction that
	// ends later must not overwrite a newer commit with an older one.
	recordOffset int64
}

// offsetKey names one committed offset of a shard.
type offsetKey struct {
	group, topic string
	partition    int32
}

// recordsSizeBytes is what the records take as a batch.
func recordsSizeBytes(records ...shard.Record) int {
	size := record.BatchOverhead
	for i, r := range records {
		size += record.SizeBytes(i, r.Key, r.Value)
	}
	return size
}

func offsetCommitKey(k offsetKey) []byte {
	key := kmsg.OffsetCommitKey{Version: keyTypeOffsetCommit, Group: k.group, Topic: k.topic, Partition: k.partition}
	return key.AppendTo(nil)
}

func offsetCommitRecord(k offsetKey, o committedOffset) shard.Record {
	value := kmsg.NewOffsetCommitValue()
	value.Version = offsetCommitVersion
	if o.expireTimestampMs != noExpiry {
		value.Version = offsetCommitVersionWithExpiry
	}
	value.Offset, value.LeaderEpoch, value.Metadata = o.offset, o.leaderEpoch, o.metadata
	value.CommitTimestamp, value.ExpireTimestamp, value.TopicID = o.commitTimestampMs, o.expireTimestampMs, o.topicID
	return shard.Record{Key: offsetCommitKey(k), Value: value.AppendTo(nil)}
}

func offsetTombstone(k offsetKey) shard.Record { return shard.Record{Key: offsetCommitKey(k)} }

func groupKey(id string) []byte {
	key := kmsg.GroupMetadataKey{Version: keyTypeGroupMetadata, Group: id}
	return key.AppendTo(nil)
}

func groupTombstone(id string) shard.Record { return shard.Record{Key: groupKey(id)} }

// groupMetadataRecord is the group's generation as it now is.
func groupMetadataRecord(g *classicGroup) shard.Record {
	value := kmsg.NewGroupMetadataValue()
	value.Version = groupMetadataVersion
	value.ProtocolType, value.Generation, value.CurrentStateTimestamp = g.protocolType, g.generation, g.stateSinceMs
	value.Protocol, value.Leader = nonEmpty(g.protocol), nonEmpty(g.leader)
	value.Members = make([]kmsg.GroupMetadataValueMember, len(g.members))
	for i, m := range g.members {
		v := &value.Members[i]
		v.MemberID, v.InstanceID, v.ClientID, v.ClientHost = m.id, m.instanceID, m.clientID, m.clientHost
		v.RebalanceTimeoutMillis, v.SessionTimeoutMillis = m.rebalanceTimeoutMs, m.sessionTimeoutMs
		v.Subscription, v.Assignment = m.metadataFor(g.protocol), m.assignment
	}
	return shard.Record{Key: groupKey(g.id), Value: value.AppendTo(nil)}
}

// emptyGroupRecord is what the log says of a group whose first member is about to join.
func emptyGroupRecord(g *classicGroup) shard.Record {
	value := kmsg.NewGroupMetadataValue()
	value.Version, value.CurrentStateTimestamp = groupMetadataVersion, g.stateSinceMs
	return shard.Record{Key: groupKey(g.id), Value: value.AppendTo(nil)}
}

var errShortRecord = errors.New("the record ends before its version")

func decodeOffsetCommitKey(b []byte) (offsetKey, error) {
	var key kmsg.OffsetCommitKey
	if err := key.ReadFrom(b); err != nil {
		return offsetKey{}, fmt.Errorf("key of a committed offset: %w", err)
	}
	return offsetKey{group: key.Group, topic: key.Topic, partition: key.Partition}, nil
}

func decodeOffsetCommit(b []byte) (committedOffset, error) {
	if err := checkVersion(b, maxOffsetCommitVersion); err != nil {
		return committedOffset{}, fmt.Errorf("committed offset: %w", err)
	}
	value := kmsg.NewOffsetCommitValue()
	if err := value.ReadFrom(b); err != nil {
		return committedOffset{}, fmt.Errorf("committed offset: %w", err)
	}
	o := committedOffset{
		offset: value.Offset, leaderEpoch: value.LeaderEpoch, metadata: value.Metadata,
		commitTimestampMs: value.CommitTimestamp, expireTimestampMs: value.ExpireTimestamp, topicID: value.TopicID,
	}
	if value.Version < 3 {
		o.leaderEpoch = kafka.NoLeaderEpoch
	}
	if value.Version != offsetCommitVersionWithExpiry {
		o.expireTimestampMs = noExpiry
	}
	return o, nil
}

func decodeGroupMetadata(b []byte) (*kmsg.GroupMetadataValue, error) {
	if err := checkVersion(b, maxGroupMetadataVersion); err != nil {
		return nil, fmt.Errorf("group metadata: %w", err)
	}
	value := kmsg.NewGroupMetadataValue()
	if err := value.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("group metadata: %w", err)
	}
	if value.Version < 2 {
		value.CurrentStateTimestamp = -1
	}
	for i := range value.Members {
		if m := &value.Members[i]; value.Version < 1 || m.RebalanceTimeoutMillis == -1 {
			m.RebalanceTimeoutMillis = m.SessionTimeoutMillis
		}
	}
	return &value, nil
}

func checkVersion(b []byte, newest int16) error {
	if len(b) < 2 {
		return errShortRecord
	}
	if v := int16(binary.BigEndian.Uint16(b)); v < 0 || v > newest {
		return fmt.Errorf("version %d; 0 to %d are known", v, newest)
	}
	return nil
}
