package host

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/storage"
)

// newLeader returns a partition that broker 1 leads, with broker 2 in sync.
func newLeader(t *testing.T) *partition.Partition {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	nowMs := time.Now().UnixMilli()
	m, err := storage.OpenManager(storage.Options{FS: fs, Dirs: []string{"/data"}, Defaults: storage.DefaultLogConfig(), Metrics: metrics.NewRegistry(),
		Random: env.NewSeededRandom(1), Clock: env.SystemClock{}, ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err == nil {
		err = m.Load(storage.LoadOptions{NowMs: nowMs})
	}
	if err != nil {
		t.Fatal(err)
	}
	log, err := m.GetOrCreate(kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t"}}, storage.DefaultLogConfig(), nowMs)
	if err != nil {
		t.Fatal(err)
	}
	p := partition.New(kafka.UUID{1}, 1, log, partition.ReplicationOptions{LagMaxMs: 1000, MayJoin: func(int32, int64) bool { return true }}, nil)
	if err := p.Apply(partition.Assignment{Leader: 1, LeaderEpoch: 4, PartitionEpoch: 7, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, MinInSyncReplicas: 1}, nowMs); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLaggingFollowerIsProposed has a follower that never fetches, and a controller that is not reached at first.
func TestLaggingFollowerIsProposed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newLeader(t)
		spawner := env.NewSpawner(t.Context(), nil)
		defer spawner.Stop()
		start := time.Now()
		asked := make(chan time.Duration, 10)
		tries := 0
		var h *Host
		h = New(Options{NodeID: 1, BrokerEpoch: func() int64 { return 11 }, LagMaxMs: 1000, Clock: env.SystemClock{}, Spawner: spawner, Metrics: metrics.NewRegistry(),
			Send: func(_ context.Context, r *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
				asked <- time.Since(start)
				if tries++; tries < 3 {
					return nil, errors.New("no controller")
				}
				response := kmsg.NewPtrAlterPartitionResponse()
				topic := kmsg.NewAlterPartitionResponseTopic()
				topic.TopidID = r.Topics[0].TopicID
				topic.Partitions = []kmsg.AlterPartitionResponseTopicPartition{kmsg.NewAlterPartitionResponseTopicPartition()}
				response.Topics = append(response.Topics, topic)
				return response, nil
			}})
		h.Start(func(nowMs int64) {
			if change := p.Lagging(nowMs); change != nil {
				h.Propose(p, change)
			}
		})
		at := []time.Duration{<-asked, <-asked, <-asked}
		// Checked every half of the time that is allowed; tried again after 10 and 20 ms.
		if at[0] != 1500*time.Millisecond || at[1]-at[0] != 10*time.Millisecond || at[2]-at[1] != 20*time.Millisecond {
			t.Errorf("asked after %v", at)
		}
	})
}
