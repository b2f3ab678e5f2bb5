package internaltopics

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Record is what a record of an internal topic says.
type Record struct {
	Kind        int16
	Key         Object
	IsTombstone bool
	Version     int16 // of the value
	Value       Object

	isConsumerGroup bool
}

// UnknownKindError says that a record's key is of a type that is not known.
type UnknownKindError struct{ Kind int16 }

func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("Found an unknown record type %d", e.Kind) //nolint:staticcheck // the words of Kafka's tools
}

var errNoKind = errors.New("Could not read version from key's buffer.") //nolint:staticcheck // the words of Kafka's tools

func kindOf(key []byte) (int16, error) {
	if len(key) < 2 {
		return 0, errNoKind
	}
	return int16(binary.BigEndian.Uint16(key)), nil
}

// readValue reads a value whose version is at most newest.
func readValue(data []byte, newest int16, value interface{ ReadFrom([]byte) error }) error {
	if len(data) < 2 {
		return errors.New("Could not read version from value's buffer.") //nolint:staticcheck // the words of Kafka's tools
	}
	if v := int16(binary.BigEndian.Uint16(data)); v < 0 || v > newest {
		return fmt.Errorf("value: version %d; 0 to %d are known", v, newest)
	}
	if err := value.ReadFrom(data); err != nil {
		return fmt.Errorf("value: %w", err)
	}
	return nil
}

// Transaction is the one type of the records of __transaction_state.
const Transaction int16 = 0

const maxTransactionVersion = 1

// DecodeTransactionRecord reads a record of __transaction_state.
func DecodeTransactionRecord(keyBytes, valueBytes []byte) (Record, error) {
	kind, err := kindOf(keyBytes)
	if err != nil {
		return Record{}, err
	}
	if kind != Transaction {
		return Record{}, &UnknownKindError{Kind: kind}
	}
	r := Record{Kind: kind, IsTombstone: valueBytes == nil}
	var key kmsg.TxnMetadataKey
	if err := key.ReadFrom(keyBytes); err != nil {
		return r, fmt.Errorf("key: %w", err)
	}
	r.Key = Object{{"transactionalId", key.TransactionalID}}
	if r.IsTombstone {
		return r, nil
	}
	v := kmsg.NewTxnMetadataValue()
	if err := readValue(valueBytes, maxTransactionVersion, &v); err != nil {
		return r, err
	}
	r.Version, r.Value = v.Version, transactionValue(&v)
	return r, nil
}

func transactionValue(v *kmsg.TxnMetadataValue) Object {
	o := Object{{"producerId", v.ProducerID}}
	// Tagged fields stand where the schema has them, and only if they say something.
	if v.Version >= 1 && v.PreviousProducerID != -1 {
		o = append(o, Member{"previousProducerId", v.PreviousProducerID})
	}
	if v.Version >= 1 && v.NextProducerID != -1 {
		o = append(o, Member{"nextProducerId", v.NextProducerID})
	}
	o = append(o, Member{"producerEpoch", v.ProducerEpoch})
	if v.Version >= 1 && v.NextProducerEpoch != -1 {
		o = append(o, Member{"nextProducerEpoch", v.NextProducerEpoch})
	}
	o = append(o, Member{"transactionTimeoutMs", v.TimeoutMillis}, Member{"transactionStatus", int8(v.State)})
	var partitions any
	if v.Topics != nil {
		topics := make([]Object, 0, len(v.Topics))
		for _, t := range v.Topics {
			topics = append(topics, Object{{"topic", t.Topic}, {"partitionIds", t.Partitions}})
		}
		partitions = topics
	}
	o = append(o, Member{"transactionPartitions", partitions}, Member{"transactionLastUpdateTimestampMs", v.LastUpdateTimestamp},
		Member{"transactionStartTimestampMs", v.StartTimestamp})
	if v.Version >= 1 && v.ClientTransactionVersion != 0 {
		o = append(o, Member{"clientTransactionVersion", v.ClientTransactionVersion})
	}
	return o
}
