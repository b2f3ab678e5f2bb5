package broker

import (
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

// TestControllerListener: what controller.listener.names names serves the controller's part of the
// protocol, and nothing of the brokers'.
func TestControllerListener(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, map[string]string{"listeners": "PLAINTEXT://127.0.0.1:0,C1://127.0.0.1:0", "controller.listener.names": "c1"})
	address := n.b.server.Addr("C1").String()
	cl, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	controller := cl.SeedBrokers()[0]
	ask := kmsg.NewPtrDescribeClusterRequest()
	ask.EndpointType = 2
	resp, err := controller.Request(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	cluster := resp.(*kmsg.DescribeClusterResponse)
	if cluster.ControllerID != 1 || len(cluster.Brokers) != 1 || cluster.Brokers[0].Port != n.b.boundPort("C1") {
		t.Errorf("the controller listener describes %+v, it is at %s", cluster, address)
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "made-there", 1, 1
	create.Topics = append(create.Topics, topic)
	if resp, err = controller.Request(t.Context(), create); err != nil || resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode != 0 {
		t.Errorf("create a topic: %+v, %v", resp, err)
	}
	if n.b.loader.Current().TopicByName("made-there") == nil {
		t.Error("the topic is not there")
	}
	if resp, err := controller.Request(t.Context(), kmsg.NewPtrMetadataRequest()); err == nil {
		t.Errorf("Metadata is served: %+v", resp)
	}
	if names := func() (all []string) {
		for _, l := range n.b.loader.Current().Broker(1).Endpoints {
			all = append(all, l.Name)
		}
		return all
	}(); len(names) != 1 || names[0] != "PLAINTEXT" {
		t.Errorf("clients are told of %v", names)
	}
}

// TestNoPeersWithoutAHello: what only nodes send is not served before they have said who they are, and by a node
// that is alone and has no controller listener not at all.
func TestNoPeersWithoutAHello(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config    map[string]string
		listeners []string
		greets    bool
	}{
		{map[string]string{"listeners": "PLAINTEXT://127.0.0.1:0"}, []string{"PLAINTEXT"}, false},
		{map[string]string{"listeners": "PLAINTEXT://127.0.0.1:0,C1://127.0.0.1:0", "controller.listener.names": "c1"}, []string{"PLAINTEXT", "C1"}, true},
	} {
		n := newConfigNode(t, c.config)
		ours := map[int16]kmsg.Request{
			wire.KeyPeerHello: &wire.PeerHelloRequest{FormatVersion: wire.SpokenFormats.Min, MaxFormat: wire.SpokenFormats.Max, ClusterID: n.b.knownClusterID(), NodeID: 2, IncarnationID: kafka.UUID{2}, Purpose: wire.PurposeForward},
			wire.KeyPeerRaft:  &wire.PeerRaftRequest{}, wire.KeyPeerMetadata: &wire.PeerMetadataRequest{}, wire.KeyPeerSnapshot: &wire.PeerSnapshotRequest{}, wire.KeyPeerForward: &wire.PeerForwardRequest{},
			wire.KeyPeerLoad: &wire.PeerLoadRequest{}, wire.KeyPeerBalancer: &wire.PeerBalancerRequest{},
		}
		for _, listener := range c.listeners {
			for _, api := range wire.PeerAPIs() {
				if c.greets && api.Key == wire.KeyPeerHello {
					continue
				}
				req := ours[api.Key]
				if req == nil {
					req = kmsg.RequestForKey(api.Key)
					req.SetVersion(api.MaxAdvertised)
				}
				socket, err := net.Dial("tcp", n.b.server.Addr(listener).String())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := socket.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
					t.Error(err)
				}
				if answer, err := io.ReadAll(socket); len(answer) > 0 {
					t.Errorf("%s is answered on %s: %x, %v", api.Name, listener, answer, err)
				}
				_ = socket.Close()
			}
		}
	}
}
