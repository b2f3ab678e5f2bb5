package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/peer/suspect"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/sim"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

const (
	openFiles  = 12 // few, so that files are closed and opened again
	maxWaiting = 10_000
)

var quiet = slog.New(slog.DiscardHandler)

// process is what a node holds in memory: the cores, and what their hosts would keep.
type process struct {
	node        *Node
	w           *World
	disk        *sim.Disk
	random      env.Random
	static      *config.Broker
	incarnation kafka.UUID
	// held is what happens when the process goes on, waiting what happens when its disk does.
	held    []func()
	waiting []func()
	failing bool

	lock         io.Closer
	identity     quorum.Identity
	storage      *storage.Manager
	replicas     *replica.Manager
	quorum       *quorumPlane
	controller   *controllerPlane
	forward      *forwarder
	life         *life
	replication  *replication
	coordinators *coordinators
	suspects     suspect.List
	probes       *sim.Alarm
	image        *metadata.Image // the last one that everybody here has seen
	// onImage are called, once each, when the image has reached an offset.
	onImage []imageWaiter
	hosting bool // the replicas are started
	serving bool // clients are answered
	noted   bool // that the broker uses its log dir in this epoch

	nextProducerID, endProducerID int64
}

type imageWaiter struct {
	offset int64
	run    func()
}

func newProcess(n *Node, disk *sim.Disk) *process {
	static, _, err := config.NewBroker(map[string]string{"node.id": strconv.Itoa(int(n.id)), "log.dirs": dataDir})
	if err != nil {
		panic(fmt.Sprintf("BUG: the static config: %v", err))
	}
	p := &process{node: n, w: n.w, disk: disk, random: env.NewSeededRandom(n.w.random.Uint64()), static: static, image: metadata.EmptyImage()}
	p.incarnation = kafka.NewUUID(p.random)
	p.probes = newAlarm(p, p.probe)
	return p
}

// start brings the parts up in the broker's order, up to where it has to wait for others.
func (p *process) start() (err error) {
	w, fsys := p.w, p.disk.FS
	if p.lock, err = fsys.Lock(filepath.Join(dataDir, ".lock")); err != nil {
		return err
	}
	p.identity, err = quorum.EnsureIdentity(quorum.IdentityOptions{FS: fsys, LogDirs: []string{dataDir}, MetadataDir: dataDir, NodeID: p.node.id, ClusterID: w.plan.clusterID, Joined: true, Random: fixedRandom(p.node.id)})
	if err != nil {
		return err
	}
	registry := metrics.NewRegistry()
	p.storage, err = storage.OpenManager(storage.Options{
		FS: fsys, Dirs: []string{dataDir}, DirectoryIDs: p.identity.DirectoryIDs, Defaults: p.topicConfig(metadata.EmptyImage(), "").Log, Metrics: registry, Random: p.random, Clock: p.node.clock,
		ProducerExpirationMs: sim.ProducerExpirationMs, OpenFilesPerDir: openFiles,
		OnDirOffline: func(_ string, err error) { p.fault(err) },
		OnLoss:       p.forgetRunning,
	})
	if err != nil {
		return err
	}
	p.storage.OnCommitAsked(func(int) { p.commitBy(p.nowMs()) })
	if err = checkpoint.NoteCleanStop(fsys, []string{dataDir}, p.node.bootID()); err != nil {
		return err
	}
	if err = p.storage.Load(storage.LoadOptions{NowMs: p.nowMs()}); err != nil {
		return err
	}
	p.replication = newReplication(p, registry)
	p.replicas = replica.New(replica.Options{NodeID: p.node.id, Storage: p.storage, Metrics: registry, Clock: p.node.clock, TopicConfig: p.topicConfig, MaxWaiting: maxWaiting,
		FetchMemoryBytes: 1 << 30, Cluster: p.replication.cluster()})
	p.replication.serve(registry)
	p.coordinators = newCoordinators(p, registry)
	p.controller = newControllerPlane(p)
	p.forward = &forwarder{p: p}
	p.life = newLife(p)
	if err = p.startQuorum(); errors.Is(err, quorum.ErrNotFormed) {
		p.join()
		return nil
	}
	return err
}

