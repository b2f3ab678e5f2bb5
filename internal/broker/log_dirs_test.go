package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// disks are three log dirs, of which one may be broken, and the metadata's.
type disks struct {
	t      *testing.T
	root   string
	broken atomic.Pointer[func(op vfs.Op, name string) error]
}

func newDisks(t *testing.T) *disks { return &disks{t: t, root: t.TempDir()} }

func (d *disks) dir(name string) string { return filepath.Join(d.root, name) }

// breakDir has the calls of ops on files below dir fail as a dead disk's do; none stands for all.
func (d *disks) breakDir(dir string, ops ...vfs.Op) {
	fails := func(op vfs.Op, name string) error {
		if strings.HasPrefix(name, dir) && (len(ops) == 0 || slices.Contains(ops, op)) {
			return &fs.PathError{Op: op.String(), Path: name, Err: syscall.EIO}
		}
		return nil
	}
	d.broken.Store(&fails)
}

func (d *disks) repair() { d.broken.Store(nil) }

// diskNode is a broker on the disks.
type diskNode struct {
	*broker
	t     *testing.T
	admin *kadm.Client
	kgo   *kgo.Client
}

func (d *disks) tryStart(change ...func(b *broker)) (*diskNode, error) {
	d.t.Helper()
	c, _, err := config.NewBroker(map[string]string{
		"log.dirs": strings.Join([]string{d.dir("a"), d.dir("b"), d.dir("c")}, ","), "metadata.log.dir": d.dir("m"),
		"listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": "", "offsets.topic.num.partitions": "3", "transaction.state.log.num.partitions": "3",
		"group.initial.rebalance.delay.ms": "0", "log.retention.check.interval.ms": "100",
	})
	if err != nil {
		d.t.Fatal(err)
	}
	b := newBroker(d.t.Context(), c)
	b.fs = vfs.NewFault(vfs.OS{}, func(op vfs.Op, name string) error {
		if fails := d.broken.Load(); fails != nil {
			return (*fails)(op, name)
		}
		return nil
	})
	for _, f := range change {
		f(b)
	}
	if err := b.start(); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.server.Addr("PLAINTEXT").String()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordRetries(2), kgo.RetryTimeout(3*time.Second), kgo.MetadataMinAge(10*time.Millisecond), kgo.MetadataMaxAge(50*time.Millisecond))
	if err != nil {
		d.t.Fatal(err)
	}
	return &diskNode{broker: b, t: d.t, admin: kadm.NewClient(client), kgo: client}, nil
}

func (d *disks) start(change ...func(b *broker)) *diskNode {
	d.t.Helper()
	n, err := d.tryStart(change...)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

func (n *diskNode) stop() {
	n.t.Helper()
	n.kgo.Close()
	_ = n.broker.stop() // with a broken disk not everything can be made durable
}

func (n *diskNode) create(topic string, partitions int32) {
	n.t.Helper()
	if _, err := n.admin.CreateTopic(n.t.Context(), partitions, 1, nil, topic); err != nil {
		n.t.Fatal(err)
	}
}

// produce sends a Produce of its own, so that the very answer is seen.
func (n *diskNode) produce(topic string, partition int32, value string) error {
	return n.kgo.ProduceSync(n.t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}).FirstErr()
}

func (n *diskNode) request(req kmsg.Request) kmsg.Response {
	n.t.Helper()
	resp, err := n.kgo.Broker(int(n.config.NodeID)).Request(n.t.Context(), req)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp
}

// partitionOf returns what clients are told of a partition.
func (n *diskNode) partitionOf(topic string, partition int32) kmsg.MetadataResponseTopicPartition {
	n.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	resp := n.request(req).(*kmsg.MetadataResponse)
	for _, p := range resp.Topics[0].Partitions {
		if p.Partition == partition {
			return p
		}
	}
	n.t.Fatalf("no partition %s-%d", topic, partition)
	return kmsg.MetadataResponseTopicPartition{}
}

