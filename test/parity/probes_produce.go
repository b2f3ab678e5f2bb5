package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

func produceProbes() []probe {
	var all []probe
	damage := map[string]func(b []byte) []byte{
		"a good batch":              func(b []byte) []byte { return b },
		"a wrong CRC":               func(b []byte) []byte { b[17] ^= 1; return b },
		"a base offset":             func(b []byte) []byte { b[7] = 5; return b },
		"a control bit":             func(b []byte) []byte { b[22] |= 0x20; return seal(b) },
		"a transactional bit":       func(b []byte) []byte { b[22] |= 0x10; return seal(b) },
		"an unknown codec":          func(b []byte) []byte { b[22] |= 0x07; return seal(b) },
		"the append time bit":       func(b []byte) []byte { b[22] |= 0x08; return seal(b) },
		"magic 1":                   func(b []byte) []byte { b[16] = 1; return b },
		"magic 3":                   func(b []byte) []byte { b[16] = 3; return b },
		"a leader epoch":            func(b []byte) []byte { b[15] = 77; return b },
		"too many records promised": func(b []byte) []byte { b[60] = 9; return seal(b) },
		"no records promised":       func(b []byte) []byte { b[60] = 0; return seal(b) },
		"a wrong last offset":       func(b []byte) []byte { b[26] = 9; return seal(b) },
		"a length beyond the data":  func(b []byte) []byte { b[10] = 9; return b },
		"a negative length":         func(b []byte) []byte { b[8] = 0xff; return b },
		"its end cut off":           func(b []byte) []byte { return b[:len(b)-3] },
		"a second batch":            func(b []byte) []byte { return append(b, b...) },
		"a byte too many":           func(b []byte) []byte { return append(b, 0) },
		"no data":                   func([]byte) []byte { return []byte{} },
		"a negative sequence": func(b []byte) []byte {
			binary.BigEndian.PutUint64(b[43:], 4000)
			binary.BigEndian.PutUint16(b[51:], 0)
			return seal(b)
		},
		"a wrong max timestamp":     func(b []byte) []byte { b[42] ^= 9; return seal(b) },
		"a record length that lies": func(b []byte) []byte { b[61] += 2; return seal(b) },
		"an old timestamp":          func([]byte) []byte { return batch(1000, "v") },
		"a future timestamp":        func([]byte) []byte { return batch(time.Now().Add(3*time.Hour).UnixMilli(), "v") },
	}
	for name, change := range damage {
		topicName := "p-produce-" + strings.ReplaceAll(name, " ", "-")
		all = append(all, probe{"produce " + name, []step{topic(topicName, 1),
			askProduce(7, topicName, 0, -1, func() []byte { return change(batch(time.Now().UnixMilli(), "v1", "v2")) }),
			askProduce(9, topicName, 0, 1, func() []byte { return change(batch(time.Now().UnixMilli(), "v1", "v2")) })}})
	}
	good := func() []byte { return batch(time.Now().UnixMilli(), "v") }
	for v := int16(3); v <= 12; v++ {
		all = append(all, probe{fmt.Sprintf("produce in version %d", v), []step{topic(fmt.Sprintf("p-produce-%d", v), 1), askProduce(v, fmt.Sprintf("p-produce-%d", v), 0, -1, good),
			askProduce(v, fmt.Sprintf("p-produce-%d", v), 5, -1, good), askProduce(v, "not-there", 0, 1, good), askProduce(v, fmt.Sprintf("p-produce-%d", v), 0, 7, good)}})
	}
	all = append(all,
		probe{"produce without an answer", []step{topic("p-silent", 1), askProduce(9, "p-silent", 0, 0, good), askProduce(9, "p-silent", 0, 1, good)}},
		probe{"produce by topic id", []step{topic("p-produce-id", 1), learnID("p-produce-id"), produceByID(func(b *broker) [16]byte { return b.id("p-produce-id") }), produceByID(func(*broker) [16]byte { return [16]byte{7} }), produceByID(func(*broker) [16]byte { return [16]byte{} })}},
		probe{"produce zstd before version 7", []step{topic("p-zstd", 1), askProduce(6, "p-zstd", 0, 1, func() []byte { return compressed(record.CodecZstd) }), askProduce(7, "p-zstd", 0, 1, func() []byte { return compressed(record.CodecZstd) })}},
		probe{"produce too much", []step{topic("p-small", 1, "max.message.bytes", "200"), askProduce(9, "p-small", 0, 1, func() []byte { return batch(time.Now().UnixMilli(), fmt.Sprintf("%0300d", 1)) })}},
		probe{"produce without keys", []step{topic("p-compact", 1, "cleanup.policy", "compact"), askProduce(9, "p-compact", 0, 1, good)}},
		probe{"produce with append time", []step{topic("p-append-time", 1, "message.timestamp.type", "LogAppendTime"), askProduce(9, "p-append-time", 0, 1, func() []byte { return batch(1000, "v") })}},
		probe{"idempotence", idempotence()},
		probe{"init producer id", []step{learnProducerID, askOf(4, kmsg.NewPtrInitProducerIDRequest()), askOf(0, kmsg.NewPtrInitProducerIDRequest())}},
	)
	return all
}

