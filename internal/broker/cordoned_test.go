package broker

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// cordonedNode has two log dirs.
func cordonedNode(t *testing.T) (n *configNode, first, second string) {
	first, second = t.TempDir(), t.TempDir()
	return newConfigNode(t, map[string]string{"log.dirs": first + "," + second}), first, second
}

func (n *configNode) isCordoned(dir string) bool {
	n.t.Helper()
	resp, err := kmsg.NewPtrDescribeLogDirsRequest().RequestWith(n.t.Context(), n.client.SeedBrokers()[0]) // kgo itself leaves the field out when it merges brokers' answers
	if err != nil {
		n.t.Fatal(err)
	}
	for _, d := range resp.Dirs {
		if d.Dir == dir {
			return d.IsCordoned
		}
	}
	n.t.Fatal("no log dir ", dir)
	return false
}

// TestCordonedLogDir gets no new replicas (KIP-1066), and keeps and serves those that it has.
func TestCordonedLogDir(t *testing.T) {
	t.Parallel()
	n, first, second := cordonedNode(t)
	inside := n.topic("before-0", nil)
	if dirOf(inside) != first {
		inside = n.topic("before-1", nil)
	}
	n.alter(ofBroker("cordoned.log.dirs", &first))
	if !n.isCordoned(first) || n.isCordoned(second) {
		t.Errorf("DescribeLogDirs does not tell which is cordoned: %+v", n.b.cordonedDirectories())
	}
	for i := range 3 {
		if got := dirOf(n.topic(fmt.Sprint("after-", i), nil)); got != second {
			t.Errorf("a new log lies in %s", got)
		}
	}
	inside.must(rec{1, "k", "v"})
	move := kmsg.NewPtrAlterReplicaLogDirsRequest()
	move.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: first, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "after-0", Partitions: []int32{0}}}}}
	if code := kafka.ErrorCode(request[*kmsg.AlterReplicaLogDirsResponse](n, move).Topics[0].Partitions[0].ErrorCode); code != kafka.ErrInvalidReplicaAssignment {
		t.Errorf("a move into a cordoned log dir: %v", code)
	}
	n.restart(nil)
	if !n.isCordoned(first) || dirOf(n.topic("restarted", nil)) != second {
		t.Error("a restart has forgotten the cordoned log dir")
	}
	n.alter(ofBroker("cordoned.log.dirs", nil))
	if n.isCordoned(first) || dirOf(n.topic("open-again", nil)) != first {
		t.Error("it is cordoned for ever")
	}
}

// TestNodeWithoutOpenLogDir takes no new replicas at all, as in Kafka.
func TestNodeWithoutOpenLogDir(t *testing.T) {
	t.Parallel()
	n, first, second := cordonedNode(t)
	n.topic("t", nil)
	create := func(name string, replicas []int32) kafka.ErrorCode {
		r := kmsg.NewPtrCreateTopicsRequest()
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
		if replicas != nil {
			topic.NumPartitions, topic.ReplicationFactor = -1, -1
			topic.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: replicas}}
		}
		r.Topics = append(r.Topics, topic)
		return kafka.ErrorCode(request[*kmsg.CreateTopicsResponse](n, r).Topics[0].ErrorCode)
	}
	n.alter(ofBroker("cordoned.log.dirs", ptr("*")))
	eventually(t, "the controller knows", func() bool { return len(n.b.loader.Current().Broker(1).CordonedLogDirs) == 2 })
	if code := create("anywhere", nil); code != kafka.ErrInvalidReplicationFactor {
		t.Errorf("a topic: %v", code)
	}
	if code := create("here", []int32{1}); code != kafka.ErrInvalidReplicaAssignment {
		t.Errorf("a topic with an assignment: %v", code)
	}
	if err := n.tryAlter(ofBroker("cordoned.log.dirs", ptr("/no/such/dir"))); !errors.Is(err, kafka.ErrInvalidRequest) {
		t.Errorf("a log dir that is not there: %v", err)
	}
	n.restart(nil) // which tells the controller again
	if code := create("anywhere", nil); code != kafka.ErrInvalidReplicationFactor {
		t.Errorf("a topic after a restart: %v", code)
	}
	n.alter(ofBroker("cordoned.log.dirs", ptr(second)))
	eventually(t, "the controller knows", func() bool { return len(n.b.loader.Current().Broker(1).CordonedLogDirs) == 1 })
	if code := create("anywhere", nil); code != kafka.ErrNone || n.isCordoned(first) {
		t.Errorf("a topic with one log dir open: %v", code)
	}
}

func dirOf(topic *configTopic) string { return topic.log().Dir() }
