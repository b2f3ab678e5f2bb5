package wire

import (
	"encoding/binary"
	"math/bits"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The encoders below write what kmsg writes, without its copy of the record bytes and without
// reflection per partition; encode_test.go and a fuzz target compare the two byte for byte.

// fetchTopicIDsFrom is the Fetch version, produceTopicIDsFrom the Produce version, that names
// topics by id only (KIP-516).
const (
	fetchFlexibleFrom   = 12
	fetchTopicIDsFrom   = 13
	produceFlexibleFrom = 9
	produceTopicIDsFrom = 13
)

// AppendTo encodes the response; record bytes become external parts of f.
func (b *FetchBody) AppendTo(f *Frame, version int16) {
	r := b.Response
	e := encoder{buf: f.buf, flexible: version >= fetchFlexibleFrom}
	if version >= 1 {
		e.int32(r.ThrottleMillis)
	}
	if version >= 7 {
		e.int16(r.ErrorCode)
		e.int32(r.SessionID)
	}
	e.arrayLength(len(r.Topics))
	files, index := b.Files, 0
	for i := range r.Topics {
		t := &r.Topics[i]
		if version < fetchTopicIDsFrom {
			e.string(t.Topic)
		} else {
			e.uuid(t.TopicID)
		}
		e.arrayLength(len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			appendFetchPartition(&e, p, version)
			if len(files) > 0 && files[0].Index == index {
				e.arrayLength(files[0].Range.SizeBytes)
				f.buf = e.buf
				f.appendFile(files[0].Range)
				files = files[1:]
			} else {
				e.nullableArrayLength(len(p.RecordBatches), p.RecordBatches == nil)
				f.buf = e.buf
				f.appendExternal(p.RecordBatches)
			}
			index++
			if e.flexible {
				appendFetchPartitionTags(&e, p)
			}
		}
		e.noTags()
	}
	e.brokersTag(len(r.Brokers), func(i int) brokerEndpoint {
		n := &r.Brokers[i]
		return brokerEndpoint{n.NodeID, n.Host, n.Port, n.Rack}
	})
	f.buf = e.buf
}

// appendFetchPartition writes a partition up to the length of its records.
func appendFetchPartition(e *encoder, p *kmsg.FetchResponseTopicPartition, version int16) {
	e.int32(p.Partition)
	e.int16(p.ErrorCode)
	e.int64(p.HighWatermark)
	if version >= 4 {
		e.int64(p.LastStableOffset)
	}
	if version >= 5 {
		e.int64(p.LogStartOffset)
	}
	if version >= 4 {
		e.nullableArrayLength(len(p.AbortedTransactions), p.AbortedTransactions == nil)
		for i := range p.AbortedTransactions {
			e.int64(p.AbortedTransactions[i].ProducerID)
			e.int64(p.AbortedTransactions[i].FirstOffset)
			e.noTags()
		}
	}
	if version >= 11 {
		e.int32(p.PreferredReadReplica)
	}
}

func appendFetchPartitionTags(e *encoder, p *kmsg.FetchResponseTopicPartition) {
	diverging := p.DivergingEpoch.Epoch != -1 || p.DivergingEpoch.EndOffset != -1
	leader := p.CurrentLeader.LeaderID != -1 || p.CurrentLeader.LeaderEpoch != -1
	snapshot := p.SnapshotID.EndOffset != -1 || p.SnapshotID.Epoch != -1
	count := 0
	for _, present := range [...]bool{diverging, leader, snapshot} {
		if present {
			count++
		}
	}
	e.uvarint(uint32(count))
	if diverging {
		e.tag(0, 13)
		e.int32(p.DivergingEpoch.Epoch)
		e.int64(p.DivergingEpoch.EndOffset)
		e.noTags()
	}
	if leader {
		e.tag(1, 9)
		e.int32(p.CurrentLeader.LeaderID)
		e.int32(p.CurrentLeader.LeaderEpoch)
		e.noTags()
	}
	if snapshot {
		e.tag(2, 13)
		e.int64(p.SnapshotID.EndOffset)
		e.int32(p.SnapshotID.Epoch)
		e.noTags()
	}
}

// AppendTo encodes the response.
func (b *ProduceBody) AppendTo(f *Frame, version int16) {
	r := b.Response
	e := encoder{buf: f.buf, flexible: version >= produceFlexibleFrom}
	e.arrayLength(len(r.Topics))
	for i := range r.Topics {
		t := &r.Topics[i]
		if version < produceTopicIDsFrom {
			e.string(t.Topic)
		} else {
			e.uuid(t.TopicID)
		}
		e.arrayLength(len(t.Partitions))
		for j := range t.Partitions {
			appendProducePartition(&e, &t.Partitions[j], version)
		}
		e.noTags()
	}
	if version >= 1 {
		e.int32(r.ThrottleMillis)
	}
	e.brokersTag(len(r.Brokers), func(i int) brokerEndpoint {
		n := &r.Brokers[i]
		return brokerEndpoint{n.NodeID, n.Host, n.Port, n.Rack}
	})
	f.buf = e.buf
}

func appendProducePartition(e *encoder, p *kmsg.ProduceResponseTopicPartition, version int16) {
	e.int32(p.Partition)
	e.int16(p.ErrorCode)
	e.int64(p.BaseOffset)
	if version >= 2 {
		e.int64(p.LogAppendTime)
	}
	if version >= 5 {
		e.int64(p.LogStartOffset)
	}
	if version >= 8 {
		e.arrayLength(len(p.ErrorRecords))
		for i := range p.ErrorRecords {
			e.int32(p.ErrorRecords[i].RelativeOffset)
			e.nullableString(p.ErrorRecords[i].ErrorMessage)
			e.noTags()
		}
		e.nullableString(p.ErrorMessage)
	}
	if !e.flexible {
		return
	}
	if p.CurrentLeader.LeaderID == -1 && p.CurrentLeader.LeaderEpoch == -1 {
		e.uvarint(0)
		return
	}
	e.uvarint(1)
	e.tag(0, 9)
	e.int32(p.CurrentLeader.LeaderID)
	e.int32(p.CurrentLeader.LeaderEpoch)
	e.noTags()
}

// encoder appends Kafka's primitive types to buf.
type encoder struct {
	buf      []byte
	flexible bool
}

func (e *encoder) int16(v int16) { e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(v)) }
func (e *encoder) int32(v int32) { e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(v)) }
func (e *encoder) int64(v int64) { e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(v)) }