func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func batch(timestampMs int64, values ...string) []byte {
	return build(record.BuilderOptions{ProducerID: kafka.NoProducerID, ProducerEpoch: -1, BaseSequence: -1}, timestampMs, values...)
}

func build(o record.BuilderOptions, timestampMs int64, values ...string) []byte {
	builder := record.NewBuilder(o)
	for _, v := range values {
		builder.Append(timestampMs, nil, []byte(v), nil)
	}
	b, err := builder.Build()
	if err != nil {
		panic(err)
	}
	return b
}

func compressed(codec record.Codec) []byte {
	return build(record.BuilderOptions{Codec: codec, ProducerID: kafka.NoProducerID, ProducerEpoch: -1, BaseSequence: -1}, time.Now().UnixMilli(), "one", "two")
}

func askProduce(version int16, topic string, partition int32, acks int16, data func() []byte) step {
	return ask(version, func(*broker) kmsg.Request { return produce(topic, partition, acks, data()) })
}

func produce(topic string, partition int32, acks int16, data []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = acks, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, data
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

func produceByID(id func(b *broker) [16]byte) step {
	return ask(13, func(b *broker) kmsg.Request {
		r := produce("", 0, -1, batch(time.Now().UnixMilli(), "v"))
		r.Topics[0].TopicID = id(b)
		return r
	})
}

// idempotence walks through the sequence rules with one producer id.
func idempotence() []step {
	steps := []step{topic("p-idem", 1), learnProducerID}
	send := func(epoch int16, sequence int32, records int) {
		values := make([]string, records)
		for i := range values {
			values[i] = fmt.Sprint("s", sequence+int32(i))
		}
		steps = append(steps, ask(9, func(b *broker) kmsg.Request {
			o := record.BuilderOptions{ProducerID: b.state["pid"].(int64), ProducerEpoch: epoch, BaseSequence: sequence}
			return produce("p-idem", 0, -1, build(o, 1_700_000_000_000, values...))
		}))
	}
	send(0, 0, 3) // first
	send(0, 3, 1) // next
	send(0, 3, 1) // duplicate of the last
	send(0, 0, 3) // duplicate of an earlier one
	send(0, 0, 2) // same base, other length
	send(0, 5, 1) // gap
	send(0, 4, 1) // the one that was missing
	send(1, 3, 1) // new epoch must begin at 0
	send(1, 0, 1) // new epoch
	send(0, 5, 1) // the old epoch is fenced
	for s := int32(1); s <= 6; s++ {
		send(1, s, 1)
	}
	send(1, 0, 1) // fell out of the window of five
	send(1, 2, 1) // still in it
	return steps
}

// learnProducerID asks for a producer id until there is one: a broker that has just started may
// first have to fetch a block of them.
func learnProducerID(b *broker, c *conn) (string, error) {
	for deadline := time.Now().Add(10 * time.Second); ; {
		response, err := c.request(kmsg.NewPtrInitProducerIDRequest(), 2)
		if err != nil {
			return "", err
		}
		answer := response.(*kmsg.InitProducerIDResponse)
		if answer.ErrorCode == 0 {
			b.state["pid"] = answer.ProducerID
			return "learned\n", nil
		}
		if time.Now().After(deadline) {
			return "", kafka.ErrorCode(answer.ErrorCode)
		}
	}
}
