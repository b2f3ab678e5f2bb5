package handler

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/replica/fetchsession"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/wire"
)

// dataPlane is broker 1 with its data-plane handlers on a disk in memory, without a server.
type dataPlane struct {
	tb       testing.TB
	replicas *replica.Manager
	storage  *storage.Manager
	produce  *Produce
	fetch    *Fetch
	list     *ListOffsets
	epochs   *OffsetForLeaderEpoch
	config   *storage.LogConfig
	denied   map[security.Resource]bool
	offset   int64
	isolated bool // from the controllers, for longer than a session lasts
}

func (d *dataPlane) Authorize(_ security.Principal, _ string, _ security.Operation, r security.Resource) bool {
	return !d.denied[r]
}

func newDataPlane(tb testing.TB) *dataPlane {
	tb.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		tb.Fatal(err)
	}
	d := newDataPlaneOn(tb, fs)
	if err := d.replicas.Start(); err != nil {
		tb.Fatal(err)
	}
	d.apply(&metadata.RegisterBrokerRecord{BrokerID: 1, Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "one.example", Port: 9092}}},
		&metadata.RegisterBrokerRecord{BrokerID: 2, Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "two.example", Port: 9093}}})
	return d
}

// newDataPlaneOn opens a disk as it is. Topics that are applied before the replicas start keep
// their logs.
func newDataPlaneOn(tb testing.TB, fs vfs.FS) *dataPlane { return newDataPlaneAs(tb, fs, 1) }

// newDataPlaneAs is any broker.
func newDataPlaneAs(tb testing.TB, fs vfs.FS, nodeID int32) *dataPlane {
	tb.Helper()
	d := &dataPlane{tb: tb, config: storage.DefaultLogConfig(), denied: map[security.Resource]bool{}}
	registry := metrics.NewRegistry()
	s, err := storage.OpenManager(storage.Options{FS: fs, Dirs: []string{"/data"}, Defaults: d.config, Metrics: registry,
		Random: env.NewSeededRandom(1), Clock: env.SystemClock{}, ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Load(storage.LoadOptions{NowMs: time.Now().UnixMilli()}); err != nil {
		tb.Fatal(err)
	}
	d.storage = s
	cluster := &replica.Cluster{LagMaxMs: 30_000, Isolated: func() bool { return d.isolated }, Follow: func(*partition.Partition, int32, int32) {}, Unfollow: func(*partition.Partition) {},
		Flushed: func(int32) {}, Propose: func(*partition.Partition, *partition.ISRChange) {}, Mend: func(*partition.Partition) {}, BrokerEpoch: func() int64 { return 1 }}
	d.replicas = replica.New(replica.Options{NodeID: nodeID, Cluster: cluster, Storage: s, Metrics: registry, Clock: env.SystemClock{}, MaxWaiting: 1000, FetchMemoryBytes: 1 << 30,
		TopicConfig: func(*metadata.Image, string) replica.TopicConfig {
			return replica.TopicConfig{Log: d.config, MinInSyncReplicas: 1}
		}})
	m := NewDataMetrics(registry)
	d.produce = &Produce{Replicas: d.replicas, Metadata: d.replicas.Image, Authorizer: d, Clock: env.SystemClock{}, Metrics: m}
	d.fetch = &Fetch{Replicas: d.replicas, Sessions: fetchsession.New(100, env.NewSeededRandom(2), registry), Metadata: d.replicas.Image, Authorizer: d, Clock: env.SystemClock{}, Metrics: m, MaxBytes: 55 << 20, Quota: quota.Unlimited{}}
	d.list = &ListOffsets{Replicas: d.replicas, Metadata: d.replicas.Image, Authorizer: d, Clock: env.SystemClock{}}
	d.epochs = &OffsetForLeaderEpoch{Replicas: d.replicas, Metadata: d.replicas.Image, Authorizer: d}
	return d
}

func (d *dataPlane) apply(records ...metadata.Record) {
	d.tb.Helper()
	delta := metadata.NewDelta(d.replicas.Image())
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			d.tb.Fatal(err)
		}
	}
	d.offset += int64(len(records))
	d.replicas.Apply(delta.Apply(d.offset, 1), delta)
}

func topicIDOf(topic string) (id kafka.UUID) {
	copy(id[:], topic+"----------------")
	return id
}

// create makes a topic whose partitions are led by leader.
func (d *dataPlane) create(topic string, partitions int, leader int32) {
	d.tb.Helper()
	records := []metadata.Record{&metadata.TopicRecord{Name: topic, TopicID: topicIDOf(topic)}}
	for i := range partitions {
		records = append(records, &metadata.PartitionRecord{PartitionID: int32(i), TopicID: topicIDOf(topic), Replicas: []int32{leader}, ISR: []int32{leader},
			Leader: leader, Directories: []kafka.UUID{{}}})
	}
	d.apply(records...)
}

