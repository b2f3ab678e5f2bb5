package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// TestUnregisteredBrokerComesBack: as in Kafka a broker that runs may be unregistered. It serves no
// partition from then on, stops without complaint, and has everything at its next start.
func TestUnregisteredBrokerComesBack(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, nil)
	p := n.topic("t", nil)
	p.must(rec{value: "kept"})
	unregister := func(id int32) kafka.ErrorCode {
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = id
		resp, err := n.client.SeedBrokers()[0].Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return kafka.ErrorCode(resp.(*kmsg.UnregisterBrokerResponse).ErrorCode)
	}
	if code := unregister(7); code != kafka.ErrBrokerIDNotRegistered {
		t.Errorf("an unknown broker: %s", code)
	}
	if code := unregister(1); code != kafka.ErrNone {
		t.Fatalf("this broker: %s", code)
	}
	if code := unregister(1); code != kafka.ErrBrokerIDNotRegistered {
		t.Errorf("this broker again: %s", code)
	}
	b := n.b
	b.ready.Store(true)
	if problems := b.health().Problems; len(problems) != 1 {
		t.Errorf("problems are %v", problems)
	}
	// Nothing that a client may ask fails for want of this broker.
	for _, req := range []kmsg.Request{kmsg.NewPtrMetadataRequest(), kmsg.NewPtrDescribeClusterRequest(), kmsg.NewPtrDescribeLogDirsRequest(), kmsg.NewPtrDescribeQuorumRequest(), kmsg.NewPtrListConfigResourcesRequest(),
		kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrElectLeadersRequest(), &kmsg.DescribeTopicPartitionsRequest{Topics: []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}, ResponsePartitionLimit: 10}} {
		if _, err := n.client.SeedBrokers()[0].Request(t.Context(), req); err != nil {
			t.Errorf("%s: %v", kmsg.NameForKey(req.Key()), err)
		}
	}
	n.restart(nil)
	p.configNode = n
	p.must(rec{value: "more"})
	if end := p.log().LogEndOffset(); end != 2 {
		t.Errorf("the log ends at %d", end)
	}
}
