package repair

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

const nowMs = 1_700_000_000_000

// damaged is a replica of brokers 1 to 3 whose first batch has a flipped bit, and that batch as it was.
func damaged(t *testing.T, isr ...int32) (*partition.Partition, []byte) {
	t.Helper()
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	config := storage.DefaultLogConfig()
	m, err := storage.OpenManager(storage.Options{FS: mem, Dirs: []string{"/data"}, Defaults: config, Metrics: metrics.NewRegistry(), Random: env.NewSeededRandom(1),
		Clock: env.NewManualClock(time.UnixMilli(nowMs)), ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 10})
	if err == nil {
		err = m.Load(storage.LoadOptions{NowMs: nowMs})
	}
	if err != nil {
		t.Fatal(err)
	}
	id := kafka.TopicIDPartition{TopicID: kafka.UUID{7}, TopicPartition: kafka.TopicPartition{Topic: "t"}}
	l, err := m.GetOrCreate(id, config, nowMs)
	if err != nil {
		t.Fatal(err)
	}
	o := partition.ReplicationOptions{LagMaxMs: 1000, MayJoin: func(int32, int64) bool { return true }, IsRegistered: func() bool { return true }}
	p := partition.New(id.TopicID, 1, l, o, nil)
	if err := p.Apply(partition.Assignment{Leader: 1, LeaderEpoch: 4, PartitionEpoch: 7, Replicas: []int32{1, 2, 3}, ISR: isr, MinInSyncReplicas: 1}, nowMs); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b := record.NewBuilder(record.NoProducer(record.CodecNone))
		b.Append(nowMs, nil, []byte("value"), nil)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(storage.AppendRequest{Records: batch, LeaderEpoch: 4, Origin: storage.OriginClient, NowMs: nowMs, ProduceVersion: 13}); err != nil {
			t.Fatal(err)
		}
	}
	l.AdvanceHighWatermark(2)
	r, err := l.Read(storage.ReadRequest{MaxBytes: 1, MinOneBatch: true, UpTo: 2})
	if err != nil {
		t.Fatal(err)
	}
	right := slices.Clone(r.Records)
	f, err := mem.Open("/data/t-0/00000000000000000000.log", true)
	if err == nil {
		_, err = f.WriteAt([]byte{right[70] ^ 1}, 70)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(storage.ReadRequest{MaxBytes: 1, MinOneBatch: true, UpTo: 2}); kafka.CodeOf(err) != kafka.ErrCorruptMessage {
		t.Fatal(err)
	}
	return p, right
}

func answer(code kafka.ErrorCode, records []byte) *kmsg.FetchResponse {
	r := kmsg.NewPtrFetchResponse()
	p := kmsg.NewFetchResponseTopicPartition()
	p.ErrorCode, p.RecordBatches = int16(code), records
	r.Topics = append(r.Topics, kmsg.FetchResponseTopic{TopicID: [16]byte{7}, Partitions: []kmsg.FetchResponseTopicPartition{p}})
	return r
}

func wantAsk(t *testing.T, m *Mender, now int64, broker int32) {
	t.Helper()
	ask, _ := m.Next(now)
	if ask == nil || ask.Broker != broker {
		t.Fatalf("asks %+v, want broker %d", ask, broker)
	}
	if p := ask.Request.Topics[0].Partitions[0]; p.FetchOffset != 0 || ask.Request.ReplicaState.ID >= 0 || ask.Request.IsolationLevel != int8(kafka.ReadToEnd) {
		t.Errorf("asks for %+v", ask.Request)
	}
	if again, _ := m.Next(now); again != nil {
		t.Error("asks twice at a time")
	}
}

// TestReplicasAreAskedInTurn: those in sync first, until one has what is missing.
func TestReplicasAreAskedInTurn(t *testing.T) {
	t.Parallel()
	p, right := damaged(t, 1, 3)
	m := New(Options{NodeID: 1, Propose: func(*partition.Partition, *partition.ISRChange) { t.Error("gives up") }, Metrics: metrics.NewRegistry()})
	p.NoteDamage()
	m.Add(p)
	m.Add(p)
	wantAsk(t, m, nowMs, 3)
	m.Failed(nowMs)
	wantAsk(t, m, nowMs, 2)
	m.Take(answer(kafka.ErrNone, right), nowMs)
	if ask, again := m.Next(nowMs); ask != nil || again != 0 || p.DamageState() != partition.Undamaged {
		t.Errorf("mended, it asks %+v, again at %d, state %d", ask, again, p.DamageState())
	}
	if _, err := p.Log().Read(storage.ReadRequest{MaxBytes: 1, MinOneBatch: true, UpTo: 2}); err != nil {
		t.Error(err)
	}
}

