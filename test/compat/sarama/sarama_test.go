package sarama

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/moldau/moldau/test/compat/expect"
)

// TestSarama runs the parts as a client of each version. gotest explains the names.
func TestSarama(t *testing.T) {
	if expect.Bootstrap == "" {
		t.Fatal("BOOTSTRAP names no broker")
	}
	versions := []sarama.KafkaVersion{sarama.V2_1_0_0, sarama.V2_8_0_0, sarama.V3_3_0_0, sarama.V3_9_0_0, sarama.MaxVersion}
	if expect.Smoke {
		versions = []sarama.KafkaVersion{sarama.V2_1_0_0, sarama.MaxVersion}
	}
	for _, kafka := range versions {
		v := version{kafka, strings.ReplaceAll(kafka.String(), ".", "-")}
		t.Run(fmt.Sprintf("%s as Kafka %s", expect.ClientVersion, kafka), func(t *testing.T) {
			for _, part := range []struct {
				features, name string
				test           func(*testing.T, version)
			}{
				{"produce+consume+compression", "codecs", testCodecs},
				{"headers+timestamps+offsets for times", "times", testTimes},
				{"large messages", "large", testLargeMessages},
				{"idempotence", "idempotence", testIdempotence},
				{"groups", "rebalance", testRebalance},
				{"offsets", "offsets", testOffsets},
				{"static members", "static", testStaticMembers},
				{"admin", "admin", testAdministration},
				{"transactions", "transactions", testTransactions},
			} {
				t.Run(part.features+":"+part.name, func(t *testing.T) { part.test(t, v) })
			}
		})
	}
}

func testCodecs(t *testing.T, v version) {
	count := 2000
	if expect.Smoke {
		count = 300
	}
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		topic := v.create(t, codec.String(), 3, nil)
		acks := v.produce(t, topic, expect.Numbered(codec.String()+"-", count), func(c *sarama.Config) { c.Producer.Compression, c.Producer.Idempotent = codec, false })
		got := v.read(t, topic, v.written(t, topic, 3))
		if want := sorted(acks); !slices.Equal(want, sorted(acknowledged(acks, asSent(got)))) {
			t.Fatalf("%s: records are not those that were acknowledged: %v and %v …", codec, want[:3], asSent(got)[:3])
		}
		next := map[int32]int64{}
		for _, m := range got {
			expect.Same(t, fmt.Sprintf("%s: offset in partition %d", codec, m.Partition), next[m.Partition], m.Offset)
			next[m.Partition]++
			expect.Same(t, "key", "k"+string(m.Value), string(m.Key))
			expect.Same(t, "headers", 2, len(m.Headers))
			expect.Same(t, "header", string(m.Value), string(m.Headers[0].Value))
		}
	}
}

// written returns how many records the topic has: where nodes are restarted, batches may be there twice, which is what a producer that is
// not idempotent promises.
func (v version) written(t *testing.T, topic string, partitions int32) (count int) {
	t.Helper()
	ends := map[int32]int64{}
	for p := range partitions {
		ends[p] = sarama.OffsetNewest
	}
	listed, err := v.admin(t).ListOffsets(map[string]map[int32]int64{topic: ends}, nil)
	expect.Must(t, err)
	for _, end := range listed[topic] {
		count += int(end.Offset)
	}
	return count
}

// acknowledged returns what was got, where nodes are restarted without those records that are there once more than they were acknowledged.
func acknowledged(acks, got []sent) []sent {
	if !expect.Three {
		return got
	}
	return slices.DeleteFunc(got, func(s sent) bool {
		return !slices.Contains(acks, s) && slices.ContainsFunc(acks, func(a sent) bool { return a.value == s.value })
	})
}

func testTimes(t *testing.T, v version) {
	start := time.UnixMilli(1234567890000)
	topic := v.create(t, "times", 1, nil)
	p, err := sarama.NewSyncProducer(expect.Brokers, v.config())
	expect.Must(t, err)
	var messages []*sarama.ProducerMessage
	for i := range 10 {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(fmt.Sprint(i)), Timestamp: start.Add(time.Duration(i) * time.Second)})
	}
	expect.Must(t, p.SendMessages(messages))
	for i, m := range v.read(t, topic, 10) {
		expect.Same(t, "time", start.Add(time.Duration(i)*time.Second).UnixMilli(), m.Timestamp.UnixMilli())
		expect.Same(t, "key", 0, len(m.Key))
	}
	client, err := sarama.NewClient(expect.Brokers, v.config())
	expect.Must(t, err)
	defer func() { expect.Must(t, client.Close()) }()
	for _, c := range []struct{ time, offset int64 }{{start.UnixMilli() + 3500, 4}, {sarama.OffsetOldest, 0}, {sarama.OffsetNewest, 10}} {
		var offset int64
		expect.Must(t, expect.Again(passes, func() (err error) {
			offset, err = client.GetOffset(topic, 0, c.time)
			return err
		}))
		expect.Same(t, fmt.Sprintf("offset for time %d", c.time), c.offset, offset)
	}
	topic = v.create(t, "log-append-time", 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("v"), Timestamp: start})
	expect.Must(t, err)
	if m := v.read(t, topic, 1)[0]; time.Since(m.Timestamp).Abs() > 5*time.Minute {
		t.Errorf("the broker's time is %v", m.Timestamp)
	}
	expect.Must(t, p.Close())
}

