package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

// The tests of configs alter them on a running node and observe what the node then does.

const (
	minuteMs = int64(60_000)
	hourMs   = 60 * minuteMs
	dayMs    = 24 * hourMs
)

// configNode is a node whose configs are altered, and a client of it.
type configNode struct {
	t          testing.TB
	dir        string
	properties map[string]string // of every start
	b          *broker
	client     *kgo.Client
}

func newConfigNode(t testing.TB, properties map[string]string) *configNode {
	n := &configNode{t: t, dir: t.TempDir(), properties: properties}
	n.start(nil)
	t.Cleanup(func() {
		if n.b != nil {
			n.stop()
		}
	})
	return n
}

// start brings the node up with some properties more than those of every start.
func (n *configNode) start(more map[string]string) {
	n.t.Helper()
	all := map[string]string{"log.dirs": n.dir, "listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": "", "log.cleaner.enable": "false"}
	for _, properties := range []map[string]string{n.properties, more} {
		for name, value := range properties {
			all[name] = value
		}
	}
	c, _, err := config.NewBroker(all)
	if err != nil {
		n.t.Fatal(err)
	}
	n.b = newBroker(context.Background(), c)
	if err := n.b.start(); err != nil {
		n.t.Fatal(errors.Join(err, n.b.stop()))
	}
	if n.client, err = kgo.NewClient(kgo.SeedBrokers(n.b.server.Addr("PLAINTEXT").String())); err != nil {
		n.t.Fatal(err)
	}
}

func (n *configNode) stop() {
	n.t.Helper()
	n.client.Close()
	if err := n.b.stop(); err != nil {
		n.t.Error(err)
	}
	n.b = nil
}

func (n *configNode) restart(more map[string]string) {
	n.t.Helper()
	n.stop()
	n.start(more)
}

// request sends one request and fails the test if there is no answer.
func request[R kmsg.Response](n *configNode, r kmsg.Request) R {
	n.t.Helper()
	response, err := n.client.Request(n.t.Context(), r)
	if err != nil {
		n.t.Fatal(err)
	}
	return response.(R)
}

// setting is a config of a resource that is altered; a nil value removes it.
type setting struct {
	kind     kmsg.ConfigResourceType
	resource string
	name     string
	value    *string
}

func ofTopic(topic, name string, value *string) setting {
	return setting{kmsg.ConfigResourceTypeTopic, topic, name, value}
}

func ofBroker(name string, value *string) setting {
	return setting{kmsg.ConfigResourceTypeBroker, "1", name, value}
}

func ofCluster(name string, value *string) setting {
	return setting{kmsg.ConfigResourceTypeBroker, "", name, value}
}

func (n *configNode) tryAlter(s setting) error {
	n.t.Helper()
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = s.kind, s.resource
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value, c.Op = s.name, s.value, kmsg.IncrementalAlterConfigOpSet
	if s.value == nil {
		c.Op = kmsg.IncrementalAlterConfigOpDelete
	}
	resource.Configs = append(resource.Configs, c)
	r.Resources = append(r.Resources, resource)
	answer := request[*kmsg.IncrementalAlterConfigsResponse](n, r).Resources[0]
	if answer.ErrorCode != 0 {
		return fmt.Errorf("%s: %w", *answer.ErrorMessage, kafka.ErrorCode(answer.ErrorCode))
	}
	return nil
}

func (n *configNode) alter(s setting) {
	n.t.Helper()
	if err := n.tryAlter(s); err != nil {
		n.t.Fatalf("%s of %q cannot be altered: %v", s.name, s.resource, err)
	}
}

