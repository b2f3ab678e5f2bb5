package main

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"net"
	"strings"
)

// What probes ask each other, by keys that Kafka does not have: append these batches (answered by one byte
// when they are written), and do what this request of a client says, as I do.
const replicateKey, forwardKey = 30000, 30001

// cluster are the probes that hold each partition together: the leader writes and has all others write.
type cluster struct {
	id    int      // of this probe, from 1 on
	addrs []string // of all, by id
}

func newCluster(id int, peers string) *cluster {
	if peers == "" {
		return nil
	}
	return &cluster{id, strings.Split(peers, ",")}
}

// leader is the node that leads a partition.
func (c *cluster) leader(partition int) int32 {
	if c == nil {
		return 1
	}
	return int32(partition%len(c.addrs)) + 1
}

// followers are one connection's ways to the other probes.
type followers struct {
	conns []net.Conn
	acks  []*bufio.Reader
	heads []byte
	parts net.Buffers
}

// replica is a batch that others are to write.
type replica struct {
	topic     []byte
	partition int32
	at        int64
	batch     []byte
}

func (f *followers) connect(c *cluster) error {
	for i, addr := range c.addrs {
		if i+1 == c.id {
			continue
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			f.close()
			return err
		}
		f.conns, f.acks = append(f.conns, conn), append(f.acks, bufio.NewReader(conn))
	}
	return nil
}

func (f *followers) close() {
	for _, conn := range f.conns {
		_ = conn.Close()
	}
	f.conns, f.acks = nil, nil
}

// send has all followers do a request of theirs, made of pieces, and returns when they have.
func (f *followers) send(c *cluster, key int16, pieces ...[]byte) error {
	if len(f.conns) == 0 {
		if err := f.connect(c); err != nil {
			return err
		}
	}
	size := 2
	for _, p := range pieces {
		size += len(p)
	}
	head := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, uint32(size)), uint16(key))
	for _, conn := range f.conns {
		parts := append(append(f.parts[:0], head), pieces...)
		f.parts = parts
		if _, err := parts.WriteTo(conn); err != nil {
			return err
		}
	}
	for _, acks := range f.acks {
		if _, err := acks.ReadByte(); err != nil {
			return err
		}
	}
	return nil
}

// replicate sends the same bytes to all followers.
func (f *followers) replicate(c *cluster, batches []replica) error {
	f.heads = f.heads[:0]
	var ends []int
	for _, b := range batches {
		f.heads = append(append(f.heads, byte(len(b.topic))), b.topic...)
		f.heads = binary.BigEndian.AppendUint32(f.heads, uint32(b.partition))
		f.heads = binary.BigEndian.AppendUint64(f.heads, uint64(b.at))
		f.heads = binary.BigEndian.AppendUint32(f.heads, uint32(len(b.batch)))
		ends = append(ends, len(f.heads))
	}
	pieces, begin := make([][]byte, 0, 2*len(batches)), 0
	for i, b := range batches {
		pieces = append(pieces, f.heads[begin:ends[i]], b.batch)
		begin = ends[i]
	}
	return f.send(c, replicateKey, pieces...)
}

// follow does what another probe asks for; done is false for requests of clients.
func (c *connection) follow() (done bool, err error) {
	r := reader{data: c.frame}
	switch r.int16() {
	case replicateKey:
		err = c.store.write(&r)
	case forwardKey:
		c.frame = c.frame[2:]
		c.forwarded = true
		if err = c.answer(); err != nil {
			return true, err
		}
		c.forwarded = false
	default:
		return false, nil
	}
	if err == nil {
		_, err = c.conn.Write([]byte{0})
	}
	return true, err
}

// write checks batches as the leader did and writes them where it did.
func (s *store) write(r *reader) error {
	for r.at < len(r.data) {
		var length int
		if n := r.bytes(1); n != nil {
			length = int(n[0])
		}
		topic, index := r.bytes(length), r.int32()
		at := int64(r.int32())<<32 | int64(uint32(r.int32()))
		batch := r.bytes(int(r.int32()))
		p := s.partition(topic, index)
		if r.failed || p == nil || len(batch) < batchOverhead || crc32.Checksum(batch[posAttributes:], castagnoli) != binary.BigEndian.Uint32(batch[posCRC:]) {
			return errFrame
		}
		if _, err := p.file.WriteAt(batch, at); err != nil {
			return err
		}
	}
	return nil
}
