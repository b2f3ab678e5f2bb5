package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/replica/fetchsession"
	"github.com/moldau/moldau/internal/replica/follower"
	"github.com/moldau/moldau/internal/replica/isr"
	"github.com/moldau/moldau/internal/replica/repair"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/wire"
)

// node is a broker: its disk, and while it is up a process.
type node struct {
	c           *cluster
	id          int32
	mem         *vfs.Mem
	hasLost     bool // unsynced data, since it was registered last
	wasKilled   bool // and the machine ran on
	incarnation int
	*process    // nil while it is down
}

// process is the real cores of a broker, driven by the cluster's loop instead of hosts.
type process struct {
	storage     *storage.Manager
	replicas    *replica.Manager
	fetch       *handler.Fetch
	sender      *isr.Sender
	fetchers    map[int32]*follower.Fetcher
	sources     map[follower.Key]int32
	metrics     *follower.Metrics
	mender      *repair.Mender
	brokerEpoch int64
	applied     int // records of the controller's log
	seen        [partitionCount]int64
	appended    map[int64]string // of this incarnation, by a running number
}

// after runs f later, if the process is the same then.
func (n *node) after(maxMs int64, f func()) {
	incarnation := n.incarnation
	n.c.after(maxMs, func() {
		if n.incarnation == incarnation && n.process != nil {
			f()
		}
	})
}

