package handler

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestAlterReplicaLogDirs(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("a", 2, 1)
	long := strings.Repeat("x", 249)
	d.create(long, 1, 1)
	h := &AlterReplicaLogDirs{Replicas: d.replicas, Authorizer: d}
	ask := func(version int16, dirs ...kmsg.AlterReplicaLogDirsRequestDir) map[kafka.TopicPartition]kafka.ErrorCode {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		req.SetVersion(version)
		req.Dirs = dirs
		codes := map[kafka.TopicPartition]kafka.ErrorCode{}
		for _, topic := range answerOf[*kmsg.AlterReplicaLogDirsResponse](d, h, req).Topics {
			for _, p := range topic.Partitions {
				tp := kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}
				if _, twice := codes[tp]; twice {
					t.Errorf("%s is answered twice", tp)
				}
				codes[tp] = kafka.ErrorCode(p.ErrorCode)
			}
		}
		return codes
	}
	to := func(dir, topic string, partitions ...int32) kmsg.AlterReplicaLogDirsRequestDir {
		return kmsg.AlterReplicaLogDirsRequestDir{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: topic, Partitions: partitions}}}
	}
	for version := int16(1); version <= 2; version++ {
		for _, test := range []struct {
			dir, topic string
			partition  int32
			want       kafka.ErrorCode
		}{
			{"/data", "a", 0, kafka.ErrNone}, // it is there
			{"/elsewhere", "a", 0, kafka.ErrLogDirNotFound},
			{"data", "a", 0, kafka.ErrLogDirNotFound},
			{"/data", "nope", 0, kafka.ErrUnknownTopicOrPartition},
			{"/data", "a", 9, kafka.ErrUnknownTopicOrPartition},
			{"/elsewhere", "nope", 0, kafka.ErrLogDirNotFound},
			{"/data", long, 0, kafka.ErrInvalidTopicException},
		} {
			got := ask(version, to(test.dir, test.topic, test.partition))
			if code, ok := got[kafka.TopicPartition{Topic: test.topic, Partition: test.partition}]; !ok || len(got) != 1 || code != test.want {
				t.Errorf("version %d, %s of %.10s: %v, want %s", version, test.dir, test.topic, got, test.want)
			}
		}
	}
	if got := ask(2, to("/elsewhere", "a", 0, 1), to("/data", "a", 1)); got[kafka.TopicPartition{Topic: "a"}] != kafka.ErrLogDirNotFound || got[kafka.TopicPartition{Topic: "a", Partition: 1}] != kafka.ErrNone {
		t.Errorf("the last log dir does not count: %v", got)
	}
	if got := ask(2); len(got) != 0 {
		t.Errorf("nothing: %v", got)
	}
	d.denied[security.Cluster] = true
	if got := ask(2, to("/data", "a", 0)); got[kafka.TopicPartition{Topic: "a"}] != kafka.ErrClusterAuthorizationFailed {
		t.Errorf("not allowed: %v", got)
	}
}
