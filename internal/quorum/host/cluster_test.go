package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
)

// testCluster is several nodes in one process, with functions as a network. It lives in a synctest bubble.
type testCluster struct {
	t       *testing.T
	mu      sync.Mutex
	members []*member
	cut     map[[2]int32]bool // directions in which nothing arrives
	topics  int
	sent    func(from, to int32, data []byte) // nil: nobody looks
}

// member is a node with its disk and its loader.
type member struct {
	c        *testCluster
	spec     quorum.VoterSpec
	mem      *vfs.Mem
	canVote  bool
	node     *Node // nil while it is down
	loader   *metadatahost.Loader
	spawner  *env.Spawner
	registry *metrics.Registry
	voters   []quorum.VoterSpec // what OnVoters said last
	listed   []quorum.VoterSpec
	wrap     func(vfs.FS) vfs.FS // nil: the disk does what it should
	fetched  atomic.Bool         // the last piece of a snapshot has arrived
}

const networkDelay = time.Millisecond

var errNetwork = errors.New("the other node is not to be reached")

// newCluster has three voters that are up: node 1 forms the quorum, the others join it.
func newCluster(t *testing.T) *testCluster { return newClusterOn(t, 3, nil) }

// newClusterOn has so many voters, on disks that wrap has made.
func newClusterOn(t *testing.T, count int32, wrap func(vfs.FS) vfs.FS) *testCluster {
	c := &testCluster{t: t, cut: map[[2]int32]bool{}}
	var voters []quorum.VoterSpec
	for id := range count {
		m := c.newMember(id+1, 0, true)
		m.wrap = wrap
		voters = append(voters, m.spec)
	}
	c.members[0].open(voters)
	for _, m := range c.members[1:] {
		m.join(c.members[0])
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			m.stop()
		}
	})
	return c
}

func (c *testCluster) newMember(id int32, disk byte, canVote bool) *member {
	m := &member{c: c, canVote: canVote}
	m.newDisk(id, disk)
	c.mu.Lock()
	c.members = append(c.members, m)
	c.mu.Unlock()
	return m
}

func (m *member) newDisk(id int32, disk byte) {
	m.mem = newDisk(m.c.t)
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.spec = quorum.VoterSpec{NodeID: id, DirectoryID: kafka.UUID{0: byte(id), 1: disk, 6: 0x40, 8: 0x80, 15: 7}}
	if m.canVote {
		m.spec.Listeners = []quorum.VoterListener{{Name: "CONTROLLER", Host: "localhost", Port: uint16(9092 + id)}}
	}
}

func (m *member) options() Options {
	fsys := vfs.FS(m.mem)
	if m.wrap != nil {
		fsys = m.wrap(fsys)
	}
	return Options{
		FS: fsys, LogDir: "/data", Self: m.spec, Clock: env.SystemClock{}, Metrics: m.registry, Logger: slog.New(slog.DiscardHandler),
		SegmentBytes: 1 << 30, SnapshotMaxBytes: 2000,
		Image: func() *metadata.Image { return m.loader.Current() }, Submit: func(ctx context.Context, b metadatahost.Batch) error { return m.loader.Submit(ctx, b) },
		OnLeadership: func(quorum.Leadership) {}, OnFault: func(err error) { m.c.t.Errorf("node %d: %v", m.spec.NodeID, err) },
		SendRaft: m.send, Pull: m.pull, FetchSnapshot: m.fetch, Listed: m.listed,
		OnVoters: func(voters []quorum.VoterSpec) { m.voters = voters },
	}
}

func (m *member) open(form []quorum.VoterSpec) {
	m.c.t.Helper()
	m.registry = metrics.NewRegistry()
	m.spawner = env.NewSpawner(context.Background(), func(_ string, err error) { m.c.t.Error(err) })
	m.loader = metadatahost.NewLoader(metadatahost.Options{Spawner: m.spawner, Metrics: m.registry, OnFault: func(err error) { m.c.t.Errorf("node %d: %v", m.spec.NodeID, err) }})
	m.loader.Start()
	o := m.options()
	o.Form = form
	node, err := Open(o)
	if err != nil {
		m.c.t.Fatalf("node %d: %v", m.spec.NodeID, err)
	}
	m.c.mu.Lock()
	m.node = node
	m.c.mu.Unlock()
	node.Start(context.Background())
}

