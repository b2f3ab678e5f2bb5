package broker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/metadata"
)

// batchSources notes which brokers have given a client batches of records.
type batchSources struct {
	mu  sync.Mutex
	ids map[int32]int
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (s *batchSources) OnFetchBatchRead(broker kgo.BrokerMetadata, _ string, _ int32, _ kgo.FetchBatchMetrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[broker.NodeID]++
}

// TestListenersAndRacksOfACluster: clients of each listener are told its addresses, those that it advertises; brokers reach each other
// through the one that inter.broker.listener.name names, since the other advertises addresses where nobody is; every partition has
// replicas in both racks; and a consumer reads from the replica in its own, also where that is not the leader (KIP-392).
func TestListenersAndRacksOfACluster(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	racks := []string{"east", "east", "west"}
	c.prepare = func(i int, properties map[string]string) func(b *broker) {
		inside := fmt.Sprintf("INSIDE://127.0.0.1:%d", freePort(t))
		properties["listeners"] = strings.Replace(properties["listeners"], "PLAINTEXT://127.0.0.1:0", "OUTSIDE://127.0.0.1:0,"+inside, 1)
		properties["advertised.listeners"] = inside + fmt.Sprintf(",OUTSIDE://node%d.example:9092", i+1)
		properties["listener.security.protocol.map"] = "OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT"
		properties["inter.broker.listener.name"] = "INSIDE"
		properties["broker.rack"] = racks[i]
		properties["replica.selector.class"] = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
		return func(*broker) {}
	}
	c.start(0, 1, 2)
	c.awaitMetadata(0, "three brokers that are not fenced", func(image *metadata.Image) bool {
		up := 0
		for id := range int32(len(racks)) {
			if b := image.Broker(id + 1); b != nil && !b.Fenced {
				up++
			}
		}
		return up == len(racks)
	})
	outside := brokersAt(t, c.running[0].server.Addr("OUTSIDE").String())
	slices.Sort(outside)
	if want := []string{"node1.example:9092", "node2.example:9092", "node3.example:9092"}; !slices.Equal(outside, want) {
		t.Errorf("clients of OUTSIDE are told of %v", outside)
	}
	var inside []string
	for _, b := range c.running {
		inside = append(inside, b.server.Addr("INSIDE").String())
	}
	told := brokersAt(t, inside[0])
	slices.Sort(told)
	if slices.Sort(inside); !slices.Equal(told, inside) {
		t.Errorf("clients of INSIDE are told of %v, not of %v", told, inside)
	}

	readsInTheWest(t, c, inside)
}

// readsInTheWest writes to partitions that have a replica on node 3 each, and reads them in its rack.
func readsInTheWest(t *testing.T, c *clusterNodes, addresses []string) {
	t.Helper()
	const partitions = 4
	producer, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if created, err := kadm.NewClient(producer).CreateTopic(t.Context(), partitions, 2, nil, "t"); err != nil || created.Err != nil {
		t.Fatal(created, err)
	}
	c.awaitMetadata(0, "two replicas in sync of every partition", func(image *metadata.Image) bool {
		topic := image.TopicByName("t")
		return topic != nil && !slices.ContainsFunc(topic.Partitions, func(p *metadata.Partition) bool { return len(p.ISR) != 2 })
	})
	ledElsewhere := 0
	for _, p := range c.running[0].loader.Current().TopicByName("t").Partitions {
		if !slices.Contains(p.Replicas, 3) {
			t.Errorf("partition %d has no replica in the west: %v", p.ID, p.Replicas)
		}
		if p.Leader != 3 {
			ledElsewhere++
		}
	}
	if ledElsewhere == 0 {
		t.Fatal("node 3 leads everything: nothing would be seen")
	}
	for p := range int32(partitions) {
		if err := producer.ProduceSync(t.Context(), &kgo.Record{Partition: p, Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}

	sources := &batchSources{ids: map[int32]int{}}
	consumer, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Rack("west"), kgo.WithHooks(sources))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	for read := 0; read < partitions; {
		fetches := consumer.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		read += fetches.NumRecords()
	}
	sources.mu.Lock()
	defer sources.mu.Unlock()
	if len(sources.ids) != 1 || sources.ids[3] == 0 {
		t.Errorf("batches come from the brokers %v, not from that of the rack alone", sources.ids)
	}
}
