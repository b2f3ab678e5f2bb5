package segmentio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/moldau/moldau/test/compat/expect"
)

// transport is shared: what create waits for with it, writers know, too.
var transport = &kafka.Transport{MetadataTTL: 100 * time.Millisecond}

var client = &kafka.Client{Addr: kafka.TCP(expect.Brokers...), Timeout: 30 * time.Second, Transport: transport}

func named(name string) string { return fmt.Sprintf("segmentio-%d-%s", expect.Run, name) }

// passes says whether an error is one of a node that is restarted, or of another one that does not know of it yet.
func passes(err error) bool {
	var code kafka.Error
	return errors.As(err, &code) && code.Temporary() || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) || errors.Is(err, protocol.ErrNoLeader)
}

// passing is err if it passes.
func passing(err error) error {
	if passes(err) {
		return err
	}
	return nil
}

// ask asks again, where nodes are restarted, while the node that is asked is away or inside says so: none of which the client repeats.
func ask[Q, R any](t *testing.T, call func(context.Context, Q) (R, error), request Q, inside ...func(R) error) (answer R) {
	t.Helper()
	expect.Must(t, expect.Again(passes, func() (err error) {
		answer, err = call(t.Context(), request)
		for _, failure := range inside {
			if err == nil {
				err = failure(answer)
			}
		}
		return err
	}))
	return answer
}

// create creates a topic and waits until the broker says that it has leaders.
func create(t *testing.T, name string, partitions int, configs ...kafka.ConfigEntry) string {
	t.Helper()
	topic := named(name)
	ask(t, client.CreateTopics, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: int(expect.Replicas), ConfigEntries: configs}}},
		func(made *kafka.CreateTopicsResponse) error {
			if err := made.Errors[topic]; !expect.Three || !errors.Is(err, kafka.TopicAlreadyExists) { // an answer is lost with its broker, and the request repeated
				return err
			}
			return nil
		})
	expect.Until(t, topic+" is there", func() bool { return leaders(t, topic) == partitions })
	return topic
}

// leaders counts the topic's partitions that have a leader.
func leaders(t *testing.T, topic string) (count int) {
	t.Helper()
	metadata := ask(t, client.Metadata, &kafka.MetadataRequest{Topics: []string{topic}})
	for _, p := range metadata.Topics[0].Partitions {
		if p.Leader.Port != 0 && p.Error == nil {
			count++
		}
	}
	return count
}

func writer(topic string, change ...func(*kafka.Writer)) *kafka.Writer {
	w := &kafka.Writer{Addr: kafka.TCP(expect.Brokers...), Transport: transport, Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond, Balancer: &kafka.Hash{}}
	if expect.Three {
		w.MaxAttempts = 100 // until another node leads
	}
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
	expect.Must(t, writeAll(t, w, messages...))
	expect.Must(t, w.Close())
}

// writeAll writes the messages, and again those that were not written: what the writer learns before it writes, it asks for once.
func writeAll(t *testing.T, w *kafka.Writer, messages ...kafka.Message) error {
	t.Helper()
	return expect.Again(passes, func() error {
		err := w.WriteMessages(t.Context(), messages...)
		var failed kafka.WriteErrors
		if !expect.Three || !errors.As(err, &failed) {
			return err
		}
		var left []kafka.Message
		for i, of := range failed {
			if of != nil {
				left, err = append(left, messages[i]), of
			}
		}
		messages = left
		return err
	})
}

// prepare creates a topic that has what fill writes, and nothing twice: where nodes are restarted, a write whose answer is lost is
// repeated, since the writers are not idempotent, and then another topic must do.
func prepare(t *testing.T, name string, count int, fill func(topic string), configs ...kafka.ConfigEntry) string {
	t.Helper()
	for again := 0; ; again++ {
		topic := create(t, fmt.Sprintf("%s-%d", name, again), 1, configs...)
		fill(topic)
		if !expect.Three || again == 5 || ends(t, topic, 0)[0] == int64(count) {
			return topic
		}
	}
}

// ends returns where the partitions of a topic end.
func ends(t *testing.T, topic string, partitions ...int) []int64 {
	t.Helper()
	var requests []kafka.OffsetRequest
	for _, p := range partitions {
		requests = append(requests, kafka.LastOffsetOf(p))
	}
	listed := listOffsets(t, topic, requests...)
	offsets := make([]int64, len(partitions))
	for _, of := range listed {
		offsets[slices.Index(partitions, of.Partition)] = of.LastOffset
	}
	return offsets
}

func listOffsets(t *testing.T, topic string, requests ...kafka.OffsetRequest) []kafka.PartitionOffsets {
	t.Helper()
	listed := ask(t, client.ListOffsets, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: requests}}, func(r *kafka.ListOffsetsResponse) error {
		for _, of := range r.Topics[topic] {
			if of.Error != nil {
				return of.Error
			}
		}
		return nil
	})
	return listed.Topics[topic]
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
