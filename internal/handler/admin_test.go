package handler

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

func metadataOf(t *testing.T, resp kmsg.Response) map[string]kmsg.MetadataResponseTopic {
	t.Helper()
	topics := map[string]kmsg.MetadataResponseTopic{}
	for _, topic := range resp.(*kmsg.MetadataResponse).Topics {
		topics[*topic.Topic] = topic
	}
	return topics
}

func TestMetadataCreatesTopics(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, map[string]string{"num.partitions": "3"})
	f.create(map[string]int32{"a.b": 1})
	topics := metadataOf(t, f.ask(12, metadataRequest(true, "new", "a.b", "a_b", "bad name", kafka.ConsumerOffsetsTopic, kafka.TransactionStateTopic)))
	if got := topics["new"]; got.ErrorCode != 0 || len(got.Partitions) != 3 || got.Partitions[0].Leader != 1 || got.TopicID == [16]byte{} {
		t.Errorf("the created topic is answered at once with its partitions: %+v", got)
	}
	if got := topics[kafka.ConsumerOffsetsTopic]; !got.IsInternal || len(got.Partitions) != 5 {
		t.Errorf("__consumer_offsets is created as its coordinator wants it: %+v", got)
	}
	if cleanup := f.current().Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: kafka.ConsumerOffsetsTopic})["cleanup.policy"]; cleanup != "compact" {
		t.Errorf("cleanup.policy is %q", cleanup)
	}
	wantCode(t, "existing", topics["a.b"].ErrorCode, kafka.ErrNone)
	wantCode(t, "collision", topics["a_b"].ErrorCode, kafka.ErrInvalidTopicException)
	wantCode(t, "bad name", topics["bad name"].ErrorCode, kafka.ErrInvalidTopicException)
	if got := topics[kafka.TransactionStateTopic]; !got.IsInternal || len(got.Partitions) != 5 {
		t.Errorf("__transaction_state is created as its coordinator wants it: %+v", got)
	}
	if f.origin.Principal != "User:ANONYMOUS" || f.origin.ClientID != "client" || f.origin.Host != "127.0.0.1" {
		t.Errorf("created on behalf of %+v", f.origin)
	}

	before := f.current().TopicCount()
	wantCode(t, "the client says no", metadataOf(t, f.ask(12, metadataRequest(false, "other")))["other"].ErrorCode, kafka.ErrUnknownTopicOrPartition)
	if f.current().TopicCount() != before {
		t.Error("a topic was created though the client said no")
	}
	wantCode(t, "old client", metadataOf(t, f.ask(1, metadataRequest(false, "old")))["old"].ErrorCode, kafka.ErrNone)
}

func TestMetadataDoesNotCreateWhereForbidden(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, map[string]string{"auto.create.topics.enable": "false"})
	wantCode(t, "broker says no", metadataOf(t, f.ask(12, metadataRequest(true, "new")))["new"].ErrorCode, kafka.ErrUnknownTopicOrPartition)
	if len(f.sent) != 0 {
		t.Error("the controller was asked")
	}

	f = newAdminFixture(t, nil)
	f.denied = []grant{{security.OperationCreate, security.Cluster}, {security.OperationCreate, security.Topic("mine")}}
	topics := metadataOf(t, f.ask(12, metadataRequest(true, "mine", "ok")))
	wantCode(t, "not authorized", topics["mine"].ErrorCode, kafka.ErrTopicAuthorizationFailed)
	wantCode(t, "authorized by topic", topics["ok"].ErrorCode, kafka.ErrNone)

	f.fail = kafka.ErrNotController
	wantCode(t, "no controller", metadataOf(t, f.ask(12, metadataRequest(true, "later")))["later"].ErrorCode, kafka.ErrUnknownTopicOrPartition)
}

