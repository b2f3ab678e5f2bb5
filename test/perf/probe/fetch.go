package main

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchAnswer is what one connection needs to answer a fetch; it is used again for the next one.
type fetchAnswer struct {
	heads  []byte // the bytes between the records
	pieces []piece
	data   []byte // the records of all partitions
	parts  net.Buffers
}

// piece ends a run of heads, followed by so many bytes of data.
type piece struct{ headEnd, dataBytes int }

// answerFetch waits as the request says, reads and writes.
func (c *connection) answerFetch(request *kmsg.FetchRequest) error {
	deadline := time.Now().Add(time.Duration(request.MaxWaitMillis) * time.Millisecond)
	for {
		more := c.store.waitable()
		read, err := c.read(request)
		if err != nil {
			return err
		}
		left := time.Until(deadline)
		if read >= int(request.MinBytes) || left <= 0 {
			break
		}
		timer := time.NewTimer(left)
		select {
		case <-more:
		case <-timer.C:
		}
		timer.Stop()
	}
	return c.writeFetch()
}

// read collects the answer and returns how many bytes of records it has.
func (c *connection) read(request *kmsg.FetchRequest) (int, error) {
	f := &c.fetch
	f.pieces, f.data = f.pieces[:0], f.data[:0]
	f.heads = append(f.heads[:0], c.out...)
	f.heads = append(f.heads, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // throttle time, error, session
	f.heads = binary.AppendUvarint(f.heads, uint64(len(request.Topics)+1))
	for i := range request.Topics {
		t := &request.Topics[i]
		f.heads = append(binary.AppendUvarint(f.heads, uint64(len(t.Topic)+1)), t.Topic...)
		f.heads = binary.AppendUvarint(f.heads, uint64(len(t.Partitions)+1))
		for j := range t.Partitions {
			wanted := &t.Partitions[j]
			p := c.store.partition([]byte(t.Topic), wanted.Partition)
			if p == nil {
				return 0, errFrame
			}
			limit := min(int(wanted.PartitionMaxBytes), int(request.MaxBytes)-len(f.data))
			end, n, err := p.read(f, wanted.FetchOffset, limit)
			if err != nil {
				return 0, err
			}
			f.heads = binary.BigEndian.AppendUint32(f.heads, uint32(wanted.Partition))
			f.heads = append(f.heads, 0, 0)
			f.heads = binary.BigEndian.AppendUint64(f.heads, uint64(end)) // high watermark
			f.heads = binary.BigEndian.AppendUint64(f.heads, uint64(end)) // last stable offset
			f.heads = binary.BigEndian.AppendUint64(f.heads, 0)           // log start offset
			f.heads = append(f.heads, 0, 0xff, 0xff, 0xff, 0xff)          // no aborted transactions, no preferred replica
			f.heads = binary.AppendUvarint(f.heads, uint64(n+1))
			f.pieces = append(f.pieces, piece{len(f.heads), n})
			f.heads = append(f.heads, 0) // tags
		}
		f.heads = append(f.heads, 0)
	}
	f.heads = append(f.heads, 0)
	return len(f.data), nil
}

func (c *connection) writeFetch() error {
	f := &c.fetch
	binary.BigEndian.PutUint32(f.heads, uint32(len(f.heads)+len(f.data)-4))
	parts, head, data := f.parts[:0], 0, 0
	for _, p := range f.pieces {
		if p.dataBytes == 0 {
			continue
		}
		parts = append(parts, f.heads[head:p.headEnd], f.data[data:data+p.dataBytes])
		head, data = p.headEnd, data+p.dataBytes
	}
	parts = append(parts, f.heads[head:])
	f.parts = parts
	_, err := parts.WriteTo(c.conn)
	return err
}

// read appends whole batches from offset on to f.data, at least one if limit is not used up,
// and returns the partition's end and how many bytes there are.
func (p *partition) read(f *fetchAnswer, offset int64, limit int) (end int64, n int, err error) {
	p.mu.Lock()
	end = p.end
	first := sort.Search(len(p.batches), func(i int) bool { return p.batches[i].offset > offset }) - 1
	if offset >= end || first < 0 || limit <= 0 {
		p.mu.Unlock()
		return end, 0, nil
	}
	from := p.batches[first].at
	last := sort.Search(len(p.batches), func(i int) bool { return p.batches[i].at > from+int64(limit) }) - 1
	to := p.bytes
	if p.bytes-from > int64(limit) {
		if last <= first {
			last = first + 1
		}
		if last < len(p.batches) {
			to = p.batches[last].at
		}
	}
	p.mu.Unlock()
	n = int(to - from)
	old := len(f.data)
	if cap(f.data)-old < n {
		f.data = append(make([]byte, 0, 2*(old+n)), f.data...)
	}
	f.data = f.data[:old+n]
	data := f.data[old:]
	if _, err := p.file.ReadAt(data, from); err != nil {
		return 0, 0, err
	}
	for len(data) > 0 {
		size := int(binary.BigEndian.Uint32(data[posLength:])) + posLeaderEpoch
		if crc32.Checksum(data[posAttributes:size], castagnoli) != binary.BigEndian.Uint32(data[posCRC:]) {
			return 0, 0, errFrame
		}
		data = data[size:]
	}
	return end, n, nil
}