func dataRequest(body kmsg.Request, clientID string) *Request {
	return &Request{Conn: &security.Connection{Listener: "PLAINTEXT", Principal: security.Anonymous}, Body: body,
		Header: wire.RequestHeader{APIKey: body.Key(), APIVersion: body.GetVersion(), ClientID: &clientID}}
}

// finish runs the completing phase too, and checks that the body can be encoded.
func (d *dataPlane) finish(r *Request, reply Reply) wire.ResponseBody {
	d.tb.Helper()
	body := reply.Body
	if reply.Wait != nil {
		body = reply.Wait(context.Background())
	}
	if body == nil || reply.CloseConnection || reply.NoResponse {
		d.tb.Fatalf("no answer: %+v", reply)
	}
	if api, ok := wire.LookupAPI(body.Key()); ok {
		new(wire.Frame).Encode(api, r.Version(), 1, body)
	}
	return body
}

func newProduceRequest(version, acks int16) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	req.Acks, req.TimeoutMillis = acks, 1000
	return req
}

// with adds a partition, by name and id.
func withProduce(req *kmsg.ProduceRequest, topic string, p int32, records []byte) *kmsg.ProduceRequest {
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, topicIDOf(topic)
	t.Partitions = []kmsg.ProduceRequestTopicPartition{{Partition: p, Records: records}}
	req.Topics = append(req.Topics, t)
	return req
}

func (d *dataPlane) doProduce(req *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	d.tb.Helper()
	r := dataRequest(req, "test")
	return d.finish(r, d.produce.Handle(d.tb.Context(), r)).(*wire.ProduceBody).Response
}

// doFetch returns a copy of the response, whose records are valid until its release.
func (d *dataPlane) doFetch(req *kmsg.FetchRequest) (*kmsg.FetchResponse, func()) {
	d.tb.Helper()
	r := dataRequest(req, "test")
	body := d.finish(r, d.fetch.Handle(d.tb.Context(), r)).(*wire.FetchBody)
	response := *body.Response
	response.Topics = slices.Clone(response.Topics)
	for i := range response.Topics {
		response.Topics[i].Partitions = slices.Clone(response.Topics[i].Partitions)
	}
	return &response, body.Release
}

func newFetchRequest(version int16, sessionID, epoch int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(version)
	req.MaxBytes, req.MinBytes, req.SessionID, req.SessionEpoch = 1<<26, 1, sessionID, epoch
	return req
}

func withFetch(req *kmsg.FetchRequest, topic string, p int32, offset int64) *kmsg.FetchRequest {
	t := kmsg.NewFetchRequestTopic()
	if req.Version >= fetchTopicIDsFrom {
		t.TopicID = topicIDOf(topic)
	} else {
		t.Topic = topic
	}
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = p, offset, 1<<20
	t.Partitions = append(t.Partitions, fp)
	req.Topics = append(req.Topics, t)
	return req
}

// records returns a batch of the values, from producer 9 if sequence is not negative.
func records(tb testing.TB, sequence int32, values ...string) record.Batch {
	tb.Helper()
	o := record.NoProducer(record.CodecNone)
	if sequence >= 0 {
		o.ProducerID, o.ProducerEpoch, o.BaseSequence = 9, 0, sequence
	}
	b := record.NewBuilder(o)
	for _, v := range values {
		b.Append(time.Now().UnixMilli(), nil, []byte(v), nil)
	}
	batch, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

// withAttribute sets attribute bits and renews the CRC.
func withAttribute(b record.Batch, bits byte) record.Batch {
	b[22] |= bits
	b.SetMaxTimestamp(b.MaxTimestamp() + 1) // renews the CRC
	return b
}

func corrupted(b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[17:], b.CRC()+1)
	return b
}

// encodedBody returns the bytes of an answer without frame and header.
func encodedBody(tb testing.TB, reply Reply, version int16) []byte {
	tb.Helper()
	if reply.Body == nil {
		tb.Fatalf("no answer: %+v", reply)
	}
	api, ok := wire.LookupAPI(reply.Body.Key())
	if !ok {
		tb.Fatalf("no API %d", reply.Body.Key())
	}
	var f wire.Frame
	f.Encode(api, version, 1, reply.Body)
	header := 8 // size and correlation id
	if api.IsFlexible(version) {
		header++
	}
	return f.Bytes()[header:]
}