// join begins with an empty disk.
func (m *member) join(from *member) {
	m.c.t.Helper()
	if err := Join(m.c.t.Context(), m.options(), []quorum.VoterSpec{from.spec}); err != nil {
		m.c.t.Fatal(err)
	}
	m.listed = []quorum.VoterSpec{from.spec}
	m.open(nil)
}

// kill ends the process; its disk keeps what was written.
func (m *member) kill() {
	m.c.mu.Lock()
	node := m.node
	m.node = nil
	m.c.mu.Unlock()
	if node != nil {
		m.mem = m.mem.KillClone()
		node.Stop()
		m.spawner.Stop()
	}
}

func (m *member) stop() { m.kill() }

// reached is another node, if it is up and not cut off.
func (m *member) reached(to quorum.VoterSpec) (*Node, error) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	for _, o := range m.c.members {
		if o.spec.DirectoryID == to.DirectoryID && o.node != nil && !m.c.cut[[2]int32{m.spec.NodeID, to.NodeID}] {
			return o.node, nil
		}
	}
	return nil, errNetwork
}

func (m *member) isCutFrom(other quorum.VoterSpec) bool {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.c.cut[[2]int32{m.spec.NodeID, other.NodeID}]
}

func (m *member) send(to quorum.VoterSpec, data []byte) {
	m.c.mu.Lock()
	if m.c.sent != nil {
		m.c.sent(m.spec.NodeID, to.NodeID, data)
	}
	m.c.mu.Unlock()
	time.AfterFunc(networkDelay, func() {
		if node, err := m.reached(to); err == nil {
			_ = node.HandleRaft(data)
		}
	})
}

func (m *member) pull(ctx context.Context, from quorum.VoterSpec, request PullRequest) (quorum.Page, error) {
	<-time.After(networkDelay)
	node, err := m.reached(from)
	if m.isCutFrom(from) { // nothing refuses what gets lost
		<-ctx.Done()
		return quorum.Page{}, ctx.Err()
	}
	if err != nil {
		return quorum.Page{}, err
	}
	page, err := node.HandlePull(ctx, request)
	if _, gone := m.reached(from); gone != nil {
		<-ctx.Done()
		return quorum.Page{}, ctx.Err()
	}
	return page, err
}

func (m *member) fetch(_ context.Context, from quorum.VoterSpec, id quorum.SnapshotID, position int64, maxBytes int) ([]byte, int64, error) {
	<-time.After(networkDelay)
	node, err := m.reached(from)
	if err != nil {
		return nil, 0, err
	}
	data, size, err := node.HandleSnapshot(id, position, min(maxBytes, 300))
	if err == nil && position+int64(len(data)) == size {
		m.fetched.Store(true)
	}
	return data, size, err
}

// isolate cuts a node off from all others, or ends that.
func (c *testCluster) isolate(m *member, isolated bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.members {
		c.cut[[2]int32{m.spec.NodeID, o.spec.NodeID}], c.cut[[2]int32{o.spec.NodeID, m.spec.NodeID}] = isolated, isolated
	}
}

// until waits in virtual time and returns how long it took.
func (c *testCluster) until(what string, condition func() bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	for range 20_000 {
		synctest.Wait()
		if condition() {
			return time.Since(began)
		}
		<-time.After(time.Millisecond)
	}
	for _, m := range c.members {
		if m.node != nil {
			c.t.Logf("node %d: voter %v of %s, %+v, high watermark %d, image %d", m.spec.NodeID, m.node.IsVoter(), describe(m.node.Voters()), m.node.Leadership(), m.node.HighWatermark(), m.loader.Current().Offset)
		}
	}
	c.t.Fatalf("does not happen: %s", what)
	return 0
}

