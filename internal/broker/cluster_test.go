package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
	"github.com/moldau/moldau/internal/storage/checkpoint"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterNodes are three nodes in this process: two are broker and controller, the third is a broker.
type clusterNodes struct {
	t       *testing.T
	dir     string
	voters  []string
	running [3]*broker
	// prepare, where it is set, changes the properties of a node, and the node before it starts.
	prepare func(i int, properties map[string]string) func(b *broker)
}

func newClusterNodes(t *testing.T) *clusterNodes {
	c := &clusterNodes{t: t, dir: t.TempDir()}
	for i := range 2 {
		c.voters = append(c.voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, freePort(t)))
	}
	t.Cleanup(func() { c.stop(c.indexes()...) })
	return c
}

func (c *clusterNodes) folder(i int) string { return filepath.Join(c.dir, fmt.Sprint(i)) }

func (c *clusterNodes) indexes() (all []int) {
	for i, b := range c.running {
		if b != nil {
			all = append(all, i)
		}
	}
	return all
}

// each does something with several nodes at once.
func (c *clusterNodes) each(what string, indexes []int, do func(i int) error) {
	c.t.Helper()
	outcomes := make(chan error, len(indexes))
	for _, i := range indexes {
		go func() {
			err := do(i)
			if err != nil {
				err = fmt.Errorf("%s of node %d: %w", what, i+1, err)
			}
			outcomes <- err
		}()
	}
	var all error
	for range indexes {
		all = errors.Join(all, <-outcomes)
	}
	if all != nil {
		c.t.Fatal(all)
	}
}

func (c *clusterNodes) start(indexes ...int) {
	c.t.Helper()
	c.each("start", indexes, func(i int) error {
		given := map[string]string{
			"node.id": fmt.Sprint(i + 1), "log.dirs": c.folder(i), "http.listen": "", "log.cleaner.enable": "false", "listeners": "PLAINTEXT://127.0.0.1:0",
			"controller.listener.names": "CONTROLLER", "controller.quorum.voters": strings.Join(c.voters, ","), "process.roles": "broker",
		}
		if i < len(c.voters) {
			_, address, _ := strings.Cut(c.voters[i], "@")
			given["process.roles"], given["listeners"] = "broker,controller", given["listeners"]+",CONTROLLER://"+address
		}
		change := func(*broker) {}
		if c.prepare != nil {
			change = c.prepare(i, given)
		}
		properties, _, err := config.NewBroker(given)
		if err != nil {
			return err
		}
		b := newBroker(context.Background(), properties)
		change(b)
		c.running[i] = b
		return b.start()
	})
}

func (c *clusterNodes) stop(indexes ...int) {
	c.t.Helper()
	c.each("stop", indexes, func(i int) error {
		b := c.running[i]
		c.running[i] = nil
		return b.stop()
	})
}

// awaitMetadata waits until the metadata of a node is as it should be.
func (c *clusterNodes) awaitMetadata(i int, what string, holds func(*metadata.Image) bool) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds(c.running[i].loader.Current()) {
		if time.Now().After(deadline) {
			c.t.Fatalf("not so: %s", what)
		}
		<-ticker.C
	}
}

// TestOneControllerAlone begins the cluster that its properties name, as the sample files of Kafka have it, and brokers join it; again after a restart.
func TestOneControllerAlone(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.voters = c.voters[:1]
	c.prepare = func(i int, properties map[string]string) func(b *broker) {
		if i == 0 {
			_, controller, _ := strings.Cut(properties["listeners"], ",")
			properties["process.roles"], properties["listeners"] = "controller", controller
		}
		return func(*broker) {}
	}
	for round := range 2 {
		c.start(0, 1, 2)
		client, err := kgo.NewClient(kgo.SeedBrokers(c.running[1].server.Addr("PLAINTEXT").String()), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(20))
		if err != nil {
			t.Fatal(err)
		}
		r := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("v")})
		client.Close()
		if record, err := r.First(); err != nil || record.Offset != int64(round) {
			t.Fatal(record, err)
		}
		// What changes for brokers concerns a controller that is none, too, and has no log dirs.
		alone := c.running[0]
		value := fmt.Sprint(100 + round)
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType = kmsg.ConfigResourceTypeBroker
		resource.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "max.connections", Value: &value}}
		req.Resources = append(req.Resources, resource)
		if _, err := c.running[1].channel.Send(t.Context(), peer.Origin{Principal: "User:ANONYMOUS"}, req); err != nil {
			t.Fatal(err)
		}
		c.awaitMetadata(0, "a config of all brokers", func(*metadata.Image) bool {
			select {
			case fault := <-alone.faults:
				t.Fatal(fault)
			default:
			}
			return alone.current.Load().MaxConnections == int32(100+round)
		})
		var welcome strings.Builder
		alone.printWelcome(&welcome)
		_, address, _ := strings.Cut(c.voters[0], "@")
		if !strings.Contains(welcome.String(), "  controller     "+address+"\n") {
			t.Errorf("%s", &welcome)
		}
		c.stop(1, 2)
		c.stop(0)
	}
}

