package nemesis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/test/apptest/fault"
)

// injection is a fault that is there. What it says is for the log; heal takes it back, where healing the network
// and starting the nodes again does not.
type injection struct {
	says string
	heal func() error
}

// kind is a kind of fault. It returns nil where it does not fit what is there now.
type kind struct {
	name string
	// slow says that it takes its own time and is over when inject returns.
	slow   bool
	inject func(c *cluster, rng *rand.Rand) (*injection, error)
}

// kinds are all that the nemesis knows.
var kinds = []kind{
	{name: "kill -9 of a partition's leader", inject: kill(leading)},
	{name: "kill -9 of the active controller", inject: kill((*cluster).target)},
	{name: "kill -9 of any node", inject: kill(anyNode)},
	{name: "kill -9 of all nodes at once", inject: killAll},
	{name: "SIGSTOP of a partition's leader", inject: pause(leading)},
	{name: "SIGSTOP of the active controller", inject: pause((*cluster).target)},
	{name: "SIGSTOP of any node", inject: pause(anyNode)},
	{name: "a node cut off from all others", inject: isolate(true, true)},
	{name: "a node that hears the others, who do not hear it", inject: isolate(true, false)},
	{name: "a node that does not hear the others, who hear it", inject: isolate(false, true)},
	{name: "two nodes that reach each other through a third only", inject: bridge},
	{name: "one direction between two nodes cut", inject: oneLink},
	{name: "a leader cut off from the controller alone", inject: leaderFromController},
	{name: "clients cut off from a node", inject: clientsFromNode},
	{name: "packet loss everywhere", inject: impair(true)},
	{name: "delay and loss around one node", inject: impair(false)},
	{name: "full disk", inject: fullDisk},
	{name: "wall clock of a node stepped", inject: stepClock},
	{name: "replicas reassigned", inject: reassign},
	{name: "a node joins or leaves, broker and controller", slow: true, inject: membership},
	{name: "rolling restart", slow: true, inject: rollingRestart},
}

// target is the active controller.
func (c *cluster) target(*rand.Rand) *node { return c.controller() }

func leading(c *cluster, rng *rand.Rand) *node { return c.leader(topic, int32(rng.IntN(partitions))) }

func anyNode(c *cluster, rng *rand.Rand) *node { return c.nodes[rng.IntN(voters)] }

// hit chooses a node that runs.
func hit(choose func(*cluster, *rand.Rand) *node, c *cluster, rng *rand.Rand) *node {
	n := choose(c, rng)
	if n == nil || n.down || n.paused {
		return nil
	}
	return n
}

func kill(choose func(*cluster, *rand.Rand) *node) func(*cluster, *rand.Rand) (*injection, error) {
	return func(c *cluster, rng *rand.Rand) (*injection, error) {
		n := hit(choose, c, rng)
		if n == nil {
			return nil, nil
		}
		n.kill()
		return &injection{says: fmt.Sprintf("node %d", n.id)}, nil
	}
}

func killAll(c *cluster, _ *rand.Rand) (*injection, error) {
	for _, n := range c.up() {
		_ = n.signal(syscall.SIGKILL) // all first, then wait for each
	}
	for _, n := range c.up() {
		n.kill()
	}
	return &injection{says: "all nodes"}, nil
}

func pause(choose func(*cluster, *rand.Rand) *node) func(*cluster, *rand.Rand) (*injection, error) {
	return func(c *cluster, rng *rand.Rand) (*injection, error) {
		n := hit(choose, c, rng)
		if n == nil {
			return nil, nil
		}
		n.paused = true
		return &injection{says: fmt.Sprintf("node %d", n.id)}, n.signal(syscall.SIGSTOP)
	}
}

// isolate cuts a node off from the other nodes in one direction or both. Clients reach all.
func isolate(out, in bool) func(*cluster, *rand.Rand) (*injection, error) {
	return func(c *cluster, rng *rand.Rand) (*injection, error) {
		choose := []func(*cluster, *rand.Rand) *node{leading, (*cluster).target, anyNode}[rng.IntN(3)]
		n := hit(choose, c, rng)
		if n == nil {
			return nil, nil
		}
		for _, other := range c.nodes {
			if other == n {
				continue
			}
			if out {
				c.network.Set(n.ns, other.ns, fault.Rule{Blocked: true})
			}
			if in {
				c.network.Set(other.ns, n.ns, fault.Rule{Blocked: true})
			}
		}
		return &injection{says: fmt.Sprintf("node %d", n.id)}, nil
	}
}

