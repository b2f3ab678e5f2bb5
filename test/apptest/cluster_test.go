package apptest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafkatest"
)

// cluster is three processes, each broker and controller.
type cluster struct {
	t      *testing.T
	nodes  map[int32]*kafkatest.Broker
	client *kgo.Client
	admin  *kadm.Client
}

const clusterSize = 3

func startCluster(t *testing.T) *cluster {
	t.Helper()
	return startClusterOf(t, "")
}

// startClusterOf is startCluster with another binary than the one under test; "" is that.
func startClusterOf(t *testing.T, program string) *cluster {
	t.Helper()
	c := &cluster{t: t, nodes: map[int32]*kafkatest.Broker{}}
	var voters, seeds []string
	controllerPorts := map[int32]int{}
	for id := int32(1); id <= clusterSize; id++ {
		controllerPorts[id] = kafkatest.FreePort(t)
		voters = append(voters, fmt.Sprintf("%d@localhost:%d", id, controllerPorts[id]))
	}
	for id := int32(1); id <= clusterSize; id++ {
		n := kafkatest.NewBroker(t, fmt.Sprintf("node.id=%d", id), "controller.listener.names=CONTROLLER", "controller.quorum.voters="+strings.Join(voters, ","), "group.initial.rebalance.delay.ms=0")
		n.Overrides = append(n.Overrides, fmt.Sprintf("listeners=PLAINTEXT://localhost:%d,CONTROLLER://localhost:%d", n.Port, controllerPorts[id]))
		n.Program = program
		c.nodes[id] = n
		seeds = append(seeds, n.Addr())
	}
	for id := int32(1); id <= clusterSize; id++ {
		c.nodes[id].Launch()
	}
	for id := range c.nodes {
		c.await(id)
	}
	c.client = c.newClient(seeds)
	c.admin = kadm.NewClient(c.client)
	return c
}

func (c *cluster) seeds() (seeds []string) {
	for _, n := range c.nodes {
		seeds = append(seeds, n.Addr())
	}
	return seeds
}

func (c *cluster) newClient(seeds []string, opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(10*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }))...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

// await waits until a node that was launched answers clients.
func (c *cluster) await(id int32) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), kafkatest.ReadyTimeout)
	defer cancel()
	if err := c.nodes[id].WaitReady(ctx); err != nil {
		c.t.Fatalf("node %d: %v\n%s", id, err, c.nodes[id].Output())
	}
}

func (c *cluster) eventually(what string, holds func() error) {
	c.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(kafkatest.ReadyTimeout)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %v", what, err)
		}
		<-ticker.C
	}
}

// partitions are those of a topic as the cluster describes them now.
func (c *cluster) partitions(topic string) (kadm.PartitionDetails, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
	defer cancel()
	topics, err := c.admin.ListTopics(ctx, topic)
	if err != nil {
		return nil, err
	}
	return topics[topic].Partitions, topics[topic].Err
}

func (c *cluster) leader(topic string, partition int32) (leader int32) {
	c.t.Helper()
	c.eventually("a leader", func() error {
		details, err := c.partitions(topic)
		if err == nil && details[partition].Leader < 0 {
			err = errors.New("none")
		}
		leader = details[partition].Leader
		return err
	})
	return leader
}

// awaitInSync waits until every partition of a topic has all its replicas in sync.
func (c *cluster) awaitInSync(topic string) {
	c.t.Helper()
	c.eventually("all replicas in sync", func() error {
		details, err := c.partitions(topic)
		for id, p := range details {
			if len(p.ISR) != clusterSize || p.Leader < 0 {
				return fmt.Errorf("partition %d: %+v", id, p)
			}
		}
		return err
	})
}

