package nemesis

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/apptest/fault"
)

const (
	voters        = 3         // nodes that are broker and controller
	joiner        = 4         // the node that comes and goes
	diskSizeBytes = 512 << 20 // of each node
	brokerPort    = 9092
	clientsHost   = 100 // of the clients' namespace
)

// settings are the nodes' properties that are not Moldau's defaults. A leader whose clock is set back by hours takes what clients
// write, which is what is to be seen here, and does not refuse its timestamps.
var settings = []string{"replica.lag.time.max.ms=5000", "group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3",
	"log.segment.bytes=1048576", "log.message.timestamp.after.max.ms=9223372036854775807"}

// node is a process in a namespace of its own, with a disk and a clock of its own.
type node struct {
	*kafkatest.Broker
	id     int32
	ns     *fault.Namespace
	disk   *fault.Disk
	clock  *fault.Clock
	member bool // it belongs to the cluster, and runs unless it is down
	down   bool
	paused bool
	fullAt time.Time // when its disk was filled to the last byte
}

// cluster is what the faults are done to. The test's goroutine owns it.
type cluster struct {
	t       testing.TB
	network *fault.Network
	clients *fault.Namespace
	nodes   []*node // the joiner last
	client  *kgo.Client
	admin   *kadm.Client
}

// newCluster starts three nodes that form a cluster; the fourth is prepared. It skips the test where there can be
// no namespaces.
func newCluster(t testing.TB, skewed bool) *cluster {
	t.Helper()
	network, err := fault.NewNetwork()
	if err != nil {
		t.Skipf("SKIPPED: a cluster of real processes is not tried under faults of the network: %v", err)
	}
	t.Cleanup(network.Close)
	c := &cluster{t: t, network: network}
	if c.clients, err = network.Join(clientsHost); err != nil {
		t.Fatal(err)
	}
	for id := int32(1); id <= joiner; id++ {
		c.nodes = append(c.nodes, c.newNode(id, skewed))
	}
	for _, n := range c.nodes[:voters] {
		n.Launch()
	}
	for _, n := range c.nodes[:voters] {
		c.awaitReady(n)
	}
	c.client = c.newClient(kgo.RetryTimeout(3 * time.Second))
	t.Cleanup(c.client.Close)
	c.admin = kadm.NewClient(c.client)
	return c
}

func (c *cluster) newNode(id int32, skewed bool) *node {
	c.t.Helper()
	n := &node{id: id, down: id == joiner, member: id != joiner}
	var err error
	if n.ns, err = c.network.Join(byte(id)); err != nil {
		c.t.Fatal(err)
	}
	if n.disk, err = fault.NewDisk(c.t.TempDir(), diskSizeBytes); err != nil {
		c.t.Skipf("SKIPPED: a cluster of real processes is not tried under faults: %v", err)
	}
	c.t.Cleanup(func() { _ = n.disk.Close() })
	if skewed {
		n.clock = &fault.Clock{}
	}
	var quorum, bootstrap []string
	for voter := 1; voter <= voters; voter++ {
		bootstrap = append(bootstrap, fmt.Sprintf("10.77.0.%d:9093", voter))
		quorum = append(quorum, fmt.Sprintf("%d@%s", voter, bootstrap[voter-1]))
	}
	listeners := fmt.Sprintf("PLAINTEXT://%s:%d,CONTROLLER://%s:9093", n.ns.Address, brokerPort, n.ns.Address)
	properties := append([]string{fmt.Sprintf("node.id=%d", id), "controller.listener.names=CONTROLLER"}, settings...)
	if id == joiner {
		properties = append(properties, "controller.quorum.bootstrap.servers="+strings.Join(bootstrap, ","), "controller.quorum.auto.join.enable=true")
	} else {
		properties = append(properties, "controller.quorum.voters="+strings.Join(quorum, ","))
	}
	n.Broker = kafkatest.NewBroker(c.t, append(properties, "listeners="+listeners)...)
	n.Host, n.Port, n.Dial, n.DataDir = n.ns.Address.String(), brokerPort, c.clients.Dial, filepath.Join(n.disk.Folder, "data")
	n.StartProcess = func(cmd *exec.Cmd) error { return n.ns.Start(cmd, n.clock) }
	return n
}

// newClient returns a client in the clients' namespace that notices within seconds that a node does not answer.
func (c *cluster) newClient(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(c.clientOptions(), opts...)...)
	if err != nil {
		c.t.Fatal(err) // options that do not fit: a mistake in the test
	}
	return client
}

