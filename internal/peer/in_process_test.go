package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	controllerhost "github.com/moldau/moldau/internal/controller/host"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
)

// node is the metadata path of one process: quorum, loader, controller and the channel to it.
type node struct {
	channel ControllerChannel
	loader  *metadatahost.Loader
	metrics *metrics.Registry
	spawner *env.Spawner
	quorum  *quorumhost.Node
	host    *controllerhost.Host
	epoch   int64
	mu      sync.Mutex
	faults  []error
	running context.Context // ends with a fault, as the process would
	cancel  context.CancelFunc
}

func (n *node) fault(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = append(n.faults, err)
	n.cancel()
}

func (n *node) hasFault() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.faults) > 0
}

// startNode starts a node and registers its broker.
func startNode(fsys vfs.FS, snapshotBytes int64) (*node, error) {
	n := &node{metrics: metrics.NewRegistry(), spawner: env.NewSpawner(context.Background(), nil)}
	n.running, n.cancel = context.WithCancel(context.Background())
	static, _, err := config.NewBroker(nil)
	if err != nil {
		return nil, err
	}
	n.loader = metadatahost.NewLoader(metadatahost.Options{Spawner: n.spawner, Metrics: n.metrics, OnFault: n.fault})
	self := quorum.VoterSpec{NodeID: 1, DirectoryID: kafka.UUID{9: 3}}
	n.quorum, err = quorumhost.Open(quorumhost.Options{
		FS: fsys, LogDir: "/data", Self: self, Form: []quorum.VoterSpec{self}, Clock: env.SystemClock{}, Metrics: n.metrics,
		Logger: slog.New(slog.DiscardHandler), SegmentBytes: 1 << 30, SnapshotMaxBytes: snapshotBytes, SnapshotMaxInterval: time.Hour,
		Image: n.loader.Current, Submit: n.loader.Submit,
		OnLeadership: func(l quorum.Leadership) { n.host.OnLeadership(l) }, OnFault: n.fault,
	})
	if err != nil {
		n.spawner.Stop()
		return nil, err
	}
	n.host = controllerhost.New(controllerhost.Options{
		Controller: controller.New(controller.Options{ClusterID: "c", Features: controller.Features(), NodeID: 1, Broker: static}),
		Random:     env.SystemRandom{}, Clock: env.SystemClock{}, Metrics: n.metrics, Logger: slog.New(slog.DiscardHandler),
		ProposeAsync: n.quorum.ProposeAsync, Image: n.loader.Current, WaitFor: n.loader.WaitFor, OnFault: n.fault,
	})
	n.channel = NewInProcess(n.host, n.loader.WaitFor)
	n.loader.Start()
	n.host.Start(context.Background())
	n.quorum.Start(context.Background())
	if err := n.register(); err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

func (n *node) stop() {
	n.host.Stop()
	n.quorum.Stop()
	n.spawner.Stop()
}

func (n *node) send(req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(n.running, time.Minute)
	defer cancel()
	return n.channel.Send(ctx, Origin{Principal: "User:test"}, req)
}

func (n *node) register() error {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.LogDirs = 1, "c", [][16]byte{{7}}
	req.IncarnationID = kafka.NewUUID(env.SystemRandom{})
	for _, f := range controller.Features() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.MinLevel, MaxSupportedVersion: f.MaxLevel})
	}
	resp, err := n.send(req)
	if err != nil {
		return err
	}
	registered := resp.(*kmsg.BrokerRegistrationResponse)
	if registered.ErrorCode != 0 {
		return kafka.ErrorCode(registered.ErrorCode)
	}
	n.epoch = registered.BrokerEpoch
	heartbeat := kmsg.NewPtrBrokerHeartbeatRequest()
	heartbeat.BrokerID, heartbeat.BrokerEpoch, heartbeat.CurrentMetadataOffset = 1, n.epoch, n.loader.Current().Offset
	if resp, err = n.send(heartbeat); err != nil {
		return err
	}
	if r := resp.(*kmsg.BrokerHeartbeatResponse); r.ErrorCode != 0 || r.IsFenced {
		return fmt.Errorf("heartbeat: %+v", r)
	}
	return nil
}

// create creates topics and fails unless all of them were created.
func (n *node) create(partitions int32, names ...string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	for _, name := range names {
		req.Topics = append(req.Topics, kmsg.CreateTopicsRequestTopic{Topic: name, NumPartitions: partitions, ReplicationFactor: -1})
	}
	resp, err := n.send(req)
	if err != nil {
		return err
	}
	for _, topic := range resp.(*kmsg.CreateTopicsResponse).Topics {
		if topic.ErrorCode != 0 {
			return fmt.Errorf("%s: %s", topic.Topic, *topic.ErrorMessage)
		}
	}
	return nil
}

func (n *node) topics() []string {
	var names []string
	for topic := range n.loader.Current().Topics() {
		names = append(names, topic.Name)
	}
	return names
}

func newDisk(t *testing.T) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	if err := mem.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return mem
}

func TestChangeShowsWhenSendReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := newDisk(t)
		for restart := range 3 {
			n, err := startNode(mem, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("t%d", restart)
			if err := n.create(3, name); err != nil {
				t.Fatal(err)
			}
			if got := n.topics(); len(got) != restart+1 || got[restart] != name {
				t.Fatalf("after start %d: topics %v", restart, got)
			}
			p := n.loader.Current().Partition("t0", 0)
			if p.Leader != 1 || int(p.LeaderEpoch) != restart {
				t.Fatalf("after start %d: %+v", restart, p)
			}
			if b := n.loader.Current().Broker(1); b.Epoch != n.epoch || b.Fenced {
				t.Fatalf("after start %d: %+v", restart, b)
			}
			n.stop()
			if n.hasFault() {
				t.Fatal(n.faults)
			}
		}
	})
}

// TestConcurrentRequestsShareSyncs has many clients at once: all see their change, and few syncs
// were needed.
func TestConcurrentRequestsShareSyncs(t *testing.T) {
	t.Parallel()
	n, err := startNode(newDisk(t), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer n.stop()
	const clients, each = 50, 40
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("topic.%d_%d", c, i)
				if err := n.create(5, name); err != nil {
					t.Error(err)
				}
				if n.loader.Current().TopicByName(name) == nil {
					t.Errorf("%s does not show", name)
				}
			}
		})
	}
	wg.Wait()
	if got := n.loader.Current().TopicCount(); got != clients*each {
		t.Fatalf("%d topics", got)
	}
	if n.hasFault() {
		t.Fatal(n.faults)
	}
}

func TestTenThousandPartitionsInOneRequest(t *testing.T) {
	t.Parallel()
	mem := newDisk(t)
	n, err := startNode(mem, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.create(10_000, "wide"); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("many.of.them_%d", i))
	}
	if err := n.create(5, names...); err != nil {
		t.Fatal(err)
	}
	n.stop()
	if n, err = startNode(mem, 1<<20); err != nil { // 20,000 partitions get a new epoch
		t.Fatal(err)
	}
	defer n.stop()
	if p := n.loader.Current().Partition("wide", 9999); p == nil || p.LeaderEpoch != 1 {
		t.Fatalf("after the restart: %+v", p)
	}
}

func TestSnapshotsAreWrittenAndRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := newDisk(t)
		n, err := startNode(mem, 4<<10)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprintf("t%04d", i))
			if err := n.create(1, want[i]); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		written := n.metrics.Counter("kafka_raft_snapshots_written_total", "").Value()
		if written < 5 {
			t.Fatalf("%d snapshots", written)
		}
		<-time.After(2 * time.Hour) // virtual
		synctest.Wait()
		if again := n.metrics.Counter("kafka_raft_snapshots_written_total", "").Value(); again != written+1 {
			t.Fatalf("%d snapshots after an hour, %d before", again, written)
		}
		n.stop()
		entries, err := mem.ReadDir("/data/" + quorum.MetadataFolder)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > 16 {
			t.Errorf("%d files are kept", len(entries))
		}
		if n, err = startNode(mem.KillClone(), 4<<10); err != nil {
			t.Fatal(err)
		}
		defer n.stop()
		if got := n.topics(); !slices.Equal(got, want) {
			t.Fatalf("after the restart: %d topics", len(got))
		}
	})
}

// TestNoAcknowledgedChangeIsLost fails the disk at every changing call in turn, then kills the
// process or cuts the power: every acknowledged topic is there after the next start.
func TestNoAcknowledgedChangeIsLost(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := env.NewSeededRandom(seed)
	for call := int64(1); ; call++ {
		mem := newDisk(t)
		fault := &vfs.FailAt{N: call, Torn: call%2 == 0}
		acked, err := createUntilFault(vfs.NewFault(mem, fault.Decide))
		if err == nil && !fault.Failed() {
			break
		}
		for name, disk := range map[string]vfs.FS{"kill": mem.KillClone(), "power loss": mem.CrashClone(random)} {
			n, err := startNode(disk, 1<<10)
			if err != nil {
				t.Fatalf("call %d, %s: %v", call, name, err)
			}
			for _, topic := range acked {
				if n.loader.Current().TopicByName(topic) == nil {
					t.Errorf("call %d, %s: topic %s is lost", call, name, topic)
				}
			}
			n.stop()
		}
	}
}

func createUntilFault(fsys vfs.FS) (acked []string, err error) {
	n, err := startNode(fsys, 1<<10)
	if err != nil {
		return nil, err
	}
	defer n.stop()
	for i := range 8 {
		name := fmt.Sprintf("t%d", i)
		if err := n.create(4, name); err != nil {
			if !n.hasFault() {
				return acked, fmt.Errorf("no fault was reported: %w", err)
			}
			return acked, err
		}
		acked = append(acked, name)
	}
	return acked, nil
}

func TestStoppedControllerAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, err := startNode(newDisk(t), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		n.quorum.Stop()
		if err := n.create(1, "late"); !errors.Is(err, kafka.ErrNotController) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the quorum has stopped: %v", err)
		}
		n.stop()
		if _, _, err := n.host.Handle(context.Background(), Origin{}, kmsg.NewPtrCreateTopicsRequest()); !errors.Is(err, kafka.ErrNotController) {
			t.Errorf("after the controller has stopped: %v", err)
		}
		if _, err := n.send(kmsg.NewPtrCreateTopicsRequest()); !errors.Is(err, kafka.ErrNotController) {
			t.Errorf("through the channel: %v", err)
		}
	})
}
