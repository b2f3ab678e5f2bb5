package sarama

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/moldau/moldau/test/compat/expect"
)

// version is the client as a client of one version of Kafka.
type version struct {
	sarama.KafkaVersion
	name string // for topics
}

func (v version) config(change ...func(*sarama.Config)) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = v.KafkaVersion
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 40, 100*time.Millisecond
	if expect.Three { // retries must last until another node leads, and must not write twice; members that are gone must be missed soon
		c.Producer.Retry.Max, c.Consumer.Offsets.Retry.Max = 100, 100
		c.Consumer.Group.Session.Timeout = 3 * time.Second
		idempotent(c)
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// name returns the name of a topic, group or transactional id of this version's part of the run.
func (v version) topicName(name string) string {
	return fmt.Sprintf("sarama-%d-%s-%s", expect.Run, v.name, name)
}

func (v version) admin(t *testing.T) *patientAdmin {
	t.Helper()
	admin := &patientAdmin{connect: func() (sarama.ClusterAdmin, error) { return sarama.NewClusterAdmin(expect.Brokers, v.config()) }}
	expect.Must(t, admin.reconnect())
	t.Cleanup(func() { expect.Must(t, admin.Close()) })
	return admin
}

// create creates a topic and waits until the broker says that it has leaders.
func (v version) create(t *testing.T, name string, partitions int32, configs map[string]string) string {
	t.Helper()
	topic, admin := v.topicName(name), v.admin(t)
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: expect.Replicas, ConfigEntries: map[string]*string{}}
	for k, value := range configs {
		detail.ConfigEntries[k] = &value
	}
	err := admin.CreateTopic(topic, detail, false)
	if !expect.Three || !errors.Is(err, sarama.ErrTopicAlreadyExists) { // an answer is lost with its broker, and the request repeated
		expect.Must(t, err)
	}
	expect.Until(t, topic+" is there", func() bool {
		described, err := admin.DescribeTopics([]string{topic})
		return err == nil && len(described[0].Partitions) == int(partitions) &&
			!slices.ContainsFunc(described[0].Partitions, func(p *sarama.PartitionMetadata) bool { return p.Leader < 0 || p.Err != sarama.ErrNoError })
	})
	return topic
}

// sent is an acknowledged record.
type sent struct {
	partition int32
	offset    int64
	value     string
}

// produce sends the values in order and returns what was acknowledged.
func (v version) produce(t *testing.T, topic string, values []string, change ...func(*sarama.Config)) []sent {
	t.Helper()
	p, err := sarama.NewSyncProducer(expect.Brokers, v.config(change...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { expect.Must(t, p.Close()) }()
	return send(t, p, topic, values)
}

func send(t *testing.T, p sarama.SyncProducer, topic string, values []string) []sent {
	t.Helper()
	messages := make([]*sarama.ProducerMessage, len(values))
	for i, value := range values {
		messages[i] = &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder("k" + value), Value: sarama.StringEncoder(value),
			Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(value)}, {Key: []byte("empty"), Value: []byte{}}}}
	}
	if err := p.SendMessages(messages); err != nil {
		if failed := (sarama.ProducerErrors{}); errors.As(err, &failed) {
			t.Fatalf("%d not sent, the first: %v", len(failed), failed[0].Err)
		}
		t.Fatal(err)
	}
	acks := make([]sent, len(values))
	for i, m := range messages {
		acks[i] = sent{m.Partition, m.Offset, values[i]}
	}
	return acks
}

// read reads every partition of the topic from the beginning until count records have come.
func (v version) read(t *testing.T, topic string, count int, change ...func(*sarama.Config)) []*sarama.ConsumerMessage {
	t.Helper()
	c, err := sarama.NewConsumer(expect.Brokers, v.config(change...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { expect.Must(t, c.Close()) }()
	var partitions []int32
	expect.Must(t, expect.Again(passes, func() (err error) {
		partitions, err = c.Partitions(topic)
		return err
	}))
	all := make(chan *sarama.ConsumerMessage, 1000)
	for _, p := range partitions {
		var pc sarama.PartitionConsumer
		expect.Must(t, expect.Again(passes, func() (err error) {
			pc, err = c.ConsumePartition(topic, p, sarama.OffsetOldest)
			return err
		}))
		var forward sync.WaitGroup
		forward.Go(func() {
			for m := range pc.Messages() {
				all <- m
			}
		})
		defer func() {
			pc.AsyncClose()
			forward.Wait()
		}()
	}
	return receive(t, all, count)
}

// receive takes count records, and shows that no other follows at once.
func receive(t *testing.T, from <-chan *sarama.ConsumerMessage, count int) []*sarama.ConsumerMessage {
	t.Helper()
	var got []*sarama.ConsumerMessage
	deadline := time.After(expect.Patience)
	for len(got) < count {
		select {
		case m := <-from:
			got = append(got, m)
		case <-deadline:
			t.Fatalf("%d of %d records within %v", len(got), count, expect.Patience)
		}
	}
	select {
	case m := <-from:
		t.Fatalf("record %d of %d: %s", count+1, count, m.Value)
	case <-time.After(150 * time.Millisecond):
	}
	return got
}

func asSent(messages []*sarama.ConsumerMessage) []sent {
	var list []sent
	for _, m := range messages {
		list = append(list, sent{m.Partition, m.Offset, string(m.Value)})
	}
	return sorted(list)
}

func sorted(list []sent) []sent {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b sent) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		return int(a.offset - b.offset)
	})
	return list
}

func values(messages []*sarama.ConsumerMessage) string {
	var list []string
	for _, m := range messages {
		list = append(list, string(m.Value))
	}
	return strings.Join(list, " ")
}