func (e *encoder) uuid(v [16]byte) { e.buf = append(e.buf, v[:]...) }

func (e *encoder) uvarint(v uint32) { e.buf = binary.AppendUvarint(e.buf, uint64(v)) }

func (e *encoder) arrayLength(n int) {
	if e.flexible {
		e.uvarint(uint32(n) + 1)
	} else {
		e.int32(int32(n))
	}
}

func (e *encoder) nullableArrayLength(n int, isNull bool) {
	switch {
	case !isNull:
		e.arrayLength(n)
	case e.flexible:
		e.uvarint(0)
	default:
		e.int32(-1)
	}
}

func (e *encoder) string(s string) {
	if e.flexible {
		e.uvarint(uint32(len(s)) + 1)
	} else {
		e.int16(int16(len(s)))
	}
	e.buf = append(e.buf, s...)
}

func (e *encoder) nullableString(s *string) {
	switch {
	case s != nil:
		e.string(*s)
	case e.flexible:
		e.uvarint(0)
	default:
		e.int16(-1)
	}
}

func (e *encoder) noTags() {
	if e.flexible {
		e.buf = append(e.buf, 0)
	}
}

// tag begins a tagged field whose content has size bytes.
func (e *encoder) tag(number, size uint32) {
	e.uvarint(number)
	e.uvarint(size)
}

type brokerEndpoint struct {
	nodeID int32
	host   string
	port   int32
	rack   *string
}

// brokersTag writes the tag section that ends a Produce or Fetch response: the endpoints of
// new leaders (KIP-951), if any, in tag 0.
func (e *encoder) brokersTag(count int, at func(i int) brokerEndpoint) {
	if !e.flexible {
		return
	}
	if count == 0 {
		e.uvarint(0)
		return
	}
	size := uvarintSize(uint32(count) + 1)
	for i := range count {
		b := at(i)
		size += 4 + uvarintSize(uint32(len(b.host))+1) + len(b.host) + 4 + 1 + 1
		if b.rack != nil {
			size += uvarintSize(uint32(len(*b.rack))+1) - 1 + len(*b.rack)
		}
	}
	e.uvarint(1)
	e.tag(0, uint32(size))
	e.arrayLength(count)
	for i := range count {
		b := at(i)
		e.int32(b.nodeID)
		e.string(b.host)
		e.int32(b.port)
		e.nullableString(b.rack)
		e.noTags()
	}
}

func uvarintSize(v uint32) int { return (bits.Len32(v|1) + 6) / 7 }
