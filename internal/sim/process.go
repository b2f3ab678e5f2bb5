package sim

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/txn"
)

const (
	dataDir              = "/data"
	openFiles            = 12 // few, so that files are closed and opened again
	metadataSegmentBytes = 3000
	maxWaiting           = 10_000
)

// process is what a node holds in memory: the cores, and what their hosts would keep.
type process struct {
	node    *Node
	disk    *Disk
	random  env.Random
	static  *config.Broker
	failing bool

	lock         io.Closer
	identity     quorum.Identity
	storage      *storage.Manager
	replicas     *replica.Manager
	metadata     *metadataPlane
	coordinators *Coordinators
	hosting      bool // the replicas are started: deltas go to the coordinators too
	serving      bool // the start is over
	epoch        int64

	nextProducerID, endProducerID int64
}

func newProcess(n *Node, disk *Disk) *process {
	static, _, err := config.NewBroker(map[string]string{"node.id": strconv.Itoa(int(n.id)), "log.dirs": dataDir})
	if err != nil {
		panic(fmt.Sprintf("BUG: the static config: %v", err))
	}
	return &process{node: n, disk: disk, random: env.NewSeededRandom(n.w.random.Uint64()), static: static, epoch: -1}
}

// start brings the parts up in the broker's order.
func (p *process) start() (err error) {
	fsys, clock := p.disk.FS, p.node.w.clock
	if p.lock, err = fsys.Lock(filepath.Join(dataDir, ".lock")); err != nil {
		return err
	}
	p.identity, err = quorum.EnsureIdentity(quorum.IdentityOptions{FS: fsys, LogDirs: []string{dataDir}, MetadataDir: dataDir, NodeID: p.node.id, Random: p.random})
	if err != nil {
		return err
	}
	registry := metrics.NewRegistry()
	p.storage, err = storage.OpenManager(storage.Options{
		FS: fsys, Dirs: []string{dataDir}, DirectoryIDs: p.identity.DirectoryIDs, Defaults: p.topicConfig(metadata.EmptyImage(), "").Log, Metrics: registry, Random: p.random, Clock: clock,
		ProducerExpirationMs: ProducerExpirationMs, OpenFilesPerDir: openFiles,
		OnDirOffline: func(_ string, err error) { p.fault(err) },
	})
	if err != nil {
		return err
	}
	p.storage.OnCommitAsked(func(int) { p.commitBy(p.nowMs()) })
	if err = p.storage.Load(storage.LoadOptions{NowMs: p.nowMs()}); err != nil {
		return err
	}
	p.replicas = replica.New(replica.Options{NodeID: p.node.id, Storage: p.storage, Metrics: registry, Clock: clock, TopicConfig: p.topicConfig, MaxWaiting: maxWaiting})
	p.coordinators = NewCoordinators(CoordinatorsOptions{Loop: p.node.w, NodeID: p.node.id, Clock: clock, Random: p.random, Metrics: registry, Replicas: p.replicas, Log: coordinatorLog{p.replicas, p},
		IsAlive: p.alive, After: p.after, OnDisk: func(f func()) { f() }, Appended: func() {}, NewProducerID: p.newProducerID,
		WriteMarkers: func(marker shard.Marker, partitions []kafka.TopicPartition, done func([]kafka.ErrorCode)) {
			p.coordinators.Transactions.WriteMarkers(marker, partitions, done)
		},
		AddToTransaction: func(r txn.AddRequest, done func(kafka.ErrorCode)) { p.coordinators.Transactions.Add(r, done) }})
	if p.metadata, err = openMetadata(p); err != nil {
		return err
	}
	if err = p.metadata.begin(); err != nil {
		return err
	}
	if err = p.replicas.Start(); err != nil {
		return err
	}
	p.hosting = true
	if err = p.register(); err != nil {
		return err
	}
	p.serving = true
	return nil
}

func (p *process) nowMs() int64 { return p.node.w.nowMs }

// alive reports whether the process can still be heard.
func (p *process) alive() bool { return !p.disk.Dead && p.node.process == p }

// after plans f, which does not happen if the process has ended by then.
func (p *process) after(delayMs int64, f func()) {
	p.node.w.After(delayMs, func() {
		if p.touch() {
			f()
			p.touch()
		}
	})
}

// publish takes each new image to the parts that follow it, as the broker does.
func (p *process) publish(image *metadata.Image, delta *metadata.Delta) {
	p.replicas.Apply(image, delta)
	if p.hosting {
		p.coordinators.Publish(image, delta)
	}
}

// commitBy plans a group commit as the flusher of the storage host makes it, for dueMs.
func (p *process) commitBy(dueMs int64) {
	w := p.node.w
	w.After(max(0, dueMs-w.nowMs)+w.Between(0, 20), func() {
		if !p.alive() || p.failing {
			return
		}
		nextMs, err := p.storage.CommitDir(0, p.nowMs(), nil)
		w.stats.GroupCommits++
		if err != nil {
			w.Note("group commit: %v", err)
			if !p.disk.Dead && !p.disk.Failed {
				w.Fail("group commit: %w", err)
			}
		}
		if p.touch() && nextMs != math.MaxInt64 {
			p.commitBy(nextMs)
		}
	})
}

