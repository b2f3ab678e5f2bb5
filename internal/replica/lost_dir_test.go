package replica

import (
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/storage"
)

// TestLogOfALostLogDirBeginsAnew: where the log dir that the metadata names is gone, the log is made again, and told to the
// controller, only if others have all that is committed and this broker is not taken for one that has it.
func TestLogOfALostLogDirBeginsAnew(t *testing.T) {
	t.Parallel()
	lost, present := kafka.UUID{15: 201}, kafka.UUID{15: 202}
	for _, c := range []struct {
		what     string
		leader   int32
		isr, elr []int32
		offline  bool
		named    kafka.UUID
		want     kafka.ErrorCode
	}{
		{what: "others have it", leader: 2, isr: []int32{2, 3}, named: lost},
		{what: "metadata says lost", leader: 2, isr: []int32{2}, named: kafka.DirectoryLost},
		{what: "the log dir is there, without the log", leader: 2, isr: []int32{2}, named: present},
		{what: "counted as in sync", leader: 2, isr: []int32{2, 1}, named: lost, want: kafka.ErrKafkaStorageError},
		{what: "eligible", leader: 2, isr: []int32{2}, elr: []int32{1}, named: lost, want: kafka.ErrKafkaStorageError},
		{what: "nobody leads", leader: kafka.NoLeader, isr: []int32{2}, named: lost, want: kafka.ErrKafkaStorageError},
		{what: "nobody else has it", leader: kafka.NoLeader, isr: []int32{1}, named: lost, want: kafka.ErrKafkaStorageError},
		{what: "leads", leader: 1, isr: []int32{1, 2}, named: lost, want: kafka.ErrKafkaStorageError},
		{what: "in a log dir that is offline, perhaps", leader: 2, isr: []int32{2, 3}, offline: true, named: lost, want: kafka.ErrKafkaStorageError},
	} {
		h := newHarness(t)
		o := storage.Options{FS: h.fs, Dirs: []string{"/new"}, DirectoryIDs: map[string]kafka.UUID{"/new": present}, Defaults: storage.DefaultLogConfig(),
			Metrics: metrics.NewRegistry(), Random: env.NewSeededRandom(1), Clock: env.SystemClock{}, ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100}
		if c.offline {
			o.Dirs, o.Failed = append(o.Dirs, "/failed"), map[string]error{"/failed": vfs.ErrLocked}
		}
		if err := h.fs.MkdirAll("/new"); err != nil {
			t.Fatal(err)
		}
		s, err := storage.OpenManager(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Load(storage.LoadOptions{NowMs: time.Now().UnixMilli()}); err != nil {
			t.Fatal(err)
		}
		options := h.options
		options.Storage, options.Metrics, options.OnMisplaced = s, o.Metrics, func() {}
		options.Cluster = &Cluster{LagMaxMs: 1000, Flushed: func(int32) {}, Follow: func(*partition.Partition, int32, int32) {},
			Unfollow: func(*partition.Partition) {}, Propose: func(*partition.Partition, *partition.ISRChange) {}}
		h.Manager = New(options)
		h.apply(&metadata.TopicRecord{Name: "t", TopicID: idOf("t")}, &metadata.PartitionRecord{TopicID: idOf("t"), Replicas: []int32{1, 2, 3}, ISR: c.isr, EligibleLeaderReplicas: c.elr,
			Leader: c.leader, Directories: []kafka.UUID{c.named, {}, {}}})
		if err := h.Start(); err != nil {
			t.Fatal(err)
		}
		if got := h.lookupCode("t", 0); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
		told := h.TakeMisplaced()[kafka.TopicIDPartition{TopicID: idOf("t"), TopicPartition: tpOf("t", 0)}]
		if wantTold := c.want == kafka.ErrNone && c.named != present; (told == present) != wantTold {
			t.Errorf("%s: the controller is told of log dir %s", c.what, told)
		}
	}
}
