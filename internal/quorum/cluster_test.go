package quorum

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// cluster is several nodes on simulated disks and a simulated network, in one loop under a seed. A
// step is a tick of every node that is not paused.
type cluster struct {
	t      *testing.T
	random *rand.Rand
	nodes  []*clusterNode
	queue  []inFlight
	now    int
	// cut has the directions in which nothing arrives.
	cut     map[[2]int]bool
	healing bool
	holds   bool // nodes have no room at times; old seeds are from before that
	offices bool // a controller proposes while it hands over; older seeds are from before that

	history   []committedBatch // by order, what any node has seen committed
	byOffset  map[int64]int
	acked     map[string]bool
	nextValue int
	leaderOf  map[int32]int32 // by epoch
	wiped     int
	count     map[string]int // of what happened, to show that a seed does what it should
	trace     []string
	err       error
}

type committedBatch struct {
	base, last int64
	epoch      int32
	records    string
}

type inFlight struct {
	at, from int
	to       uint64
	data     []byte
}

const clusterNodes = 5

func newCluster(t *testing.T, seed uint64) *cluster {
	cryptotest.SetGlobalRandom(t, seed) // the Raft library draws election time-outs from it
	c := &cluster{t: t, random: rand.New(rand.NewPCG(seed, 0x71756f72)), cut: map[[2]int]bool{}, byOffset: map[int64]int{}, acked: map[string]bool{},
		leaderOf: map[int32]int32{}, count: map[string]int{}, holds: !slices.Contains(oldSeeds, seed),
		offices: !slices.Contains(slices.Concat(oldSeeds, newerSeeds), seed)}
	for i := range clusterNodes {
		n := &clusterNode{c: c, at: i, spec: VoterSpec{NodeID: int32(i + 1), DirectoryID: c.directory(i, 0),
			Listeners: []VoterListener{{Name: "CONTROLLER", Host: "localhost", Port: uint16(9093 + i)}}}}
		n.newDisk()
		c.nodes = append(c.nodes, n)
	}
	// The first node forms the quorum; the other voters, and who only observes, learn of it.
	voters := []VoterSpec{c.nodes[0].spec}
	for _, n := range c.nodes[1 : 1+2*c.random.IntN(3)] {
		voters = append(voters, n.spec)
	}
	c.check(c.nodes[0].open(voters))
	return c
}

func (c *cluster) directory(node, incarnation int) kafka.UUID {
	return kafka.UUID{0: byte(node + 1), 1: byte(incarnation), 6: 0x40, 8: 0x80, 15: 7}
}

func (n *clusterNode) newDisk() {
	n.mem = vfs.NewMem()
	n.c.check(errors.Join(n.mem.MkdirAll("/data"), n.mem.SyncDir("/")))
}

func (c *cluster) check(err error) {
	if err != nil && c.err == nil {
		c.err = err
	}
}

func (c *cluster) note(format string, args ...any) {
	c.trace = append(c.trace, fmt.Sprintf("%5d ", c.now)+fmt.Sprintf(format, args...))
}

func (c *cluster) oneIn(n int) bool { return c.random.IntN(n) == 0 }

// step lets a moment pass.
func (c *cluster) step() {
	c.now++
	due := c.queue[:0:0]
	later := c.queue[:0:0]
	for _, m := range c.queue {
		if m.at <= c.now {
			due = append(due, m)
		} else {
			later = append(later, m)
		}
	}
	c.queue = later
	c.random.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	for _, m := range due {
		c.deliver(m)
	}
	for _, n := range c.nodes {
		switch {
		case n.voter == nil && n.restart <= c.now:
			n.start()
		case n.voter == nil || n.paused > c.now:
		default:
			n.tick()
		}
	}
	if !c.healing {
		c.harm()
	}
}

func (n *clusterNode) tick() {
	if n.failed(n.voter.Tick()) {
		return
	}
	n.process()
	if n.voter != nil {
		n.act()
	}
	if n.voter != nil {
		n.process()
	}
	if n.voter != nil && n.fetch != nil {
		n.goOnFetching()
	}
	if n.voter == nil || n.pulls > n.c.now {
		return
	}
	if n.voter.IsVoter() && n.voter.Leadership().LeaderID != kafka.NoLeader {
		n.pulls = n.c.now + 60 // a voter asks only when it has not heard of a leader for long
		return
	}
	n.pull()
}

func (c *cluster) deliver(m inFlight) {
	i := slices.IndexFunc(c.nodes, func(n *clusterNode) bool { return PeerID(n.spec.DirectoryID) == m.to })
	if i < 0 || c.cut[[2]int{m.from, i}] || !c.healing && c.oneIn(30) {
		return
	}
	n := c.nodes[i]
	if n.voter == nil || n.paused > c.now {
		return
	}
	data := slices.Clone(m.data)
	if !c.healing && c.oneIn(300) {
		data[c.random.IntN(len(data))] ^= 1 << c.random.IntN(8)
		if _, err := DecodeMessage(data, n.spec.DirectoryID); err == nil {
			return // a flip that the network's own checksum has to find
		}
	}
	in, err := DecodeMessage(data, n.spec.DirectoryID)
	if err == nil {
		err = n.voter.Step(in)
	}
	if errors.Is(err, ErrMessage) {
		c.count["damaged message"]++
		return
	}
	if !n.failed(err) {
		n.process()
	}
}

