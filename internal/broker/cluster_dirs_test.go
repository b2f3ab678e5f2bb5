package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// TestFailedLogDirInACluster: each node has two log dirs, whose ids the metadata has for every replica (KIP-858). When one of a
// leader's fails, others lead what lay there and the broker leaves its in-sync replicas; what lies in the other one stays.
func TestFailedLogDirInACluster(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	var fails atomic.Bool
	broken := filepath.Join(c.folder(0), "a")
	c.prepare = func(i int, properties map[string]string) func(b *broker) {
		dir := c.folder(i)
		properties["log.dirs"], properties["metadata.log.dir"] = filepath.Join(dir, "a")+","+filepath.Join(dir, "b"), filepath.Join(dir, "m")
		return func(b *broker) {
			b.fs = vfs.NewFault(vfs.OS{}, func(op vfs.Op, name string) error {
				if fails.Load() && op.Changes() && strings.HasPrefix(name, broken) {
					return fmt.Errorf("%s %s: %w", op, name, errBrokenDisk)
				}
				return nil
			})
		}
	}
	c.start(0, 1, 2)
	const partitions = 6
	c.create("t", partitions, 1, 2, 3)
	c.awaitMetadata(2, "every replica's log dir is known, and all are in sync", func(image *metadata.Image) bool {
		topic := image.TopicByName("t")
		return topic != nil && !slices.ContainsFunc(topic.Partitions, func(p *metadata.Partition) bool {
			return len(p.ISR) != 3 || slices.ContainsFunc(p.Directories, func(id kafka.UUID) bool { return id.IsZero() || id == kafka.DirectoryUnassigned })
		})
	})
	failed := c.running[0].dirs.DirectoryIDs[broken]
	lies := map[int32]bool{} // of node 1, in the log dir that fails
	for _, p := range c.running[0].loader.Current().TopicByName("t").Partitions {
		id, _ := p.Directory(1)
		lies[p.ID] = id == failed
	}
	if n := len(slices.DeleteFunc([]bool{lies[0], lies[1], lies[2], lies[3], lies[4], lies[5]}, func(in bool) bool { return !in })); n == 0 || n == partitions {
		t.Fatalf("%d of %d replicas lie in one of two log dirs", n, partitions)
	}
	fails.Store(true)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.running[1].server.Addr("PLAINTEXT").String(), c.running[2].server.Addr("PLAINTEXT").String()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for p := range int32(partitions) {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: p, Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatalf("partition %d: %v", p, err)
		}
	}
	c.awaitMetadata(2, "others lead what lay in the failed log dir", func(image *metadata.Image) bool {
		return !slices.ContainsFunc(image.TopicByName("t").Partitions, func(p *metadata.Partition) bool {
			return (p.Leader == 1) == lies[p.ID] || slices.Contains(p.ISR, 1) == lies[p.ID]
		})
	})
}

// TestHungDisksOfANodeInACluster: one log dir that does not answer any more costs the note in it nothing but the note in the other, and a node of
// which all hang ends: the others cannot lead in its place while it seems to be alive.
func TestHungDisksOfANodeInACluster(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	a, b := filepath.Join(c.folder(0), "a"), filepath.Join(c.folder(0), "b")
	var hung atomic.Pointer[string]
	released := make(chan struct{})
	c.prepare = func(i int, properties map[string]string) func(b *broker) {
		if i > 0 {
			return func(*broker) {}
		}
		properties["log.dirs"], properties["metadata.log.dir"] = a+","+b, filepath.Join(c.folder(0), "m")
		return func(b *broker) {
			b.diskLimits.tick, b.diskLimits.stopStep = 10*time.Millisecond, 100*time.Millisecond
			b.fs = vfs.NewFault(vfs.OS{}, func(op vfs.Op, name string) error {
				if below := hung.Load(); below != nil && op.Changes() && strings.HasPrefix(name, *below) {
					<-released
				}
				return nil
			})
		}
	}
	c.start(0, 1, 2)
	n := c.running[0]
	c.running[0] = nil
	defer func() { // what the stop did not wait for
		close(released)
		n.stopper.Stop()
		n.spawner.Stop()
	}()
	hung.Store(&a)
	n.storage.FailDir(a, errDiskHangs)
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(10 * time.Millisecond) {
		if _, err := (vfs.OS{}).Stat(filepath.Join(b, checkpoint.RunningFileName)); errors.Is(err, fs.ErrNotExist) {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("the next process would vouch for what lies on a disk that hangs")
		}
	}
	all := c.folder(0) + "/"
	hung.Store(&all)
	n.storage.FailDir(b, errDiskHangs)
	<-n.faults
	stopped := make(chan error, 1)
	go func() { stopped <- n.stop() }()
	select {
	case err := <-stopped:
		if !errors.Is(err, errDiskHangs) {
			t.Errorf("the stop says %v", err)
		}
	case <-time.After(stopTimeout):
		t.Error("a node whose disks hang does not end")
	}
}