func (c *cluster) cut(a, b *node) {
	c.network.Set(a.ns, b.ns, fault.Rule{Blocked: true})
	c.network.Set(b.ns, a.ns, fault.Rule{Blocked: true})
}

func bridge(c *cluster, rng *rand.Rand) (*injection, error) {
	order := rng.Perm(voters)
	a, b := c.nodes[order[0]], c.nodes[order[1]]
	c.cut(a, b)
	return &injection{says: fmt.Sprintf("nodes %d and %d", a.id, b.id)}, nil
}

func oneLink(c *cluster, rng *rand.Rand) (*injection, error) {
	order := rng.Perm(voters)
	a, b := c.nodes[order[0]], c.nodes[order[1]]
	c.network.Set(a.ns, b.ns, fault.Rule{Blocked: true})
	return &injection{says: fmt.Sprintf("from node %d to node %d", a.id, b.id)}, nil
}

func leaderFromController(c *cluster, rng *rand.Rand) (*injection, error) {
	controller := c.controller()
	for range partitions {
		if leader := leading(c, rng); leader != nil && controller != nil && leader != controller {
			c.cut(leader, controller)
			return &injection{says: fmt.Sprintf("leader %d, controller %d", leader.id, controller.id)}, nil
		}
	}
	return nil, nil
}

func clientsFromNode(c *cluster, rng *rand.Rand) (*injection, error) {
	n := hit(leading, c, rng)
	if n == nil {
		return nil, nil
	}
	c.network.Set(c.clients, n.ns, fault.Rule{Blocked: true})
	if rng.IntN(2) == 0 {
		return &injection{says: fmt.Sprintf("node %d, towards it", n.id)}, nil
	}
	c.network.Set(n.ns, c.clients, fault.Rule{Blocked: true})
	return &injection{says: fmt.Sprintf("node %d, both ways", n.id)}, nil
}

// impair loses and delays packets, between all or around one node.
func impair(everywhere bool) func(*cluster, *rand.Rand) (*injection, error) {
	return func(c *cluster, rng *rand.Rand) (*injection, error) {
		rule := fault.Rule{LossPercent: 1 + rng.IntN(15)}
		n := anyNode(c, rng)
		says := fmt.Sprintf("%d%% everywhere", rule.LossPercent)
		if !everywhere {
			rule.Delay, rule.Jitter = time.Duration(rng.IntN(100))*time.Millisecond, time.Duration(rng.IntN(50))*time.Millisecond
			says = fmt.Sprintf("%d%%, %s to %s, around node %d", rule.LossPercent, rule.Delay, rule.Delay+rule.Jitter, n.id)
		}
		ends := []*fault.Namespace{c.clients}
		for _, n := range c.nodes {
			ends = append(ends, n.ns)
		}
		for _, a := range ends {
			for _, b := range ends {
				if a != b && (everywhere || a == n.ns || b == n.ns) {
					c.network.Set(a, b, rule)
				}
			}
		}
		return &injection{says: says}, nil
	}
}

func fullDisk(c *cluster, rng *rand.Rand) (*injection, error) {
	n := anyNode(c, rng)
	keepBytes := int64(rng.IntN(2)) * diskSizeBytes / 20 // within the brokers' reserve, or nothing
	if keepBytes == 0 {
		n.fullAt = time.Now()
	}
	return &injection{says: fmt.Sprintf("node %d, %d bytes free", n.id, keepBytes), heal: n.disk.Free}, n.disk.Fill(keepBytes)
}

// stepClock moves a node's wall clock by up to two hours: less than after which records or producers expire. It
// stays so until the next step.
func stepClock(c *cluster, rng *rand.Rand) (*injection, error) {
	n := anyNode(c, rng)
	if n.clock == nil || n.down {
		return nil, nil
	}
	offset := time.Duration(rng.IntN(14400)-7200) * time.Second
	return &injection{says: fmt.Sprintf("node %d by %s", n.id, offset)}, n.clock.Step(offset)
}