// activeController asks who leads the metadata quorum.
func (c *cluster) activeController() (leader int32) {
	c.t.Helper()
	c.eventually("an active controller", func() error {
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		resp, err := req.RequestWith(c.t.Context(), c.client)
		if err != nil {
			return err
		}
		p := resp.Topics[0].Partitions[0]
		if leader = p.LeaderID; p.ErrorCode != 0 || len(p.CurrentVoters) != clusterSize {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	return leader
}

// workload produces numbered records to all partitions of a topic until it is stopped, and knows which
// were acknowledged.
type workload struct {
	c      *cluster
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	acked  map[string]bool
	counts map[int32]int
	last   map[int32]time.Time
	gap    time.Duration           // the longest between two acknowledged records of a partition
	gaps   map[int32]time.Duration // of each partition, since takeGaps
}

func (c *cluster) produce(topic string, partitions int32) *workload {
	ctx, cancel := context.WithCancel(c.t.Context())
	w := &workload{c: c, cancel: cancel, acked: map[string]bool{}, counts: map[int32]int{}, last: map[int32]time.Time{}, gaps: map[int32]time.Duration{}}
	for p := range partitions {
		client := c.newClient(c.seeds(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
		w.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				value := fmt.Sprintf("%d-%d", p, i)
				// What was sent is finished: an idempotent record may not be given up.
				if err := client.ProduceSync(context.WithoutCancel(ctx), &kgo.Record{Topic: topic, Partition: p, Value: []byte(value)}).FirstErr(); err != nil {
					c.t.Errorf("record %s: %v", value, err)
					return
				}
				w.note(p, value)
			}
		})
	}
	return w
}

func (w *workload) note(p int32, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if last, ok := w.last[p]; ok {
		w.gap = max(w.gap, now.Sub(last))
		w.gaps[p] = max(w.gaps[p], now.Sub(last))
	}
	w.acked[value], w.last[p] = true, now
	w.counts[p]++
}

// takeGaps returns the longest time without an acknowledged record of each partition since the last call.
func (w *workload) takeGaps() (gaps []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, gap := range w.gaps {
		gaps = append(gaps, gap.Round(time.Millisecond))
	}
	clear(w.gaps)
	slices.Sort(gaps)
	return gaps
}

// awaitProgress waits until every partition has taken more records, and returns the longest time that one
// of them took none since the last call.
func (w *workload) awaitProgress() time.Duration {
	w.c.t.Helper()
	w.mu.Lock()
	before := map[int32]int{}
	for p, n := range w.counts {
		before[p] = n
	}
	w.mu.Unlock()
	w.c.eventually("produce goes on", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for p := range int32(clusterSize) {
			if w.counts[p] < before[p]+20 {
				return fmt.Errorf("partition %d stands at %d", p, w.counts[p])
			}
		}
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	gap := w.gap
	w.gap = 0
	return gap
}

func (w *workload) stop() {
	w.cancel()
	w.wg.Wait()
}

// TestCluster has three processes form a cluster, and takes them away one after the other: the leader of a
// partition and the active controller by kill -9, then a leader by a controlled stop. Producers go on,
// nothing that was acknowledged is lost or doubled, and who comes back is in sync again.
func TestCluster(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := startCluster(t)
	t.Logf("ready after %s", time.Since(began))
	minISR := "2"
	if resp, err := c.admin.CreateTopic(t.Context(), clusterSize, clusterSize, map[string]*string{"min.insync.replicas": &minISR}, "t"); err != nil || resp.Err != nil {
		t.Fatal(resp, err)
	}
	c.transaction()
	w := c.produce("t", clusterSize)
	w.awaitProgress()
	rounds := 1
	if full() {
		rounds = 10
	}
	for range rounds {
		leader := c.leader("t", 0)
		c.nodes[leader].Kill()
		t.Logf("kill -9 of node %d, a leader: %s without an acknowledged record", leader, w.awaitProgress())
		c.comesBack(leader)

		controller := c.activeController()
		c.nodes[controller].Kill()
		t.Logf("kill -9 of node %d, the active controller: %s without an acknowledged record", controller, w.awaitProgress())
		if now := c.activeController(); now == controller {
			t.Errorf("node %d is dead and still the active controller", now)
		}
		c.comesBack(controller)

		leader = c.leader("t", 1)
		c.nodes[leader].Stop()
		t.Logf("stop of node %d, a leader: %s without an acknowledged record", leader, w.awaitProgress())
		c.comesBack(leader)
	}
	w.stop()
	c.checkAll(w)
	c.transaction()
}

// comesBack starts a node again and waits until its replicas are in sync.
func (c *cluster) comesBack(id int32) {
	c.t.Helper()
	c.nodes[id].Launch()
	c.await(id)
	c.awaitInSync("t")
}

// checkAll reads the topic: every acknowledged record is there, and none twice.
func (c *cluster) checkAll(w *workload) {
	c.t.Helper()
	ends, err := c.admin.ListEndOffsets(c.t.Context(), "t")
	if err != nil {
		c.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	seen := map[string]int{}
	client := c.newClient(c.seeds(), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	ctx, cancel := context.WithTimeout(c.t.Context(), kafkatest.ReadyTimeout)
	defer cancel()
	for left > 0 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			left--
			if !r.Attrs.IsControl() && len(r.Key) == 0 {
				seen[string(r.Value)]++
			}
		})
	}
	if left > 0 {
		c.t.Errorf("%d records below the end offsets cannot be read", left)
	}
	for value := range w.acked {
		if seen[value] == 0 {
			c.t.Errorf("record %s was acknowledged and is lost", value)
		}
	}
	for value, times := range seen {
		if times > 1 {
			c.t.Errorf("record %s is there %d times", value, times)
		}
	}
	c.t.Logf("%d records acknowledged, %d read", len(w.acked), len(seen))
}

// transaction commits records in partitions led by different brokers, with offsets of a group.
func (c *cluster) transaction() {
	c.t.Helper()
	const count = 9
	value := fmt.Sprintf("transaction %d", time.Now().UnixNano())
	producer := c.newClient(c.seeds(), kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, commit := range []bool{false, true} {
		if err := producer.BeginTransaction(); err != nil {
			c.t.Fatal(err)
		}
		for i := range count {
			text := fmt.Sprintf("%s %t", value, commit)
			if err := producer.ProduceSync(c.t.Context(), &kgo.Record{Topic: "t", Partition: int32(i % clusterSize), Key: []byte("transactional"), Value: []byte(text)}).FirstErr(); err != nil {
				c.t.Fatal(err)
			}
		}
		if err := producer.EndTransaction(c.t.Context(), kgo.TransactionEndTry(commit)); err != nil {
			c.t.Fatal(err)
		}
	}
	group := strings.ReplaceAll(value, " ", "-")
	consumer := c.newClient(c.seeds(), kgo.ConsumeTopics("t"), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit())
	ctx, cancel := context.WithTimeout(c.t.Context(), kafkatest.ReadyTimeout)
	defer cancel()
	for got := 0; got < count; {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("%d of %d committed records", got, count)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			switch string(r.Value) {
			case value + " true":
				got++
			case value + " false":
				c.t.Errorf("an aborted record is read at %s-%d, offset %d", r.Topic, r.Partition, r.Offset)
			}
		})
	}
	if err := consumer.CommitUncommittedOffsets(ctx); err != nil {
		c.t.Error(err)
	}
	consumer.Close()
}