// TestReplicaGivesUp where all others have answered, twice, and nothing fits; one that was not reached may have it.
func TestReplicaGivesUp(t *testing.T) {
	t.Parallel()
	p, right := damaged(t, 1, 2, 3)
	wrong := slices.Clone(right)
	wrong[15] = 3 // another leader epoch
	var proposed []*partition.ISRChange
	m := New(Options{NodeID: 1, Propose: func(_ *partition.Partition, c *partition.ISRChange) { proposed = append(proposed, c) }, Metrics: metrics.NewRegistry()})
	p.NoteDamage()
	m.Add(p)
	now := int64(nowMs)
	for round := range 3 {
		wantAsk(t, m, now, 2)
		m.Take(answer(kafka.ErrNone, wrong), now)
		wantAsk(t, m, now, 3)
		if round == 1 {
			m.Failed(now)
		} else {
			m.Take(answer(kafka.ErrOffsetOutOfRange, nil), now)
		}
		if (len(proposed) > 0) != (round == 2) {
			t.Fatalf("round %d: %d proposals", round, len(proposed))
		}
		if p.DamageState() != partition.BeingMended {
			t.Errorf("round %d: readers are told that it is for good, before another leads: state %d", round, p.DamageState())
		}
		ask, again := m.Next(now)
		if ask != nil || again <= now {
			t.Fatalf("asks %+v, again at %d", ask, again)
		}
		now = again
	}
	if c := proposed[0]; !c.Damaged || len(c.ISR) != 2 {
		t.Errorf("proposes %+v", c)
	}
}

// TestNobodyGivesUpWhileAnotherCannotSay: one that is damaged there, too, or has not heard yet that it is a replica, may be all that the
// others could fetch from; and what was not let through says nothing.
func TestNobodyGivesUpWhileAnotherCannotSay(t *testing.T) {
	t.Parallel()
	empty := kmsg.NewPtrFetchResponse() // held back by a quota
	for name, r := range map[string]*kmsg.FetchResponse{
		"damaged too": answer(kafka.ErrCorruptMessage, nil), "being mended too": answer(kafka.ErrKafkaStorageError, nil), "not a replica yet": answer(kafka.ErrNotLeaderOrFollower, nil), "nothing": empty,
	} {
		p, _ := damaged(t, 1, 2, 3)
		m := New(Options{NodeID: 1, Propose: func(*partition.Partition, *partition.ISRChange) { t.Errorf("%s: gives up", name) }, Metrics: metrics.NewRegistry()})
		p.NoteDamage()
		m.Add(p)
		now := int64(nowMs)
		for range 4 {
			wantAsk(t, m, now, 2)
			m.Take(answer(kafka.ErrOffsetOutOfRange, nil), now)
			wantAsk(t, m, now, 3)
			m.Take(r, now)
			_, now = m.Next(now)
		}
	}
}

// TestReadersAreToldForGood only where nobody can have what is damaged: a consumer that is told so stops.
func TestReadersAreToldForGood(t *testing.T) {
	t.Parallel()
	out := func([]byte) *kmsg.FetchResponse { return answer(kafka.ErrOffsetOutOfRange, nil) }
	lost := func([]byte) *kmsg.FetchResponse { return nil }
	other := func(right []byte) *kmsg.FetchResponse { // as compaction leaves it
		b := slices.Clone(right)
		b[15] = 3
		return answer(kafka.ErrNone, b)
	}
	corrupt := func([]byte) *kmsg.FetchResponse { return answer(kafka.ErrCorruptMessage, nil) }
	for name, c := range map[string]struct {
		isr     []int32
		minISR  int
		two     func(right []byte) *kmsg.FetchResponse
		three   func(right []byte) *kmsg.FetchResponse
		forGood bool
	}{
		"the others are not reached":                      {[]int32{1}, 1, lost, lost, false},
		"one is not reached":                              {[]int32{1}, 1, out, lost, false},
		"nobody has it":                                   {[]int32{1}, 1, out, out, true},
		"all are damaged there":                           {[]int32{1, 2, 3}, 1, corrupt, corrupt, true},
		"one is damaged there, and nobody has it":         {[]int32{1, 2, 3}, 1, corrupt, out, true},
		"one is damaged there, one is not reached":        {[]int32{1, 2, 3}, 1, corrupt, lost, false},
		"another has it, and may lead soon":               {[]int32{1, 2}, 2, other, out, false},
		"another has it, and all must be in sync":         {[]int32{1, 2, 3}, 3, other, out, true},
		"another has it, and leads as soon as it may":     {[]int32{1, 2, 3}, 2, other, out, false},
		"nobody has it any more, and this one hands over": {[]int32{1, 2, 3}, 2, out, out, false},
	} {
		p, right := damaged(t, c.isr...)
		a := p.Assignment()
		a.MinInSyncReplicas, a.PartitionEpoch = c.minISR, a.PartitionEpoch+1
		if err := p.Apply(a, nowMs); err != nil {
			t.Fatal(err)
		}
		m := New(Options{NodeID: 1, Propose: func(*partition.Partition, *partition.ISRChange) {}, Metrics: metrics.NewRegistry()})
		p.NoteDamage()
		m.Add(p)
		now := int64(nowMs)
		for range 4 {
			for range 2 {
				ask, _ := m.Next(now)
				if ask == nil {
					t.Fatalf("%s: asks nobody", name)
				}
				r := map[int32]*kmsg.FetchResponse{2: c.two(right), 3: c.three(right)}[ask.Broker]
				if r == nil {
					m.Failed(now)
				} else {
					m.Take(r, now)
				}
			}
			_, now = m.Next(now)
		}
		if (p.DamageState() == partition.Unmendable) != c.forGood {
			t.Errorf("%s: state %d", name, p.DamageState())
		}
	}
	p, _ := damaged(t, 1)
	a := p.Assignment()
	a.Replicas, a.PartitionEpoch = []int32{1}, a.PartitionEpoch+1
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	m := New(Options{NodeID: 1, Metrics: metrics.NewRegistry()})
	p.NoteDamage()
	m.Add(p)
	if m.Next(nowMs); p.DamageState() != partition.Unmendable {
		t.Errorf("the only replica: state %d", p.DamageState())
	}
}