// reassign moves some partitions to other replicas.
func reassign(c *cluster, rng *rand.Rand) (*injection, error) {
	var brokers []int32
	for _, n := range c.up() {
		brokers = append(brokers, n.id)
	}
	if len(brokers) <= voters {
		return nil, nil
	}
	says := fmt.Sprintf("over %v", brokers)
	if err := c.place(c.t.Context(), brokers, rng); err != nil {
		says += ": " + err.Error()
	}
	return &injection{says: says}, nil
}

// place gives all partitions three replicas among the brokers given, in any order.
func (c *cluster) place(ctx context.Context, brokers []int32, rng *rand.Rand) error {
	var req kadm.AlterPartitionAssignmentsReq
	for p := range int32(partitions) {
		var replicas []int32
		for _, i := range rng.Perm(len(brokers))[:voters] {
			replicas = append(replicas, brokers[i])
		}
		req.Assign(topic, p, replicas)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answers, err := c.admin.AlterPartitionAssignments(ctx, req)
	if err == nil {
		err = answers.Error()
	}
	return err
}

// membership starts the fourth node, which becomes a controller and gets partitions, or takes both away and stops it
// for good: it comes back as a new one.
func membership(c *cluster, rng *rand.Rand) (*injection, error) {
	ctx, n := c.t.Context(), c.nodes[joiner-1]
	if n.member {
		err := c.leaves(ctx, n, rng)
		if err != nil {
			return &injection{says: "node 4 does not leave: " + err.Error()}, nil
		}
		n.member = false
		if err := n.terminate(stopping); err != nil {
			return nil, err
		}
		return &injection{says: "node 4 leaves"}, os.RemoveAll(n.DataDir)
	}
	n.launch()
	n.member = true
	err := eventually(ctx, 10*time.Second, func(ctx context.Context) error {
		if _, votes, err := c.voter(ctx); err != nil || !votes {
			return fmt.Errorf("it does not vote: %w", err)
		}
		return c.place(ctx, []int32{1, 2, 3, joiner}, rng)
	})
	if err != nil {
		return &injection{says: "node 4 joins, but not as it should: " + err.Error()}, nil
	}
	return &injection{says: "node 4 joins"}, nil
}

// leaves moves all replicas away from the joiner, and has it vote no more.
func (c *cluster) leaves(ctx context.Context, n *node, rng *rand.Rand) error {
	if err := eventually(ctx, 10*time.Second, func(ctx context.Context) error { return c.place(ctx, []int32{1, 2, 3}, rng) }); err != nil {
		return err
	}
	err := eventually(ctx, 10*time.Second, func(ctx context.Context) error {
		details, err := c.topics(ctx, topic)
		for _, p := range details[topic].Partitions {
			if slices.Contains(p.Replicas, n.id) {
				err = fmt.Errorf("partition %d still has it", p.Partition)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return eventually(ctx, 10*time.Second, func(ctx context.Context) error {
		v, votes, err := c.voter(ctx)
		if err != nil || !votes {
			return err
		}
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID = v.ReplicaID, v.ReplicaDirectoryID
		resp, err := req.RequestWith(ctx, c.client)
		if err != nil {
			return err
		}
		return fmt.Errorf("removing the voter: %w", cmp.Or(kerr.ErrorForCode(resp.ErrorCode), errAgain))
	})
}

// errAgain has what was changed looked at.
var errAgain = errors.New("asked")

// stopping bounds how long a node may take to stop after SIGTERM.
const stopping = 30 * time.Second

// rollingRestart stops and starts one node after the other, as an operator does: the next one when all replicas are
// in sync.
func rollingRestart(c *cluster, _ *rand.Rand) (*injection, error) {
	for _, n := range c.nodes[:voters] {
		if err := eventually(c.t.Context(), convergence, c.inSync); err != nil {
			return nil, fmt.Errorf("before node %d is restarted: %w", n.id, err)
		}
		if err := n.terminate(stopping); err != nil {
			return nil, fmt.Errorf("node %d after SIGTERM: %w", n.id, err)
		}
		n.launch()
	}
	return &injection{says: "nodes 1 to 3"}, eventually(c.t.Context(), convergence, c.inSync)
}