// startQuorum brings up what needs the metadata log.
func (p *process) startQuorum() (err error) {
	if p.quorum, err = openQuorum(p); err != nil {
		return err
	}
	if err = p.quorum.begin(); err != nil || !p.alive() {
		return err
	}
	p.life.begin()
	p.maintain()
	return nil
}

// newAlarm returns one that goes off in the process.
func newAlarm(p *process, run func()) *sim.Alarm { return sim.NewAlarm(p.w.NowMs, p.after, run) }

// nowMs is the wall clock of the node.
func (p *process) nowMs() int64 { return p.node.clock.nowMs() }

// steady is the node's monotonic time.
func (p *process) steady() time.Time { return time.UnixMilli(p.w.nowMs) }

// alive reports whether the process can still be heard.
func (p *process) alive() bool { return !p.disk.Dead && p.node.process == p }

// run has f happen in the process: now, or when it goes on.
func (p *process) run(f func()) {
	switch {
	case p.node.process != p:
	case p.w.nowMs < p.node.pausedMs || len(p.held) > 0:
		p.held = append(p.held, f)
	default:
		f()
		p.touch()
	}
}

// after plans f, which does not happen if the process has ended by then.
func (p *process) after(delayMs int64, f func()) { p.w.after(delayMs, func() { p.run(f) }) }

// resume lets happen what was held while the process was stopped.
func (p *process) resume() {
	if p.node.process != p || p.w.nowMs < p.node.pausedMs {
		return
	}
	for len(p.held) > 0 && p.node.process == p {
		first := p.held[0]
		p.held = p.held[1:]
		first()
		p.touch()
	}
}

// onDisk runs what needs the disk: now, or when the disk answers again, in order.
func (p *process) onDisk(f func()) {
	n, w := p.node, p.w
	if w.nowMs >= n.hungMs && len(p.waiting) == 0 {
		f()
		if n.slowMs > 0 {
			n.hungMs = w.nowMs + w.between(0, n.slowMs)
		}
		return
	}
	p.waiting = append(p.waiting, f)
	if len(p.waiting) == 1 {
		p.after(max(1, n.hungMs-w.nowMs), p.drainDisk)
	}
}

func (p *process) drainDisk() {
	n, w := p.node, p.w
	for len(p.waiting) > 0 && p.alive() {
		if w.nowMs < n.hungMs {
			p.after(n.hungMs-w.nowMs, p.drainDisk)
			return
		}
		first := p.waiting[0]
		p.waiting = p.waiting[1:]
		first()
		if n.slowMs > 0 && len(p.waiting) > 0 {
			n.hungMs = w.nowMs + w.between(0, n.slowMs)
		}
	}
}

// touch ends the process if the last disk operations have met the planned kill, and reports
// whether it still lives.
func (p *process) touch() bool {
	if p.disk.Dead && p.node.process == p {
		p.node.crash(false)
	}
	return p.node.process == p
}

// forgetRunning has the next process not say that nothing is lost, as far as the disk can.
func (p *process) forgetRunning() { _ = checkpoint.RemoveRunning(p.disk.FS, []string{dataDir}) }

// fault is called when the process cannot go on.
func (p *process) fault(err error) {
	w := p.w
	if p.disk.Dead || p.failing {
		return
	}
	p.failing = true
	p.forgetRunning()
	w.note("node %d cannot go on: %v", p.node.id, err)
	if !p.disk.Failed {
		w.fail("node %d cannot go on, although its disk has not failed: %w", p.node.id, err)
		return
	}
	p.after(w.between(0, 1000), func() { p.node.crash(false) })
}

// publish takes each new image to the parts that follow it, as the broker does.
func (p *process) publish(image *metadata.Image, delta *metadata.Delta) {
	p.replicas.Apply(image, delta)
	if p.hosting {
		p.coordinators.Publish(image, delta)
	}
	p.image = image
	p.replication.wake()
	p.w.check.published(p, image)
	waiting := p.onImage
	p.onImage = nil
	for _, waiter := range waiting {
		p.whenImage(waiter.offset, waiter.run)
	}
	p.life.news()
}

