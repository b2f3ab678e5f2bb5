package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// MetadataHistory checks that the metadata log, once a record of it was committed, never
// changes: not by kill -9, not by power loss.
type MetadataHistory struct {
	images map[int64]uint64 // fingerprint of the image by the offset of its last record
	last   int64
}

// NewMetadataHistory returns a history before the first record.
func NewMetadataHistory() *MetadataHistory {
	return &MetadataHistory{images: map[int64]uint64{}, last: -1}
}

// Published notes the image that a process published at offset. A process that starts
// publishes those of its predecessors again, or leaves some out (a snapshot).
func (h *MetadataHistory) Published(offset int64, fingerprint uint64) error {
	if before, known := h.images[offset]; known && before != fingerprint {
		return fmt.Errorf("the metadata at offset %d is not what was committed there", offset)
	}
	h.images[offset] = fingerprint
	h.last = max(h.last, offset)
	return nil
}

// Loaded notes how far a process that has just started had to go before it was active.
func (h *MetadataHistory) Loaded(offset int64) error {
	if offset < h.last {
		return fmt.Errorf("the metadata ends at offset %d after a start, but offset %d was committed", offset, h.last)
	}
	return nil
}

// OwnershipHistory checks that in a generation of a group a partition has at most one owner,
// and that generations do not go back.
type OwnershipHistory struct {
	owners      map[ownedPartition]string
	generations *Levels
}

type ownedPartition struct {
	group      string
	generation int32
	tp         kafka.TopicPartition
}

// NewOwnershipHistory returns a history without groups.
func NewOwnershipHistory() *OwnershipHistory {
	return &OwnershipHistory{owners: map[ownedPartition]string{}, generations: NewLevels()}
}

// Assigned notes that a member was told what it owns.
func (h *OwnershipHistory) Assigned(group string, generation int32, member string, owned []kafka.TopicPartition) error {
	if err := h.generations.Observe("the generation of "+group, int64(generation)); err != nil {
		return err
	}
	for _, tp := range owned {
		key := ownedPartition{group, generation, tp}
		if other, taken := h.owners[key]; taken && other != member {
			return fmt.Errorf("generation %d of %s: %s belongs to %s and to %s", generation, group, tp, other, member)
		}
		h.owners[key] = member
	}
	return nil
}

// PowerLost lets generations of a group be used again.
func (h *OwnershipHistory) PowerLost(group string) {
	h.generations.Forget("the generation of " + group)
	maps.DeleteFunc(h.owners, func(key ownedPartition, _ string) bool { return key.group == group })
}

// CommitHistory checks the committed offsets of groups, which members only raise.
type CommitHistory struct {
	acked map[committedPartition]int64
	sent  map[committedPartition]map[int64]bool
}

type committedPartition struct {
	group string
	tp    kafka.TopicPartition
}

// NewCommitHistory returns a history without commits.
func NewCommitHistory() *CommitHistory {
	return &CommitHistory{acked: map[committedPartition]int64{}, sent: map[committedPartition]map[int64]bool{}}
}

// Sent notes a commit that reaches the coordinator.
func (h *CommitHistory) Sent(group string, tp kafka.TopicPartition, offset int64) {
	key := committedPartition{group, tp}
	if h.sent[key] == nil {
		h.sent[key] = map[int64]bool{}
	}
	h.sent[key][offset] = true
}

// Acked notes that it was answered without error.
func (h *CommitHistory) Acked(group string, tp kafka.TopicPartition, offset int64) {
	key := committedPartition{group, tp}
	h.acked[key] = max(h.acked[key], offset)
}

// Fetched notes an answer of the coordinator; -1 says that nothing is committed.
func (h *CommitHistory) Fetched(group string, tp kafka.TopicPartition, offset int64) error {
	key := committedPartition{group, tp}
	if acked, known := h.acked[key]; known && offset < acked {
		return fmt.Errorf("group %s had committed offset %d of %s and now has %d", group, acked, tp, offset)
	}
	if offset >= 0 && !h.sent[key][offset] {
		return fmt.Errorf("group %s has offset %d of %s, which nobody committed", group, offset, tp)
	}
	return nil
}

// PowerLost lets the group fall back to earlier commits.
func (h *CommitHistory) PowerLost(group string) {
	maps.DeleteFunc(h.acked, func(key committedPartition, _ int64) bool { return key.group == group })
}

// State is what a process knows that its disk must know, too: one line per fact.
type State map[string]string

// Difference tells the first fact in which two states differ, "" if there is none.
func (s State) Difference(other State) string {
	keys := slices.Sorted(maps.Keys(s))
	for _, key := range slices.Sorted(maps.Keys(other)) {
		if _, known := s[key]; !known {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if s[key] != other[key] {
			return fmt.Sprintf("%s: %q and %q", key, s[key], other[key])
		}
	}
	return ""
}
