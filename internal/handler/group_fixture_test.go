package handler

import (
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// groupFixture is a group coordinator for tests of the handlers of groups: one broker, 1, with
// the topics t1 (two partitions) and, unless it is left out, __consumer_offsets.
type groupFixture struct {
	t      *testing.T
	groups *coordinator.Groups
	image  *metadata.Image
	denied []security.Resource // what the client may not touch
}

// committedLog is a coordinator's log that commits at once and forgets.
type committedLog struct {
	mu  sync.Mutex
	end map[int32]int64
}

func (l *committedLog) Bounds(tp kafka.TopicPartition, _ int32) (int64, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end[tp.Partition], l.end[tp.Partition], nil
}

func (l *committedLog) Read(kafka.TopicPartition, int32, int64, int) ([]byte, error) { return nil, nil }

func (l *committedLog) CheckAppend(kafka.TopicPartition, int32) error { return nil }

func (l *committedLog) AppendTransactional(tp kafka.TopicPartition, leaderEpoch int32, batch []byte, _ replica.TransactionalAppend) (int64, error) {
	return l.Append(tp, leaderEpoch, batch)
}

func (l *committedLog) Append(tp kafka.TopicPartition, _ int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end[tp.Partition] += int64(record.Batch(batch).Count())
	return l.end[tp.Partition], nil
}

func (l *committedLog) WhenCommitted(_ kafka.TopicPartition, _ int32, _ int64, done func(error)) {
	done(nil)
}

var (
	offsetsTopicID = kafka.UUID{1}
	t1ID           = kafka.UUID{2}
)

func topicRecords(name string, id kafka.UUID, partitions int32) []metadata.Record {
	records := []metadata.Record{&metadata.TopicRecord{Name: name, TopicID: id}}
	for i := range partitions {
		records = append(records, &metadata.PartitionRecord{PartitionID: i, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []kafka.UUID{{}}})
	}
	return records
}

func newGroupFixture(t *testing.T) *groupFixture {
	f := &groupFixture{t: t, image: metadata.EmptyImage()}
	config := group.DefaultConfig()
	config.InitialRebalanceDelayMs = 0
	spawner := env.NewSpawner(t.Context(), nil)
	t.Cleanup(spawner.Stop)
	f.groups = coordinator.NewGroups(coordinator.GroupsOptions{
		NodeID: 1, Log: &committedLog{end: map[int32]int64{}}, Clock: env.SystemClock{}, Random: env.SystemRandom{},
		Spawner: spawner, Metrics: metrics.NewRegistry(), Config: config,
	})
	f.groups.Start()
	f.publish(&metadata.RegisterBrokerRecord{BrokerID: 1, Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "broker.example", Port: 9092}}, Fenced: false})
	f.publish(topicRecords("t1", t1ID, 2)...)
	return f
}

// withOffsetsTopic adds __consumer_offsets and waits until its shards are loaded.
func (f *groupFixture) withOffsetsTopic() *groupFixture {
	f.publish(topicRecords(kafka.ConsumerOffsetsTopic, offsetsTopicID, 5)...)
	for {
		if _, code, _ := f.groups.ListGroups(f.t.Context(), nil, nil); code == kafka.ErrNone {
			return f
		}
	}
}

func (f *groupFixture) publish(records ...metadata.Record) {
	f.t.Helper()
	delta := metadata.NewDelta(f.image)
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			f.t.Fatal(err)
		}
	}
	f.image = delta.Apply(f.image.Offset+1, 1)
	f.groups.Publish(f.image, delta)
}

func (f *groupFixture) metadata() *metadata.Image { return f.image }

// Authorize denies what the test has put into denied.
func (f *groupFixture) Authorize(_ security.Principal, _ string, _ security.Operation, r security.Resource) bool {
	return !slices.Contains(f.denied, r)
}

// handleGroup sends req in a version through its encoding to h, and the response back.
func handleGroup[R kmsg.Response](f *groupFixture, h Handler, version int16, req kmsg.Request) R {
	f.t.Helper()
	req.SetVersion(version)
	decoded := kmsg.RequestForKey(req.Key())
	decoded.SetVersion(version)
	if err := decoded.ReadFrom(req.AppendTo(nil)); err != nil {
		f.t.Fatalf("%T version %d: %v", req, version, err)
	}
	clientID := "client"
	reply := h.Handle(f.t.Context(), &Request{
		Conn:   &security.Connection{Listener: "PLAINTEXT", Principal: security.Anonymous, Host: "127.0.0.1"},
		Header: wire.RequestHeader{APIKey: req.Key(), APIVersion: version, ClientID: &clientID},
		Body:   decoded,
	})
	if reply.Body == nil {
		f.t.Fatalf("%T version %d: no response", req, version)
	}
	api, _ := wire.LookupAPI(req.Key())
	var frame wire.Frame
	frame.Encode(api, version, 1, reply.Body)
	encoded := frame.Bytes()[8:] // after size and correlation id
	if api.IsFlexible(version) {
		encoded = encoded[1:]
	}
	response := req.ResponseKind()
	response.SetVersion(version)
	if err := response.ReadFrom(encoded); err != nil {
		f.t.Fatalf("%T version %d: %v", response, version, err)
	}
	return response.(R)
}

func wantCode(t *testing.T, what string, got int16, want kafka.ErrorCode) {
	t.Helper()
	if kafka.ErrorCode(got) != want {
		t.Errorf("%s: %v, want %v", what, kafka.ErrorCode(got), want)
	}
}
