package internaltopics

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/moldau/moldau/internal/kafka"
)

// Types of the records of __share_group_state.
const (
	ShareSnapshot int16 = 0
	ShareUpdate   int16 = 1
)

const (
	// deliveryCompleteCountTag is that of a field which KIP-1226 added.
	deliveryCompleteCountTag = 0
	maxShareValueVersion     = 0
)

// DecodeShareRecord reads a record of __share_group_state (KIP-932).
func DecodeShareRecord(keyBytes, valueBytes []byte) (Record, error) {
	kind, err := kindOf(keyBytes)
	if err != nil {
		return Record{}, err
	}
	if kind != ShareSnapshot && kind != ShareUpdate {
		return Record{}, &UnknownKindError{Kind: kind}
	}
	r := Record{Kind: kind, IsTombstone: valueBytes == nil}
	key := kbin.Reader{Src: keyBytes[2:]}
	group, topicID, partition := key.String(), kafka.UUID(key.Uuid()), key.Int32()
	if err := key.Complete(); err != nil {
		return r, fmt.Errorf("key: %w", err)
	}
	r.Key = Object{{"groupId", group}, {"topicId", topicID.String()}, {"partition", partition}}
	if r.IsTombstone {
		return r, nil
	}
	value := &shareValue{isSnapshot: kind == ShareSnapshot}
	if err := readValue(valueBytes, maxShareValueVersion, value); err != nil {
		return r, err
	}
	r.Version, r.Value = value.version, value.object
	return r, nil
}

// shareValue reads what a record says of a partition of a share group.
type shareValue struct {
	isSnapshot bool
	version    int16
	object     Object
}

// ReadFrom reads the value with its version.
func (v *shareValue) ReadFrom(data []byte) error {
	v.version = int16(binary.BigEndian.Uint16(data)) // readValue has looked at it
	b := &kbin.Reader{Src: data[2:]}
	v.object = Object{{"snapshotEpoch", b.Int32()}}
	if v.isSnapshot {
		v.object = append(v.object, Member{"stateEpoch", b.Int32()})
	}
	v.object = append(v.object, Member{"leaderEpoch", b.Int32()}, Member{"startOffset", b.Int64()})
	tagged := len(v.object) // where the schema has the tagged field
	if v.isSnapshot {
		v.object = append(v.object, Member{"createTimestamp", b.Int64()}, Member{"writeTimestamp", b.Int64()})
	}
	count := b.CompactArrayLen()
	batches := []Object{}
	for range count {
		batches = append(batches, Object{{"firstOffset", b.Int64()}, {"lastOffset", b.Int64()}, {"deliveryState", b.Int8()}, {"deliveryCount", b.Int16()}})
		skipTags(b, nil)
		if !b.Ok() {
			return errors.New("it ends within its batches")
		}
	}
	v.object = append(v.object, Member{"stateBatches", batches})
	complete := int32(-1)
	skipTags(b, func(tag uint32, field *kbin.Reader) {
		if tag == deliveryCompleteCountTag {
			complete = field.Int32()
		}
	})
	if complete != -1 {
		v.object = slices.Insert(v.object, tagged, Member{"deliveryCompleteCount", complete})
	}
	return b.Complete()
}

// skipTags goes over tagged fields, each of which read is given.
func skipTags(b *kbin.Reader, read func(tag uint32, field *kbin.Reader)) {
	for range b.Uvarint() {
		tag, size := b.Uvarint(), b.Uvarint()
		data := b.Span(int(size))
		if !b.Ok() {
			return
		}
		if read != nil {
			read(tag, &kbin.Reader{Src: data})
		}
	}
}