// register tells the controller of this incarnation of the broker and has it unfenced.
func (p *process) register() error {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.ClusterID, req.IncarnationID = p.node.id, p.identity.ClusterID, kafka.NewUUID(p.random)
	req.LogDirs = append(req.LogDirs, p.identity.DirectoryIDs[dataDir])
	for _, f := range controller.Features() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.MinLevel, MaxSupportedVersion: f.MaxLevel})
	}
	resp, err := p.metadata.do(req)
	if err != nil {
		return err
	}
	r := resp.(*kmsg.BrokerRegistrationResponse)
	if r.ErrorCode != 0 {
		return fmt.Errorf("registration: %w", kafka.ErrorCode(r.ErrorCode))
	}
	p.epoch = r.BrokerEpoch
	p.node.w.Check(p.node.w.levels.ObserveNew("the broker epoch", p.epoch))
	return p.heartbeat(false)
}

func (p *process) heartbeat(wantShutdown bool) error {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.WantShutdown, req.CurrentMetadataOffset = p.node.id, p.epoch, wantShutdown, p.metadata.image.Offset
	resp, err := p.metadata.do(req)
	if err != nil {
		return err
	}
	if r := resp.(*kmsg.BrokerHeartbeatResponse); r.ErrorCode != 0 || r.IsFenced && !wantShutdown {
		return fmt.Errorf("heartbeat: fenced %v, %w", r.IsFenced, kafka.ErrorCode(r.ErrorCode))
	}
	return nil
}

// stop is a clean shutdown, in the broker's order.
func (p *process) stop() error {
	p.serving = false
	if err := p.heartbeat(true); err != nil {
		return err
	}
	p.replicas.Stop()
	if err := p.metadata.voter.Close(); err != nil {
		return err
	}
	if err := p.storage.Shutdown(p.epoch); err != nil {
		return err
	}
	return p.lock.Close()
}

// topicConfig returns what the partitions of a topic need of its configs.
func (p *process) topicConfig(image *metadata.Image, topic string) replica.TopicConfig {
	return TopicConfig(p.static, image, topic)
}

// TopicConfig is what the partitions of a topic need of its configs on a node with these properties.
func TopicConfig(static *config.Broker, image *metadata.Image, topic string) replica.TopicConfig {
	broker := func(name string) map[string]string {
		return image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceBroker, Name: name})
	}
	layers := config.Layers{Static: static, DynamicBroker: broker(strconv.Itoa(int(static.NodeID))), DynamicDefault: broker("")}
	t := layers.Topic(image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: topic}))
	l := storage.DefaultLogConfig()
	l.SegmentBytes, l.SegmentMs, l.SegmentJitterMs = int64(t.SegmentBytes), t.SegmentMs, t.SegmentJitterMs
	l.IndexIntervalBytes, l.IndexMaxBytes = int(t.IndexIntervalBytes), int(t.SegmentIndexBytes)
	l.RetentionMs, l.RetentionBytes, l.FileDeleteDelayMs = t.RetentionMs, t.RetentionBytes, t.FileDeleteDelayMs
	l.FlushMessages, l.FlushMs = t.FlushMessages, t.FlushMs
	l.MinCleanableRatio, l.DeleteRetentionMs = t.MinCleanableRatio, t.DeleteRetentionMs
	l.MinCompactionLagMs, l.MaxCompactionLagMs = t.MinCompactionLagMs, t.MaxCompactionLagMs
	l.LogAppendTime, l.Compact, l.Delete = t.LogAppendTime, t.Compact, t.Delete
	return replica.TopicConfig{Log: l, MinInSyncReplicas: int(t.MinInsyncReplicas)}
}

// newProducerID takes an id from the broker's block, and a new block where that is used up.
func (p *process) newProducerID(done func(id int64, err error)) {
	if p.nextProducerID < p.endProducerID {
		p.nextProducerID++
		done(p.nextProducerID-1, nil)
		return
	}
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = p.node.id, p.epoch
	p.metadata.handle(req, func(resp kmsg.Response, err error) {
		if err == nil {
			r := resp.(*kmsg.AllocateProducerIDsResponse)
			if err = errorOf(kafka.ErrorCode(r.ErrorCode)); err == nil {
				p.nextProducerID, p.endProducerID = r.ProducerIDStart, r.ProducerIDStart+int64(r.ProducerIDLen)
				p.nextProducerID++
			}
		}
		done(p.nextProducerID-1, err)
	})
}

// coordinatorLog is what the coordinators write to. As long as the disk works, nothing of it may fail.
type coordinatorLog struct {
	*replica.Manager
	p *process
}

// Append implements coordinator.Log.
func (l coordinatorLog) Append(tp kafka.TopicPartition, leaderEpoch int32, batch []byte) (int64, error) {
	end, err := l.Manager.Append(tp, leaderEpoch, batch)
	if p := l.p; err != nil && p.alive() && p.serving && !p.disk.Failed {
		p.node.w.Fail("an append of the coordinator to %s failed: %w", tp, err)
	}
	return end, err
}

// WhenCommitted implements coordinator.Log.
func (l coordinatorLog) WhenCommitted(tp kafka.TopicPartition, leaderEpoch int32, endOffset int64, done func(error)) {
	called := 0
	l.Manager.WhenCommitted(tp, leaderEpoch, endOffset, func(err error) {
		if called++; called > 1 {
			l.p.node.w.Fail("WhenCommitted of %s up to %d calls %d times", tp, endOffset, called)
			return
		}
		done(err)
	})
}

var quiet = slog.New(slog.DiscardHandler)
