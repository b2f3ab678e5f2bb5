package client

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

func TestProducerProperties(t *testing.T) {
	t.Parallel()
	base := func(name, value string) Properties {
		return Properties{"bootstrap.servers": "127.0.0.1:9092", name: value}
	}
	for _, test := range []struct{ name, value, want string }{
		{"acks", "5", "Invalid value 5 for configuration acks: String must be one of: all, -1, 0, 1"},
		{"compression.type", "foo", "Invalid value foo for configuration compression.type: String must be one of: none, gzip, snappy, lz4, zstd"},
		{"linger.ms", "x", "Invalid value x for configuration linger.ms: Not a number of type LONG"},
		{"security.protocol", "SASL_SSL", "security.protocol=SASL_SSL is not supported yet; only PLAINTEXT is"},
		{"transactional.id", "t", "transactional.id=t: transactions are not supported yet by this tool"},
		{"bootstrap.servers", "foo", "Invalid url in bootstrap.servers: foo"},
	} {
		if _, err := NewProducer(discard(), base(test.name, test.value)); err == nil || err.Error() != test.want {
			t.Errorf("%s=%s: %v; want %s", test.name, test.value, err, test.want)
		}
	}
	for name, value := range map[string]string{
		"acks": "1", "compression.type": "zstd", "linger.ms": "5", "security.protocol": "plaintext", "batch.size": "1", "buffer.memory": "1000000",
		"enable.idempotence": "false", "metrics.recording.level": "INFO", "request.timeout.ms": "1500", "max.block.ms": "9223372036854775807",
		"max.in.flight.requests.per.connection": "1", "delivery.timeout.ms": "2147483647", "metadata.max.age.ms": "300000", "retries": "2147483647",
	} {
		producer, err := NewProducer(discard(), base(name, value))
		if err != nil {
			t.Errorf("%s=%s: %v", name, value, err)
			continue
		}
		producer.Close()
	}
}

func TestConsumerProperties(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, value, want string }{
		{"isolation.level", "foo", "Invalid value foo for configuration isolation.level: String must be one of: read_committed, read_uncommitted"},
		{"group.protocol", "consumer", "group.protocol=consumer is not supported yet by this tool; use group.protocol=classic"},
		{"partition.assignment.strategy", "org.example.Mine", `partition.assignment.strategy: the assignor "org.example.Mine" is not known to this tool`},
	} {
		props := Properties{"bootstrap.servers": "127.0.0.1:9092", "group.id": "g", test.name: test.value}
		if _, err := NewConsumer(discard(), props, kgo.ConsumeTopics("t")); err == nil || err.Error() != test.want {
			t.Errorf("%s=%s: %v; want %s", test.name, test.value, err, test.want)
		}
	}
	consumer, err := NewConsumer(discard(), Properties{
		"bootstrap.servers": "127.0.0.1:9092", "group.id": "g", "auto.offset.reset": "earliest", "fetch.min.bytes": "1", "fetch.max.wait.ms": "500",
		"partition.assignment.strategy": "org.apache.kafka.clients.consumer.RangeAssignor,cooperative-sticky", "session.timeout.ms": "45000",
	}, kgo.ConsumeTopics("t"), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	consumer.Close()
}

func discard() cli.Streams { return cli.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}} }

func TestBootstrap(t *testing.T) {
	t.Parallel()
	got, err := ParseBootstrap(" a:1, PLAINTEXT://b:2 ,[::1]:3,")
	if err != nil || strings.Join(got, " ") != "a:1 b:2 [::1]:3" {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{"", "a", "a:", ":1", "a:x", "a:99999"} {
		if _, err := ParseBootstrap(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if err := CheckBootstrap("foo"); err == nil || err.Error() != "Please provide valid host:port like host1:9091,host2:9092\n" {
		t.Errorf("%v", err)
	}
	if err := CheckBootstrap(" "); err == nil || err.Error() != "Error while validating the bootstrap address\n" {
		t.Errorf("%v", err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	message := "Topic 'a' already exists."
	for _, test := range []struct {
		err  error
		want string
	}{
		{FromCode(int16(kafka.ErrTopicAlreadyExists), &message), "org.apache.kafka.common.errors.TopicExistsException: Topic 'a' already exists."},
		{FromCode(int16(kafka.ErrUnknownTopicOrPartition), nil), "org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does not host this topic-partition."},
		{FromCode(int16(kafka.ErrGroupIDNotFound), new(string)), "org.apache.kafka.common.errors.GroupIdNotFoundException: The group id does not exist."},
		{FromCode(9999, nil), "org.apache.kafka.common.errors.ErrorCode9999Exception: The broker answered error code 9999, which this tool does not know."},
		{Convert(kerr.InvalidPartitions, "x"), "org.apache.kafka.common.errors.InvalidPartitionsException: Number of partitions is below 1."},
		{Convert(context.DeadlineExceeded, "listTopics"), "org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: listTopics"},
		{Convert(&net.OpError{Op: "dial", Err: errors.New("refused")}, "listTopics"), "org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: listTopics"},
		{errors.New("x"), "java.lang.IllegalArgumentException: x"},
	} {
		if got := Exception(test.err); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	if FromCode(0, &message) != nil || Convert(nil, "x") != nil {
		t.Error("no error is an error")
	}
	if Code(kerr.GroupIDNotFound) != kafka.ErrGroupIDNotFound || Code(FromCode(3, nil)) != kafka.ErrUnknownTopicOrPartition || Code(nil) != kafka.ErrNone {
		t.Error("codes are lost")
	}
}

func TestClusterOf(t *testing.T) {
	t.Parallel()
	resp := kmsg.NewPtrMetadataResponse()
	for _, name := range []*string{kmsg.StringPtr("b"), nil, kmsg.StringPtr("a")} {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = name
		for _, index := range []int32{1, 0} {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition = index
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	cluster, err := clusterOf(resp)
	if err != nil || len(cluster.Topics) != 2 || cluster.Topics[0].Name != "a" || cluster.Topics[0].Partitions[0].Index != 0 {
		t.Fatalf("%+v %v", cluster, err)
	}
	if _, ok := cluster.Find("b"); !ok {
		t.Error("b is missing")
	}
	if _, ok := cluster.Find("c"); ok {
		t.Error("c is there")
	}
	resp.Topics[0].ErrorCode = int16(kafka.ErrTopicAuthorizationFailed)
	if _, err := clusterOf(resp); !errors.Is(err, kafka.ErrTopicAuthorizationFailed) {
		t.Errorf("%v", err)
	}
}