func TestMetadataHidesTopics(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	f.create(map[string]int32{"open": 1, "secret": 1})
	f.denied = []grant{{resource: security.Topic("secret")}}
	if all := metadataOf(t, f.ask(12, kmsg.NewPtrMetadataRequest())); len(all) != 1 {
		t.Errorf("all topics: %d", len(all))
	}
	topics := metadataOf(t, f.ask(12, metadataRequest(true, "secret")))
	wantCode(t, "by name", topics["secret"].ErrorCode, kafka.ErrTopicAuthorizationFailed)
	if topics["secret"].TopicID != [16]byte{} || len(topics["secret"].Partitions) != 0 {
		t.Error("the answer tells more than the client may know")
	}
	byID := kmsg.NewPtrMetadataRequest()
	byID.Topics = []kmsg.MetadataRequestTopic{{TopicID: f.current().TopicByName("secret").ID}}
	answer := f.ask(12, byID).(*kmsg.MetadataResponse).Topics[0]
	wantCode(t, "by id", answer.ErrorCode, kafka.ErrTopicAuthorizationFailed)
	if answer.Topic != nil {
		t.Errorf("the name %s is told", *answer.Topic)
	}
}

func TestMetadataIsRelativeToTheListener(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	f.create(map[string]int32{"t": 1})
	f.publish(&metadata.RegisterBrokerRecord{BrokerID: 2, IncarnationID: kafka.UUID{2}, Fenced: true, Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "b", Port: 1}}})
	f.conn.Listener = "INTERNAL"
	resp := f.ask(9, metadataRequest(false, "t")).(*kmsg.MetadataResponse)
	if len(resp.Brokers) != 1 || resp.Brokers[0].Host != "10.0.0.1" || resp.Brokers[0].Port != 9093 || resp.ControllerID != 1 {
		t.Errorf("on INTERNAL: %+v", resp)
	}
	f.conn.Listener = "OTHER"
	for version, want := range map[int16]kafka.ErrorCode{5: kafka.ErrLeaderNotAvailable, 6: kafka.ErrListenerNotFound} {
		resp := f.ask(version, metadataRequest(false, "t")).(*kmsg.MetadataResponse)
		wantCode(t, "listener without endpoint", resp.Topics[0].Partitions[0].ErrorCode, want)
		if p := resp.Topics[0].Partitions[0]; p.Leader != -1 || len(resp.Brokers) != 0 {
			t.Errorf("leader %d, %d brokers", p.Leader, len(resp.Brokers))
		}
	}
}

func TestMetadataWithoutLeader(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	f.create(map[string]int32{"t": 1})
	topic := f.current().TopicByName("t")
	change := metadata.NewPartitionChangeRecord(topic.ID, 0)
	change.Leader = kafka.NoLeader
	f.publish(change, &metadata.FenceBrokerRecord{ID: 1, Epoch: f.current().Broker(1).Epoch})
	f.addBroker(2)
	for version, replicas := range map[int16]int{0: 0, 12: 1} {
		p := f.ask(version, metadataRequest(false, "t")).(*kmsg.MetadataResponse).Topics[0].Partitions[0]
		wantCode(t, "no leader", p.ErrorCode, kafka.ErrLeaderNotAvailable)
		if len(p.Replicas) != replicas {
			t.Errorf("version %d names replicas %v", version, p.Replicas)
		}
	}
	p := f.ask(12, metadataRequest(false, "t")).(*kmsg.MetadataResponse).Topics[0].Partitions[0]
	if len(p.OfflineReplicas) != 1 || p.OfflineReplicas[0] != 1 {
		t.Errorf("offline replicas %v", p.OfflineReplicas)
	}
	if resp := f.ask(12, metadataRequest(false)).(*kmsg.MetadataResponse); resp.ControllerID != 2 {
		t.Errorf("controller %d, but only 2 lives", resp.ControllerID)
	}
}

