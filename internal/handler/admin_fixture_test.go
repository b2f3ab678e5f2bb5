package handler

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// grant is one thing that a test denies; an empty operation stands for all.
type grant struct {
	op       security.Operation
	resource security.Resource
}

// adminFixture is a cluster of one broker whose controller commits at once, and the handlers of
// the admin APIs in front of it.
type adminFixture struct {
	t        *testing.T
	core     *controller.Controller
	static   *config.Broker
	random   env.Random
	set      *Set
	conn     *security.Connection
	logLevel *slog.LevelVar

	mu     sync.Mutex
	image  *metadata.Image
	denied []grant
	fail   error // what Send answers, if it is set
	sent   []kmsg.Request
	origin peer.Origin
	reply  Reply // to the latest question
}

func newAdminFixture(t *testing.T, properties map[string]string) *adminFixture {
	t.Helper()
	static, _, err := config.NewBroker(properties)
	if err != nil {
		t.Fatal(err)
	}
	f := &adminFixture{
		t: t, static: static, random: env.NewSeededRandom(3), image: metadata.EmptyImage(), logLevel: &slog.LevelVar{},
		core: controller.New(controller.Options{ClusterID: "cluster", Features: controller.Features(), NodeID: 1, Broker: static}),
		conn: &security.Connection{Listener: "PLAINTEXT", Principal: security.Anonymous, Host: "127.0.0.1"},
	}
	f.publish(f.core.Bootstrap(controller.Input{Image: f.image})...)
	f.addBroker(1)
	f.set = NewSet()
	checkOwn := func(req kmsg.Request, place int) error {
		return controller.CheckOwnConfigs(static, f.current(), req, place)
	}
	coordinator := &FindCoordinator{Authorizer: f, Metadata: f.current, Controller: f, OffsetsTopic: NewOffsetsTopic(5, -1, 1<<20), TransactionTopic: NewTransactionTopic(5, -1, 1<<20, 2)}
	f.set.Add(wire.KeyMetadata, &Metadata{NodeID: 1, ClusterID: "cluster", Image: f.current, Authorizer: f, Controller: f, AutoCreateTopics: static.AutoCreateTopics, Coordinators: coordinator, Quota: quota.Unlimited{}})
	f.set.Add(wire.KeyAPIVersions, &APIVersions{Set: f.set, Features: controller.Features(), Metadata: f.current})
	f.set.Add(wire.KeyCreateTopics, &CreateTopics{Authorizer: f, Controller: f, Quota: quota.Unlimited{}})
	f.set.Add(wire.KeyDeleteTopics, &DeleteTopics{Image: f.current, Authorizer: f, Controller: f, Quota: quota.Unlimited{}})
	f.set.Add(wire.KeyCreatePartitions, &CreatePartitions{Authorizer: f, Controller: f, Quota: quota.Unlimited{}})
	f.set.Add(wire.KeyDescribeConfigs, &DescribeConfigs{NodeID: 1, Image: f.current, Authorizer: f, Static: static, LogLevel: f.logLevel})
	f.set.Add(wire.KeyAlterConfigs, &AlterConfigs{NodeID: 1, Authorizer: f, Controller: f, CheckOwn: checkOwn})
	f.set.Add(wire.KeyIncrementalAlterConfigs, &IncrementalAlterConfigs{NodeID: 1, Authorizer: f, Controller: f, CheckOwn: checkOwn, LogLevel: f.logLevel})
	f.set.Add(wire.KeyDescribeCluster, &DescribeCluster{NodeID: 1, ClusterID: "cluster", Image: f.current, Authorizer: f,
		Quorum: func() QuorumState {
			return QuorumState{LeaderID: 1, Voters: []QuorumVoter{{ID: 1, Endpoints: []Endpoint{{"CONTROLLER", "c1", 9093}}}, {ID: 2, Endpoints: []Endpoint{{"OTHER", "c2", 9093}}}}}
		}})
	f.set.Add(wire.KeyListConfigResources, &ListConfigResources{Image: f.current, Authorizer: f})
	f.set.Add(wire.KeyDescribeTopicPartitions, &DescribeTopicPartitions{Image: f.current, Authorizer: f, MaxPartitions: 2000})
	return f
}