func (c *cluster) clientOptions() []kgo.Opt {
	var seeds []string
	for _, n := range c.nodes[:voters] {
		seeds = append(seeds, n.Addr())
	}
	return []kgo.Opt{kgo.SeedBrokers(seeds...), kgo.Dialer(c.clients.Dial), kgo.MetadataMinAge(100 * time.Millisecond), kgo.MetadataMaxAge(5 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.ProduceRequestTimeout(2 * time.Second), kgo.RequestTimeoutOverhead(2 * time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0)}
}

func (c *cluster) awaitReady(n *node) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), kafkatest.ReadyTimeout)
	defer cancel()
	if err := n.WaitReady(ctx); err != nil {
		c.t.Fatalf("node %d: %v\n%s", n.id, err, n.Output())
	}
}

// eventually waits until holds says so, at most for patience.
func eventually(ctx context.Context, patience time.Duration, holds func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", patience, err)
		case <-ticker.C:
		}
	}
}

// topics describes them as the cluster sees them now.
func (c *cluster) topics(ctx context.Context, names ...string) (kadm.TopicDetails, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	details, err := c.admin.ListTopics(ctx, names...)
	if err == nil {
		err = details.Error()
	}
	return details, err
}

// inSync says which partition is not where it should be: led, and all its replicas in sync.
func (c *cluster) inSync(ctx context.Context) error {
	details, err := c.topics(ctx)
	if err != nil {
		return err
	}
	for _, topic := range details.Sorted() {
		for _, p := range topic.Partitions.Sorted() {
			if p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
				return fmt.Errorf("%s-%d has leader %d, replicas %v, in sync %v", p.Topic, p.Partition, p.Leader, p.Replicas, p.ISR)
			}
		}
	}
	return nil
}

// leader is the node that leads a partition, nil where nobody does or nobody says so in time.
func (c *cluster) leader(topic string, partition int32) *node {
	details, err := c.topics(c.t.Context(), topic)
	if err != nil {
		return nil
	}
	return c.node(details[topic].Partitions[partition].Leader)
}

// quorum describes who votes on the metadata.
func (c *cluster) quorum(ctx context.Context) (q kmsg.DescribeQuorumResponseTopicPartition, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return q, err
	}
	if len(resp.Topics) == 0 || len(resp.Topics[0].Partitions) == 0 {
		return q, kerr.ErrorForCode(resp.ErrorCode)
	}
	q = resp.Topics[0].Partitions[0]
	return q, kerr.ErrorForCode(q.ErrorCode)
}

// controller is the active controller.
func (c *cluster) controller() *node {
	q, err := c.quorum(c.t.Context())
	if err != nil {
		return nil
	}
	return c.node(q.LeaderID)
}

// voter is the joiner among the voters.
func (c *cluster) voter(ctx context.Context) (v kmsg.DescribeQuorumResponseTopicPartitionReplicaState, votes bool, err error) {
	q, err := c.quorum(ctx)
	for _, v := range q.CurrentVoters {
		if v.ReplicaID == joiner {
			return v, true, err
		}
	}
	return v, false, err
}

func (c *cluster) node(id int32) *node {
	if id < 1 || int(id) > len(c.nodes) {
		return nil
	}
	return c.nodes[id-1]
}

// up are the nodes that run.
func (c *cluster) up() (running []*node) {
	for _, n := range c.nodes {
		if !n.down {
			running = append(running, n)
		}
	}
	return running
}

func (n *node) kill() {
	n.Kill()
	n.down, n.paused = true, false
}

func (n *node) launch() {
	n.Launch()
	n.down = false
}

func (n *node) signal(s syscall.Signal) error { return syscall.Kill(n.Pid(), s) }

// terminate asks a node to stop and reports how it did.
func (n *node) terminate(patience time.Duration) error {
	if err := n.signal(syscall.SIGTERM); err != nil {
		return err
	}
	n.down = true
	select {
	case <-n.Exited():
		return nil
	case <-time.After(patience):
		n.Kill()
		return errors.New("it did not stop")
	}
}

// endedThemselves names nodes whose process has ended though nobody ended it.
func (c *cluster) endedThemselves() (ended []*node) {
	for _, n := range c.up() {
		select {
		case <-n.Exited():
			ended = append(ended, n)
		default:
		}
	}
	return ended
}