func (c *testCluster) leader() *member {
	for _, m := range c.members {
		if m.node != nil && m.node.Leadership().IsSelf {
			return m
		}
	}
	return nil
}

// elected waits for a leader that all who are up agree on.
func (c *testCluster) elected() (*member, time.Duration) {
	c.t.Helper()
	took := c.until("all agree on a leader", func() bool {
		leader := c.leader()
		return leader != nil && !slices.ContainsFunc(c.members, func(m *member) bool {
			return m.node != nil && m.node.Leadership().LeaderID != leader.spec.NodeID
		})
	})
	return c.leader(), took
}

// create commits topics, each as one batch.
func (c *testCluster) create(count int) {
	c.t.Helper()
	for range count {
		if err := c.createOne(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *testCluster) createOne(ctx context.Context) error {
	c.mu.Lock()
	c.topics++
	topic := metadata.Encode(&metadata.TopicRecord{Name: fmt.Sprintf("topic-%d", c.topics), TopicID: kafka.UUID{0: byte(c.topics >> 8), 1: byte(c.topics), 6: 0x40}})
	c.mu.Unlock()
	for ctx.Err() == nil {
		leader := c.leader()
		if leader == nil {
			<-time.After(time.Millisecond) // a change of the voters or of the leader is under way
			continue
		}
		if _, _, err := leader.node.Propose(ctx, [][]byte{topic}); !errors.Is(err, kafka.ErrNotController) {
			return err
		}
	}
	return ctx.Err()
}

// agreed waits until all who are up have the same metadata, with so many topics at least.
func (c *testCluster) agreed(topics int) {
	c.t.Helper()
	c.until(fmt.Sprintf("all have %d topics", topics), func() bool {
		var first *metadata.Image
		for _, m := range c.members {
			if m.node == nil {
				continue
			}
			image := m.loader.Current()
			if first == nil {
				first = image
			}
			if image.Offset != first.Offset || image.TopicCount() != first.TopicCount() || image.TopicCount() < topics || !metadata.Difference(first, image).IsEmpty() {
				return false
			}
		}
		return true
	})
}

// TestVoterCutOffFromTheLeaderAlone hears of what is committed from the others: a broker that leads partitions must learn
// soon that it is fenced.
func TestVoterCutOffFromTheLeaderAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		leader, _ := c.elected()
		for turn := range 4 {
			for _, m := range c.members {
				if m == leader {
					continue
				}
				c.create(1)
				c.agreed(c.topics)
				c.cutLink(m, leader, true)
				before, limit := c.topics, 1600*time.Millisecond
				if turn%2 == 0 {
					<-time.After(3 * time.Second)
					limit = 100 * time.Millisecond // it asks already
				}
				c.create(1)
				if took := c.until("it hears of the change", func() bool { return m.loader.Current().TopicCount() > before }); took > limit {
					t.Errorf("node %d, turn %d: after %s", m.spec.NodeID, turn, took)
				}
				c.cutLink(m, leader, false)
			}
			if now, _ := c.elected(); now != leader {
				t.Fatal("another one leads")
			}
		}
	})
}

func (c *testCluster) cutLink(a, b *member, isCut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut[[2]int32{a.spec.NodeID, b.spec.NodeID}], c.cut[[2]int32{b.spec.NodeID, a.spec.NodeID}] = isCut, isCut
}

func TestLeadersThatDieAreReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.elected()
		c.create(20)
		c.agreed(20)

		// Its connections break, and its address refuses new ones.
		dead, _ := c.elected()
		dead.kill()
		for _, m := range c.members {
			if m != dead {
				m.node.PeerDead(dead.spec.NodeID)
			}
		}
		if _, took := c.elected(); took > 100*time.Millisecond {
			t.Errorf("a leader known to be dead was replaced after %s", took)
		}
		c.create(20)
		dead.open(nil)
		c.agreed(40)

		// It is silent.
		dead, _ = c.elected()
		dead.kill()
		c.until("the loss is noticed", func() bool {
			return !slices.ContainsFunc(c.members, func(m *member) bool { return m.node != nil && m.node.Leadership().LeaderID == dead.spec.NodeID })
		})
		if _, took := c.elected(); took > 2*time.Second {
			t.Errorf("a silent leader was replaced after %s", took)
		}
		c.create(20)
		dead.open(nil)
		c.agreed(60)

		for _, m := range c.members {
			m.kill()
		}
		for _, m := range c.members {
			m.open(nil)
		}
		if _, took := c.elected(); took > 200*time.Millisecond {
			t.Errorf("nodes that start together have a leader after %s", took)
		}
		c.agreed(60)
		c.create(1)
		c.agreed(61)
	})
}

// slowDisk needs so long for every sync.
func slowDisk(sync time.Duration) func(vfs.FS) vfs.FS {
	return func(fsys vfs.FS) vfs.FS {
		return vfs.NewFault(fsys, func(op vfs.Op, _ string) error {
			if op == vfs.OpSync && sync > 0 {
				<-time.After(sync)
			}
			return nil
		})
	}
}

// TestElectionsAfterADeathDoNotCollide lets the voters hear of it at different times, on disks of several speeds.
func TestElectionsAfterADeathDoNotCollide(t *testing.T) {
	t.Parallel()
	for _, sync := range []time.Duration{0, 3 * time.Millisecond, 8 * time.Millisecond} {
		for later := -14 * time.Millisecond; later <= 14*time.Millisecond; later += time.Millisecond {
			delays := map[int32]time.Duration{2: max(0, -later), 3: max(0, later)}
			electAfterDeath(t, 3, sync, delays)
		}
		for seed := range uint64(20) {
			random, delays := env.NewSeededRandom(seed), map[int32]time.Duration{}
			for id := range int32(5) {
				delays[id+1] = time.Duration(random.Uint64()%20_000) * time.Microsecond
			}
			electAfterDeath(t, 5, sync, delays)
		}
	}
}

// electAfterDeath fails unless the leader is replaced soon after the others have heard of its death, with these delays.
func electAfterDeath(t *testing.T, voters int32, sync time.Duration, delays map[int32]time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		c := newClusterOn(t, voters, slowDisk(sync))
		dead, _ := c.elected()
		dead.kill()
		for _, m := range c.members {
			if m != dead {
				time.AfterFunc(delays[m.spec.NodeID], func() { m.node.PeerDead(dead.spec.NodeID) })
			}
		}
		if took := c.until("there is a leader", func() bool { return c.leader() != nil }); took > 120*time.Millisecond {
			t.Errorf("%d voters, %s for a sync, who hear of it after %v: a dead leader was replaced after %s", voters, sync, delays, took)
		}
	})
}

// TestADeadLeaderIsNotHeardAgain lets the last heartbeats arrive after the news.
func TestADeadLeaderIsNotHeardAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		dead, _ := c.elected()
		last := map[int32][]byte{}
		c.mu.Lock()
		c.sent = func(from, to int32, data []byte) {
			if from == dead.spec.NodeID {
				last[to] = data
			}
		}
		c.mu.Unlock()
		<-time.After(200 * time.Millisecond)
		dead.kill()
		for _, m := range c.members {
			if m == dead {
				continue
			}
			m.node.PeerDead(dead.spec.NodeID)
			synctest.Wait()
			if err := m.node.HandleRaft(last[m.spec.NodeID]); err != nil {
				t.Fatal(err)
			}
		}
		if _, took := c.elected(); took > 100*time.Millisecond {
			t.Errorf("a leader known to be dead was replaced after %s", took)
		}
	})
}

