package segmentio

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

var (
	bootstrap = os.Getenv("BOOTSTRAP")
	version   = os.Getenv("CLIENT_VERSION")
	smoke     = os.Getenv("SMOKE") != ""
	run       = os.Getpid() // keeps topics and groups apart when suites run against the same broker
)

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

var _ net.Addr = address("")

// transport is shared: what create waits for with it, writers know, too.
var transport = &kafka.Transport{MetadataTTL: 100 * time.Millisecond}

var client = &kafka.Client{Addr: address(bootstrap), Timeout: 30 * time.Second, Transport: transport}

func named(name string) string { return fmt.Sprintf("segmentio-%d-%s", run, name) }

// create creates a topic and waits until the broker says that it has leaders.
func create(t *testing.T, name string, partitions int, configs ...kafka.ConfigEntry) string {
	t.Helper()
	topic := named(name)
	made, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}}})
	must(t, err)
	must(t, made.Errors[topic])
	until(t, topic+" is there", func() bool { return leaders(t, topic) == partitions })
	return topic
}

// leaders counts the topic's partitions that have a leader.
func leaders(t *testing.T, topic string) (count int) {
	t.Helper()
	metadata, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	must(t, err)
	for _, p := range metadata.Topics[0].Partitions {
		if p.Leader.Port != 0 && p.Error == nil {
			count++
		}
	}
	return count
}

func writer(topic string, change ...func(*kafka.Writer)) *kafka.Writer {
	w := &kafka.Writer{Addr: address(bootstrap), Transport: transport, Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond, Balancer: &kafka.Hash{}}
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
	must(t, w.WriteMessages(t.Context(), messages...))
	must(t, w.Close())
}

// read reads count records of a partition from its beginning, and shows that no other follows at once.
func read(t *testing.T, topic string, partition, count int, isolation kafka.IsolationLevel) []kafka.Message {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{bootstrap}, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond, MaxBytes: 10_000_000, IsolationLevel: isolation})
	defer func() { must(t, r.Close()) }()
	return receive(t, r, count)
}

func receive(t *testing.T, r *kafka.Reader, count int) []kafka.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
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

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t *testing.T, what string, want, got T) {
	t.Helper()
	if want != got {
		t.Fatalf("%s: expected %v, got %v", what, want, got)
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(40 * time.Second)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within 40 s", what)
		case <-poll.C:
		}
	}
}