func TestReplicaInOfflineDirectory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		directory kafka.UUID
		offline   bool
	}{
		"online":     {kafka.UUID{1, 7}, false},
		"other":      {kafka.UUID{9}, true},
		"unassigned": {kafka.DirectoryUnassigned, false},
		"lost":       {kafka.DirectoryLost, true},
	} {
		b := &metadata.Broker{ID: 1, LogDirs: []kafka.UUID{{1, 7}}}
		p := &metadata.Partition{Replicas: []int32{1}, Directories: []kafka.UUID{c.directory}}
		if got := b.HasFailedDirectory(p); got != c.offline {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAPIVersions(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "apache-kafka-java", "4.3.1"
	resp := f.ask(4, req).(*kmsg.ApiVersionsResponse)
	if len(resp.ApiKeys) != len(*f.set.byKey.Load()) {
		t.Errorf("%d keys, want those with a handler", len(resp.ApiKeys))
	}
	for _, key := range resp.ApiKeys {
		if key.ApiKey == wire.KeyProduce {
			t.Error("Produce has no handler here, but is advertised")
		}
	}
	if f.conn.ClientSoftwareName != "apache-kafka-java" || f.conn.ClientSoftwareVersion != "4.3.1" {
		t.Errorf("connection says %q %q", f.conn.ClientSoftwareName, f.conn.ClientSoftwareVersion)
	}
	var finalized []string
	for _, feature := range resp.FinalizedFeatures {
		finalized = append(finalized, feature.Name)
	}
	if !slices.Equal(finalized, []string{controller.KRaftVersionFeature, metadata.ELRVersionFeature, metadata.MetadataVersionFeature, controller.TransactionVersionFeature}) ||
		resp.FinalizedFeaturesEpoch != f.current().Offset || len(resp.SupportedFeatures) != len(finalized) {
		t.Errorf("features: %+v", resp)
	}
	for _, bad := range []string{"", "-a", "a-", ".", "a b", "ä", "a_b"} {
		req.ClientSoftwareName = bad
		wantCode(t, "software "+bad, f.ask(3, req).(*kmsg.ApiVersionsResponse).ErrorCode, kafka.ErrInvalidRequest)
	}
	f.conn.Controller = true
	req.ClientSoftwareName = "a.b-c"
	for _, key := range f.ask(4, req).(*kmsg.ApiVersionsResponse).ApiKeys {
		if key.ApiKey == wire.KeyMetadata {
			t.Error("Metadata is advertised on a controller listener")
		}
	}
}

// TestForwardingFails: every request to the controller tells the client the code for all it named.
func TestForwardingFails(t *testing.T) {
	t.Parallel()
	for failure, want := range map[error]kafka.ErrorCode{
		context.DeadlineExceeded: kafka.ErrRequestTimedOut,
		context.Canceled:         kafka.ErrNotController,
		kafka.ErrNotController:   kafka.ErrNotController,
	} {
		f := newAdminFixture(t, nil)
		f.fail = failure
		id := [16]byte{1}
		create := f.ask(7, createRequest(false, newTopic("t", 1, 1))).(*kmsg.CreateTopicsResponse)
		wantCode(t, "create", create.Topics[0].ErrorCode, want)
		remove := f.ask(6, deleteRequest(nil, deleteTopic(nil, id))).(*kmsg.DeleteTopicsResponse)
		wantCode(t, "delete", remove.Topics[0].ErrorCode, want)
		removeNames := f.ask(5, deleteRequest([]string{"t"})).(*kmsg.DeleteTopicsResponse)
		wantCode(t, "delete by name", removeNames.Topics[0].ErrorCode, want)
		partitions := f.ask(3, partitionsRequest(false, "t", 4)).(*kmsg.CreatePartitionsResponse)
		wantCode(t, "partitions", partitions.Topics[0].ErrorCode, want)
		alter := f.ask(1, alterRequest(2, "t", operation{opDelete, "retention.ms", nil})).(*kmsg.IncrementalAlterConfigsResponse)
		wantCode(t, "alter", alter.Resources[0].ErrorCode, want)
		replace := f.ask(2, replaceRequest(2, "t")).(*kmsg.AlterConfigsResponse)
		wantCode(t, "replace", replace.Resources[0].ErrorCode, want)
	}
}

// TestDenied: what the client may not do never reaches the controller.
func TestDenied(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	f.create(map[string]int32{"mine": 1, "other": 1})
	f.denied = []grant{{resource: security.Topic("other")}, {resource: security.Cluster}}
	f.sent = nil
	id := f.current().TopicByName("other").ID

	create := f.ask(7, createRequest(false, newTopic("other", 1, 1), newTopic("other", 1, 1))).(*kmsg.CreateTopicsResponse)
	if len(create.Topics) != 1 {
		t.Errorf("%d answers", len(create.Topics))
	}
	wantCode(t, "create", create.Topics[0].ErrorCode, kafka.ErrTopicAuthorizationFailed)
	remove := f.ask(6, deleteRequest(nil, deleteTopic(nil, id), deleteTopic(kmsg.StringPtr("other"), [16]byte{}))).(*kmsg.DeleteTopicsResponse)
	for _, topic := range remove.Topics {
		wantCode(t, "delete", topic.ErrorCode, kafka.ErrTopicAuthorizationFailed)
	}
	if remove.Topics[0].Topic != nil {
		t.Error("the name behind an id is told")
	}
	removeName := f.ask(5, deleteRequest([]string{"other"})).(*kmsg.DeleteTopicsResponse)
	wantCode(t, "delete by name", removeName.Topics[0].ErrorCode, kafka.ErrTopicAuthorizationFailed)
	partitions := f.ask(3, partitionsRequest(false, "other", 4)).(*kmsg.CreatePartitionsResponse)
	wantCode(t, "partitions", partitions.Topics[0].ErrorCode, kafka.ErrTopicAuthorizationFailed)
	describe := f.ask(4, configsRequest(2, "other")).(*kmsg.DescribeConfigsResponse)
	wantCode(t, "describe topic", describe.Resources[0].ErrorCode, kafka.ErrTopicAuthorizationFailed)
	describe = f.ask(4, configsRequest(4, "1")).(*kmsg.DescribeConfigsResponse)
	wantCode(t, "describe broker", describe.Resources[0].ErrorCode, kafka.ErrClusterAuthorizationFailed)
	for resourceType, want := range map[int8]kafka.ErrorCode{2: kafka.ErrTopicAuthorizationFailed, 4: kafka.ErrClusterAuthorizationFailed, 8: kafka.ErrClusterAuthorizationFailed} {
		alter := f.ask(1, alterRequest(resourceType, "other", operation{opDelete, "root", nil})).(*kmsg.IncrementalAlterConfigsResponse)
		wantCode(t, "alter", alter.Resources[0].ErrorCode, want)
	}
	page := f.ask(0, pageRequest(10, nil, "mine", "other")).(*kmsg.DescribeTopicPartitionsResponse)
	if len(page.Topics) != 2 || len(page.Topics[1].Partitions) != 0 {
		t.Errorf("page: %+v", page)
	}
	wantCode(t, "page", page.Topics[1].ErrorCode, kafka.ErrTopicAuthorizationFailed)
	if all := f.ask(0, pageRequest(10, nil)).(*kmsg.DescribeTopicPartitionsResponse); len(all.Topics) != 1 {
		t.Errorf("all topics: %d", len(all.Topics))
	}
	cluster := kmsg.NewPtrDescribeClusterRequest()
	cluster.EndpointType, cluster.IncludeClusterAuthorizedOperations = 1, true
	if ops := f.ask(1, cluster).(*kmsg.DescribeClusterResponse).ClusterAuthorizedOperations; ops != 0 {
		t.Errorf("operations %b", ops)
	}
	if len(f.sent) != 0 {
		t.Errorf("%d requests reached the controller", len(f.sent))
	}
}

func TestCreateTopicsHidesConfigs(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	f.denied = []grant{{security.OperationDescribeConfigs, security.Topic("t")}}
	topic := f.ask(7, createRequest(false, newTopic("t", 1, 1))).(*kmsg.CreateTopicsResponse).Topics[0]
	if topic.ErrorCode != 0 || topic.ConfigErrorCode != int16(kafka.ErrTopicAuthorizationFailed) || topic.NumPartitions != -1 || len(topic.Configs) != 0 {
		t.Errorf("%+v", topic)
	}
}

func TestBrokerLogger(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	level := func() string {
		return *f.ask(4, configsRequest(8, "1")).(*kmsg.DescribeConfigsResponse).Resources[0].Configs[0].Value
	}
	if got := level(); got != "INFO" {
		t.Errorf("level %s", got)
	}
	set := alterRequest(8, "1", operation{opSet, "root", kmsg.StringPtr("TRACE")})
	set.ValidateOnly = true
	f.ask(1, set)
	if f.logLevel.Level() != slog.LevelInfo {
		t.Error("validate only set the level")
	}
	set.ValidateOnly = false
	wantCode(t, "set", f.ask(1, set).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode, kafka.ErrNone)
	if got := level(); got != "DEBUG" || f.logLevel.Level() != slog.LevelDebug {
		t.Errorf("level %s", got)
	}
}

// TestMixedAlterations: answers keep the request's order, whoever gave them.
func TestMixedAlterations(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	f.create(map[string]int32{"t": 1})
	req := alterRequest(2, "t", operation{opSet, "retention.ms", kmsg.StringPtr("5")})
	for _, more := range []*kmsg.IncrementalAlterConfigsRequest{
		alterRequest(8, "1", operation{opSet, "root", kmsg.StringPtr("WARN")}),
		alterRequest(4, "9", operation{opSet, "message.max.bytes", kmsg.StringPtr("9")}),
		alterRequest(2, "nobody", operation{opSet, "retention.ms", kmsg.StringPtr("5")}),
		alterRequest(77, "x"),
		alterRequest(16, "metrics", operation{opSet, "interval.ms", kmsg.StringPtr("5")}),
	} {
		req.Resources = append(req.Resources, more.Resources...)
	}
	want := []kafka.ErrorCode{kafka.ErrNone, kafka.ErrNone, kafka.ErrInvalidRequest, kafka.ErrUnknownTopicOrPartition, kafka.ErrInvalidRequest, kafka.ErrInvalidRequest}
	resp := f.ask(1, req).(*kmsg.IncrementalAlterConfigsResponse)
	for i, resource := range resp.Resources {
		if resource.ResourceName != req.Resources[i].ResourceName {
			t.Errorf("answer %d is about %s", i, resource.ResourceName)
		}
		wantCode(t, "resource "+resource.ResourceName, resource.ErrorCode, want[i])
		if (resource.ErrorMessage == nil) != (want[i] == kafka.ErrNone) {
			t.Errorf("message of %s: %v", resource.ResourceName, resource.ErrorMessage)
		}
	}
	// A controller takes the configs of every broker there is.
	f.conn.Controller = true
	wantCode(t, "another broker, at a controller", f.ask(1, alterRequest(4, "9", operation{opSet, "message.max.bytes", kmsg.StringPtr("9")})).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode, kafka.ErrBrokerIDNotRegistered)
	f.conn.Controller = false
	twice := replaceRequest(2, "t", "retention.ms", "6")
	twice.Resources = append(twice.Resources, twice.Resources[0])
	for _, resource := range f.ask(2, twice).(*kmsg.AlterConfigsResponse).Resources {
		wantCode(t, "twice", resource.ErrorCode, kafka.ErrInvalidRequest)
	}
	if got := f.current().Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: "t"})["retention.ms"]; got != "5" {
		t.Errorf("retention.ms is %s", got)
	}
}

// TestDescribeConfigsNamedTwice: a resource is described once, whatever a request repeats, with
// all configs that any mention asks for.
func TestDescribeConfigsNamedTwice(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	f.create(map[string]int32{"a": 1})
	req := configsRequest(2, "a", "retention.ms")
	for range 1000 {
		req.Resources = append(req.Resources, configsRequest(2, "a", "flush.ms").Resources[0], configsRequest(4, "1", "num.partitions").Resources[0])
	}
	req.Resources = append(req.Resources, configsRequest(4, "1").Resources[0], configsRequest(4, "01").Resources[0])
	resp := f.ask(4, req).(*kmsg.DescribeConfigsResponse)
	if len(resp.Resources) != 3 {
		t.Fatalf("%d resources are described", len(resp.Resources))
	}
	topic, broker, spelling := &resp.Resources[0], &resp.Resources[1], &resp.Resources[2]
	if len(topic.Configs) != 2 || len(broker.Configs) < 100 || kafka.ErrorCode(spelling.ErrorCode) != kafka.ErrInvalidRequest {
		t.Errorf("%d configs of the topic, %d of the broker, error %d", len(topic.Configs), len(broker.Configs), spelling.ErrorCode)
	}
}