func (n *node) start() {
	c := n.c
	config := storage.DefaultLogConfig()
	config.SegmentBytes = 2000
	if c.flushed {
		config.FlushMessages = 1
	}
	registry := metrics.NewRegistry()
	s, err := storage.OpenManager(storage.Options{FS: n.mem, Dirs: []string{"/data"}, Defaults: config, Metrics: registry, Random: env.NewSeededRandom(c.random.Uint64()),
		Clock: c.clock, ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err == nil {
		err = s.Load(storage.LoadOptions{NowMs: c.nowMs()})
	}
	if err != nil {
		c.check(fmt.Errorf("node %d does not start: %w", n.id, err))
		return
	}
	p := &process{storage: s, sender: isr.New(n.id, registry), fetchers: map[int32]*follower.Fetcher{}, sources: map[follower.Key]int32{}, metrics: follower.NewMetrics(registry)}
	propose := func(of *partition.Partition, change *partition.ISRChange) {
		p.sender.Add(isr.Proposal{Partition: of, Change: change})
	}
	p.mender = repair.New(repair.Options{NodeID: n.id, Propose: propose, Metrics: registry})
	p.replicas = replica.New(replica.Options{NodeID: n.id, Storage: s, Metrics: registry, Clock: c.clock, MaxWaiting: 10_000, FetchMemoryBytes: 1 << 30,
		TopicConfig: func(*metadata.Image, string) replica.TopicConfig {
			return replica.TopicConfig{Log: config, MinInSyncReplicas: minInSync}
		},
		Cluster: &replica.Cluster{LagMaxMs: 300, Follow: n.follow, Unfollow: n.unfollow, Flushed: func(int32) {}, Propose: propose,
			Mend: func(damaged *partition.Partition) { p.mender.Add(damaged) }, BrokerEpoch: func() int64 { return p.brokerEpoch }}})
	p.fetch = &handler.Fetch{Replicas: p.replicas, Sessions: fetchsession.New(100, env.NewSeededRandom(c.random.Uint64()), registry), Metadata: p.replicas.Image, Authorizer: security.AllowAll{},
		Clock: c.clock, Metrics: handler.NewDataMetrics(registry), MaxBytes: 55 << 20, Quota: quota.Unlimited{}}
	n.incarnation++
	n.process = p
	n.apply(len(c.controller.log))
	c.check(p.replicas.Start())
	for i := range partitionCount {
		if r := n.replica(i); r != nil {
			l := r.Log()
			c.note("node %d starts: partition %d ends at %d, committed %d, flushed %d", n.id, i, l.LogEndOffset(), l.HighWatermark(), l.FlushedOffset())
		}
	}
	// A start cuts a log at damage that is not flushed for certain.
	hasLost := n.hasLost || n.wasKilled && s.HasLost() || !n.wasKilled && c.rotten[n.id]
	p.brokerEpoch = c.controller.register(n.id, hasLost)
	n.hasLost = false
	n.after(60, func() { c.controller.unfence(n.id, p.brokerEpoch) })
}

// hear has the node apply the controller's log up to an entry, soon.
func (n *node) hear(upTo int) {
	if n.process != nil {
		n.after(40, func() { n.apply(upTo) })
	}
}

// apply publishes what the node has not seen. What comes late never overtakes.
func (n *node) apply(upTo int) {
	if n.applied >= upTo {
		return
	}
	delta := metadata.NewDelta(n.replicas.Image())
	for ; n.applied < upTo; n.applied++ {
		for _, r := range n.c.controller.log[n.applied] {
			n.c.check(delta.Replay(r))
		}
	}
	n.replicas.Apply(delta.Apply(int64(n.applied), 1), delta)
}

// replica is the node's replica of a partition, nil where it has none that can be used.
func (n *node) replica(i int) *replica.Replica {
	r, err := n.replicas.Lookup(kafka.TopicPartition{Topic: topicName, Partition: int32(i)})
	if err != nil {
		return nil
	}
	return r
}

func (n *node) follow(p *partition.Partition, leader, leaderEpoch int32) {
	key := follower.KeyOf(p)
	if was, ok := n.sources[key]; ok && was != leader {
		n.fetchers[was].Unfollow(key)
	}
	n.sources[key] = leader
	if n.fetchers[leader] == nil {
		n.fetchers[leader] = follower.New(follower.Options{NodeID: n.id, Source: leader, Metrics: n.metrics,
			Limits: follower.Limits{MaxWaitMs: 5, MinBytes: 1, MaxBytes: 1500, PartitionMaxBytes: 400, BackoffMs: 100}})
	}
	n.fetchers[leader].Follow(p, leaderEpoch)
}

func (n *node) unfollow(p *partition.Partition) {
	if was, ok := n.sources[follower.KeyOf(p)]; ok {
		n.fetchers[was].Unfollow(follower.KeyOf(p))
		delete(n.sources, follower.KeyOf(p))
	}
}

// drive does what the hosts of the node's cores do.
func (n *node) drive() {
	for id := int32(1); id <= nodeCount; id++ {
		if f := n.fetchers[id]; f != nil {
			if r, _ := f.Next(n.c.nowMs(), n.brokerEpoch); r != nil {
				n.send(f, n.c.nodes[id-1], r)
			}
		}
	}
	if r, _ := n.sender.Next(n.c.nowMs(), n.brokerEpoch); r != nil {
		n.propose(r)
	}
	if ask, _ := n.mender.Next(n.c.nowMs()); ask != nil {
		n.ask(ask)
	}
}

// ask takes the question for what is damaged to another node and its answer back.
func (n *node) ask(ask *repair.Ask) {
	c, m, to := n.c, n.mender, n.c.nodes[ask.Broker-1]
	c.after(c.delay(), func() {
		isLost := to.process == nil || !c.healing && c.oneIn(8)
		var response *kmsg.FetchResponse
		if !isLost {
			if response = to.serve(&security.Peer{NodeID: n.id, Purpose: wire.PurposeReplica}, ask.Request); !c.healing && c.oneIn(8) {
				c.damage(response)
			}
		}
		n.after(c.delay(), func() {
			if isLost {
				m.Failed(c.nowMs())
			} else {
				m.Take(response, c.nowMs())
			}
		})
	})
}

// isElsewhere reports whether another node has the batch that lies at a position of a file. What nobody else has cannot be mended; the partition
// then waits for ever, since nobody knows whether it was committed.
func (n *node) isElsewhere(i int, f vfs.File, position int64) bool {
	size, err := f.Size()
	data := make([]byte, size)
	_, rerr := f.ReadAt(data, 0)
	n.c.check(errors.Join(err, rerr))
	for rest := data; len(rest) > 0; {
		b, behind, err := record.Next(rest)
		if err != nil {
			return false
		}
		if rest = behind; size-int64(len(rest)) <= position {
			continue
		}
		for _, o := range n.c.nodes {
			if o == n || o.process == nil || o.replica(i) == nil {
				continue
			}
			if l := o.replica(i).Log(); l.LogStartOffset() <= b.BaseOffset() && b.LastOffset() < l.LogEndOffset() && l.EpochForOffset(b.BaseOffset()) == b.PartitionLeaderEpoch() {
				return true
			}
		}
		return false
	}
	return false
}

// rot flips a bit in a .log file of a partition.
func (n *node) rot(i int) {
	c := n.c
	folder := fmt.Sprintf("/data/%s-%d/", topicName, i)
	entries, err := n.mem.ReadDir(folder)
	c.check(err)
	var names []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".log") && info.Size() > 0 {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return
	}
	name := folder + names[c.random.IntN(len(names))]
	f, err := n.mem.Open(name, true)
	if err != nil {
		c.check(err)
		return
	}
	defer f.Close()
	size, err := f.Size()
	c.check(err)
	position, b := c.random.Int64N(size), make([]byte, 1)
	if !n.isElsewhere(i, f, position) {
		return
	}
	_, err = f.ReadAt(b, position)
	b[0] ^= 1 << c.random.IntN(8)
	_, werr := f.WriteAt(b, position)
	c.check(errors.Join(err, werr))
	c.count["rotten"]++
	c.rotten[n.id], c.wasRotten[n.id] = true, true
	c.note("node %d: a bit of partition %d is flipped, byte %d of %s", n.id, i, position, name)
}

// send takes a fetch to another node and its answer back. Either may get lost, or damaged; the
// fetch may arrive when the follower has long started anew.
func (n *node) send(f *follower.Fetcher, to *node, r *kmsg.FetchRequest) {
	c := n.c
	lost := func() { n.after(100, func() { f.Failed(c.nowMs()) }) }
	if !c.healing && c.oneIn(40) {
		lost()
		return
	}
	c.after(c.delay(), func() {
		if to.process == nil {
			lost()
			return
		}
		response := to.serve(&security.Peer{NodeID: n.id, Purpose: wire.PurposeReplica}, r)
		if !c.healing && c.oneIn(40) {
			lost()
			return
		}
		if !c.healing && c.oneIn(60) {
			c.damage(response)
		}
		n.after(c.delay(), func() { f.Take(response, c.nowMs()) })
	})
}

// serve answers a fetch, without waiting: the delays are the network's.
func (n *node) serve(peer *security.Peer, r *kmsg.FetchRequest) *kmsg.FetchResponse {
	request := *r
	request.MaxWaitMillis = 0
	reply := n.fetch.Handle(context.Background(), &handler.Request{Conn: &security.Connection{Listener: "PLAINTEXT", Peer: peer}, Body: &request,
		Header: wire.RequestHeader{APIKey: wire.KeyFetch, APIVersion: r.Version}})
	body := reply.Body.(*wire.FetchBody)
	defer body.Release()
	response := *body.Response
	response.Topics = slices.Clone(response.Topics)
	for i := range response.Topics {
		t := &response.Topics[i]
		t.Partitions = slices.Clone(t.Partitions)
		for j := range t.Partitions {
			t.Partitions[j].RecordBatches = slices.Clone(t.Partitions[j].RecordBatches)
		}
	}
	return &response
}

// forge has somebody who is no broker say that a replica has everything (CVE-2018-1288).
func (n *node) forge(i int) {
	r := n.replica(i)
	if r == nil || !r.IsLeader() {
		return
	}
	before := r.Log().HighWatermark()
	request := kmsg.NewPtrFetchRequest()
	request.Version, request.MaxBytes, request.SessionEpoch = 17, 1000, fetchsession.FinalEpoch
	request.ReplicaState.ID = 1 + n.id%nodeCount
	request.ReplicaState.Epoch = n.c.controller.epochs[request.ReplicaState.ID]
	t := kmsg.NewFetchRequestTopic()
	t.TopicID = n.c.controller.topicID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = int32(i), r.Log().LogEndOffset(), r.Assignment().LeaderEpoch, 1000
	t.Partitions = append(t.Partitions, p)
	request.Topics = append(request.Topics, t)
	n.serve(nil, request)
	if after := r.Log().HighWatermark(); after != before {
		n.c.check(fmt.Errorf("a forged fetch moved the high watermark of partition %d from %d to %d", i, before, after))
	}
	n.c.count["forged"]++
}

// propose takes AlterPartition to the controller; the question or the answer may get lost.
func (n *node) propose(r *kmsg.AlterPartitionRequest) {
	c, p := n.c, n.process
	c.after(20, func() {
		lost := !c.healing && c.oneIn(8)
		var response *kmsg.AlterPartitionResponse
		if !lost || c.oneIn(2) {
			response = c.controller.alter(r)
		}
		n.after(20, func() {
			if n.process != p {
				return
			}
			if lost {
				p.sender.Failed(c.nowMs())
			} else {
				p.sender.Take(response, c.nowMs())
			}
		})
	})
}

// crash ends the process; power takes what it has not synced.
func (n *node) crash(power bool) {
	c := n.c
	n.wasKilled = !power
	if power {
		n.mem = n.mem.CrashClone(env.NewSeededRandom(c.random.Uint64()))
		if !c.flushed {
			c.suspect, n.hasLost = n, true
		}
	} else {
		n.mem = n.mem.KillClone()
	}
	n.process = nil
	n.incarnation++
	c.count["crash"]++
	c.note("node %d crashes, power lost: %v", n.id, power)
	c.controller.fence(n.id)
	c.after(400, func() {
		if n.process == nil {
			n.start()
		}
	})
}

// produce appends at a partition that the node believes to lead.
func (n *node) produce(i int) {
	r := n.replica(i)
	if r == nil || !r.IsLeader() {
		return
	}
	c := n.c
	value := fmt.Sprintf("v%d", c.next)
	c.next++
	result, err := r.Partition.Append(partition.AppendRequest{AppendRequest: storage.AppendRequest{Records: batchOf(c.t, value), Origin: storage.OriginClient, NowMs: c.nowMs(), ProduceVersion: 13},
		RequiredAcks: -1, CurrentLeaderEpoch: kafka.NoLeaderEpoch})
	if err != nil {
		return
	}
	incarnation := n.incarnation
	n.replicas.WhenCommitted(r.TopicPartition(), r.Assignment().LeaderEpoch, result.LastOffset+1, func(err error) {
		if err != nil || n.incarnation != incarnation {
			return
		}
		c.acked[i][value] = result.LastOffset
		c.count["acked"]++
	})
}