// harm does what may happen to a cluster.
func (c *cluster) harm() {
	n := c.nodes[c.random.IntN(len(c.nodes))]
	switch c.random.IntN(120) {
	case 0, 1:
		if n.voter != nil {
			n.crash()
		}
	case 2:
		n.paused = c.now + c.random.IntN(100)
		c.count["pause"]++
	case 3, 4:
		c.cut[[2]int{n.at, c.random.IntN(len(c.nodes))}] = true
		c.count["cut"]++
	case 5:
		clear(c.cut)
	case 6:
		c.wipe(n)
	case 7, 8:
		if c.holds && n.voter != nil {
			n.voter.HoldBack(c.oneIn(2))
			c.count["held back"]++
		}
	}
}

// wipe loses a node's disk, if the voters that are left are enough to go on: nothing that a quorum
// has stored may be gone.
func (c *cluster) wipe(n *clusterNode) {
	if c.wiped >= 3 || c.history == nil {
		return
	}
	for _, other := range c.nodes {
		if other.voter == nil {
			return // its view of the voters is not known
		}
		if c.offices && other.changesVoters() {
			return // perhaps it adds this node, as it was
		}
		voters := other.voter.Voters()
		alive := 0
		for _, v := range voters {
			if o := c.nodes[v.NodeID-1]; o != n && o.spec.DirectoryID == v.DirectoryID {
				alive++
			}
		}
		if alive <= len(voters)/2+1 && slices.ContainsFunc(voters, func(v VoterSpec) bool { return v.DirectoryID == n.spec.DirectoryID }) {
			return
		}
	}
	c.wiped++
	c.count["wipe"]++
	c.note("node %d loses its disk", n.spec.NodeID)
	n.spec.DirectoryID = c.directory(n.at, c.wiped)
	n.newDisk()
	n.voter, n.restart = nil, c.now+c.random.IntN(100)
}

// changesVoters reports whether there is a change of the voters in the log that is not committed.
func (n *clusterNode) changesVoters() bool {
	for index := n.voter.committed + 1; index <= n.voter.log.lastIndex(); index++ {
		data, err := n.voter.log.read(index)
		if n.failed(err) {
			return true
		}
		if change, err := parseVoterChange(data); change != nil || err != nil {
			return true
		}
	}
	return false
}

// heal ends all harm and waits until every node has everything.
func (c *cluster) heal() {
	c.healing = true
	clear(c.cut)
	for _, n := range c.nodes {
		n.paused = 0
		n.disk.N = 1 << 40
		if n.voter != nil {
			n.voter.HoldBack(false)
		}
	}
	for limit := c.now + 3000; c.now < limit && c.err == nil; {
		c.step()
		if c.now%50 == 0 && c.converged() {
			return
		}
	}
	if c.err == nil {
		var states []string
		for _, n := range c.nodes {
			if n.voter == nil {
				states = append(states, fmt.Sprintf("node %d is down", n.spec.NodeID))
				continue
			}
			states = append(states, fmt.Sprintf("node %d: voter %v of %s, %+v, next %d", n.spec.NodeID, n.voter.IsVoter(), describeVoters(n.voter.Voters()), n.voter.Leadership(), n.next))
		}
		c.check(fmt.Errorf("does not converge: %q", states))
	}
}

func (c *cluster) converged() bool {
	least, leaders := int64(1<<62), 0
	for _, n := range c.nodes {
		if n.voter == nil {
			return false
		}
		if n.voter.Leadership().IsSelf {
			leaders++
		}
		least = min(least, n.next)
	}
	for value := range c.acked {
		if !slices.Contains(c.nodes[0].state, value) {
			return false
		}
	}
	return leaders == 1 && least >= c.history[len(c.history)-1].base-30
}

// finish compares the states of all nodes.
func (c *cluster) finish() {
	longest := c.nodes[0].state
	for _, n := range c.nodes {
		if len(n.state) > len(longest) {
			longest = n.state
		}
	}
	for _, n := range c.nodes {
		if !slices.Equal(n.state, longest[:len(n.state)]) {
			c.check(fmt.Errorf("node %d has %q, another has %q", n.spec.NodeID, n.state, longest))
		}
	}
	for value := range c.acked {
		if !slices.Contains(longest, value) {
			c.check(fmt.Errorf("%q was acknowledged and is lost", value))
		}
	}
}

// namesOf names voters by node and incarnation of the disk.
func namesOf(voters []VoterSpec) (names []string) {
	for _, v := range voters {
		names = append(names, fmt.Sprintf("%d.%d", v.NodeID, v.DirectoryID[1]))
	}
	return names
}

func (c *cluster) run() error {
	for c.now < 1500 && c.err == nil {
		c.step()
	}
	if c.err == nil {
		c.heal()
	}
	if c.err == nil {
		c.finish()
	}
	return c.err
}
