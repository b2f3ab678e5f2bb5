package txn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

const (
	keyType int16 = 0
	// valueVersion is the version that Kafka 4.3 writes with transaction.version 1 and above.
	valueVersion int16 = 1
)

var errShortRecord = errors.New("the record ends before its version")

func key(id string) []byte {
	k := kmsg.TxnMetadataKey{Version: keyType, TransactionalID: id}
	return k.AppendTo(nil)
}

func tombstone(id string) shard.Record { return shard.Record{Key: key(id)} }

// record is the transaction as it now is, as Kafka writes it at a level of transaction.version: older releases
// read what level 0 writes. What only the newer form can say is not left out.
func (t *transaction) record(level int16) shard.Record {
	v := kmsg.NewTxnMetadataValue()
	if v.Version = valueVersion; level == 0 && t.clientVersion < Version2 {
		v.Version = 0
	}
	v.ProducerID, v.PreviousProducerID, v.NextProducerID = t.producerID, t.prevProducerID, t.nextProducerID
	v.ProducerEpoch, v.TimeoutMillis, v.State = t.epoch, t.timeoutMs, kmsg.TransactionState(t.state)
	v.LastUpdateTimestamp, v.StartTimestamp, v.ClientTransactionVersion = t.lastUpdateMs, t.startMs, t.clientVersion
	if t.state != StateEmpty {
		v.Topics = []kmsg.TxnMetadataValueTopic{} // null says Empty
	}
	for _, tp := range t.partitions {
		if n := len(v.Topics); n == 0 || v.Topics[n-1].Topic != tp.Topic {
			v.Topics = append(v.Topics, kmsg.TxnMetadataValueTopic{Topic: tp.Topic})
		}
		last := &v.Topics[len(v.Topics)-1]
		last.Partitions = append(last.Partitions, tp.Partition)
	}
	return shard.Record{Key: key(t.id), Value: v.AppendTo(nil)}
}

// decodeKey returns the transactional id; known is false for a key of another kind.
func decodeKey(b []byte) (id string, known bool, err error) {
	if len(b) < 2 {
		return "", false, errShortRecord
	}
	if int16(binary.BigEndian.Uint16(b)) != keyType {
		return "", false, nil
	}
	var k kmsg.TxnMetadataKey
	if err := k.ReadFrom(b); err != nil {
		return "", false, fmt.Errorf("key of a transaction: %w", err)
	}
	return k.TransactionalID, true, nil
}

func decode(id string, b []byte) (*transaction, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("transaction %q: %w", id, errShortRecord)
	}
	if v := int16(binary.BigEndian.Uint16(b)); v < 0 || v > valueVersion {
		return nil, fmt.Errorf("transaction %q: version %d; 0 to %d are known", id, v, valueVersion)
	}
	v := kmsg.NewTxnMetadataValue()
	if err := v.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("transaction %q: %w", id, err)
	}
	t := &transaction{
		id: id, producerID: v.ProducerID, prevProducerID: v.PreviousProducerID, nextProducerID: v.NextProducerID,
		epoch: v.ProducerEpoch, lastEpoch: kafka.NoProducerEpoch, timeoutMs: v.TimeoutMillis, state: State(v.State),
		startMs: v.StartTimestamp, lastUpdateMs: v.LastUpdateTimestamp, clientVersion: v.ClientTransactionVersion,
	}
	switch t.state {
	case StateEmpty, StateOngoing, StatePrepareCommit, StatePrepareAbort, StateCompleteCommit, StateCompleteAbort:
	default:
		return nil, fmt.Errorf("transaction %q is in state %d, which is never written", id, v.State)
	}
	if t.state != StateEmpty {
		var partitions []kafka.TopicPartition
		for i := range v.Topics {
			for _, p := range v.Topics[i].Partitions {
				partitions = append(partitions, kafka.TopicPartition{Topic: v.Topics[i].Topic, Partition: p})
			}
		}
		t.setPartitions(partitions)
	}
	return t, nil
}
