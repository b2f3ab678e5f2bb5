package replica_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

var (
	clusterSeeds = flag.Int("replica.seeds", 10, "how many seeds TestClusterSeeds runs")
	clusterSeed  = flag.Uint64("replica.seed", 0, "the first of them, 0 for one by chance")
)

const (
	nodeCount      = 3
	partitionCount = 3
	minInSync      = 2
	topicName      = "t"
	startMs        = 1_700_000_000_000
	faultsMs       = 5000
	healingMs      = 20_000
)

// cluster is three brokers on simulated disks under a scripted controller, in one loop that owns the time: the real
// storage, replica managers, fetchers, senders and the handler of Fetch. Nodes crash, lose unsynced data one at a time, lag and
// hear of the metadata late; messages are lost, damaged and late.
type cluster struct {
	t          *testing.T
	random     *rand.Rand
	clock      *env.ManualClock
	nodes      []*node
	controller *controller
	events     map[int64][]func()
	healing    bool
	// flushed says that everything is flushed before it counts, upon which any node may lose power.
	flushed bool
	// suspect is the node that has lost unsynced data; until everything is in sync again and flushed, no other may.
	suspect   *node
	rotten    map[int32]bool // nodes with flipped bits, which may not be mended yet
	wasRotten map[int32]bool // ever: what lies below the log start offset is not mended, and comes to light when a start does not know that offset
	next      int
	acked     [partitionCount]map[string]int64
	committed [partitionCount]map[int64]string // by offset, as the first replica saw it below its high watermark
	trace     []string
	count     map[string]int
	err       error
}

func newCluster(t *testing.T, seed uint64) *cluster {
	c := &cluster{t: t, random: rand.New(rand.NewPCG(seed, 0x636c7573)), clock: env.NewManualClock(time.UnixMilli(startMs)), rotten: map[int32]bool{}, wasRotten: map[int32]bool{}, events: map[int64][]func(){}, count: map[string]int{}}
	for i := range partitionCount {
		c.acked[i], c.committed[i] = map[string]int64{}, map[int64]string{}
	}
	c.flushed = c.oneIn(3)
	c.controller = newController(c)
	for id := int32(1); id <= nodeCount; id++ {
		n := &node{c: c, id: id, mem: vfs.NewMem()}
		c.check(errors.Join(n.mem.MkdirAll("/data"), n.mem.SyncDir("/")))
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		n.start()
	}
	return c
}

func (c *cluster) nowMs() int64 { return c.clock.Now().UnixMilli() }

func (c *cluster) check(err error) {
	if err != nil && c.err == nil {
		c.err = err
	}
}

func (c *cluster) note(format string, args ...any) {
	c.trace = append(c.trace, fmt.Sprintf("%6d ", c.nowMs()-startMs)+fmt.Sprintf(format, args...))
}

func (c *cluster) oneIn(n int) bool { return c.random.IntN(n) == 0 }

// after runs f within so many milliseconds.
func (c *cluster) after(maxMs int64, f func()) {
	at := c.nowMs() + 1 + c.random.Int64N(maxMs)
	c.events[at] = append(c.events[at], f)
}

// delay is how long a message may take at most, now and then so long that much happens meanwhile.
func (c *cluster) delay() int64 {
	if !c.healing && c.oneIn(30) {
		return 600
	}
	return 5
}

// damage flips bits of the records in an answer.
func (c *cluster) damage(r *kmsg.FetchResponse) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if len(p.RecordBatches) > 0 {
				p.RecordBatches[c.random.IntN(len(p.RecordBatches))] ^= 1 << c.random.IntN(8)
				p.RecordBatches[len(p.RecordBatches)-1] ^= 0xff
				c.count["damaged"]++
			}
		}
	}
}