func (f *adminFixture) current() *metadata.Image {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.image
}

func (f *adminFixture) publish(records ...metadata.Record) {
	f.t.Helper()
	delta := metadata.NewDelta(f.image)
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			f.t.Fatal(err)
		}
	}
	f.image = delta.Apply(f.image.Offset+int64(len(records)), 1)
}

func (f *adminFixture) addBroker(id int32) {
	f.t.Helper()
	f.publish(&metadata.RegisterBrokerRecord{BrokerID: id, BrokerEpoch: f.image.Offset + 1, IncarnationID: kafka.UUID{byte(id)},
		Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "broker.example", Port: 9092}, {Name: "INTERNAL", Host: "10.0.0.1", Port: 9093}},
		LogDirs:   []kafka.UUID{{byte(id), 7}}})
}

// Authorize denies what the test put into denied.
func (f *adminFixture) Authorize(_ security.Principal, _ string, op security.Operation, r security.Resource) bool {
	return !slices.Contains(f.denied, grant{op, r}) && !slices.Contains(f.denied, grant{resource: r})
}

// Send has the controller decide and commits its records.
func (f *adminFixture) Send(_ context.Context, origin peer.Origin, req kmsg.Request) (kmsg.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent, f.origin = append(f.sent, req), origin
	if f.fail != nil {
		return nil, f.fail
	}
	result, err := f.core.Handle(controller.Input{Image: f.image, NextOffset: f.image.Offset + 1, Random: f.random, Permit: origin.Permit}, req)
	if err != nil {
		return nil, err
	}
	f.publish(result.Records...)
	return result.Response, nil
}

// ask sends req in a version through its encoding to its handler, and the response back.
func (f *adminFixture) ask(version int16, req kmsg.Request) kmsg.Response {
	f.t.Helper()
	req.SetVersion(version)
	decoded := kmsg.RequestForKey(req.Key())
	decoded.SetVersion(version)
	if err := decoded.ReadFrom(req.AppendTo(nil)); err != nil {
		f.t.Fatalf("%T version %d: %v", req, version, err)
	}
	clientID := "client"
	reply := f.set.Lookup(req.Key()).Handle(f.t.Context(), &Request{
		Conn: f.conn, Header: wire.RequestHeader{APIKey: req.Key(), APIVersion: version, ClientID: &clientID}, Body: decoded,
	})
	f.reply = reply
	if reply.Body == nil {
		f.t.Fatalf("%T version %d: no response", req, version)
	}
	api, _ := wire.LookupAPI(req.Key())
	var frame wire.Frame
	frame.Encode(api, version, 1, reply.Body)
	encoded := frame.Bytes()[8:]
	if api.IsFlexible(version) && api.Key != wire.KeyAPIVersions {
		encoded = encoded[1:]
	}
	response := req.ResponseKind()
	response.SetVersion(version)
	if err := response.ReadFrom(encoded); err != nil {
		f.t.Fatalf("%T version %d: %v", response, version, err)
	}
	return response
}

// create creates topics with the given numbers of partitions.
func (f *adminFixture) create(topics map[string]int32) {
	f.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	for name, partitions := range topics {
		req.Topics = append(req.Topics, newTopic(name, partitions, 1))
	}
	for _, topic := range f.ask(7, req).(*kmsg.CreateTopicsResponse).Topics {
		if topic.ErrorCode != 0 {
			f.t.Fatalf("creating %s: %s", topic.Topic, kafka.ErrorCode(topic.ErrorCode))
		}
	}
}

func newTopic(name string, partitions int32, replicationFactor int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, replicationFactor
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, c)
	}
	return topic
}
