package partition

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

var (
	replicationSeeds = flag.Int("partition.seeds", 30, "how many seeds TestReplicationSeeds runs")
	replicationSeed  = flag.Uint64("partition.seed", 0, "the first of them, 0 for one by chance")
)

// group is the replicas of one partition on simulated disks, under a controller that keeps Kafka's
// rules (KIP-966): they fetch from each other, crash, lose unsynced data one at a time, and hear of
// metadata late. min.insync.replicas is 2.
type group struct {
	t          *testing.T
	random     *rand.Rand
	nowMs      int64
	replicas   []*member
	events     map[int64][]func()
	controller scriptedController
	healing    bool
	// flushed says that everything is flushed before it counts, upon which any replica may lose power.
	flushed bool
	// suspect is the replica that has lost unsynced data; until it is in sync again and everything was
	// flushed, no other may.
	suspect   *member
	next      int
	acked     map[string]int64
	committed map[int64]string // by offset, as the first replica saw it below its high watermark
	trace     []string
	count     map[string]int
	err       error
}

type member struct {
	g           *group
	id          int32
	mem         *vfs.Mem
	manager     *storage.Manager
	p           *Partition // nil while it is down
	brokerEpoch int64
	seen        int64 // offset up to which what it has committed was compared
	fetches     int   // how many were begun
	fetching    int   // which is under way, 0 for none
	lost        bool  // unsynced data, since it was last registered
	waiting     []waitingAppend
	incarnation int
}

type waitingAppend struct {
	epoch  int32
	offset int64
	value  string
}

// scriptedController is what the real one has to do.
type scriptedController struct {
	Assignment
	elr    []int32
	epochs map[int32]int64 // of the brokers that are up
	next   int64
}

func newGroup(t *testing.T, seed uint64) *group {
	g := &group{t: t, random: rand.New(rand.NewPCG(seed, 0x7265706c)), nowMs: nowMs, events: map[int64][]func(){}, acked: map[string]int64{}, committed: map[int64]string{}, count: map[string]int{}}
	g.controller = scriptedController{epochs: map[int32]int64{}, next: 10,
		Assignment: Assignment{Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, MinInSyncReplicas: 2}}
	g.flushed = g.oneIn(3)
	for id := int32(1); id <= 3; id++ {
		m := &member{g: g, id: id, mem: vfs.NewMem()}
		g.check(errors.Join(m.mem.MkdirAll("/data"), m.mem.SyncDir("/")))
		g.replicas = append(g.replicas, m)
		m.start()
	}
	return g
}

func (g *group) check(err error) {
	if err != nil && g.err == nil {
		g.err = err
	}
}

func (g *group) note(format string, args ...any) {
	g.trace = append(g.trace, fmt.Sprintf("%6d ", g.nowMs-nowMs)+fmt.Sprintf(format, args...))
}

func (g *group) oneIn(n int) bool { return g.random.IntN(n) == 0 }

// after runs f later, if the member that it is for has not restarted.
func (m *member) after(maxMs int64, f func()) {
	incarnation := m.incarnation
	at := m.g.nowMs + 1 + m.g.random.Int64N(maxMs)
	m.g.events[at] = append(m.g.events[at], func() {
		if m.incarnation == incarnation && m.p != nil {
			f()
		}
	})
}

