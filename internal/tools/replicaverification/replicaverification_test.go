package replicaverification

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafka"
)

// encode makes batches of one record each, with these checksums, from an offset on.
func encode(offset int64, checksums ...uint32) []byte {
	var records []byte
	for _, checksum := range checksums {
		b := make([]byte, batchHeaderBytes)
		binary.BigEndian.PutUint64(b, uint64(offset))
		binary.BigEndian.PutUint32(b[lengthAt:], batchHeaderBytes-lengthEnd)
		b[magicAt] = magic
		binary.BigEndian.PutUint32(b[checksumAt:], checksum)
		records, offset = append(records, b...), offset+1
	}
	return records
}

// TestVerifier holds the sentences of Apache Kafka 4.3.1's tool.
func TestVerifier(t *testing.T) {
	t.Parallel()
	tp := kafka.TopicPartition{Topic: "t", Partition: 3}
	start := time.UnixMilli(1_000)
	for _, c := range []struct {
		name    string
		copies  map[int32][]byte
		offset  int64
		want    []string
		goesOn  bool
		elapsed time.Duration
	}{
		{"alike", map[int32][]byte{1: encode(5, 7, 8), 2: encode(5, 7, 8)}, 7, []string{"max lag is 3 for partition t-3 at offset 7 among 1 partitions"}, true, time.Minute},
		{"not time yet", map[int32][]byte{1: encode(5, 7), 2: encode(5, 7)}, 6, nil, true, time.Second},
		{"one behind", map[int32][]byte{1: encode(5, 7, 8), 2: encode(5, 7)}, 6, nil, true, 0},
		{"beyond the high watermark", map[int32][]byte{1: encode(9, 7, 8), 2: encode(9, 7, 9)}, 10, nil, true, 0},
		{"checksums", map[int32][]byte{1: encode(5, 7), 2: encode(5, 8)}, 6, []string{"partition t-3 has unmatched checksum at offset 5; replica 1's checksum 7; replica 2's checksum 8"}, true, 0},
		{"offsets", map[int32][]byte{1: encode(5, 7), 2: encode(6, 7)}, 5, []string{"partition t-3: replica 1's offset 5 doesn't match replica 2's offset 6"}, false, 0},
		{"a broker is gone", map[int32][]byte{1: encode(5, 7)}, 5, []string{"max lag is 5 for partition t-3 at offset 5 among 1 partitions"}, true, time.Minute},
		{"all brokers are gone", nil, 5, []string{"max lag is -1 for partition null at offset -1 among 1 partitions"}, true, time.Minute},
		{"cut off", map[int32][]byte{1: encode(5, 7, 8)[:batchHeaderBytes+30], 2: encode(5, 7, 8)}, 6, nil, true, 0},
		{"nonsense", map[int32][]byte{1: bytes.Repeat([]byte{0xff}, 200), 2: bytes.Repeat([]byte{0xff}, 200)}, 5, nil, true, 0},
	} {
		var said []string
		v := newVerifier(map[kafka.TopicPartition]int64{tp: 5}, map[kafka.TopicPartition][]int32{tp: {1, 2}}, 30*time.Second, start,
			func(_ time.Time, text string) { said = append(said, text) })
		for _, broker := range []int32{1, 2, 3} { // the third has no replica
			if records, ok := c.copies[broker]; ok {
				v.take(tp, broker, 10, records)
			}
		}
		v.take(tp, 3, 100, encode(5, 1))
		if goesOn := v.verify(start.Add(c.elapsed)); goesOn != c.goesOn || v.offsets[tp] != c.offset || strings.Join(said, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: goes on %v, offset %d, %q", c.name, goesOn, v.offsets[tp], said)
		}
	}
}

func FuzzBatches(f *testing.F) {
	f.Add(encode(5, 7, 8))
	f.Add(encode(5, 7, 8)[:100])
	f.Fuzz(func(t *testing.T, records []byte) {
		if n := len(batchesOf(records)); n > len(records)/batchHeaderBytes {
			t.Errorf("%d batches in %d bytes", n, len(records))
		}
	})
}
