package kafka

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"unicode/utf16"
)

// Names of the internal topics.
const (
	ConsumerOffsetsTopic  = "__consumer_offsets"
	TransactionStateTopic = "__transaction_state"
	ShareGroupStateTopic  = "__share_group_state"
	ClusterMetadataTopic  = "__cluster_metadata"
)

// TopicPartition names one partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns "topic-partition", which is also the name of the partition's folder.
func (tp TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// Compare orders by topic, then by partition.
func (tp TopicPartition) Compare(other TopicPartition) int {
	return cmp.Or(cmp.Compare(tp.Topic, other.Topic), cmp.Compare(tp.Partition, other.Partition))
}

// TopicIDPartition names one partition of one incarnation of a topic.
type TopicIDPartition struct {
	TopicID UUID
	TopicPartition
}

// IsInternalTopic reports whether clients see topic marked internal.
func IsInternalTopic(topic string) bool {
	return topic == ConsumerOffsetsTopic || topic == TransactionStateTopic || topic == ShareGroupStateTopic
}

// MaxTopicNameLength is Kafka's limit: the folder name must stay within 255 bytes.
const MaxTopicNameLength = 249

// ValidateTopicName returns an ErrInvalidTopicException error unless name is legal.
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return Errorf(ErrInvalidTopicException, "the empty string is not allowed as a topic name")
	case name == "." || name == "..":
		return Errorf(ErrInvalidTopicException, "topic name cannot be \".\" or \"..\"")
	case len(name) > MaxTopicNameLength:
		return Errorf(ErrInvalidTopicException, "topic name has %d characters; at most %d are allowed", len(name), MaxTopicNameLength)
	}
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' {
			continue
		}
		return Errorf(ErrInvalidTopicException, "topic name %q has characters other than ASCII letters and digits, '.', '_' and '-'", name)
	}
	return nil
}

// CollisionKey returns the name with which two topics collide in metric names: Kafka treats
// '.' and '_' alike there, so "a.b" and "a_b" may not both exist.
func CollisionKey(topic string) string { return strings.ReplaceAll(topic, ".", "_") }

// StringHash is Java's String.hashCode over the UTF-16 code units of s.
func StringHash(s string) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(unit)
	}
	return h
}

// CoordinatorPartition returns the partition of a coordinator's topic that owns key, as
// Kafka computes it: the hash's absolute value modulo the number of partitions; the lowest number,
// which has none, counts as 0.
func CoordinatorPartition(key string, partitions int32) int32 {
	h := StringHash(key)
	if h == math.MinInt32 {
		h = 0
	}
	return max(h, -h) % partitions
}