// whenImage runs f as soon as the process's metadata has an offset.
func (p *process) whenImage(offset int64, f func()) {
	if p.image.Offset >= offset {
		f()
		return
	}
	p.onImage = append(p.onImage, imageWaiter{offset, f})
}

func (p *process) topicConfig(image *metadata.Image, topic string) replica.TopicConfig {
	return sim.TopicConfig(p.static, image, topic)
}

// commitBy plans a group commit as the flusher of the storage host makes it, for dueMs.
func (p *process) commitBy(dueMs int64) {
	w := p.w
	p.after(max(0, dueMs-p.nowMs())+w.between(0, 4), func() {
		p.onDisk(func() {
			nextMs, err := p.storage.CommitDir(0, p.nowMs(), nil)
			p.stored("group commit", err)
			if p.touch() && nextMs != never {
				p.commitBy(nextMs)
			}
		})
	})
}

// stored takes the error of a disk operation, which only a disk that has failed may have.
func (p *process) stored(what string, err error) {
	if err != nil {
		p.w.note("node %d: %s: %v", p.node.id, what, err)
		if !p.disk.Dead && !p.disk.Failed {
			p.w.fail("node %d: %s: %w", p.node.id, what, err)
		}
		p.fault(err)
	}
}

// stop ends the process cleanly: whatever it has written is durable then, so that the power may even be cut.
func (p *process) stop() {
	n, w := p.node, p.w
	p.serving = false
	p.replicas.Stop()
	err := errors.Join(p.quorum.voter.Close(), p.storage.Shutdown(p.life.epoch()), p.lock.Close())
	if p.disk.Dead || p.disk.Failed {
		n.crash(false)
		return
	}
	if !w.demand(err) {
		return
	}
	w.note("node %d has stopped", n.id)
	w.count["shutdowns"]++
	n.end(p)
	if w.oneIn(2) {
		n.mem = n.mem.CrashClone(env.NewSeededRandom(w.random.Uint64()))
		n.boots++
	}
}

// maintain has the storage host's maintenance run all the time.
func (p *process) maintain() {
	w := p.w
	repeat := func(what string, low, high int64, run func() error) {
		var next func()
		next = func() {
			p.onDisk(func() {
				if !p.failing {
					p.stored(what, run())
				}
			})
			p.after(w.between(low, high), next)
		}
		p.after(w.between(low, high), next)
	}
	repeat("flush", 100, 1500, func() error { return p.storage.FlushDir(0, p.nowMs()) })
	repeat("high watermarks", 300, 3000, p.storage.CheckpointHighWatermarks)
	repeat("log start offsets", 500, 5000, p.storage.CheckpointLogStartOffsets)
	repeat("remove deleted", 500, 3000, func() error { return p.storage.RemoveDeleted(p.nowMs()) })
	repeat("snapshot", 700, 5000, p.quorum.takeSnapshot)
}

// newProducerID asks the controller for a block of ids, of which one is used.
func (p *process) newProducerID(done func(id int64, err error)) {
	if p.nextProducerID < p.endProducerID {
		p.nextProducerID++
		done(p.nextProducerID-1, nil)
		return
	}
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = p.node.id, p.life.epoch()
	p.forward.send(req, requestTimeoutMs, func(resp kmsg.Response, err error) {
		if r, ok := resp.(*kmsg.AllocateProducerIDsResponse); ok && err == nil {
			if err = kafka.ErrorCode(r.ErrorCode); r.ErrorCode == 0 {
				p.nextProducerID, p.endProducerID = r.ProducerIDStart+1, r.ProducerIDStart+int64(r.ProducerIDLen)
				done(p.nextProducerID-1, nil)
				return
			}
		}
		done(kafka.NoProducerID, err)
	})
}

// fixedRandom makes the same UUID of a node again and again.
type fixedRandom int32

// Uint64 implements env.Random.
func (f fixedRandom) Uint64() uint64 { return uint64(f) * 0x9e3779b97f4a7c15 }
