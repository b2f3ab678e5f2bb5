package main

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/moldau/moldau/internal/record"
)

// The versions of Produce and Fetch that the probe reads and writes by hand: flexible, and with
// topics by name.
const (
	minProduceVersion, maxProduceVersion = 9, 12
	fetchVersion                         = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// produce appends the records of a request and writes the answer to c.out.
func (c *connection) produce(r *reader, version int16) error {
	r.skip(int(r.uvarint()) - 1) // transactional id: null or a string
	r.skip(2 + 4)                // acks, timeout
	c.batches = c.batches[:0]
	topics := int(r.uvarint()) - 1
	c.out = binary.AppendUvarint(c.out, uint64(topics+1))
	for range topics {
		name := r.bytes(int(r.uvarint()) - 1)
		c.out = append(binary.AppendUvarint(c.out, uint64(len(name)+1)), name...)
		partitions := int(r.uvarint()) - 1
		if r.failed {
			return errFrame
		}
		c.out = binary.AppendUvarint(c.out, uint64(partitions+1))
		for range partitions {
			index := r.int32()
			records := r.bytes(int(r.uvarint()) - 1)
			r.skipTags()
			p := c.store.partition(name, index)
			if r.failed || p == nil {
				return errFrame
			}
			base, at, err := p.append(records)
			if err != nil {
				return err
			}
			c.batches = append(c.batches, replica{name, index, at, records})
			c.out = binary.BigEndian.AppendUint32(c.out, uint32(index))
			c.out = binary.BigEndian.AppendUint16(c.out, 0)
			c.out = binary.BigEndian.AppendUint64(c.out, uint64(base))
			c.out = binary.BigEndian.AppendUint64(c.out, 1<<64-1) // log append time: none
			c.out = binary.BigEndian.AppendUint64(c.out, 0)       // log start offset
			c.out = append(c.out, 1, 0, 0)                        // no record errors, no message, no tags
		}
		r.skipTags()
		c.out = append(c.out, 0)
	}
	c.out = append(c.out, 0, 0, 0, 0, 0) // throttle time, tags
	if r.failed {
		return errFrame
	}
	if c.store.cluster != nil {
		if err := c.followers.replicate(c.store.cluster, c.batches); err != nil {
			return err
		}
	}
	c.store.appended()
	return nil
}

// Where things are in a record batch.
const (
	posLength      = 8
	posLeaderEpoch = 12
	posCRC         = 17
	posAttributes  = 21
	posLastDelta   = 23
	posCount       = 57
	batchOverhead  = 61
	codecMask      = 7
)

// append checks a batch and writes it at the end of the partition's file.
func (p *partition) append(batch []byte) (base, at int64, err error) {
	if len(batch) < batchOverhead || int(binary.BigEndian.Uint32(batch[posLength:]))+posLeaderEpoch != len(batch) ||
		crc32.Checksum(batch[posAttributes:], castagnoli) != binary.BigEndian.Uint32(batch[posCRC:]) {
		return 0, 0, errFrame
	}
	if batch[posAttributes+1]&codecMask == 0 {
		if !walk(batch[batchOverhead:], int(binary.BigEndian.Uint32(batch[posCount:]))) {
			return 0, 0, errFrame
		}
	} else if err := walkCompressed(batch); err != nil {
		return 0, 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	base, at = p.end, p.bytes
	binary.BigEndian.PutUint64(batch, uint64(base))
	binary.BigEndian.PutUint32(batch[posLeaderEpoch:], 0)
	if _, err := p.file.WriteAt(batch, p.bytes); err != nil {
		return 0, 0, err
	}
	p.batches = append(p.batches, located{base, p.bytes})
	p.end += int64(binary.BigEndian.Uint32(batch[posLastDelta:])) + 1
	p.bytes += int64(len(batch))
	return base, at, nil
}

// walk reads the lengths of every record without looking at keys and values.
func walk(body []byte, count int) bool {
	r := reader{data: body}
	for range count {
		length := int(r.varint())
		end := r.at + length
		r.skip(1) // attributes
		r.varint()
		r.varint() // timestamp and offset delta
		r.skip(int(max(r.varint(), 0)))
		r.skip(int(max(r.varint(), 0)))
		for range r.varint() {
			r.skip(int(max(r.varint(), 0)))
			r.skip(int(max(r.varint(), 0)))
			if r.failed {
				return false
			}
		}
		if r.failed || r.at != end {
			return false
		}
	}
	return r.at == len(body)
}

// walkCompressed leaves decompression to the broker's package, which has the codecs.
func walkCompressed(batch []byte) error {
	b, _, err := record.Next(batch)
	if err != nil {
		return err
	}
	for _, err := range b.Records(1 << 30) {
		if err != nil {
			return err
		}
	}
	return nil
}

// reader takes Kafka's primitives from bytes; failed is set, once and for all, beyond their end.
type reader struct {
	data   []byte
	at     int
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.data)-r.at {
		r.failed = r.failed || n > 0
		return nil
	}
	r.at += n
	return r.data[r.at-n : r.at]
}

func (r *reader) skip(n int) { r.bytes(n) }

func (r *reader) int16() int16 {
	if b := r.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	if r.at < len(r.data) && r.data[r.at] < 0x80 {
		r.at++
		return uint64(r.data[r.at-1])
	}
	v, n := binary.Uvarint(r.data[r.at:])
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.at += n
	return v
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) skipTags() {
	for range r.uvarint() {
		r.uvarint()
		r.skip(int(r.uvarint()))
		if r.failed {
			return
		}
	}
}