func testLargeMessages(t *testing.T, v version) {
	topic, small := v.create(t, "large", 1, map[string]string{"max.message.bytes": "6000000"}), v.create(t, "too-large", 1, nil)
	large := make([]byte, 5_000_000)
	for i := range large {
		large[i] = byte(i * 7 % 251)
	}
	p, err := sarama.NewSyncProducer(expect.Brokers, v.config(func(c *sarama.Config) { c.Producer.MaxMessageBytes = 8_000_000 }))
	expect.Must(t, err)
	_, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(large)})
	expect.Must(t, err)
	if _, _, err = p.SendMessage(&sarama.ProducerMessage{Topic: small, Value: sarama.ByteEncoder(large)}); !errors.Is(err, sarama.ErrMessageSizeTooLarge) {
		t.Errorf("a record over max.message.bytes: %v", err)
	}
	expect.Must(t, p.Close())
	// A fetch gets at least one batch, however large.
	if m := v.read(t, topic, 1, func(c *sarama.Config) { c.Consumer.Fetch.Default = 1000 })[0]; !slices.Equal(m.Value, large) {
		t.Error("the large record came through changed")
	}
}

func idempotent(c *sarama.Config) {
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
}

func testIdempotence(t *testing.T, v version) {
	topic := v.create(t, "idempotent", 2, nil)
	acks := v.produce(t, topic, expect.Numbered("v", 500), idempotent, func(c *sarama.Config) { c.Producer.Flush.MaxMessages = 20 })
	if got := asSent(v.read(t, topic, 500)); !slices.Equal(sorted(acks), got) {
		t.Errorf("records are not those that were acknowledged: %v …", got[:3])
	}
}

func testTransactions(t *testing.T, v version) {
	source, target, group, id := v.create(t, "tx-source", 1, nil), v.create(t, "tx-target", 1, nil), v.topicName("tx"), v.topicName("tx")
	transactional := func(c *sarama.Config) {
		idempotent(c)
		c.Producer.Transaction.ID = id
		c.Producer.Transaction.Retry.Max, c.Producer.Transaction.Retry.Backoff = 100, 50*time.Millisecond
	}
	committed := func(c *sarama.Config) { c.Consumer.IsolationLevel = sarama.ReadCommitted }
	p, err := sarama.NewSyncProducer(expect.Brokers, v.config(transactional))
	expect.Must(t, err)
	for _, end := range []struct {
		end  func() error
		name string
	}{{p.AbortTxn, "lost"}, {p.CommitTxn, "kept"}} {
		expect.Must(t, p.BeginTxn())
		for _, topic := range []string{source, target} {
			send(t, p, topic, expect.Numbered(end.name+"-", 2))
		}
		expect.Must(t, end.end())
	}
	for _, topic := range []string{source, target} {
		expect.Same(t, "committed records", "kept-0 kept-1", values(v.read(t, topic, 2, committed)))
		expect.Same(t, "all records", "lost-0 lost-1 kept-0 kept-1", values(v.read(t, topic, 4)))
	}
	client, err := sarama.NewClient(expect.Brokers, v.config())
	expect.Must(t, err)
	defer func() { expect.Must(t, client.Close()) }()
	admin := v.admin(t)
	for _, commit := range []bool{false, true} {
		expect.Must(t, p.BeginTxn())
		send(t, p, target, []string{"again"})
		expect.Must(t, p.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{source: {{Partition: 0, Offset: 6, LeaderEpoch: -1}}}, group))
		end, want := p.AbortTxn, int64(-1)
		if commit {
			end, want = p.CommitTxn, 6
		}
		expect.Must(t, end())
		// The markers are written after the answer.
		expect.Until(t, fmt.Sprintf("committed offset %d", want), func() bool {
			offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{source: {0}})
			return err == nil && offsets.GetBlock(source, 0) != nil && offsets.GetBlock(source, 0).Offset == want
		})
	}
	expect.Same(t, "after the transaction with offsets", "kept-0 kept-1 again", values(v.read(t, target, 3, committed)))
	expect.Must(t, p.BeginTxn())
	send(t, p, target, []string{"of-the-first"})
	second, err := sarama.NewSyncProducer(expect.Brokers, v.config(transactional))
	expect.Must(t, err)
	if err := p.CommitTxn(); err == nil {
		t.Error("the first producer was not fenced")
	}
	expect.Must(t, second.BeginTxn())
	send(t, second, target, []string{"of-the-second"})
	expect.Must(t, second.CommitTxn())
	expect.Same(t, "after the fencing", "kept-0 kept-1 again of-the-second", values(v.read(t, target, 4, committed)))
	expect.Must(t, second.Close())
	_ = p.Close() // which says again that it is fenced
}
