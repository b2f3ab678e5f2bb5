package consumer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// Record types of __consumer_offsets and of __transaction_state.
const (
	legacyOffsetCommit = 0
	offsetCommit       = 1
	groupMetadata      = 2
	transactionLog     = 0
)

// coordinatorFormatter prints records of a coordinator's topic as JSON objects that stand one
// after the other without separator, as Kafka 4.3 does. Records of other types print nothing.
type coordinatorFormatter struct {
	types   []int16
	decoder func(kind int16, key, value []byte) (keyData, valueData object, version int16, err error)
}

func newOffsetsFormatter(map[string]string) (formatter, error) {
	return &coordinatorFormatter{types: []int16{legacyOffsetCommit, offsetCommit}, decoder: decodeOffsetCommit}, nil
}

func newGroupMetadataFormatter(map[string]string) (formatter, error) {
	return &coordinatorFormatter{types: []int16{groupMetadata}, decoder: decodeGroupMetadata}, nil
}

func newTransactionLogFormatter(map[string]string) (formatter, error) {
	return &coordinatorFormatter{types: []int16{transactionLog}, decoder: decodeTransactionLog}, nil
}

func (f *coordinatorFormatter) format(dst []byte, r *kgo.Record) ([]byte, error) {
	if r.Key == nil {
		return dst, nil
	}
	if len(r.Key) < 2 {
		return dst, fmt.Errorf("could not read record at offset %d: its key of %d bytes has no type", r.Offset, len(r.Key))
	}
	kind := int16(binary.BigEndian.Uint16(r.Key))
	wanted := false
	for _, t := range f.types {
		wanted = wanted || t == kind
	}
	if !wanted {
		return dst, nil
	}
	key, value, version, err := f.decoder(kind, r.Key, r.Value)
	if err != nil {
		return dst, fmt.Errorf("could not read record at offset %d: %w", r.Offset, err)
	}
	printed := object{{"key", object{{"type", kind}, {"data", key}}}, {"value", nil}}
	if r.Value != nil {
		printed[1].value = object{{"version", version}, {"data", value}}
	}
	var b bytes.Buffer
	if err := encode(&b, printed); err != nil {
		return dst, fmt.Errorf("could not print record at offset %d: %w", r.Offset, err)
	}
	return append(dst, b.Bytes()...), nil
}

func decodeOffsetCommit(_ int16, keyBytes, valueBytes []byte) (keyData, valueData object, version int16, err error) {
	var key kmsg.OffsetCommitKey
	if err := key.ReadFrom(keyBytes); err != nil {
		return nil, nil, 0, fmt.Errorf("key: %w", err)
	}
	keyData = object{{"group", key.Group}, {"topic", key.Topic}, {"partition", key.Partition}}
	if valueBytes == nil {
		return keyData, nil, 0, nil
	}
	value := kmsg.NewOffsetCommitValue()
	if err := value.ReadFrom(valueBytes); err != nil {
		return nil, nil, 0, fmt.Errorf("value: %w", err)
	}
	valueData = object{{"offset", value.Offset}}
	if value.Version >= 3 {
		valueData = append(valueData, member{"leaderEpoch", value.LeaderEpoch})
	}
	valueData = append(valueData, member{"metadata", value.Metadata}, member{"commitTimestamp", value.CommitTimestamp})
	if value.Version == 1 {
		valueData = append(valueData, member{"expireTimestamp", value.ExpireTimestamp})
	}
	if id := kafka.UUID(value.TopicID); value.Version >= 4 && !id.IsZero() {
		valueData = append(valueData, member{"topicId", id.String()})
	}
	return keyData, valueData, value.Version, nil
}

func decodeGroupMetadata(_ int16, keyBytes, valueBytes []byte) (keyData, valueData object, version int16, err error) {
	var key kmsg.GroupMetadataKey
	if err := key.ReadFrom(keyBytes); err != nil {
		return nil, nil, 0, fmt.Errorf("key: %w", err)
	}
	keyData = object{{"group", key.Group}}
	if valueBytes == nil {
		return keyData, nil, 0, nil
	}
	value := kmsg.NewGroupMetadataValue()
	if err := value.ReadFrom(valueBytes); err != nil {
		return nil, nil, 0, fmt.Errorf("value: %w", err)
	}
	valueData = object{
		{"protocolType", value.ProtocolType}, {"generation", value.Generation},
		{"protocol", value.Protocol}, {"leader", value.Leader},
	}
	if value.Version >= 2 {
		valueData = append(valueData, member{"currentStateTimestamp", value.CurrentStateTimestamp})
	}
	members := make([]object, 0, len(value.Members))
	for _, m := range value.Members {
		printed := object{{"memberId", m.MemberID}}
		if value.Version >= 3 {
			printed = append(printed, member{"groupInstanceId", m.InstanceID})
		}
		printed = append(printed, member{"clientId", m.ClientID}, member{"clientHost", m.ClientHost})
		if value.Version >= 1 {
			printed = append(printed, member{"rebalanceTimeout", m.RebalanceTimeoutMillis})
		}
		printed = append(printed, member{"sessionTimeout", m.SessionTimeoutMillis},
			member{"subscription", nonNil(m.Subscription)}, member{"assignment", nonNil(m.Assignment)})
		members = append(members, printed)
	}
	return keyData, append(valueData, member{"members", members}), value.Version, nil
}

func decodeTransactionLog(_ int16, keyBytes, valueBytes []byte) (keyData, valueData object, version int16, err error) {
	var key kmsg.TxnMetadataKey
	if err := key.ReadFrom(keyBytes); err != nil {
		return nil, nil, 0, fmt.Errorf("key: %w", err)
	}
	keyData = object{{"transactionalId", key.TransactionalID}}
	if valueBytes == nil {
		return keyData, nil, 0, nil
	}
	value := kmsg.NewTxnMetadataValue()
	if err := value.ReadFrom(valueBytes); err != nil {
		return nil, nil, 0, fmt.Errorf("value: %w", err)
	}
	valueData = object{{"producerId", value.ProducerID}}
	if value.PreviousProducerID != -1 {
		valueData = append(valueData, member{"previousProducerId", value.PreviousProducerID})
	}
	if value.NextProducerID != -1 {
		valueData = append(valueData, member{"nextProducerId", value.NextProducerID})
	}
	valueData = append(valueData, member{"producerEpoch", value.ProducerEpoch})
	if value.NextProducerEpoch != -1 {
		valueData = append(valueData, member{"nextProducerEpoch", value.NextProducerEpoch})
	}
	var topics []object // null where the transaction has none
	if value.Topics != nil {
		topics = make([]object, 0, len(value.Topics))
	}
	for _, t := range value.Topics {
		ids := t.Partitions
		if ids == nil {
			ids = []int32{}
		}
		topics = append(topics, object{{"topic", t.Topic}, {"partitionIds", ids}})
	}
	valueData = append(valueData, member{"transactionTimeoutMs", value.TimeoutMillis},
		member{"transactionStatus", int8(value.State)}, member{"transactionPartitions", topics},
		member{"transactionLastUpdateTimestampMs", value.LastUpdateTimestamp}, member{"transactionStartTimestampMs", value.StartTimestamp})
	if value.ClientTransactionVersion != 0 {
		valueData = append(valueData, member{"clientTransactionVersion", value.ClientTransactionVersion})
	}
	return keyData, valueData, value.Version, nil
}

// nonNil makes an absent byte string print as "" rather than null.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encode(&b, m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := encode(&b, m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encode writes a value as Kafka's tools print it: without HTML escapes and line end.
func encode(b *bytes.Buffer, value any) error {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1)
	return nil
}