func batchOf(tb testing.TB, values ...string) record.Batch {
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	for _, v := range values {
		b.Append(startMs, nil, []byte(v), nil)
	}
	batch, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

func (c *cluster) step() {
	now := c.clock.Advance(time.Millisecond).UnixMilli()
	due := c.events[now]
	delete(c.events, now)
	for _, f := range due {
		f()
	}
	for _, n := range c.nodes {
		if n.process == nil {
			continue
		}
		n.drive()
		for i := range partitionCount {
			if c.oneIn(12) && (!c.healing || c.oneIn(50)) {
				n.produce(i)
			}
		}
		if c.oneIn(60) {
			n.replicas.CheckLag(now)
		}
		if c.oneIn(150) {
			c.flush(n)
		}
		if c.oneIn(5) {
			_, err := n.storage.CommitDir(0, now, nil)
			c.check(err)
		}
		c.compare(n)
	}
	if !c.healing {
		c.harm()
	}
}

func (c *cluster) flush(n *node) {
	for i := range partitionCount {
		if r := n.replica(i); r != nil {
			c.check(r.Log().Flush())
		}
	}
}

func (c *cluster) harm() {
	n := c.nodes[c.random.IntN(len(c.nodes))]
	if n.process == nil {
		return
	}
	i := c.random.IntN(partitionCount)
	if c.oneIn(50) {
		n.forge(i)
	}
	if c.oneIn(200) { // the leader deletes what is old, or everything
		if r := n.replica(i); r != nil && r.IsLeader() {
			_, err := r.DeleteRecords(r.Log().HighWatermark() / (1 + c.random.Int64N(2)))
			c.check(err)
		}
	}
	if c.oneIn(150) {
		c.controller.move()
	}
	if c.oneIn(250) {
		c.restore()
		if c.suspect == nil || c.suspect == n {
			c.suspect = n
			n.rot(i)
		}
	}
	if c.oneIn(300) {
		c.restore()
		n.crash((c.suspect == nil || c.suspect == n) && c.oneIn(2))
	}
}

// restore ends the suspicion once everything is in sync again, and flushed: then another node may lose its unsynced data.
func (c *cluster) restore() {
	if c.suspect == nil {
		return
	}
	for _, p := range c.controller.state {
		if len(p.ISR) < nodeCount || len(p.EligibleLeaderReplicas) > 0 {
			return
		}
	}
	for _, n := range c.nodes {
		if n.process == nil {
			return
		}
	}
	for _, n := range c.nodes {
		c.flush(n)
		if !c.rotten[n.id] {
			continue
		}
		if c.isDamaged(n) {
			return
		}
		// What is damaged below the log start offset must not come to light again, nor a start scan it.
		c.check(errors.Join(n.storage.CheckpointLogStartOffsets(), n.storage.FlushDir(0, c.nowMs()+60_000)))
	}
	clear(c.rotten)
	c.suspect = nil
}

// isDamaged reads all that a node has. What it meets is mended then.
func (c *cluster) isDamaged(n *node) bool {
	for i := range partitionCount {
		l := n.replica(i).Log()
		if _, to := c.values(n, l, l.LogStartOffset(), l.LogEndOffset()); to < l.LogEndOffset() {
			return true
		}
	}
	return false
}

// compare checks what a node has come to know as committed.
func (c *cluster) compare(n *node) {
	for i := range partitionCount {
		r := n.replica(i)
		if r == nil {
			continue
		}
		l := r.Log()
		high := l.HighWatermark()
		n.seen[i] = min(n.seen[i], high)
		values, to := c.values(n, l, max(n.seen[i], l.LogStartOffset()), high)
		for _, v := range values {
			if was, ok := c.committed[i][v.offset]; ok && was != v.value {
				c.check(fmt.Errorf("node %d has %q at offset %d of partition %d, where %q was committed", n.id, v.value, v.offset, i, was))
			}
			c.committed[i][v.offset] = v.value
		}
		n.seen[i] = to
	}
}

type offsetValue struct {
	offset int64
	value  string
}

// values reads from an offset to another, or up to damage, which ends where next says.
func (c *cluster) values(n *node, l *storage.Log, from, to int64) (all []offsetValue, next int64) {
	for from < to && c.err == nil {
		read, err := l.Read(storage.ReadRequest{Offset: from, MaxBytes: 4000, MinOneBatch: true, UpTo: to})
		if kafka.CodeOf(err) == kafka.ErrCorruptMessage && c.wasRotten[n.id] {
			c.count["damage met"]++
			return all, from
		}
		c.check(err)
		if len(read.Records) == 0 {
			return all, to
		}
		for rest := read.Records; len(rest) > 0 && c.err == nil; {
			b, next, err := record.Next(rest)
			c.check(err)
			if err != nil {
				return all, from
			}
			for r, err := range b.Records(math.MaxInt32) {
				c.check(err)
				if o := b.BaseOffset() + int64(r.OffsetDelta); o >= from {
					all = append(all, offsetValue{o, string(r.Value)})
				}
			}
			rest, from = next, b.NextOffset()
		}
	}
	return all, max(from, to)
}

func (c *cluster) run() error {
	for end := c.nowMs() + faultsMs; c.nowMs() < end && c.err == nil; {
		c.step()
	}
	c.healing = true
	for end := c.nowMs() + healingMs; c.err == nil && c.nowMs() < end && c.whyNotWhole() != ""; {
		c.step()
	}
	if why := c.whyNotWhole(); c.err == nil && why != "" {
		c.check(fmt.Errorf("does not become whole: %s", why))
	}
	if c.err == nil {
		c.finish()
	}
	return c.err
}

// whyNotWhole says what is not in sync yet, "" if everything is.
func (c *cluster) whyNotWhole() string {
	for _, p := range c.controller.state {
		if len(p.ISR) != nodeCount {
			return fmt.Sprintf("partition %d has in-sync replicas %v", p.PartitionID, p.ISR)
		}
	}
	for _, n := range c.nodes {
		for i := range partitionCount {
			if n.process == nil || n.replica(i) == nil || c.nodes[0].process == nil || c.nodes[0].replica(i) == nil {
				return fmt.Sprintf("node %d is not up", n.id)
			}
			l, first := n.replica(i).Log(), c.nodes[0].replica(i).Log()
			if l.LogEndOffset() != l.HighWatermark() || l.HighWatermark() != first.HighWatermark() {
				return fmt.Sprintf("node %d has partition %d up to %d, committed %d; node 1 %d", n.id, i, l.LogEndOffset(), l.HighWatermark(), first.HighWatermark())
			}
		}
		if c.isDamaged(n) {
			return fmt.Sprintf("node %d is damaged", n.id)
		}
	}
	return ""
}

// finish looks for every acknowledged value in every log.
func (c *cluster) finish() {
	for i := range partitionCount {
		for _, n := range c.nodes {
			l := n.replica(i).Log()
			there := map[int64]string{}
			values, _ := c.values(n, l, l.LogStartOffset(), l.LogEndOffset())
			for _, v := range values {
				there[v.offset] = v.value
			}
			for value, offset := range c.acked[i] {
				if offset >= l.LogStartOffset() && there[offset] != value {
					c.check(fmt.Errorf("node %d: %q was acknowledged at offset %d of partition %d, where %q is", n.id, value, offset, i, there[offset]))
				}
			}
		}
	}
}

// TestClusterSeeds lets three brokers crash and come back: within the fault budget no acknowledged record is lost, all
// replicas have the same below their high watermarks, and in the end everything is in sync.
func TestClusterSeeds(t *testing.T) {
	t.Parallel()
	first := *clusterSeed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	total := map[string]int{}
	for i := range *clusterSeeds {
		seed := first + uint64(i)
		c := newCluster(t, seed)
		if err := c.run(); err != nil {
			t.Errorf("seed %d (-replica.seeds=1 -replica.seed=%d), after %d ms: %v\n%s", seed, seed, c.nowMs()-startMs, err, strings.Join(c.trace[max(0, len(c.trace)-120):], "\n"))
		}
		for what, n := range c.count {
			total[what] += n
		}
	}
	t.Logf("seeds from %d: %v", first, total)
	for _, what := range []string{"acked", "crash", "moved", "isr change", "forged", "rotten", "damage met"} {
		if total[what] == 0 && *clusterSeeds >= 10 {
			t.Errorf("nothing of %q has happened", what)
		}
	}
}