// TestListsThatDifferFormNothing: a node that lists fewer voters than another would form a quorum of those alone.
func TestListsThatDifferFormNothing(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	var running [2]*broker
	for i := range running {
		_, address, _ := strings.Cut(c.voters[i], "@")
		voters := strings.Join(c.voters, ",")
		if i == 1 {
			voters += ",3@127.0.0.1:1"
		}
		properties, _, err := config.NewBroker(map[string]string{"node.id": fmt.Sprint(i + 1), "log.dirs": c.folder(i), "http.listen": "", "controller.listener.names": "CONTROLLER",
			"listeners": "PLAINTEXT://127.0.0.1:0,CONTROLLER://" + address, "controller.quorum.voters": voters})
		if err != nil {
			t.Fatal(err)
		}
		b := newBroker(context.Background(), properties)
		t.Cleanup(func() {
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		})
		for _, step := range []func() error{b.openDirs, b.bind, b.greet} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		running[i] = b
	}
	first := running[0]
	listed := first.listed()
	first.askListed(t.Context(), listed)
	d := quorum.Discover(quorum.Newcomer{NodeID: 1, DirectoryID: first.dirs.DirectoryIDs[c.folder(0)], IncarnationID: first.incarnation}, listed)
	if d.Step != quorum.StepWait || !strings.Contains(d.Why, "lists other voters (1 2 3) than this node (1 2)") {
		t.Errorf("%+v", d)
	}
}

// TestClusterGrows: a formatted folder says which cluster is formed; __consumer_offsets, made by two brokers, gets its
// third replica when there is a third; and those who are left stop although nobody leads the quorum any more.
func TestClusterGrows(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	const id = "cHoSeNcHoSeNcHoSeNcHoQ"
	directory, _ := kafka.ParseUUID("BrWfqf2OQFSpYExB3DpNbQ")
	if err := errors.Join(vfs.OS{}.MkdirAll(c.folder(1)), checkpoint.WriteMetaProperties(vfs.OS{}, filepath.Join(c.folder(1), checkpoint.MetaPropertiesFileName),
		checkpoint.MetaProperties{ClusterID: id, NodeID: 2, DirectoryID: directory})); err != nil {
		t.Fatal(err)
	}
	c.start(0, 1)
	for i, b := range c.running[:2] {
		if got := b.knownClusterID(); got != id {
			t.Errorf("node %d is of cluster %s", i+1, got)
		}
	}

	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(req.MaxVersion())
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = kafka.ConsumerOffsetsTopic, 3, -1
	req.Topics = append(req.Topics, topic)
	resp, err := c.running[0].channel.Send(t.Context(), peer.Origin{Principal: "User:ANONYMOUS"}, req)
	if err != nil {
		t.Fatal(err)
	}
	if created := resp.(*kmsg.CreateTopicsResponse).Topics[0]; created.ErrorCode != 0 || created.ReplicationFactor != 2 {
		t.Fatalf("%d replicas, %v", created.ReplicationFactor, kafka.ErrorCode(created.ErrorCode))
	}
	c.start(2)
	c.awaitMetadata(2, "three replicas in sync of every partition", func(image *metadata.Image) bool {
		for _, p := range image.TopicByName(kafka.ConsumerOffsetsTopic).Partitions {
			if len(p.ISR) != 3 || p.IsReassigning() {
				return false
			}
		}
		return true
	})

	client, err := kgo.NewClient(kgo.SeedBrokers(c.running[0].server.Addr("PLAINTEXT").String()))
	if err != nil {
		t.Fatal(err)
	}
	described, err := kadm.NewClient(client).DescribeBrokerConfigs(t.Context(), 1)
	client.Close()
	if err != nil || described[0].Err != nil {
		t.Fatal(described, err)
	}
	for _, config := range described[0].Configs {
		if strings.HasSuffix(config.Key, "replication.factor") && (config.MaybeValue() != "3" || config.Source != kmsg.ConfigSourceDefaultConfig) {
			t.Errorf("of three brokers %s is %s, from %s", config.Key, config.MaybeValue(), config.Source)
		}
	}

	for i, want := range [][]int32{{2}, {1}, {1, 2}} {
		var got []int32
		for _, v := range c.running[i].listedOthers() {
			if got = append(got, v.NodeID); v.Listeners[0].Name != "CONTROLLER" || fmt.Sprintf("%d@127.0.0.1:%d", v.NodeID, v.Listeners[0].Port) != c.voters[v.NodeID-1] {
				t.Errorf("node %d finds %+v", i+1, v)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("node %d knows %v by its configuration", i+1, got)
		}
	}

	left := c.running[1:3]
	for _, b := range left {
		if !b.maySeeMajority(t.Context()) {
			t.Errorf("node %d sees no majority of the controllers, which are there", b.config.NodeID)
		}
	}
	c.stop(0)
	for _, b := range left { // what has accepted connections may take a moment to be gone
		if !b.untilNoMajority(t.Context()) {
			t.Errorf("node %d takes half of the controllers for a majority", b.config.NodeID)
		}
	}
	began := time.Now()
	c.stop(1, 2)
	if took := time.Since(began); took > leaveTimeout+2*stopTimeout {
		t.Errorf("those who were left took %s to stop", took)
	}
}

// TestForeignFolderSaysSo: whose folder belongs to another cluster than those it asks waits for a leader, and says why.
func TestForeignFolderSaysSo(t *testing.T) {
	t.Parallel()
	ours, theirs := newClusterNodes(t), newClusterNodes(t)
	ours.start(0, 1)
	theirs.start(0, 1)
	b := ours.running[0]
	if said := b.cluster.unled(); strings.Contains(said, "cluster.id") {
		t.Errorf("before anybody was asked: %s", said)
	}
	from := theirs.running[0].quorum.Voters()[1]
	if _, err := b.pull(t.Context(), from, quorumhost.PullRequest{NodeID: 1}); err == nil {
		t.Error("another cluster's node answers")
	}
	if said, want := b.cluster.unled(), "has cluster.id "+theirs.running[0].knownClusterID()+", but this node expects "+b.knownClusterID(); !strings.Contains(said, want) {
		t.Errorf("%s\nwant %s", said, want)
	}
}
