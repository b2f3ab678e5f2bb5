package host

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
)

// log is a quorum and a loader whose commits the test decides.
type log struct {
	image     *metadata.Image // committed
	proposals []proposed
	auto      bool // commits at once, on the controller's goroutine
}

type proposed struct {
	office  uint64
	records [][]byte
	done    func(int64, error)
}

func (l *log) propose(_ context.Context, office uint64, records [][]byte, done func(int64, error)) error {
	l.proposals = append(l.proposals, proposed{office, records, done})
	if l.auto {
		return l.apply()
	}
	return nil
}

// commit commits everything proposed.
func (l *log) commit(t *testing.T) {
	t.Helper()
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
}

func (l *log) apply() error {
	for _, p := range l.proposals {
		delta := metadata.NewDelta(l.image)
		for _, data := range p.records {
			r, err := metadata.Decode(data)
			if err == nil {
				err = delta.Replay(r)
			}
			if err != nil {
				return err
			}
		}
		l.image = delta.Apply(l.image.Offset+int64(len(p.records)), 1)
		p.done(l.image.Offset, nil)
	}
	l.proposals = nil
	return nil
}

// fail answers everything proposed as a quorum does that has lost its leadership.
func (l *log) fail() {
	for _, p := range l.proposals {
		p.done(0, kafka.ErrNotController)
	}
	l.proposals = nil
}

func newHost(t *testing.T, l *log) *Host {
	t.Helper()
	return newHostWith(t, l, func(*Options) {})
}

func newHostWith(t *testing.T, l *log, change func(*Options)) *Host {
	t.Helper()
	static, _, err := config.NewBroker(nil)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Controller: controller.New(controller.Options{ClusterID: "c", Features: controller.Features(), NodeID: 1, Broker: static}),
		Random:     env.NewSeededRandom(1), Clock: env.SystemClock{}, Metrics: metrics.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		ProposeAsync: l.propose, Image: func() *metadata.Image { return l.image },
		WaitFor: func(context.Context, int64) error { return nil }, OnFault: func(err error) { t.Error(err) },
	}
	change(&o)
	h := New(o)
	h.Start(t.Context())
	t.Cleanup(h.Stop)
	return h
}

type answered struct {
	code int16
	err  error
}

// create sends a CreateTopics and delivers its outcome later.
func create(h *Host, name string, validateOnly bool) <-chan answered {
	out := make(chan answered, 1)
	go func() {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.ValidateOnly = validateOnly
		req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: 1, ReplicationFactor: 1}}
		resp, _, err := h.Handle(context.Background(), controller.Origin{}, req)
		if err != nil {
			out <- answered{err: err}
			return
		}
		out <- answered{code: resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode}
	}()
	return out
}

func addBroker(t *testing.T, l *log) {
	t.Helper()
	delta := metadata.NewDelta(l.image)
	for _, r := range []metadata.Record{
		&metadata.FeatureLevelRecord{Name: metadata.MetadataVersionFeature, FeatureLevel: controller.MetadataVersion},
		&metadata.FeatureLevelRecord{Name: metadata.ELRVersionFeature, FeatureLevel: controller.ELRVersion},
		&metadata.FeatureLevelRecord{Name: controller.TransactionVersionFeature, FeatureLevel: controller.TransactionVersion},
		&metadata.RegisterBrokerRecord{BrokerID: 1, LogDirs: []kafka.UUID{{1}}},
	} {
		if err := delta.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	l.image = delta.Apply(l.image.Offset+4, 1)
}

func TestAnswersLeaveAtCommitAndSeeWhatIsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &log{image: metadata.EmptyImage()}
		addBroker(t, l)
		h := newHost(t, l)
		if a := <-create(h, "early", false); !errors.Is(a.err, kafka.ErrNotController) {
			t.Errorf("before leadership: %+v", a)
		}
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 1, IsSelf: true, StartOffset: l.image.Offset + 1})
		if err := h.WaitActive(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := create(h, "a", false)
		synctest.Wait()
		again := create(h, "a", false)
		check := create(h, "b", true)
		synctest.Wait()
		select {
		case <-first:
			t.Fatal("answered before the commit")
		case <-again:
			t.Fatal("an answer that depends on what is in flight was given before the commit")
		case <-check:
			t.Fatal("a check was answered before the commit of what it is based on")
		default:
		}
		if len(l.proposals) != 3 || len(l.proposals[0].records) != 2 || len(l.proposals[1].records) != 0 {
			t.Fatalf("proposals: %+v", l.proposals)
		}
		l.commit(t)
		if a := <-first; a.err != nil || a.code != 0 {
			t.Errorf("first: %+v", a)
		}
		if a := <-again; a.err != nil || kafka.ErrorCode(a.code) != kafka.ErrTopicAlreadyExists {
			t.Errorf("again: %+v", a)
		}
		if a := <-check; a.err != nil || a.code != 0 {
			t.Errorf("check: %+v", a)
		}
	})
}

