package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/brokers"
	"github.com/moldau/moldau/internal/tools/cli"
)

// joinTimeout bounds the questions to the cluster that is to be joined.
const joinTimeout = 30 * time.Second

// Join completes the properties of a node that is to be one more of a cluster: address is that of any broker or controller
// of it, which says where the controllers are, and which node ids are taken.
func Join(ctx context.Context, s cli.Streams, properties map[string]string, address string) error {
	for _, name := range []string{"controller.quorum.voters", "controller.quorum.bootstrap.servers"} {
		if properties[name] != "" {
			return fmt.Errorf("--join %s and %s=%s: give one of them", address, name, properties[name])
		}
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("--join %s: host:port of a broker or controller is required", address)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ClientID("moldau-join"))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	any := client.SeedBrokers()[0]
	quorum, err := describeQuorum(ctx, any)
	if err != nil {
		return fmt.Errorf("--join %s: cannot ask for the cluster's controllers: %w", address, err)
	}
	if err := setControllers(properties, quorum, address); err != nil {
		return err
	}
	if properties["process.roles"] == "" {
		properties["process.roles"] = "broker"
	}
	if err := chooseNodeID(ctx, properties, any, quorum, address); err != nil {
		return err
	}
	s.Printf("Joining the cluster at %s as node %s; its controllers are %s\n", address, properties["node.id"], properties["controller.quorum.bootstrap.servers"])
	return nil
}

func describeQuorum(ctx context.Context, any *kgo.Broker) (*kmsg.DescribeQuorumResponse, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: kafka.ClusterMetadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	resp, err := req.RequestWith(ctx, any)
	switch {
	case err != nil:
		return nil, err
	case resp.ErrorCode != 0:
		return nil, kafka.ErrorCode(resp.ErrorCode)
	case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
		return nil, errors.New("the answer is not about the metadata quorum")
	case resp.Topics[0].Partitions[0].ErrorCode != 0:
		return nil, kafka.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	return resp, nil
}

// setControllers names the controllers that the node finds the cluster through.
func setControllers(properties map[string]string, quorum *kmsg.DescribeQuorumResponse, address string) error {
	var servers []string
	name := ""
	for _, n := range quorum.Nodes {
		if len(n.Listeners) > 0 {
			l := n.Listeners[0]
			servers, name = append(servers, net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))), cmp.Or(name, l.Name)
		}
	}
	if len(servers) == 0 {
		return fmt.Errorf("--join %s: the cluster has no controller that other nodes can reach. Restart its node with a controller listener, such as listeners=PLAINTEXT://host:9092,CONTROLLER://host:9093 and controller.listener.names=CONTROLLER", address)
	}
	properties["controller.quorum.bootstrap.servers"] = strings.Join(servers, ",")
	properties["controller.listener.names"] = cmp.Or(properties["controller.listener.names"], name)
	return nil
}

// chooseNodeID gives a new node the lowest id that nobody has, or that of its folder. Two that join at the same moment
// may choose the same one: the controller takes one of them, and refuses the other.
func chooseNodeID(ctx context.Context, properties map[string]string, any *kgo.Broker, quorum *kmsg.DescribeQuorumResponse, address string) error {
	if properties["node.id"] != "" || properties["broker.id"] != "" {
		return nil
	}
	folder, _, _ := strings.Cut(cmp.Or(properties["log.dirs"], properties["log.dir"]), ",")
	meta, err := cli.LoadProperties(filepath.Join(cmp.Or(properties["metadata.log.dir"], strings.TrimSpace(folder)), "meta.properties"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if meta["node.id"] != "" {
		properties["node.id"] = meta["node.id"]
		return nil
	}
	known, err := brokerIDs(ctx, any)
	if err != nil {
		return fmt.Errorf("--join %s: cannot ask for the node ids that are taken: %w: give --override node.id=…", address, err)
	}
	properties["node.id"] = strconv.Itoa(int(freeNodeID(known, quorum)))
	return nil
}

// freeNodeID is the lowest id that no broker, controller or replica has.
func freeNodeID(known []int32, quorum *kmsg.DescribeQuorumResponse) int32 {
	taken := map[int32]bool{}
	for _, id := range known {
		taken[id] = true
	}
	for _, replicas := range [][]kmsg.DescribeQuorumResponseTopicPartitionReplicaState{quorum.Topics[0].Partitions[0].CurrentVoters, quorum.Topics[0].Partitions[0].Observers} {
		for _, r := range replicas {
			taken[r.ReplicaID] = true
		}
	}
	id := int32(1)
	for taken[id] {
		id++
	}
	return id
}

// brokerIDs asks a broker or a controller which brokers there are, alive or not, and which have replicas. A broker that was
// unregistered may come back to its replicas, and another one must not take them over without what they hold.
func brokerIDs(ctx context.Context, any kmsg.Requestor) (ids []int32, err error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType, req.IncludeFencedBrokers = 1, true
	resp, err := req.RequestWith(ctx, any)
	switch {
	case err != nil:
		return nil, err
	case kafka.ErrorCode(resp.ErrorCode) == kafka.ErrMismatchedEndpointType:
		return brokers.OfController(ctx, any)
	case resp.ErrorCode != 0:
		return nil, kafka.ErrorCode(resp.ErrorCode)
	}
	for _, b := range resp.Brokers {
		ids = append(ids, b.NodeID)
	}
	topics, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, any)
	if err != nil {
		return nil, err
	}
	for _, t := range topics.Topics {
		for _, p := range t.Partitions {
			ids = append(ids, p.Replicas...)
		}
	}
	return ids, nil
}
