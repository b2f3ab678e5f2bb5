package apptest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/kafkatest"
)

// grownCluster begins as one node that forms its cluster alone; others come while it runs.
type grownCluster struct {
	*cluster
	controllers map[int32]int // ports
}

// add prepares a node, broker and controller, that finds the cluster through the first one.
func (g *grownCluster) add(id int32, overrides ...string) *kafkatest.Broker {
	g.t.Helper()
	g.controllers[id] = kafkatest.FreePort(g.t)
	n := kafkatest.NewBroker(g.t, append([]string{fmt.Sprintf("node.id=%d", id), "controller.listener.names=CONTROLLER",
		fmt.Sprintf("controller.quorum.bootstrap.servers=localhost:%d", g.controllers[1])}, overrides...)...)
	n.Overrides = append(n.Overrides, fmt.Sprintf("listeners=PLAINTEXT://localhost:%d,CONTROLLER://localhost:%d", n.Port, g.controllers[id]))
	g.nodes[id] = n
	return n
}

// file is the properties file that names the node, as add-controller wants it.
func (g *grownCluster) file(id int32) string {
	n := g.nodes[id]
	return write(g.t, filepath.Join(g.t.TempDir(), "controller.properties"), "process.roles=broker,controller\nlog.dirs="+n.DataDir+"\n"+strings.Join(n.Overrides, "\n")+"\n")
}

// tool runs moldau metadata-quorum and returns what it prints.
func (g *grownCluster) tool(args ...string) (string, error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, kafkatest.Binary(g.t), append([]string{"metadata-quorum", "--bootstrap-server", g.nodes[2].Addr()}, args...)...).CombinedOutput()
	return string(out), err
}

func (g *grownCluster) mustTool(want string, args ...string) {
	g.t.Helper()
	g.eventually("metadata-quorum "+strings.Join(args, " "), func() error {
		out, err := g.tool(args...)
		if err != nil || !strings.Contains(out, want) {
			return fmt.Errorf("%q, %v", out, err)
		}
		return nil
	})
}