func TestLostLeadershipDropsTheSpeculativeImage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &log{image: metadata.EmptyImage()}
		addBroker(t, l)
		h := newHost(t, l)
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 1, IsSelf: true, StartOffset: l.image.Offset + 1})
		lost := create(h, "a", false)
		synctest.Wait()
		l.fail()
		h.OnLeadership(quorum.Leadership{LeaderID: 2, Epoch: 2})
		if a := <-lost; !errors.Is(a.err, kafka.ErrNotController) {
			t.Errorf("in flight: %+v", a)
		}
		if a := <-create(h, "a", false); !errors.Is(a.err, kafka.ErrNotController) {
			t.Errorf("while another leads: %+v", a)
		}
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 3, IsSelf: true, StartOffset: l.image.Offset + 1, Office: 2})
		retried := create(h, "a", false)
		synctest.Wait()
		if len(l.proposals) != 1 || l.proposals[0].office != 2 {
			t.Fatalf("proposals: %+v", l.proposals)
		}
		l.commit(t)
		if a := <-retried; a.err != nil || a.code != 0 {
			t.Errorf("retried: %+v", a)
		}
	})
}

// TestANewOfficeBeginsFromWhatIsCommitted: a change of the voters has taken the offset, or a proposal was dropped, and
// the same node goes on leading in the same epoch.
func TestANewOfficeBeginsFromWhatIsCommitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &log{image: metadata.EmptyImage()}
		addBroker(t, l)
		h := newHost(t, l)
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 1, IsSelf: true, StartOffset: l.image.Offset + 1, Office: 1})
		dropped := create(h, "a", false)
		synctest.Wait()
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 1})
		l.fail()
		if a := <-dropped; !errors.Is(a.err, kafka.ErrNotController) {
			t.Errorf("dropped: %+v", a)
		}
		if a := <-create(h, "b", false); !errors.Is(a.err, kafka.ErrNotController) {
			t.Errorf("between two offices: %+v", a)
		}
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 1, IsSelf: true, StartOffset: l.image.Offset + 2, Office: 2})
		retried := create(h, "a", false)
		synctest.Wait()
		if len(l.proposals) != 1 || l.proposals[0].office != 2 || len(l.proposals[0].records) != 2 {
			t.Fatalf("proposals: %+v", l.proposals)
		}
		l.commit(t)
		if a := <-retried; a.err != nil || a.code != 0 {
			t.Errorf("retried: %+v", a)
		}
	})
}

func TestFirstLeaderWritesTheFeatureLevels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &log{image: metadata.EmptyImage()}
		h := newHost(t, l)
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 1, IsSelf: true})
		synctest.Wait()
		l.commit(t)
		if level := l.image.FeatureLevel(metadata.MetadataVersionFeature); level != 30 {
			t.Errorf("metadata.version is %d", level)
		}
	})
}
