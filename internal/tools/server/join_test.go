package server

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

func TestJoinRefusesWhatSaysTwoThings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, property, want string }{
		{"host:1", "controller.quorum.voters", "give one of them"},
		{"host:1", "controller.quorum.bootstrap.servers", "give one of them"},
		{"host", "", "host:port"},
	} {
		err := Join(t.Context(), cli.Streams{}, map[string]string{c.property: "1@host:9093"}, c.address)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestJoinFindsTheControllers(t *testing.T) {
	t.Parallel()
	quorum := kmsg.NewPtrDescribeQuorumResponse()
	quorum.Nodes = []kmsg.DescribeQuorumResponseNode{{NodeID: 1}}
	properties := map[string]string{}
	if err := setControllers(properties, quorum, "a:1"); err == nil || !strings.Contains(err.Error(), "no controller that other nodes can reach") {
		t.Errorf("without a controller listener: %v", err)
	}
	quorum.Nodes = append(quorum.Nodes, kmsg.DescribeQuorumResponseNode{NodeID: 2, Listeners: []kmsg.DescribeQuorumResponseNodeListener{{Name: "C", Host: "::1", Port: 9093}}},
		kmsg.DescribeQuorumResponseNode{NodeID: 3, Listeners: []kmsg.DescribeQuorumResponseNodeListener{{Name: "C", Host: "three", Port: 1}, {Name: "D", Host: "three", Port: 2}}})
	if err := setControllers(properties, quorum, "a:1"); err != nil || properties["controller.quorum.bootstrap.servers"] != "[::1]:9093,three:1" || properties["controller.listener.names"] != "C" {
		t.Errorf("%v, %v", properties, err)
	}
}

// TestJoinKeepsTheFoldersID asks nobody where the folder has an id, or the operator gives one.
func TestJoinKeepsTheFoldersID(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "meta.properties"), []byte("node.id=7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ given, want string }{{"", "7"}, {"9", "9"}} {
		properties := map[string]string{"log.dirs": dir + ",/elsewhere", "node.id": c.given}
		if err := chooseNodeID(t.Context(), properties, nil, nil, "a:1"); err != nil || properties["node.id"] != c.want {
			t.Errorf("%q: %v, %v", c.given, properties, err)
		}
	}
}

// answers are a broker's, or with isController a controller's, of a cluster with brokers 1 and 2, and a replica on 4,
// which was unregistered.
type answers struct{ isController bool }

func (a answers) Request(_ context.Context, asked kmsg.Request) (kmsg.Response, error) {
	if _, isMetadata := asked.(*kmsg.MetadataRequest); isMetadata {
		topics := kmsg.NewPtrMetadataResponse()
		topics.Topics = []kmsg.MetadataResponseTopic{{Partitions: []kmsg.MetadataResponseTopicPartition{{Replicas: []int32{1, 4}}}}}
		return topics, nil
	}
	req, resp := asked.(*kmsg.DescribeClusterRequest), kmsg.NewPtrDescribeClusterResponse()
	switch {
	case (req.EndpointType == 2) != a.isController:
		resp.ErrorCode = int16(kafka.ErrMismatchedEndpointType)
	case a.isController:
		resp.Brokers = []kmsg.DescribeClusterResponseBroker{{NodeID: 9}} // a controller
		resp.UnknownTags.Set(20000, []byte(`{"Brokers":[{"Load":{"Broker":1}},{"Load":{"Broker":2},"State":"fenced"},{"Load":{"Broker":4},"State":"unregistered"}]}`))
	case req.IncludeFencedBrokers:
		resp.Brokers = []kmsg.DescribeClusterResponseBroker{{NodeID: 1}, {NodeID: 2}}
	}
	return resp, nil
}

// TestJoinTakesNoIDOfAnEarlierBroker: one that was unregistered may come back to its replicas; a new broker of its id
// would be given them, without what they hold.
func TestJoinTakesNoIDOfAnEarlierBroker(t *testing.T) {
	t.Parallel()
	quorum := kmsg.NewPtrDescribeQuorumResponse()
	quorum.Topics = []kmsg.DescribeQuorumResponseTopic{{Partitions: []kmsg.DescribeQuorumResponseTopicPartition{{
		CurrentVoters: []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{{ReplicaID: 2}}, Observers: []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{{ReplicaID: 3}},
	}}}}
	for _, a := range []answers{{false}, {true}} {
		known, err := brokerIDs(t.Context(), a)
		if id := freeNodeID(known, quorum); err != nil || id != 5 {
			t.Errorf("%+v: node id %d, %v", a, id, err)
		}
	}
}
