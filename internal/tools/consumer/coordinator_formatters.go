package consumer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/internaltopics"
)

// coordinatorFormatter prints records of a coordinator's topic as JSON objects that stand one
// after the other without separator, as Kafka 4.3 does. Records of other types print nothing.
type coordinatorFormatter struct {
	kinds  []int16
	decode func(key, value []byte) (internaltopics.Record, error)
}

func newOffsetsFormatter(map[string]string) (formatter, error) {
	return &coordinatorFormatter{[]int16{internaltopics.LegacyOffsetCommit, internaltopics.OffsetCommit}, internaltopics.DecodeGroupRecord}, nil
}

func newGroupMetadataFormatter(map[string]string) (formatter, error) {
	return &coordinatorFormatter{[]int16{internaltopics.GroupMetadata}, internaltopics.DecodeGroupRecord}, nil
}

func newTransactionLogFormatter(map[string]string) (formatter, error) {
	return &coordinatorFormatter{[]int16{internaltopics.Transaction}, internaltopics.DecodeTransactionRecord}, nil
}

func newShareStateFormatter(map[string]string) (formatter, error) {
	return &coordinatorFormatter{[]int16{internaltopics.ShareSnapshot, internaltopics.ShareUpdate}, internaltopics.DecodeShareRecord}, nil
}

func (f *coordinatorFormatter) format(dst []byte, r *kgo.Record) ([]byte, error) {
	if r.Key == nil {
		return dst, nil
	}
	decoded, err := f.decode(r.Key, r.Value)
	if _, unknown := errors.AsType[*internaltopics.UnknownKindError](err); unknown {
		return dst, nil
	}
	if len(r.Key) >= 2 && !slices.Contains(f.kinds, decoded.Kind) {
		return dst, nil
	}
	if err != nil {
		return dst, fmt.Errorf("could not read record at offset %d: %w", r.Offset, err)
	}
	printed := internaltopics.Object{
		{Name: "key", Value: internaltopics.Object{{Name: "type", Value: decoded.Kind}, {Name: "data", Value: decoded.Key}}},
		{Name: "value", Value: nil},
	}
	if !decoded.IsTombstone {
		printed[1].Value = internaltopics.Object{{Name: "version", Value: decoded.Version}, {Name: "data", Value: decoded.Value}}
	}
	return printed.Append(dst), nil
}
