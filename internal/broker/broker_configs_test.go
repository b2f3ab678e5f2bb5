package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// brokerConfigTest says how to tell which of two values of a broker config a node goes by.
type brokerConfigTest struct {
	name     string
	value    string
	observe  func(n *configNode) string
	byValue  string
	byAbsent string
}

// brokerConfigTests has one entry for each dynamic broker config that has an effect of its own;
// those that are defaults of topics are tested with the topics' configs.
var brokerConfigTests = []brokerConfigTest{
	{"log.cleaner.backoff.ms", "20000", func(n *configNode) string { return fmt.Sprint(n.b.cleanerLimits().Backoff) }, "20s", "15s"},
	{"log.cleaner.backoff.ms", "9223372036854775807", func(n *configNode) string { return fmt.Sprint(n.b.cleanerLimits().Backoff > 24*time.Hour) }, "true", "false"},
	{"log.cleaner.dedupe.buffer.size", "2000000", func(n *configNode) string { return fmt.Sprint(n.b.cleanerLimits().MapBytes) }, "2000000", "134217728"},
	{"log.cleaner.io.buffer.load.factor", "0.5", func(n *configNode) string { return fmt.Sprint(n.b.cleanerLimits().MapLoadFactor) }, "0.5", "0.9"},
	{"log.cleaner.io.buffer.size", "100000", func(n *configNode) string { return fmt.Sprint(n.b.cleanerLimits().BufferBytes) }, "100000", "524288"},
	{"log.cleaner.io.max.bytes.per.second", "1000000", func(n *configNode) string { return fmt.Sprint(n.b.cleanerLimits().MaxBytesPerSecond) }, "1e+06", "1.7976931348623157e+308"},
	{"max.connection.creation.rate", "1", connectsOften, "waits", "served"},
	{"max.connections", "1", connects, "waits", "served"},
	{"max.connections.per.ip", "1", connects, "closed", "served"},
	{"max.connections.per.ip.overrides", "127.0.0.1:1", connects, "closed", "served"},
	{"max.connections.per.ip.overrides", "localhost:1", connects, "closed", "served"},
	{"num.recovery.threads.per.data.dir", "4", func(n *configNode) string { return fmt.Sprint(recoveryThreads(n.b.current.Load())) }, "4", "2"},
	{"producer.id.expiration.ms", "1000", producerExpiration, "forgotten", "known"},
	{"transaction.partition.verification.enable", "false", unverifiedWrite, "ok", "INVALID_TXN_STATE"},
}

// testedElsewhere are those with tests of their own, which do not fit into the table.
var testedElsewhere = map[string]bool{
	"cordoned.log.dirs":   true, // TestCordonedLogDir
	"listeners":           true, // TestListenerIsAdded, TestListenerIsRemoved
	"log.cleaner.threads": true, // of storage/host

	"unclean.leader.election.enable": true, // scripts/elr of controller

	"listener.security.protocol.map": true, // TestListenerHasItsProtocol

	// TestBalancerSettings and others of controller
	"moldau.balancer.concurrent.partitions": true, "moldau.balancer.copy.bytes.per.second": true, "moldau.balancer.dead.broker.timeout.ms": true,
	"moldau.balancer.disk.limit.percent": true, "moldau.balancer.mode": true, "moldau.balancer.tolerance.percent": true,
}

// connectsOften uses up what max.connection.creation.rate allows in a window of the quotas.
func connectsOften(n *configNode) (outcome string) {
	for i := 0; i < 12 && outcome != "waits"; i++ {
		outcome = connects(n)
	}
	return outcome
}

// connects opens a connection and says what becomes of its first request.
func connects(n *configNode) string {
	c, err := net.Dial("tcp", n.b.server.Addr("PLAINTEXT").String())
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	request := kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)
	if _, err := c.Write(request); err != nil {
		return "closed"
	}
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	var size [4]byte
	switch _, err := io.ReadFull(c, size[:]); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "waits"
	case err != nil || binary.BigEndian.Uint32(size[:]) == 0:
		return "closed"
	}
	return "served"
}

// producerBatch is one record of a producer.
func (n *configNode) producerBatch(o record.BuilderOptions, timestampMs int64) record.Batch {
	b := record.NewBuilder(o)
	b.Append(timestampMs, []byte("k"), []byte("v"), nil)
	batch, err := b.Build()
	if err != nil {
		n.t.Fatal(err)
	}
	return batch
}

func producerExpiration(n *configNode) string {
	p := n.topic(fmt.Sprintf("producer-%d", time.Now().UnixNano()), nil)
	o := record.NoProducer(record.CodecNone)
	o.ProducerID, o.ProducerEpoch, o.BaseSequence = 7, 0, 0
	p.mustBatch(n.producerBatch(o, p.nowMs()))
	n.b.storage.ExpireProducers(p.nowMs() + hourMs)
	if p.log().ProducerCount() == 0 {
		return "forgotten"
	}
	return "known"
}