func (m *member) start() {
	config := storage.DefaultLogConfig()
	config.SegmentBytes = 2000
	if m.g.flushed {
		config.FlushMessages = 1
	}
	var err error
	m.manager, err = storage.OpenManager(storage.Options{FS: m.mem, Dirs: []string{"/data"}, Defaults: config, Metrics: metrics.NewRegistry(), Random: env.NewSeededRandom(m.g.random.Uint64()),
		Clock: env.NewManualClock(time.UnixMilli(m.g.nowMs)), ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err == nil {
		err = m.manager.Load(storage.LoadOptions{NowMs: m.g.nowMs})
	}
	if err != nil {
		m.g.check(fmt.Errorf("replica %d does not start: %w", m.id, err))
		return
	}
	log, err := m.manager.GetOrCreate(kafka.TopicIDPartition{TopicID: topicID, TopicPartition: kafka.TopicPartition{Topic: "t"}}, config, m.g.nowMs)
	if err != nil {
		m.g.check(fmt.Errorf("replica %d does not start: %w", m.id, err))
		return
	}
	m.incarnation++
	m.fetching, m.waiting, m.seen = 0, nil, 0
	m.p = New(topicID, m.id, log, ReplicationOptions{LagMaxMs: 300, MayJoin: func(broker int32, epoch int64) bool { return m.g.controller.epochs[broker] == epoch }}, nil)
	m.g.note("replica %d starts: log end %d, high watermark %d, flushed %d", m.id, log.LogEndOffset(), log.HighWatermark(), log.FlushedOffset())
	m.g.controller.register(m)
}

// crash ends a replica; power takes what it has not synced.
func (m *member) crash(power bool) {
	g := m.g
	if power {
		m.mem = m.mem.CrashClone(env.NewSeededRandom(g.random.Uint64()))
		if !g.flushed {
			g.suspect, m.lost = m, true
		}
	} else {
		m.mem = m.mem.KillClone()
	}
	m.p = nil
	m.incarnation++
	g.count["crash"]++
	g.note("replica %d crashes, power lost: %v", m.id, power)
	g.controller.fence(g, m.id)
	at := g.nowMs + 1 + g.random.Int64N(400)
	g.events[at] = append(g.events[at], func() {
		if m.p == nil {
			m.start()
		}
	})
}

// register makes a broker part of the cluster again. Whoever may have lost data, because the machine
// has started anew, leaves the ISR and the eligible leaders; a killed process has lost nothing.
func (c *scriptedController) register(m *member) {
	c.next++
	c.epochs[m.id], m.brokerEpoch = c.next, c.next
	if m.lost {
		c.remove(m.id, false)
		m.lost = false
	}
	c.elect()
	c.publish(m.g)
}

func (c *scriptedController) fence(g *group, id int32) {
	delete(c.epochs, id)
	c.remove(id, true)
	c.elect()
	c.publish(g)
}

// remove takes a replica out of the ISR. Below the minimum it stays eligible, if it may have everything that
// was committed: the high watermark does not move then.
func (c *scriptedController) remove(id int32, keepsData bool) {
	isr := slices.DeleteFunc(slices.Clone(c.ISR), func(r int32) bool { return r == id })
	if len(isr) < len(c.ISR) && len(isr) < c.MinInSyncReplicas && keepsData {
		c.elr = append(c.elr, id)
	}
	if !keepsData {
		c.elr = slices.DeleteFunc(c.elr, func(r int32) bool { return r == id })
	}
	c.ISR = isr
	if c.Leader == id {
		c.Leader = kafka.NoLeader
	}
	c.PartitionEpoch++
}

func (c *scriptedController) elect() {
	if c.Leader != kafka.NoLeader {
		return
	}
	for _, from := range [][]int32{c.ISR, c.elr} {
		for _, id := range from {
			if c.epochs[id] != 0 && c.Leader == kafka.NoLeader {
				c.Leader, c.LeaderEpoch = id, c.LeaderEpoch+1
				if !slices.Contains(c.ISR, id) {
					c.ISR = append(slices.Clone(c.ISR), id)
				}
				c.elr = slices.DeleteFunc(slices.Clone(c.elr), func(r int32) bool { return r == id })
			}
		}
	}
	c.PartitionEpoch++
}

func (c *scriptedController) alter(g *group, from *member, change *ISRChange) error {
	if c.Leader != from.id || c.LeaderEpoch != change.LeaderEpoch || c.PartitionEpoch != change.PartitionEpoch {
		return kafka.ErrInvalidUpdateVersion
	}
	for _, m := range change.ISR {
		if c.epochs[m.BrokerID] == 0 || m.BrokerEpoch != kafka.NoBrokerEpoch && c.epochs[m.BrokerID] != m.BrokerEpoch {
			return kafka.ErrIneligibleReplica
		}
	}
	ids := change.ids()
	for _, id := range c.ISR {
		if !slices.Contains(ids, id) && len(ids) < c.MinInSyncReplicas {
			c.elr = append(c.elr, id)
		}
	}
	if len(ids) >= c.MinInSyncReplicas {
		c.elr = nil
	}
	c.ISR = ids
	c.PartitionEpoch++
	c.publish(g)
	return nil
}

// publish tells everybody, some late. What comes late never overtakes.
func (c *scriptedController) publish(g *group) {
	a := c.Assignment
	a.ISR = slices.Clone(a.ISR)
	g.note("controller: leader %d epoch %d isr %v elr %v partition epoch %d", a.Leader, a.LeaderEpoch, a.ISR, c.elr, a.PartitionEpoch)
	for _, m := range g.replicas {
		m.after(40, func() {
			if m.p.Assignment().PartitionEpoch < a.PartitionEpoch || m.p.Assignment().Leader == 0 {
				g.check(m.p.Apply(a, g.nowMs))
			}
		})
	}
}

// tell proposes a change of the in-sync replicas; the question or the answer may get lost.
func (m *member) tell(change *ISRChange) {
	if change == nil {
		return
	}
	g := m.g
	m.after(20, func() {
		if !g.healing && g.oneIn(10) {
			m.after(100, func() { m.tell(change) })
			return
		}
		if err := g.controller.alter(g, m, change); err != nil {
			m.after(20, func() { m.p.Refused(change) })
		}
		g.count["isr change"]++
	})
}

// fetch is what a follower's fetcher does for this partition.
func (m *member) fetch() {
	g := m.g
	a := m.p.Assignment()
	if m.fetching != 0 || m.p.IsLeader() || a.Leader <= 0 || a.Leader == m.id {
		return
	}
	leader := g.replicas[a.Leader-1]
	offset, lastEpoch, ready := m.p.FollowFrom()
	if !ready {
		return
	}
	m.fetches++
	this := m.fetches
	m.fetching = this
	end := func() bool {
		isThis := m.fetching == this
		if isThis {
			m.fetching = 0
		}
		return isThis
	}
	m.after(150, func() { end() }) // however it goes on
	brokerEpoch := m.brokerEpoch
	if !g.healing && g.oneIn(10) {
		return
	}
	leader.after(10, func() {
		read, err := leader.p.Read(ReadRequest{Offset: offset, MaxBytes: 300, MinOneBatch: true, CurrentLeaderEpoch: a.LeaderEpoch, LastFetchedEpoch: lastEpoch, IsReplica: true, ReplicaID: m.id})
		if err == nil && read.Diverging == nil {
			change, _ := leader.p.NoteFetch(Followed{BrokerID: m.id, BrokerEpoch: brokerEpoch, LeaderEpoch: a.LeaderEpoch, Offset: offset, NowMs: g.nowMs})
			leader.tell(change)
		}
		if !g.healing && g.oneIn(15) {
			return
		}
		leaderStart := leader.p.Log().LogStartOffset()
		read.Records = slices.Clone(read.Records)
		m.after(10, func() {
			if end() {
				m.take(a.LeaderEpoch, read, err, leaderStart)
			}
		})
	})
}

func (m *member) take(epoch int32, read ReadResult, err error, leaderStart int64) {
	g := m.g
	switch {
	case kafka.CodeOf(err) == kafka.ErrOffsetOutOfRange:
		if end := m.p.Log().LogEndOffset(); leaderStart > end {
			g.count["start over"]++
			err = m.p.StartAt(epoch, leaderStart, g.nowMs)
		} else {
			err = nil
		}
	case err != nil:
		return
	case read.Diverging != nil:
		g.count["truncate"]++
		g.note("replica %d, which ends at %d, diverges: %+v", m.id, m.p.Log().LogEndOffset(), *read.Diverging)
		err = m.p.TruncateToLeader(epoch, *read.Diverging, leaderStart, g.nowMs)
	default:
		if len(read.Records) > 0 && !g.healing && g.oneIn(100) {
			read.Records[g.random.IntN(len(read.Records))] ^= 1 << g.random.IntN(8)
			read.Records[len(read.Records)-1] ^= 0xff
			if m.p.AppendFetched(Fetched{storage.Fetched{Records: read.Records, LeaderEpoch: epoch, NowMs: g.nowMs}, read.HighWatermark, read.LogStartOffset}) == nil {
				g.check(errors.New("a damaged batch was taken"))
			}
			return
		}
		err = m.p.AppendFetched(Fetched{storage.Fetched{Records: read.Records, LeaderEpoch: epoch, NowMs: g.nowMs}, read.HighWatermark, read.LogStartOffset})
	}
	if err != nil && kafka.CodeOf(err) != kafka.ErrFencedLeaderEpoch {
		g.check(fmt.Errorf("replica %d: %w", m.id, err))
	}
}

// produce appends at whoever believes to lead.
func (m *member) produce() {
	g := m.g
	value := fmt.Sprintf("v%d", g.next)
	g.next++
	r, err := m.p.Append(AppendRequest{AppendRequest: storage.AppendRequest{Records: batchOf(g.t, value), Origin: storage.OriginClient, NowMs: nowMs, ProduceVersion: 13}, RequiredAcks: -1,
		CurrentLeaderEpoch: kafka.NoLeaderEpoch})
	if err == nil {
		m.waiting = append(m.waiting, waitingAppend{m.p.Assignment().LeaderEpoch, r.LastOffset, value})
	}
}

// answer acknowledges what is committed.
func (m *member) answer() {
	m.waiting = slices.DeleteFunc(m.waiting, func(w waitingAppend) bool {
		done, err := m.p.CommitState(w.epoch, w.offset+1)
		if done && err == nil {
			m.g.acked[w.value] = w.offset
			if m.g.count["acked"]++; m.g.count["acked"]%50 == 0 {
				m.g.note("replica %d acknowledges %s at %d", m.id, w.value, w.offset)
			}
		}
		return done || err != nil
	})
}

// compare checks what a replica has come to know as committed.
func (m *member) compare() {
	g, l := m.g, m.p.Log()
	high := l.HighWatermark()
	if high < m.seen {
		g.note("replica %d: high watermark back from %d to %d", m.id, m.seen, high)
		m.seen = high
	}
	for _, v := range valuesOf(g, l, max(m.seen, l.LogStartOffset()), high) {
		if was, ok := g.committed[v.offset]; ok && was != v.value {
			g.check(fmt.Errorf("replica %d has %q at offset %d, where %q was committed", m.id, v.value, v.offset, was))
		}
		g.committed[v.offset] = v.value
	}
	m.seen = high
}

type offsetValue struct {
	offset int64
	value  string
}

func valuesOf(g *group, l *storage.Log, from, to int64) (all []offsetValue) {
	for from < to {
		read, err := l.Read(storage.ReadRequest{Offset: from, MaxBytes: 4000, MinOneBatch: true, UpTo: to})
		if err != nil {
			g.check(err)
			return all
		}
		if len(read.Records) == 0 {
			return all
		}
		for rest := read.Records; len(rest) > 0; {
			b, next, err := record.Next(rest)
			if err != nil {
				g.check(err)
				return all
			}
			for r, err := range b.Records(math.MaxInt32) {
				g.check(err)
				if o := b.BaseOffset() + int64(r.OffsetDelta); o >= from {
					all = append(all, offsetValue{o, string(r.Value)})
				}
			}
			rest = next
			from = b.NextOffset()
		}
	}
	return all
}

func (g *group) step() {
	g.nowMs++
	due := g.events[g.nowMs]
	delete(g.events, g.nowMs)
	for _, f := range due {
		f()
	}
	for _, m := range g.replicas {
		if m.p == nil {
			continue
		}
		m.fetch()
		if m.p.IsLeader() && g.oneIn(6) && (!g.healing || g.oneIn(50)) {
			m.produce()
		}
		m.answer()
		if g.oneIn(60) {
			m.tell(m.p.Lagging(g.nowMs))
		}
		if g.oneIn(150) {
			g.check(m.p.Log().Flush())
		}
		if g.oneIn(5) {
			_, err := m.manager.CommitDir(0, g.nowMs, nil)
			g.check(err)
		}
		m.compare()
	}
	if !g.healing {
		g.harm()
	}
}

func (g *group) harm() {
	m := g.replicas[g.random.IntN(len(g.replicas))]
	if m.p == nil {
		return
	}
	if m.p.IsLeader() && g.oneIn(100) { // it deletes what is old, or everything
		_, err := m.p.DeleteRecords(m.p.Log().HighWatermark() / (1 + g.random.Int64N(2)))
		g.check(err)
	}
	if !g.oneIn(250) {
		return
	}
	g.restore()
	m.crash((g.suspect == nil || g.suspect == m) && g.oneIn(2))
}

// restore ends the suspicion once the replica that has lost data is in sync again, and everything is
// flushed: then another may lose its unsynced data.
func (g *group) restore() {
	if g.suspect == nil || !slices.Contains(g.controller.ISR, g.suspect.id) || len(g.controller.ISR) < 3 || len(g.controller.elr) > 0 {
		return
	}
	for _, m := range g.replicas {
		if m.p == nil {
			return
		}
		g.check(m.p.Log().Flush())
	}
	g.suspect = nil
}

func (g *group) run() error {
	for g.nowMs < nowMs+8000 && g.err == nil {
		g.step()
	}
	g.healing = true
	for limit := g.nowMs + 20_000; g.err == nil && g.nowMs < limit && !g.isWhole(); {
		g.step()
	}
	if g.err == nil && !g.isWhole() {
		g.check(errors.New("does not become whole"))
	}
	for value, offset := range g.acked {
		if g.committed[offset] != value {
			g.check(fmt.Errorf("%q was acknowledged at offset %d, where %q is", value, offset, g.committed[offset]))
		}
	}
	if g.err == nil {
		g.finish()
	}
	return g.err
}

func (g *group) isWhole() bool {
	for _, m := range g.replicas {
		if m.p == nil || len(m.waiting) > 0 || m.p.Log().HighWatermark() != g.replicas[0].p.Log().HighWatermark() || m.p.Log().LogEndOffset() != m.p.Log().HighWatermark() {
			return false
		}
	}
	return len(g.controller.ISR) == 3
}

// finish looks for every acknowledged value in every log.
func (g *group) finish() {
	for _, m := range g.replicas {
		l := m.p.Log()
		there := map[int64]string{}
		for _, v := range valuesOf(g, l, l.LogStartOffset(), l.LogEndOffset()) {
			there[v.offset] = v.value
		}
		for value, offset := range g.acked {
			if offset >= l.LogStartOffset() && there[offset] != value {
				g.check(fmt.Errorf("replica %d: %q was acknowledged at offset %d, where %q is", m.id, value, offset, there[offset]))
			}
		}
	}
}

// TestReplicationSeeds lets three replicas of a partition crash and come back: within the fault budget
// no acknowledged record is lost, and all replicas have the same below their high watermarks.
func TestReplicationSeeds(t *testing.T) {
	t.Parallel()
	first := *replicationSeed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	total := map[string]int{}
	for i := range *replicationSeeds {
		seed := first + uint64(i)
		g := newGroup(t, seed)
		if err := g.run(); err != nil {
			t.Errorf("seed %d, after %d ms: %v\n%s", seed, g.nowMs-nowMs, err, strings.Join(g.trace[max(0, len(g.trace)-120):], "\n"))
		}
		for what, n := range g.count {
			total[what] += n
		}
	}
	t.Logf("seeds from %d: %v", first, total)
}