// fetchCode and listCode ask for one partition past the client's cache.
func (n *diskNode) fetchCode(topic string, partition int32) error {
	n.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes, req.SessionEpoch = -1, 1<<20, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes = partition, 1<<20
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: n.topicID(topic), Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return kerr.ErrorForCode(n.request(req).(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode)
}

func (n *diskNode) topicID(topic string) [16]byte { return n.loader.Current().TopicByName(topic).ID }

func (n *diskNode) listCode(topic string, partition int32) error {
	n.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, -1, -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return kerr.ErrorForCode(n.request(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode)
}

func (n *diskNode) produceCode(topic string, partition int32) error {
	n.t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = 1, 1000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: n.topicID(topic), Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: []byte("no batch")}}}}
	return kerr.ErrorForCode(n.request(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

// dirOf returns the log dir of a partition as the storage has it.
func (n *diskNode) dirOf(topic string, partition int32) string {
	for _, l := range n.storage.Logs() {
		if tp := l.TopicPartition(); tp.Topic == topic && tp.Partition == partition {
			return l.Dir()
		}
	}
	return ""
}

// partitionIn returns a partition of topic in dir.
func (n *diskNode) partitionIn(topic, dir string) int32 {
	n.t.Helper()
	for _, l := range n.storage.Logs() {
		if tp := l.TopicPartition(); tp.Topic == topic && l.Dir() == dir {
			return tp.Partition
		}
	}
	n.t.Fatalf("no partition of %s in %s", topic, dir)
	return 0
}

// eventually waits for a condition, and fails with what was seen last.
func (n *diskNode) eventually(what string, holds func() error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			n.t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// values reads a partition from its start.
func (n *diskNode) values(topic string, partition int32) []string {
	n.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.server.Addr("PLAINTEXT").String()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		n.t.Fatal(err)
	}
	defer client.Close()
	ends, err := n.admin.ListEndOffsets(n.t.Context(), topic)
	if err != nil {
		n.t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, partition)
	var values []string
	for int64(len(values)) < end.Offset {
		fetches := client.PollFetches(n.t.Context())
		if err := fetches.Err(); err != nil {
			n.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

// TestFailedLogDirGoesOfflineAlone has one of three disks die in every way that a disk can: on
// each kind of call. What lies there is offline for clients, nothing else is, and after a restart
// with the disk back it is all there again.
func TestFailedLogDirGoesOfflineAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		ops   []vfs.Op
		touch func(n *diskNode, partition int32)
	}{
		{"write", []vfs.Op{vfs.OpWrite}, func(n *diskNode, p int32) { go n.produce("t", p, "lost") }},
		{"sync", []vfs.Op{vfs.OpSync}, func(n *diskNode, p int32) { go n.produce("t", p, "written") }},
		{"read", []vfs.Op{vfs.OpRead}, func(n *diskNode, p int32) { _ = n.fetchCode("t", p) }},
		{"open", []vfs.Op{vfs.OpOpen, vfs.OpCreate}, func(n *diskNode, _ int32) { n.create("more", 6) }},
		{"rename", []vfs.Op{vfs.OpRename}, func(n *diskNode, _ int32) {
			_, _ = n.admin.DeleteTopic(n.t.Context(), "gone")
		}},
		{"everything", nil, func(n *diskNode, p int32) { _ = n.fetchCode("t", p) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := newDisks(t)
			n := d.start()
			n.create("t", 6)
			n.create("gone", 6)
			for p := range int32(6) {
				if err := n.produce("t", p, fmt.Sprint("first ", p)); err != nil {
					t.Fatal(err)
				}
			}
			dead := d.dir("b")
			offline := n.partitionIn("t", dead)
			online := n.partitionIn("t", d.dir("a"))
			n.eventually("the metadata names the log dirs", func() error {
				if got := n.loader.Current().Partition("t", offline).Directories[0]; got != n.dirs.DirectoryIDs[dead] {
					return fmt.Errorf("directory is %s", got)
				}
				return nil
			})
			d.breakDir(dead, test.ops...)
			test.touch(n, offline)
			n.eventually("the log dir goes offline", func() error {
				if got := n.storage.OfflineDirs(); !slices.Equal(got, []string{dead}) {
					return fmt.Errorf("offline: %v", got)
				}
				return nil
			})
			checkOffline(n, dead, "t", offline)
			if err := n.produce("t", online, "second"); err != nil {
				t.Errorf("a partition in another log dir cannot be written: %v", err)
			}
			n.create("new", 4)
			for p := range int32(4) {
				if err := n.produce("new", p, "v"); err != nil || n.dirOf("new", p) == dead {
					t.Errorf("new partition %d in %s: %v", p, n.dirOf("new", p), err)
				}
			}
			select {
			case err := <-n.faults:
				t.Errorf("the node ends: %v", err)
			default:
			}
			n.stop()

			// The disk is still broken: the node starts without it, and creates nothing anew elsewhere.
			d.breakDir(dead)
			n = d.start()
			checkOffline(n, dead, "t", offline)
			if err := n.produce("t", online, "third"); err != nil {
				t.Errorf("after a restart: %v", err)
			}
			n.stop()

			d.repair()
			n = d.start()
			defer n.stop()
			if got := n.values("t", offline); got[0] != fmt.Sprint("first ", offline) {
				t.Errorf("the repaired log dir has %q", got)
			}
			if got, want := n.values("t", online), []string{fmt.Sprint("first ", online), "second", "third"}; !slices.Equal(got, want) {
				t.Errorf("the other one has %q", got)
			}
			if err := n.produce("t", offline, "last"); err != nil {
				t.Error(err)
			}
		})
	}
}

// checkOffline looks at an offline partition as clients do.
func checkOffline(n *diskNode, dir, topic string, partition int32) {
	n.t.Helper()
	n.eventually("the metadata shows the failed log dir", func() error {
		if p := n.partitionOf(topic, partition); p.Leader != -1 || !slices.Equal(p.OfflineReplicas, []int32{1}) || kerr.ErrorForCode(p.ErrorCode) != kerr.LeaderNotAvailable {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	for what, err := range map[string]error{"Produce": n.produceCode(topic, partition), "Fetch": n.fetchCode(topic, partition), "ListOffsets": n.listCode(topic, partition)} {
		if !errors.Is(err, kerr.KafkaStorageError) {
			n.t.Errorf("%s answers %v", what, err)
		}
	}
	dirs, err := n.admin.DescribeAllLogDirs(n.t.Context(), nil)
	if err != nil {
		n.t.Fatal(err)
	}
	for path, d := range dirs[n.config.NodeID] {
		if want := path == dir; errors.Is(d.Err, kerr.KafkaStorageError) != want {
			n.t.Errorf("DescribeLogDirs says %v of %s", d.Err, path)
		}
	}
	if offline, replicas := n.metric("log_dirs_offline"), n.metric("moldau_offline_replicas"); offline != 1 || replicas == 0 {
		n.t.Errorf("the metrics say %v log dirs and %v replicas", offline, replicas)
	}
}

func (n *diskNode) metric(name string) float64 {
	for _, s := range n.metrics.Gather() {
		switch {
		case s.Name != name:
		case s.Func != nil:
			return s.Func()
		case s.Gauge != nil:
			return float64(s.Gauge.Value())
		}
	}
	n.t.Fatalf("no metric %s", name)
	return 0
}

// TestRestartWithoutALogDir has the folders of a log dir gone, or something else in their place.
func TestRestartWithoutALogDir(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	n := d.start()
	n.create("t", 6)
	for p := range int32(6) {
		if err := n.produce("t", p, fmt.Sprint(p)); err != nil {
			t.Fatal(err)
		}
	}
	lost := n.partitionIn("t", d.dir("b"))
	n.eventually("the metadata names the log dirs", func() error {
		if got := n.loader.Current().Partition("t", lost).Directories[0]; got != n.dirs.DirectoryIDs[d.dir("b")] {
			return fmt.Errorf("directory is %s", got)
		}
		return nil
	})
	n.stop()
	// A file is in the folder's place; then an empty folder, as when a disk is not mounted.
	aside := d.dir("aside")
	if err := os.Rename(d.dir("b"), aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.dir("b"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n = d.start()
	checkOffline(n, d.dir("b"), "t", lost)
	n.stop()
	if err := os.Remove(d.dir("b")); err != nil {
		t.Fatal(err)
	}
	n = d.start()
	if err := n.fetchCode("t", lost); !errors.Is(err, kerr.KafkaStorageError) || n.dirOf("t", lost) != "" {
		t.Errorf("with another disk in its place: %v, log in %q", err, n.dirOf("t", lost))
	}
	if p := n.partitionOf("t", lost); p.Leader != -1 {
		t.Errorf("%+v", p)
	}
	n.stop()
	if err := errors.Join(os.RemoveAll(d.dir("b")), os.Rename(aside, d.dir("b"))); err != nil {
		t.Fatal(err)
	}
	n = d.start()
	if got := n.values("t", lost); !slices.Equal(got, []string{fmt.Sprint(lost)}) {
		t.Errorf("the log dir is back with %q", got)
	}
	n.stop()
	// Without any log dir there is no broker, and none without the metadata log.
	for _, dirs := range [][]string{{"a", "b", "c"}, {"m"}} {
		fails := func(op vfs.Op, name string) error {
			for _, dir := range dirs {
				if strings.HasPrefix(name, d.dir(dir)) {
					return syscall.EIO
				}
			}
			return nil
		}
		d.broken.Store(&fails)
		if n, err := d.tryStart(); err == nil {
			n.stop()
			t.Errorf("starts without %v", dirs)
		}
	}
}

// TestTopicIsCreatedAgainWhileItsOldLogDirIsOffline finds two logs of one name at the start.
func TestTopicIsCreatedAgainWhileItsOldLogDirIsOffline(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	n := d.start()
	n.create("t", 3)
	for p := range int32(3) {
		if err := n.produce("t", p, "old"); err != nil {
			t.Fatal(err)
		}
	}
	dead := n.dirOf("t", 0)
	d.breakDir(dead)
	_ = n.fetchCode("t", 0)
	n.eventually("the log dir goes offline", func() error {
		if len(n.storage.OfflineDirs()) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	if _, err := n.admin.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	n.create("t", 3)
	n.kgo.PurgeTopicsFromClient("t")
	n.eventually("the client learns of the new topic id", func() error { return n.produce("t", 0, "new") })
	n.stop()
	d.repair()
	n = d.start()
	defer n.stop()
	if got := n.values("t", 0); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %q", got)
	}
}

// TestCoordinatorsOfAFailedLogDir has a part of __consumer_offsets offline: its groups are told to
// look for their coordinator again, the others go on; back on the disk, nothing is lost.
func TestCoordinatorsOfAFailedLogDir(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	n := d.start()
	n.create("t", 1)
	dead := d.dir("b")
	commit := func(group string) error {
		offsets := kadm.Offsets{}
		offsets.AddOffset("t", 0, 7, -1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		responses, err := n.admin.CommitOffsets(ctx, group, offsets)
		return errors.Join(err, responses.Error())
	}
	inDead := map[string]bool{}
	for i := range 12 {
		group := fmt.Sprint("group-", i)
		if err := commit(group); err != nil {
			t.Fatal(err)
		}
		inDead[group] = n.dirOf("__consumer_offsets", kafka.CoordinatorPartition(group, 3)) == dead
	}
	d.breakDir(dead)
	for p := range int32(3) {
		if n.dirOf("__consumer_offsets", p) == dead {
			_ = n.fetchCode("__consumer_offsets", p)
		}
	}
	for group, offline := range inDead {
		n.eventually("the coordinators know", func() error {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: group}}
			code := kerr.ErrorForCode(n.request(req).(*kmsg.OffsetFetchResponse).Groups[0].ErrorCode)
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.CoordinatorKeys = []string{group}
			found := kerr.ErrorForCode(n.request(find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode)
			if offline != errors.Is(code, kerr.NotCoordinator) || offline != errors.Is(found, kerr.CoordinatorNotAvailable) {
				return fmt.Errorf("offline %v, OffsetFetch %v, FindCoordinator %v", offline, code, found)
			}
			return nil
		})
		if !offline {
			if err := commit(group); err != nil {
				t.Errorf("%s: %v", group, err)
			}
		}
	}
	n.stop()
	d.repair()
	n = d.start()
	defer n.stop()
	for group := range inDead {
		n.eventually("the offsets are back", func() error {
			offsets, err := n.admin.FetchOffsets(t.Context(), group)
			if err != nil {
				return err
			}
			if o, _ := offsets.Lookup("t", 0); o.At != 7 {
				return fmt.Errorf("%s is at %d", group, o.At)
			}
			return nil
		})
	}
}