// unverifiedWrite writes in a transaction that the partition was not added to, as a client of
// version 1 of transactions.
func unverifiedWrite(n *configNode) string {
	client, err := kgo.NewClient(kgo.SeedBrokers(n.b.server.Addr("PLAINTEXT").String()), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		n.t.Fatal(err)
	}
	defer client.Close()
	p := n.topic(fmt.Sprintf("unverified-%d", time.Now().UnixNano()), nil)
	id := p.name
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.TransactionalID, begin.TransactionTimeoutMillis = &id, 60_000
	begun, err := begin.RequestWith(n.t.Context(), client)
	if err != nil || begun.ErrorCode != 0 {
		n.t.Fatal(err, begun)
	}
	o := record.NoProducer(record.CodecNone)
	o.ProducerID, o.ProducerEpoch, o.BaseSequence, o.Transactional = begun.ProducerID, begun.ProducerEpoch, 0, true
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis, r.TransactionID = -1, 10_000, &id
	t := kmsg.NewProduceRequestTopic()
	t.Topic = p.name
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = n.producerBatch(o, p.nowMs())
	t.Partitions = append(t.Partitions, partition)
	r.Topics = append(r.Topics, t)
	answer, err := r.RequestWith(n.t.Context(), client)
	if err != nil {
		n.t.Fatal(err)
	}
	code := answer.Topics[0].Partitions[0].ErrorCode
	if code == 0 {
		return "ok"
	}
	return kafka.ErrorCode(code).Error()
}

// TestEveryDynamicBrokerConfigIsTested: what may be changed while brokers run either has an effect
// that a test knows, or the table says that it has none, and then PARITY.md, too.
func TestEveryDynamicBrokerConfigIsTested(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, test := range brokerConfigTests {
		tested[test.name] = true
	}
	for _, test := range topicConfigTests {
		synonym, _ := config.TopicSynonym(test.name)
		tested[synonym] = true
	}
	for _, d := range config.BrokerDefs() {
		needsTest := d.Usage == config.Used && d.Mode != config.ReadOnly && !testedElsewhere[d.Name]
		if needsTest != tested[d.Name] {
			t.Errorf("broker config %s: has an effect that can change %t, tested %t", d.Name, needsTest, tested[d.Name])
		}
	}
}

// TestDynamicBrokerConfigsTakeEffect alters each on a running node, and looks again after a restart.
func TestDynamicBrokerConfigsTakeEffect(t *testing.T) {
	t.Parallel()
	for _, test := range brokerConfigTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := newConfigNode(t, map[string]string{"transaction.state.log.num.partitions": "1"})
			check := func(want, when string) {
				t.Helper()
				if got := test.observe(n); got != want {
					t.Errorf("%s: got %q, want %q", when, got, want)
				}
			}
			d, _ := config.BrokerDef(test.name)
			for _, level := range []func(string, *string) setting{ofCluster, ofBroker} { // the client opens its connections
				n.alter(level("background.threads", ptr("10")))
			}
			check(test.byAbsent, "default")
			n.alter(ofCluster(test.name, &test.value))
			check(test.byValue, "set for the cluster")
			n.alter(ofBroker(test.name, &d.Default))
			check(test.byAbsent, "set for the cluster, the default set for the broker")
			n.alter(ofBroker(test.name, nil))
			check(test.byValue, "removed from the broker")
			n.alter(ofCluster(test.name, nil))
			check(test.byAbsent, "removed from the cluster")
			n.alter(ofBroker(test.name, &test.value))
			check(test.byValue, "set for the broker")
			if test.byValue == "waits" { // nobody could connect to alter it back
				return
			}
			n.alter(ofBroker(test.name, nil))
			n.restart(map[string]string{test.name: test.value})
			if test.byValue != "closed" {
				check(test.byValue, "in the properties")
				n.alter(ofCluster(test.name, &d.Default))
				check(test.byAbsent, "in the properties, the default set for the cluster")
				n.restart(map[string]string{test.name: test.value})
				check(test.byAbsent, "the same after a restart")
			}
		})
	}
}

// TestProducersOutliveARestartByTheDynamicExpiration: what is forgotten while a node starts goes by
// the configs in the metadata, which come after the logs.
func TestProducersOutliveARestartByTheDynamicExpiration(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, map[string]string{"producer.id.expiration.ms": "1000"})
	n.alter(ofCluster("producer.id.expiration.ms", ptr("86400000")))
	p := n.topic("t", nil)
	o := record.NoProducer(record.CodecNone)
	o.ProducerID, o.ProducerEpoch, o.BaseSequence = 7, 0, 0
	p.mustBatch(n.producerBatch(o, p.nowMs()-hourMs))
	n.restart(nil)
	if p.log().ProducerCount() != 1 {
		t.Error("the producer is forgotten before producer.id.expiration.ms is over")
	}
	n.alter(ofCluster("producer.id.expiration.ms", nil))
	n.restart(nil)
	if p.log().ProducerCount() != 0 {
		t.Error("the producer is remembered after producer.id.expiration.ms")
	}
}

// TestRetentionWaitsForTheTopicsConfigs: while a node starts, its logs have the defaults of the
// properties; nothing may be deleted by those.
func TestRetentionWaitsForTheTopicsConfigs(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, nil)
	p := n.topic("kept", map[string]string{"retention.ms": "-1"})
	p.roll()
	p.roll()
	n.stop()
	c, _, err := config.NewBroker(map[string]string{"log.dirs": n.dir, "listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": ""})
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(context.Background(), c)
	err = errors.Join(b.openDirs(), b.bind(), b.openStorage())
	if deleted, failure := b.storage.CleanupRetention(p.nowMs()); deleted != 0 || err != nil || failure != nil {
		t.Errorf("%d segments went before the topic's configs were known; %v %v", deleted, err, failure)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	n.start(nil)
}