// quorum is what the cluster says of its voters and observers.
func (g *grownCluster) quorum() (p kmsg.DescribeQuorumResponseTopicPartition) {
	g.t.Helper()
	g.eventually("the quorum is described", func() error {
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: kafka.ClusterMetadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Second)
		defer cancel()
		resp, err := req.RequestWith(ctx, g.client)
		if err != nil {
			return err
		}
		if p = resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LeaderID < 0 {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	return p
}

func voterIDs(p kmsg.DescribeQuorumResponseTopicPartition) (ids []int32) {
	for _, v := range p.CurrentVoters {
		ids = append(ids, v.ReplicaID)
	}
	slices.Sort(ids)
	return ids
}

func (g *grownCluster) awaitVoters(ids ...int32) {
	g.t.Helper()
	g.eventually(fmt.Sprintf("voters %v", ids), func() error {
		if got := voterIDs(g.quorum()); !slices.Equal(got, ids) {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
}

func directoryOf(t *testing.T, n *kafkatest.Broker) string {
	t.Helper()
	for line := range strings.Lines(read(t, filepath.Join(n.DataDir, "meta.properties"))) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "directory.id="); ok {
			return id
		}
	}
	t.Fatal("meta.properties has no directory.id")
	return ""
}

// refused starts a node that must end with a line that says why.
func (g *grownCluster) refused(n *kafkatest.Broker, why string) {
	g.t.Helper()
	n.Launch()
	select {
	case <-n.Exited():
	case <-time.After(patience):
		g.t.Fatalf("the node is not refused\n%s", n.Output())
	}
	if !strings.Contains(n.Output(), why) {
		g.t.Errorf("the refusal does not say %q\n%s", why, n.Output())
	}
}

// TestVotersChange grows a single node to a quorum of three while producers go on, replaces a voter that has lost its
// disk, moves one to another port, and takes the leader out; nodes that belong elsewhere are refused.
func TestVotersChange(t *testing.T) {
	t.Parallel()
	g := &grownCluster{cluster: &cluster{t: t, nodes: map[int32]*kafkatest.Broker{}}, controllers: map[int32]int{}}
	g.add(1).Start()
	g.client = g.newClient(g.seeds())
	g.admin = kadm.NewClient(g.client)
	for _, id := range []int32{2, 3} {
		g.add(id).Start()
	}
	g.awaitVoters(1)
	if _, err := g.admin.CreateTopics(t.Context(), clusterSize, clusterSize, nil, "t"); err != nil {
		t.Fatal(err)
	}
	g.awaitInSync("t")
	w := g.produce("t", clusterSize)
	for _, id := range []int32{2, 3} {
		g.mustTool(fmt.Sprintf("Added controller %d with directory id %s and endpoints: CONTROLLER://localhost:%d", id, directoryOf(t, g.nodes[id]), g.controllers[id]),
			"--command-config", g.file(id), "add-controller")
	}
	g.awaitVoters(1, 2, 3)
	if out, err := g.tool("--command-config", g.file(3), "add-controller"); err == nil || !strings.Contains(out, "already") {
		t.Errorf("a voter is added twice: %q, %v", out, err)
	}
	w.awaitProgress()

	// The active controller stops cleanly: the next one leads without an election time-out.
	leader := g.quorum().LeaderID
	gap := g.changesWhile(leader, func() { g.nodes[leader].Stop() })
	t.Logf("a clean stop of the active controller: no change of the metadata for %s", gap)
	g.nodes[leader].Start()
	g.awaitInSync("t")

	g.loseDisk(w)
	g.move(2)
	g.removeLeader()
	w.awaitProgress()
	g.strangers()
	g.join()
	w.stop()
	g.awaitInSync("t")
}

// changesWhile makes changes of the metadata through another node than the leader, one after the other, and returns
// the longest time between two.
func (g *grownCluster) changesWhile(leader int32, do func()) (gap time.Duration) {
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan time.Duration)
	through := g.client.Broker(int(leader%clusterSize + 1))
	go func() {
		began := time.Now()
		longest, last := time.Duration(0), began
		for i := 0; ctx.Err() == nil; i++ {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.TimeoutMillis = 10_000
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("during-%d-%d", began.UnixNano(), i), 1, 1
			req.Topics = append(req.Topics, topic)
			if resp, err := req.RequestWith(ctx, through); err == nil && resp.Topics[0].ErrorCode == 0 {
				longest, last = max(longest, time.Since(last)), time.Now()
			}
		}
		ended <- longest
	}()
	do()
	g.quorum()
	cancel()
	return <-ended
}

// loseDisk takes the disk of a voter away: it comes back as an observer, and neither votes nor forms anything until
// it has been replaced.
func (g *grownCluster) loseDisk(w *workload) {
	g.t.Helper()
	lost := g.nodes[3]
	old := directoryOf(g.t, lost)
	lost.Kill()
	if err := os.RemoveAll(filepath.Join(lost.DataDir, "__cluster_metadata-0")); err != nil {
		g.t.Fatal(err)
	}
	g.refused(lost, "but the log is gone")
	lost.DataDir = g.t.TempDir()
	lost.Start()
	p := g.quorum()
	at := slices.IndexFunc(p.CurrentVoters, func(v kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool { return v.ReplicaID == 3 })
	if at < 0 || kafka.UUID(p.CurrentVoters[at].ReplicaDirectoryID).String() != old {
		g.t.Errorf("with an empty disk it votes as if nothing had happened: %+v", p.CurrentVoters)
	}
	if out, err := g.tool("--command-config", g.file(3), "add-controller"); err == nil || !strings.Contains(out, "already") {
		g.t.Errorf("added beside its lost disk: %q, %v", out, err)
	}
	g.mustTool("Removed  KRaft controller 3 with directory id "+old, "remove-controller", "--controller-id", "3", "--controller-directory-id", old)
	g.mustTool("Added controller 3 ", "--command-config", g.file(3), "add-controller")
	g.awaitVoters(1, 2, 3)
	g.awaitInSync("t") // from the others: it has no more than its node.id
	w.awaitProgress()
}

// move has a voter listen at another port after a restart: it tells the leader, and is found there.
func (g *grownCluster) move(id int32) {
	g.t.Helper()
	n := g.nodes[id]
	n.Stop()
	port := kafkatest.FreePort(g.t)
	for i, o := range n.Overrides {
		n.Overrides[i] = strings.Replace(o, fmt.Sprintf("CONTROLLER://localhost:%d", g.controllers[id]), fmt.Sprintf("CONTROLLER://localhost:%d", port), 1)
	}
	g.controllers[id] = port
	n.Start()
	g.mustTool(fmt.Sprintf("CONTROLLER://localhost:%d", port), "describe", "--status")
}

// removeLeader has the active controller vote no longer; another one leads before.
func (g *grownCluster) removeLeader() {
	g.t.Helper()
	leader := g.quorum().LeaderID
	gap := g.changesWhile(leader, func() {
		g.mustTool("Removed ", "remove-controller", "--controller-id", fmt.Sprint(leader), "--controller-directory-id", directoryOf(g.t, g.nodes[leader]))
	})
	g.t.Logf("the active controller is removed: no change of the metadata for %s", gap)
	if p := g.quorum(); p.LeaderID == leader || slices.Contains(voterIDs(p), leader) {
		g.t.Errorf("node %d is still a voter: %+v", leader, p)
	}
	g.mustTool("Added ", "--command-config", g.file(leader), "add-controller")
	g.awaitVoters(1, 2, 3)
}

// join adds a broker that knows the address of another one only, one that knows that of a controller, and a controller that
// adds itself to the voters.
func (g *grownCluster) join() {
	g.t.Helper()
	for _, address := range []string{g.nodes[3].Addr(), fmt.Sprintf("localhost:%d", g.controllers[3])} {
		n := kafkatest.NewBroker(g.t)
		n.Join = address
		n.Start()
	}
	g.eventually("the brokers that have joined are nodes 4 and 5", func() error {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.IncludeFencedBrokers = true
		resp, err := req.RequestWith(g.t.Context(), g.client.Broker(3))
		if err != nil {
			return err
		}
		for _, id := range []int32{4, 5} {
			if !slices.ContainsFunc(resp.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == id }) {
				return fmt.Errorf("%+v", resp.Brokers)
			}
		}
		return nil
	})
	g.add(6, "process.roles=broker,controller", "controller.quorum.auto.join.enable=true").Start()
	g.awaitVoters(1, 2, 3, 6)
}

// strangers are nodes that must not come in.
func (g *grownCluster) strangers() {
	g.t.Helper()
	original, port := g.nodes[2], g.controllers[2]
	g.refused(g.add(2), "node.id 2 is taken")
	g.nodes[2], g.controllers[2] = original, port

	// A folder of another cluster.
	stranger := kafkatest.NewBroker(g.t, "node.id=9")
	stranger.Start()
	stranger.Stop()
	elsewhere := g.add(9)
	elsewhere.DataDir = stranger.DataDir
	g.refused(elsewhere, "of cluster")
	delete(g.nodes, 9)
}
