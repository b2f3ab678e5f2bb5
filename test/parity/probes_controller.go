package main

import (
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// atController has a step talk to the controller listener.
func atController(s step) step {
	return func(b *broker, _ *conn) (string, error) {
		c, err := dial(controllerOf(b.addr))
		if err != nil {
			return "", err
		}
		defer c.tcp.Close()
		answer, err := s(b, c)
		if err == errClosed {
			return "closed\n", nil
		}
		return answer, err
	}
}

// controllerOf is the address of the controller listener, the port after the broker's.
func controllerOf(broker string) string {
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		return broker
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return broker
	}
	return net.JoinHostPort(host, strconv.Itoa(n+1))
}

// controllerProbes ask the controller listener what Kafka's tools ask with --bootstrap-controller.
func controllerProbes() []probe {
	describe := func(version int16, kind int8) step {
		r := kmsg.NewPtrDescribeClusterRequest()
		r.EndpointType, r.IncludeClusterAuthorizedOperations = kind, true
		return askOf(version, r)
	}
	var clusters []step
	for v := int16(0); v <= 2; v++ {
		for _, kind := range []int8{1, 2, 0, 3} {
			clusters = append(clusters, describe(v, kind), atController(describe(v, kind)))
		}
	}
	quorum := kmsg.NewPtrDescribeQuorumRequest()
	quorum.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}}}}
	var asked []step
	for v := int16(0); v <= 2; v++ {
		asked = append(asked, atController(quorumShape(v, quorum)))
	}
	set, group, metrics := kmsg.IncrementalAlterConfigOpSet, resourceGroup, resourceClientMetrics
	alterTopic := func(name, value string) step {
		return atController(decided(1, alter(resourceTopic, "p-controller", set, name, &value)))
	}
	remove := kmsg.NewPtrDeleteTopicsRequest()
	remove.Topics, remove.TopicNames, remove.TimeoutMillis = []kmsg.DeleteTopicsRequestTopic{{Topic: ptr("p-controller")}}, []string{"p-controller"}, 10_000
	create := createTopic("p-controller", 1, 1)
	more := kmsg.NewPtrCreatePartitionsRequest()
	more.Topics, more.TimeoutMillis = []kmsg.CreatePartitionsRequestTopic{{Topic: "p-controller", Count: 2}}, 10_000
	elect := kmsg.NewPtrElectLeadersRequest()
	elect.Topics, elect.TimeoutMillis = []kmsg.ElectLeadersRequestTopic{{Topic: "p-controller", Partitions: []int32{0, 9}}}, 10_000
	gone := kmsg.NewPtrUnregisterBrokerRequest()
	gone.BrokerID = 77
	feature := kmsg.NewPtrUpdateFeaturesRequest()
	feature.FeatureUpdates, feature.TimeoutMillis = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "transaction.version", MaxVersionLevel: 2, UpgradeType: 1}}, 10_000
	topics := []step{atController(decided(7, create)), atController(decided(7, create)), atController(decided(3, more)), alterTopic("retention.ms", "5000"), alterTopic("retention.ms", "soon"), alterTopic("no.such", "1"),
		atController(decided(2, elect)), atController(decided(2, feature)), atController(decided(0, gone)), atController(decided(0, kmsg.NewPtrListPartitionReassignmentsRequest())), atController(decided(6, remove)), atController(decided(6, remove))}
	resources := []step{atController(decided(1, alter(group, "p-controller", set, "share.isolation.level", ptr("read_committed")))), atController(decided(1, alter(group, "p-controller", set, "no.such", ptr("1")))),
		atController(decided(1, alter(metrics, "p-controller", set, "interval.ms", ptr("99")))), atController(decided(2, replaceAll(group, "p-controller")))}
	var refused []step
	for _, r := range []kmsg.Request{kmsg.NewPtrMetadataRequest(), kmsg.NewPtrListOffsetsRequest(), kmsg.NewPtrFindCoordinatorRequest(), kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrDescribeLogDirsRequest(), kmsg.NewPtrListConfigResourcesRequest(),
		kmsg.NewPtrDescribeTopicPartitionsRequest(), kmsg.NewPtrListTransactionsRequest()} {
		refused = append(refused, atController(decided(r.MaxVersion(), r)))
	}
	return []probe{{"cluster, brokers and controllers", clusters}, {"quorum at the controller", asked}, {"topics at the controller", topics}, {"configs at the controller", resources}, {"controllers do not serve", refused}}
}

// quorumShape is what DescribeQuorum answers about the voters without offsets and times.
func quorumShape(version int16, r kmsg.Request) step {
	return func(_ *broker, c *conn) (string, error) {
		response, err := c.request(r, version)
		if err != nil {
			return "", err
		}
		q := response.(*kmsg.DescribeQuorumResponse)
		return fmt.Sprintf("code %d, %d voters, %d observers, nodes %v\n", q.ErrorCode, len(q.Topics[0].Partitions[0].CurrentVoters), len(q.Topics[0].Partitions[0].Observers), normaliseNodes(q.Nodes)), nil
	}
}

func normaliseNodes(nodes []kmsg.DescribeQuorumResponseNode) []string {
	var all []string
	for _, n := range nodes {
		for _, l := range n.Listeners {
			all = append(all, fmt.Sprintf("%d %s %s", n.NodeID, l.Name, l.Host))
		}
	}
	return all
}
