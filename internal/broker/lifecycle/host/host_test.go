package host

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/broker/lifecycle"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
)

// world is a controller and a broker's metadata; a test changes them under mu.
type world struct {
	mu         sync.Mutex
	lost       bool // the controller is not there: requests wait until they are given up
	facts      lifecycle.Facts
	refusal    kafka.ErrorCode // of registrations
	slow       bool            // it takes long to become ready
	stale      bool
	stays      bool // the controller does not let the broker go
	heartbeats int
	registered int // how often it was told so
	faults     []error
	log        bytes.Buffer // of warnings
}

func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

// warnings are those that have a text.
func (w *world) warnings(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.log.String(), text)
}

var incarnation = kafka.UUID{5}

func (w *world) send(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return nil, ctx.Err()
	}
	if _, ok := req.(*kmsg.BrokerRegistrationRequest); ok {
		r := kmsg.NewPtrBrokerRegistrationResponse()
		if r.ErrorCode, r.BrokerEpoch = int16(w.refusal), 40; w.refusal == kafka.ErrNone {
			w.facts.MetadataOffset, w.facts.Incarnation = 40, incarnation
			w.facts.Ready = !w.slow
		}
		return r, nil
	}
	w.heartbeats++
	r := kmsg.NewPtrBrokerHeartbeatResponse()
	heartbeat := req.(*kmsg.BrokerHeartbeatRequest)
	r.IsFenced, r.ShouldShutdown = heartbeat.WantFence, heartbeat.WantShutdown && !w.stays
	if w.stale {
		r.ErrorCode = int16(kafka.ErrStaleBrokerEpoch)
	}
	return r, nil
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heartbeats
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) start(t *testing.T) (*Host, *env.Spawner) {
	t.Helper()
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.IncarnationID, req.ClusterID = 1, incarnation, "c"
	spawner := env.NewSpawner(context.Background(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	h := Start(Options{
		Lifecycle: lifecycle.Options{Registration: req, HeartbeatMs: 100, RegistrationTimeoutMs: 1000, LeaveTimeoutMs: 2000, LeaveSilenceMs: 2000},
		Send:      w.send, Spawner: spawner, Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Facts: func() lifecycle.Facts {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.facts
		},
		OnRegistered: func() { w.set(func() { w.registered++ }) },
		OnFailed:     func(err error) { w.set(func() { w.faults = append(w.faults, err) }) },
	})
	return h, spawner
}

// run returns a broker that is running, until the test ends.
func (w *world) run(t *testing.T) *Host {
	t.Helper()
	h, spawner := w.start(t)
	t.Cleanup(spawner.Stop)
	if err := h.AwaitRunning(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestLifeFromStartToEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := w.run(t)
		if h.Epoch() != 40 {
			t.Fatalf("epoch %d", h.Epoch())
		}
		<-time.After(time.Second)
		synctest.Wait()
		before := w.count()
		if before < 9 || before > 12 {
			t.Errorf("%d heartbeats in a second", before)
		}
		w.set(func() { w.facts.OfflineDirs = []kafka.UUID{{1}} })
		h.Wake()
		synctest.Wait()
		if w.count() != before+1 {
			t.Error("a failed log dir is not told at once")
		}
		if err := h.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestBrokerThatTakesLongToBecomeReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{slow: true}
		h, spawner := w.start(t)
		defer spawner.Stop()
		if err := h.AwaitRegistered(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.AwaitRunning(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before it is ready: %v", err)
		}
		if n := w.count(); n < 590 {
			t.Errorf("%d heartbeats in a minute", n)
		}
		w.set(func() { w.facts.Ready = true })
		began := time.Now()
		h.Wake()
		if err := h.AwaitRunning(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// The controller is away while the broker starts, while it runs, and while it leaves.
func TestLostController(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{lost: true}
		h, spawner := w.start(t)
		defer spawner.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.AwaitRunning(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without controller: %v", err)
		}
		w.set(func() { w.lost = false })
		if err := h.AwaitRunning(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.set(func() { w.lost = true })
		<-time.After(time.Second) // a heartbeat is stuck
		began := time.Now()
		if err := h.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it was waited for %s", took)
		}
	})
}

// Who finds out that no controller is left does not wait for one.
func TestNobodyLeftToAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := w.run(t)
		w.set(func() { w.lost = true })
		began := time.Now()
		time.AfterFunc(200*time.Millisecond, h.GiveUp)
		if err := h.Leave(t.Context()); err != nil || time.Since(began) != 200*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// An operator hears once of a controller that is away for long, and nothing of one that is replaced.
func TestSilentControllerIsReportedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.run(t)
		for _, c := range []struct {
			away time.Duration
			said int
		}{{time.Second, 0}, {time.Hour, 1}, {time.Second, 1}, {time.Minute, 2}} {
			w.set(func() { w.lost = true })
			<-time.After(c.away)
			w.set(func() { w.lost = false })
			<-time.After(time.Minute)
			if away, back := w.warnings("does not answer"), w.warnings("answers this broker again"); away != c.said || back != c.said {
				t.Errorf("after %s: said %d times that it is away, %d times that it is back", c.away, away, back)
			}
		}
	})
}

func TestControllerThatComesBackLetsTheBrokerGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := w.run(t)
		w.set(func() { w.lost = true })
		<-time.After(150 * time.Millisecond) // a heartbeat is stuck
		w.set(func() { w.lost, w.stays = false, true })
		left := make(chan error, 1)
		go func() { left <- h.Leave(t.Context()) }()
		<-time.After(time.Second)
		synctest.Wait()
		select {
		case <-left:
			t.Fatal("the broker left although its leaderships are there")
		default:
		}
		w.set(func() { w.stays = false })
		began := time.Now()
		if err := <-left; err != nil || time.Since(began) > 50*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestRefusalsEndTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{refusal: kafka.ErrDuplicateBrokerRegistration}
		h, spawner := w.start(t)
		began := time.Now()
		err := h.AwaitRunning(t.Context())
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "node.id") || took < time.Second || took > 2*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
		if len(w.faults) > 0 {
			t.Errorf("the start tells of it, and a fault, too: %v", w.faults)
		}
		spawner.Stop()
	})
}

func TestReplacedBrokerIsAFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := w.run(t)
		w.set(func() { w.stale, w.facts.Incarnation = true, kafka.UUID{6} })
		<-time.After(time.Second)
		synctest.Wait()
		if len(w.faults) != 1 {
			t.Errorf("faults %v", w.faults)
		}
		if err := h.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestEachRegistrationIsTold, also one that follows that of a killed predecessor which came late.
func TestEachRegistrationIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h, spawner := w.start(t)
		defer spawner.Stop()
		for want := 1; want <= 2; want++ {
			if err := h.AwaitRunning(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if w.set(func() {}); w.registered != want {
				t.Errorf("told %d times, registered %d times", w.registered, want)
			}
			w.set(func() { w.stale, w.facts.Incarnation, w.facts.SharesDirs = true, kafka.UUID{6}, true })
			<-time.After(150 * time.Millisecond)
			w.set(func() { w.stale = false })
		}
	})
}

func TestUnregisteredBrokerFallsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := w.run(t)
		w.set(func() { w.stale, w.facts.Incarnation = true, kafka.ZeroUUID })
		<-time.After(time.Second)
		synctest.Wait()
		before := w.count()
		<-time.After(time.Minute)
		synctest.Wait()
		if more := w.count() - before; more > 0 || len(w.faults) > 0 {
			t.Errorf("%d heartbeats more, faults %v", more, w.faults)
		}
		if err := h.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
