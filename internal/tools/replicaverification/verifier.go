package replicaverification

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
)

// verifier compares what the replicas of partitions have, batch by batch, up to the high watermark.
type verifier struct {
	partitions []kafka.TopicPartition // sorted
	replicas   map[kafka.TopicPartition][]int32
	offsets    map[kafka.TopicPartition]int64 // up to which all replicas have been found alike
	fetched    map[kafka.TopicPartition][]copied
	interval   time.Duration
	reportedAt time.Time
	say        func(now time.Time, text string)
}

// copied is what one replica has of a partition.
type copied struct {
	broker        int32
	highWatermark int64
	batches       []batch
}

// batch is what must be alike of a batch of records.
type batch struct {
	lastOffset int64
	checksum   uint32
}

func newVerifier(offsets map[kafka.TopicPartition]int64, replicas map[kafka.TopicPartition][]int32, interval time.Duration, now time.Time,
	say func(now time.Time, text string)) *verifier {
	return &verifier{
		partitions: sortedPartitions(replicas), replicas: replicas, offsets: offsets,
		fetched: map[kafka.TopicPartition][]copied{}, interval: interval, reportedAt: now, say: say,
	}
}

func sortedPartitions(replicas map[kafka.TopicPartition][]int32) []kafka.TopicPartition {
	return slices.SortedFunc(maps.Keys(replicas), client.ComparePartitions)
}

// expects says whether a broker has a replica.
func (v *verifier) expects(tp kafka.TopicPartition, broker int32) bool {
	return slices.Contains(v.replicas[tp], broker)
}

// take notes what a broker has of a partition.
func (v *verifier) take(tp kafka.TopicPartition, broker int32, highWatermark int64, records []byte) {
	if v.expects(tp, broker) {
		v.fetched[tp] = append(v.fetched[tp], copied{broker, highWatermark, batchesOf(records)})
	}
}

// Where a batch has what is needed of it.
const (
	lengthAt         = 8
	lengthEnd        = 12
	magicAt          = 16
	checksumAt       = 17
	lastOffsetDelta  = 23
	batchHeaderBytes = 61
	magic            = 2
)

// batchesOf reads the batches that are there whole.
func batchesOf(records []byte) []batch {
	var batches []batch
	for len(records) >= batchHeaderBytes {
		size := int64(lengthEnd) + int64(int32(binary.BigEndian.Uint32(records[lengthAt:])))
		if size < batchHeaderBytes || size > int64(len(records)) || records[magicAt] != magic {
			break
		}
		base, delta := int64(binary.BigEndian.Uint64(records)), int32(binary.BigEndian.Uint32(records[lastOffsetDelta:]))
		batches = append(batches, batch{base + int64(delta), binary.BigEndian.Uint32(records[checksumAt:])})
		records = records[size:]
	}
	return batches
}

// verify compares what has been taken, and reports where it is time for that. It is false where replicas
// have different offsets, with which nothing that follows can be compared.
func (v *verifier) verify(now time.Time) bool {
	maxLag, lagging := int64(-1), kafka.TopicPartition{}
	for _, tp := range v.partitions {
		highWatermark := int64(-1)
		for _, c := range v.fetched[tp] {
			highWatermark = max(highWatermark, c.highWatermark)
		}
		if !v.compare(tp, now) {
			return false
		}
		if lag := highWatermark - v.offsets[tp]; lag > maxLag {
			maxLag, lagging = lag, tp
		}
	}
	clear(v.fetched)
	if now.Sub(v.reportedAt) > v.interval {
		name, offset := "null", int64(-1) // as Kafka's tool where no broker answers
		if lagging.Topic != "" {
			name, offset = lagging.String(), v.offsets[lagging]
		}
		v.say(now, fmt.Sprintf("max lag is %d for partition %s at offset %d among %d partitions", maxLag, name, offset, len(v.partitions)))
		v.reportedAt = now
	}
	return true
}

// compare goes through one partition for as long as all its replicas have a next batch below the high watermark.
func (v *verifier) compare(tp kafka.TopicPartition, now time.Time) bool {
	copies := v.fetched[tp]
	if len(copies) < len(v.replicas[tp]) {
		return true // until all brokers answer
	}
	for i := 0; ; i++ {
		for _, c := range copies {
			if i >= len(c.batches) || c.batches[i].lastOffset >= c.highWatermark {
				return true
			}
		}
		first := copies[0]
		for _, c := range copies[1:] {
			if a, b := first.batches[i], c.batches[i]; a.lastOffset != b.lastOffset {
				v.say(now, fmt.Sprintf("partition %s: replica %d's offset %d doesn't match replica %d's offset %d", tp, first.broker, a.lastOffset, c.broker, b.lastOffset))
				return false
			} else if a.checksum != b.checksum {
				v.say(now, fmt.Sprintf("partition %s has unmatched checksum at offset %d; replica %d's checksum %d; replica %d's checksum %d",
					tp, b.lastOffset, first.broker, a.checksum, c.broker, b.checksum))
			}
		}
		v.offsets[tp] = first.batches[i].lastOffset + 1
	}
}
