package segmentio

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/moldau/moldau/test/compat/expect"
)

// transport is shared: what create waits for with it, writers know, too.
var transport = &kafka.Transport{MetadataTTL: 100 * time.Millisecond}

var client = &kafka.Client{Addr: kafka.TCP(expect.Brokers...), Timeout: 30 * time.Second, Transport: transport}

func named(name string) string { return fmt.Sprintf("segmentio-%d-%s", expect.Run, name) }

// create creates a topic and waits until the broker says that it has leaders.
func create(t *testing.T, name string, partitions int, configs ...kafka.ConfigEntry) string {
	t.Helper()
	topic := named(name)
	made, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: int(expect.Replicas), ConfigEntries: configs}}})
	expect.Must(t, err)
	expect.Must(t, made.Errors[topic])
	expect.Until(t, topic+" is there", func() bool { return leaders(t, topic) == partitions })
	return topic
}

// leaders counts the topic's partitions that have a leader.
func leaders(t *testing.T, topic string) (count int) {
	t.Helper()
	metadata, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	expect.Must(t, err)
	for _, p := range metadata.Topics[0].Partitions {
		if p.Leader.Port != 0 && p.Error == nil {
			count++
		}
	}
	return count
}

func writer(topic string, change ...func(*kafka.Writer)) *kafka.Writer {
	w := &kafka.Writer{Addr: kafka.TCP(expect.Brokers...), Transport: transport, Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond, Balancer: &kafka.Hash{}}
	for _, f := range change {
		f(w)
	}
	return w
}

func write(t *testing.T, topic string, values []string, change ...func(*kafka.Writer)) {
	t.Helper()
	w := writer(topic, change...)
	messages := make([]kafka.Message, len(values))
	for i, v := range values {
		messages[i] = kafka.Message{Key: []byte("k" + v), Value: []byte(v), Headers: []kafka.Header{{Key: "h", Value: []byte(v)}, {Key: "empty", Value: []byte{}}}}
	}
	expect.Must(t, w.WriteMessages(t.Context(), messages...))
	expect.Must(t, w.Close())
}

// read reads count records of a partition from its beginning, and shows that no other follows at once.
func read(t *testing.T, topic string, partition, count int, isolation kafka.IsolationLevel) []kafka.Message {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: expect.Brokers, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond, MaxBytes: 10_000_000, IsolationLevel: isolation})
	defer func() { expect.Must(t, r.Close()) }()
	return receive(t, r, count)
}

func receive(t *testing.T, r *kafka.Reader, count int) []kafka.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), expect.Patience)
	defer cancel()
	var got []kafka.Message
	for len(got) < count {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("%d of %d records: %v", len(got), count, err)
		}
		got = append(got, m)
	}
	more, cancelMore := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancelMore()
	if m, err := r.ReadMessage(more); err == nil {
		t.Fatalf("record %d of %d: %s", count+1, count, m.Value)
	}
	return got
}

func values(messages []kafka.Message) string {
	var list []string
	for _, m := range messages {
		list = append(list, string(m.Value))
	}
	return strings.Join(list, " ")
}
