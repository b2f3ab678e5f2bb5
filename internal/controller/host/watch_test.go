package host

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
)

// newWatch is a host with sessions of 1.5 s over brokers 1 to 3, not active yet. Partition t-0 has
// replicas 3, 1 and 2; broker 1 leads it.
func newWatch(t *testing.T) (*Host, *log) {
	t.Helper()
	return newWatchWith(t, func(*Options) {})
}

func newWatchWith(t *testing.T, change func(*Options)) (*Host, *log) {
	t.Helper()
	l := &log{image: metadata.EmptyImage(), auto: true}
	addBroker(t, l)
	delta := metadata.NewDelta(l.image)
	for _, r := range []metadata.Record{
		&metadata.RegisterBrokerRecord{BrokerID: 2, BrokerEpoch: 20, IncarnationID: kafka.UUID{2}, LogDirs: []kafka.UUID{{2}}},
		&metadata.RegisterBrokerRecord{BrokerID: 3, BrokerEpoch: 30, IncarnationID: kafka.UUID{3}, LogDirs: []kafka.UUID{{3}}},
		&metadata.TopicRecord{Name: "t", TopicID: kafka.UUID{1}},
		&metadata.PartitionRecord{TopicID: kafka.UUID{1}, Replicas: []int32{3, 1, 2}, ISR: []int32{1, 2, 3}, Leader: 1,
			Directories: []kafka.UUID{{3}, {1}, {2}}},
	} {
		if err := delta.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	l.image = delta.Apply(l.image.Offset+4, 1)
	h := newHostWith(t, l, func(o *Options) {
		o.SessionTimeout, o.BalanceInterval, o.UncleanInterval, o.GrowInterval = 1500*time.Millisecond, 5*time.Second, 5*time.Second, 5*time.Second
		change(o)
	})
	return h, l
}

func (l *log) lead(h *Host, epoch int32) {
	h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: epoch, IsSelf: true, StartOffset: l.image.Offset + 1})
	synctest.Wait()
}

// hear has heartbeats of these brokers arrive for so long.
func hear(h *Host, d time.Duration, brokers ...int32) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, id := range brokers {
			h.BrokerTouched(id, h.o.Image().Broker(id).Epoch)
		}
		<-time.After(100 * time.Millisecond)
		synctest.Wait()
	}
}

func TestSilentAndDeadBrokersAreFenced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l := newWatch(t)
		l.lead(h, 1)
		hear(h, 4*time.Second, 1, 2, 3)
		if p := l.image.Partition("t", 0); p.Leader != 1 || len(p.ISR) != 3 {
			t.Fatalf("while all are heard of: %+v", p)
		}
		hear(h, 1300*time.Millisecond, 2, 3)
		if l.image.Broker(1).Fenced {
			t.Error("fenced before its session has ended")
		}
		hear(h, 400*time.Millisecond, 2, 3)
		if p := l.image.Partition("t", 0); !l.image.Broker(1).Fenced || p.Leader != 3 || len(p.ISR) != 2 || p.LeaderEpoch != 1 {
			t.Errorf("silent: %+v", p)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h, l := newWatch(t)
		h.BrokerDead(2, kafka.UUID{2}) // before it is active
		synctest.Wait()
		l.lead(h, 1)
		if !l.image.Broker(2).Fenced {
			t.Error("known to be dead, and not fenced by the new controller")
		}
		hear(h, 2*time.Second, 1, 3)
		h.BrokerDead(1, kafka.UUID{})
		synctest.Wait()
		if p := l.image.Partition("t", 0); !l.image.Broker(1).Fenced || p.Leader != 3 || len(p.ELR) != 1 {
			t.Errorf("dead: %+v", p)
		}
	})
}

// TestLastBrokerLeaves has a broker stop on purpose that nobody is there to take over from: nothing is wrong.
func TestLastBrokerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		h, l := newWatchWith(t, func(o *Options) {
			o.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		delta := metadata.NewDelta(l.image)
		for _, r := range []metadata.Record{
			&metadata.BrokerRegistrationChangeRecord{BrokerID: 2, BrokerEpoch: 20, Fenced: metadata.FencingFence},
			&metadata.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: 30, InControlledShutdown: 1},
		} {
			if err := delta.Replay(r); err != nil {
				t.Fatal(err)
			}
		}
		l.image = delta.Apply(l.image.Offset+2, 1)
		l.lead(h, 1)
		h.BrokerDead(3, kafka.UUID{3})
		synctest.Wait()
		if !l.image.Broker(3).Fenced || h.fencedCount.Value() != 0 || logged.Len() > 0 {
			t.Errorf("%+v, %d counted as dead, logged %q", l.image.Broker(3), h.fencedCount.Value(), &logged)
		}
		h.BrokerDead(1, kafka.UUID{})
		synctest.Wait()
		if !l.image.Broker(1).Fenced || h.fencedCount.Value() != 1 || logged.Len() == 0 {
			t.Errorf("%+v, %d counted as dead, logged %q", l.image.Broker(1), h.fencedCount.Value(), &logged)
		}
	})
}

func TestPreferredLeadersComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l := newWatch(t)
		l.lead(h, 1)
		hear(h, 4900*time.Millisecond, 1, 2, 3)
		if p := l.image.Partition("t", 0); p.Leader != 1 {
			t.Fatalf("too early: %+v", p)
		}
		hear(h, 300*time.Millisecond, 1, 2, 3)
		if p := l.image.Partition("t", 0); p.Leader != 3 || p.LeaderEpoch != 1 {
			t.Errorf("%+v", p)
		}
	})
}
