package apptest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// movedTopic has one partition with so many records of 900 kB, which a throttle of a byte per second lets
// through one at a time, some ten seconds apart.
const (
	movedTopic   = "moved"
	movedRecords = 8
)

func (c *cluster) createMoved() {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = movedTopic, -1, -1
	topic.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1, 2}}}
	req.Topics = append(req.Topics, topic)
	if resp, err := req.RequestWith(c.t.Context(), c.client); err != nil || resp.Topics[0].ErrorCode != 0 {
		c.t.Fatal(resp, err)
	}
	source := rand.NewChaCha8([32]byte{1})
	for i := range movedRecords {
		value := make([]byte, 900_000)
		_, _ = source.Read(value)
		value[0] = byte(i)
		if err := c.client.ProduceSync(c.t.Context(), &kgo.Record{Topic: movedTopic, Value: value}).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// throttle limits what is copied of the topic, or, with "", no more.
func (c *cluster) throttle(rate string) {
	c.t.Helper()
	set := func(name, value string) kadm.AlterConfig {
		if rate == "" {
			return kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name}
		}
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	}
	c.eventually("throttles are set", func() error {
		topics, err := c.admin.AlterTopicConfigs(c.t.Context(), []kadm.AlterConfig{set("leader.replication.throttled.replicas", "*"), set("follower.replication.throttled.replicas", "*")}, movedTopic)
		if err == nil && topics[0].Err != nil {
			err = topics[0].Err
		}
		if err != nil {
			return err
		}
		cluster, err := c.admin.AlterBrokerConfigs(c.t.Context(), []kadm.AlterConfig{set("leader.replication.throttled.rate", rate), set("follower.replication.throttled.rate", rate)})
		if err == nil && cluster[0].Err != nil {
			err = cluster[0].Err
		}
		return err
	})
}

// reassign gives the partition other replicas; with none it cancels.
func (c *cluster) reassign(replicas ...int32) {
	c.t.Helper()
	var req kadm.AlterPartitionAssignmentsReq
	if len(replicas) > 0 {
		req.Assign(movedTopic, 0, replicas)
	} else {
		req.CancelAssign(movedTopic, 0)
	}
	c.eventually("reassigned", func() error {
		resp, err := c.admin.AlterPartitionAssignments(c.t.Context(), req)
		if err != nil {
			return err
		}
		return resp.Error()
	})
}

// awaitAdding waits until so many replicas of the partition are being added.
func (c *cluster) awaitAdding(want ...int32) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("adding %v", want), func() error {
		var set kadm.TopicsSet
		set.Add(movedTopic, 0)
		listed, err := c.admin.ListPartitionReassignments(c.t.Context(), set)
		if err != nil {
			return err
		}
		if got := listed[movedTopic][0].AddingReplicas; !slices.Equal(got, want) {
			return fmt.Errorf("adding %v", got)
		}
		return nil
	})
}

// awaitReplicas waits until the partition has these replicas, all in sync, and only they have its log.
func (c *cluster) awaitReplicas(want ...int32) {
	c.t.Helper()
	c.awaitAdding()
	c.eventually(fmt.Sprintf("replicas %v", want), func() error {
		details, err := c.partitions(movedTopic)
		p, wanted := details[0], slices.Sorted(slices.Values(want))
		if err == nil && (!slices.Equal(slices.Sorted(slices.Values(p.Replicas)), wanted) || len(p.ISR) != len(want) || !slices.Contains(want, p.Leader)) {
			err = fmt.Errorf("%+v", p)
		}
		if err != nil {
			return err
		}
		dirs, err := c.admin.DescribeAllLogDirs(c.t.Context(), nil)
		if err != nil {
			return err
		}
		var have []int32
		for broker, dirs := range dirs {
			dirs.Each(func(dir kadm.DescribedLogDir) {
				if len(dir.Topics[movedTopic]) > 0 {
					have = append(have, broker)
				}
			})
		}
		slices.Sort(have)
		if !slices.Equal(have, wanted) {
			return fmt.Errorf("the log is on %v", have)
		}
		return nil
	})
}

// TestReassignmentsInTheMiddle holds a reassignment up in its middle by a throttle: its target dies and comes back, it is
// cancelled, begun again, and its source, which leads the partition, is killed together with the active controller's office, where it has that.
func TestReassignmentsInTheMiddle(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.createMoved()
	c.throttle("1")
	c.reassign(2, 3)
	c.awaitAdding(3)
	c.nodes[3].Kill()
	c.awaitAdding(3)
	c.nodes[3].Launch()
	c.await(3)
	c.awaitAdding(3)
	c.reassign()
	c.awaitReplicas(1, 2)

	c.reassign(2, 3)
	c.awaitAdding(3)
	controller := c.activeController()
	c.nodes[controller].Kill()
	if now := c.activeController(); now == controller {
		t.Errorf("node %d is dead and still the active controller", now)
	}
	c.awaitAdding(3)
	c.throttle("")
	c.nodes[controller].Launch()
	c.await(controller)
	c.awaitReplicas(2, 3)

	c.reassign(2, 3, 1)
	c.awaitReplicas(2, 3, 1)
	c.reassign(3)
	c.awaitReplicas(3)
	c.checkMoved()
}

// checkMoved reads the topic from its last replica.
func (c *cluster) checkMoved() {
	c.t.Helper()
	client := c.newClient(c.seeds(), kgo.ConsumeTopics(movedTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	source := rand.NewChaCha8([32]byte{1})
	for i := 0; i < movedRecords; {
		client.PollFetches(c.t.Context()).EachRecord(func(r *kgo.Record) {
			want := make([]byte, 900_000)
			_, _ = source.Read(want)
			want[0] = byte(i)
			if !bytes.Equal(r.Value, want) || r.Offset != int64(i) {
				c.t.Errorf("record %d is not what was written, or at offset %d", i, r.Offset)
			}
			i++
		})
		if c.t.Context().Err() != nil || c.t.Failed() {
			return
		}
	}
}