// topic creates a topic with one partition.
func (n *configNode) topic(name string, configs map[string]string) *configTopic {
	n.t.Helper()
	r := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
	for name, value := range configs {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	r.Topics = append(r.Topics, t)
	answer := request[*kmsg.CreateTopicsResponse](n, r).Topics[0]
	if answer.ErrorCode != 0 {
		n.t.Fatal(kerr.ErrorForCode(answer.ErrorCode), answer.ErrorMessage)
	}
	return &configTopic{configNode: n, name: name}
}

// configTopic is a topic with one partition, of which an observation tells how it behaves.
type configTopic struct {
	*configNode
	name  string
	clock int64 // of old records, which go on in time: see roll
}

func (p *configTopic) log() *storage.Log {
	return p.b.storage.Log(kafka.TopicPartition{Topic: p.name})
}

func (p *configTopic) nowMs() int64 { return time.Now().UnixMilli() }

// rec is one record to produce.
type rec struct {
	timestampMs int64
	key, value  string
}

// produce writes one batch and returns the error's name, "ok" for none.
func (p *configTopic) produce(records ...rec) string {
	p.t.Helper()
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	for _, r := range records {
		var key []byte
		if r.key != "" {
			key = []byte(r.key)
		}
		b.Append(r.timestampMs, key, []byte(r.value), nil)
	}
	batch, err := b.Build()
	if err != nil {
		p.t.Fatal(err)
	}
	return p.produceBatch(batch)
}

func (p *configTopic) produceBatch(batch record.Batch) string {
	p.t.Helper()
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = p.name, p.log().TopicID()
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = batch
	t.Partitions = append(t.Partitions, partition)
	r.Topics = append(r.Topics, t)
	code := request[*kmsg.ProduceResponse](p.configNode, r).Topics[0].Partitions[0].ErrorCode
	if code == 0 {
		return "ok"
	}
	return kafka.ErrorCode(code).Error()
}

// must is for records that every setting of the test accepts.
func (p *configTopic) must(records ...rec) {
	p.t.Helper()
	if got := p.produce(records...); got != "ok" {
		p.t.Fatalf("%s: produce: %s", p.name, got)
	}
}

func (p *configTopic) mustBatch(batch record.Batch) {
	p.t.Helper()
	if got := p.produceBatch(batch); got != "ok" {
		p.t.Fatalf("%s: produce: %s", p.name, got)
	}
}

// last returns the newest batch of the log.
func (p *configTopic) last() record.Batch {
	p.t.Helper()
	return p.batchAt(p.log().LogEndOffset() - 1)
}

// batchAt returns the batch that has offset.
func (p *configTopic) batchAt(offset int64) record.Batch {
	p.t.Helper()
	l := p.log()
	read, err := l.Read(storage.ReadRequest{Offset: offset, MaxBytes: 1, MinOneBatch: true, UpTo: l.LogEndOffset()})
	if err != nil {
		p.t.Fatal(err)
	}
	return record.Batch(read.Records)
}

// oldMs returns ever later times, each later than the one before by more than any age at which a
// segment is closed, and all long ago. The first lies some ten years back.
func (p *configTopic) oldMs() int64 {
	if p.clock == 0 {
		p.clock = p.nowMs() - 3650*dayMs
	}
	p.clock += 8 * dayMs
	return p.clock
}

// roll writes an old record into a segment of its own.
func (p *configTopic) roll() int64 {
	p.t.Helper()
	at := p.oldMs()
	p.must(rec{at, "rolls", "v"})
	return at
}

func (p *configTopic) flush() {
	p.t.Helper()
	if err := p.log().Flush(); err != nil {
		p.t.Fatal(err)
	}
}

// deleteOld applies retention as of nowMs and returns how many segments went.
func (p *configTopic) deleteOld(nowMs int64) int {
	p.t.Helper()
	n, err := p.log().DeleteOldSegments(nowMs)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// clean compacts as of nowMs and reports whether this topic had something to compact.
func (p *configTopic) clean(nowMs int64) bool {
	p.t.Helper()
	p.flush()
	before := p.log().CleanedOffset()
	for {
		found, err := p.b.storage.CleanDirtiest(storage.CleanOptions{NowMs: nowMs, MapBytes: 1 << 20, MapLoadFactor: 0.9, BufferBytes: 1 << 16, Throttle: func(int) error { return nil }})
		if err != nil {
			p.t.Fatal(err)
		}
		if !found {
			return p.log().CleanedOffset() > before
		}
	}
}

// files counts the files of the log's folder that end so.
func (p *configTopic) files(suffix string) int {
	p.t.Helper()
	names, err := filepath.Glob(filepath.Join(p.dir, p.name+"-0", "*"+suffix))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(names)
}

// fileBytes is the size on disk of the file of the newest segment.
func (p *configTopic) fileBytes(suffix string) int64 {
	p.t.Helper()
	names, err := filepath.Glob(filepath.Join(p.dir, p.name+"-0", "*"+suffix))
	if err != nil || len(names) == 0 {
		p.t.Fatal("no file ", suffix, err)
	}
	info, err := p.b.fs.Stat(names[len(names)-1])
	if err != nil {
		p.t.Fatal(err)
	}
	return info.Size()
}

func ptr(s string) *string { return &s }