// TestHungAppendHoldsUpNoMetadata: a leader on a disk that does not answer steps aside with an append on its way, and its broker goes on hearing
// what changes elsewhere.
func TestHungAppendHoldsUpNoMetadata(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	slow := filepath.Join(c.folder(0), "a")
	var hangs atomic.Bool
	released := make(chan struct{})
	c.prepare = func(i int, properties map[string]string) func(b *broker) {
		if i > 0 {
			return func(*broker) {}
		}
		properties["log.dirs"], properties["metadata.log.dir"] = slow, filepath.Join(c.folder(0), "m")
		return func(b *broker) {
			b.diskLimits.tick = 10 * time.Millisecond
			b.fs = vfs.NewFault(vfs.OS{}, func(op vfs.Op, name string) error {
				if hangs.Load() && op == vfs.OpWrite && strings.HasPrefix(name, filepath.Join(slow, "t-0")) {
					<-released
				}
				return nil
			})
		}
	}
	c.start(0, 1, 2)
	c.create("t", 1, 1, 2, 3)
	c.awaitMetadata(0, "all are in sync", func(image *metadata.Image) bool {
		topic := image.TopicByName("t")
		return topic != nil && len(topic.Partitions[0].ISR) == 3
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(c.running[0].server.Addr("PLAINTEXT").String(), c.running[1].server.Addr("PLAINTEXT").String()), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	hangs.Store(true)
	var release sync.Once
	defer release.Do(func() { close(released) })
	client.Produce(t.Context(), &kgo.Record{Value: []byte("v")}, nil)
	for n := range 3 {
		c.awaitMetadata(n, fmt.Sprintf("node %d hears that another leads", n+1), func(image *metadata.Image) bool { return image.TopicByName("t").Partitions[0].Leader != 1 })
	}
	c.create("later", 1, 1, 2, 3)
	c.awaitMetadata(0, "the node with the disk hears of a new topic, and has its replica", func(image *metadata.Image) bool {
		_, err := c.running[0].replicas.Lookup(kafka.TopicPartition{Topic: "later"})
		return image.TopicByName("later") != nil && kafka.CodeOf(err) != kafka.ErrUnknownTopicOrPartition
	})
	release.Do(func() { close(released) })
	c.awaitMetadata(0, "it is in sync again", func(image *metadata.Image) bool { return len(image.TopicByName("t").Partitions[0].ISR) == 3 })
}

// create makes a topic whose partitions have the same replicas, the first of which leads them.
func (c *clusterNodes) create(name string, partitions int32, replicas ...int32) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
	for p := range partitions {
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: p, Replicas: replicas})
	}
	req.Topics = append(req.Topics, topic)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.running[0].server.Addr("PLAINTEXT").String()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	if resp, err := req.RequestWith(c.t.Context(), client); err != nil || resp.Topics[0].ErrorCode != 0 {
		c.t.Fatal(resp, err)
	}
}