// TestAPeerThatLivesIsNotReplaced lets nodes hear wrongly that their leader is dead: it must go on, since a
// quorum still hears from it.
func TestAPeerThatLivesIsNotReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		leader, _ := c.elected()
		epoch := leader.node.Leadership().Epoch
		var follower *member
		for _, m := range c.members {
			if m != leader {
				follower = m
			}
		}
		follower.node.PeerDead(leader.spec.NodeID)
		leader.node.PeerDead(follower.spec.NodeID)
		leader.node.PeerDead(leader.spec.NodeID)
		<-time.After(time.Second)
		c.elected()
		if l := leader.node.Leadership(); !l.IsSelf || l.Epoch != epoch {
			t.Errorf("leadership is %+v, it was in epoch %d", l, epoch)
		}
	})
}

// TestWhatRestsOnLostChangesIsRefused asks a leader that is cut off for what waits for those before only: its
// answer may show them.
func TestWhatRestsOnLostChangesIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		old, _ := c.elected()
		c.isolate(old, true)
		office, outcomes := old.node.Leadership().Office, make(chan error, 2)
		for _, records := range [][][]byte{{metadata.Encode(&metadata.TopicRecord{Name: "lost", TopicID: kafka.UUID{9, 9}})}, nil} {
			if err := old.node.ProposeAsync(t.Context(), office, records, func(_ int64, err error) { outcomes <- err }); err != nil {
				t.Fatal(err)
			}
		}
		for _, what := range []string{"the change", "what waits for it"} {
			if err := <-outcomes; !errors.Is(err, kafka.ErrNotController) {
				t.Errorf("%s is answered with %v", what, err)
			}
		}
	})
}

// TestNothingIsStoredBehindWhatIsRefused fills a leader that no other voter hears with as much as Raft takes: who
// proposes computes each change on those before, so that none of them may be left out.
func TestNothingIsStoredBehindWhatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		leader, _ := c.elected()
		c.isolate(leader, true)
		office, outcomes := leader.node.Leadership().Office, make(chan error, 11)
		large := metadata.Encode(&metadata.ConfigRecord{ResourceType: 4, ResourceName: "1", Name: "text", Value: new(strings.Repeat("x", 7<<20))})
		small := metadata.Encode(&metadata.TopicRecord{Name: "small", TopicID: kafka.UUID{9, 9}})
		for i := range cap(outcomes) {
			record := large
			if i == cap(outcomes)-1 {
				record = small
			}
			if err := leader.node.ProposeAsync(t.Context(), office, [][]byte{record}, func(_ int64, err error) { outcomes <- err }); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(50 * time.Millisecond)
		c.isolate(leader, false)
		refused := false
		for i := range cap(outcomes) {
			err := <-outcomes
			if refused && err == nil {
				t.Errorf("change %d was made although one before it was refused", i)
			}
			refused = refused || err != nil
		}
		if refused {
			t.Error("a change was refused although the leader went on leading")
		}
	})
}

// TestALeaderThatIsCutOffStepsDown also lets it come back with less than a quorum has committed.
func TestALeaderThatIsCutOffStepsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		old, _ := c.elected()
		c.create(5)
		c.isolate(old, true)
		if _, _, err := old.node.Propose(t.Context(), [][]byte{metadata.Encode(&metadata.TopicRecord{Name: "lost", TopicID: kafka.UUID{9, 9}})}); !errors.Is(err, kafka.ErrNotController) {
			t.Errorf("a leader without a quorum answers %v", err)
		}
		c.until("the others have a leader", func() bool {
			leader := c.leader()
			return leader != nil && leader != old
		})
		c.create(300) // the others cut their logs before that
		if c.leader().node.meters.snapshots.Value() < 2 {
			t.Fatal("there are no snapshots: the test would show nothing")
		}
		c.isolate(old, false)
		c.elected()
		c.agreed(305)
		if old.loader.Current().TopicByName("lost") != nil || old.node.meters.installed.Value() != 1 {
			t.Errorf("%d snapshots were installed", old.node.meters.installed.Value())
		}
	})
}
