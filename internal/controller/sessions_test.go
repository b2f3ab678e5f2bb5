package controller

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// watched is sessions of 1,500 ms with a tick of 50 ms over unfenced brokers 1 to n, and the clock.
type watched struct {
	t     *testing.T
	s     *Sessions
	image *metadata.Image
	nowMs int64
}

func incarnationOf(id int32) kafka.UUID { return kafka.UUID{byte(id)} }

func newWatched(t *testing.T, n int32) *watched {
	t.Helper()
	w := &watched{t: t, s: NewSessions(1500, 50), image: metadata.EmptyImage(), nowMs: 1_000_000}
	for id := int32(1); id <= n; id++ {
		w.apply(&metadata.RegisterBrokerRecord{BrokerID: id, BrokerEpoch: int64(id) * 10, IncarnationID: incarnationOf(id)})
	}
	w.s.Activate(w.nowMs)
	return w
}

func (w *watched) apply(r metadata.Record) {
	w.t.Helper()
	delta := metadata.NewDelta(w.image)
	if err := delta.Replay(r); err != nil {
		w.t.Fatal(err)
	}
	w.image = delta.Apply(w.image.Offset+1, 1)
}

// run lets time pass while the brokers named are heard of, and fences whoever the sessions give up. It returns
// when each was fenced, in milliseconds since it was called.
func (w *watched) run(ms int64, heard ...int32) map[int32]int64 {
	w.t.Helper()
	fenced := map[int32]int64{}
	for began := w.nowMs; w.nowMs < began+ms; {
		w.nowMs += 50
		if (w.nowMs-began)%100 == 0 {
			for _, id := range heard {
				w.s.Touch(id, int64(id)*10, w.nowMs)
			}
		}
		for _, id := range w.tick() {
			fenced[id] = w.nowMs - began
		}
	}
	return fenced
}

func (w *watched) tick() []int32 {
	w.t.Helper()
	gone := w.s.Tick(w.image, w.nowMs)
	for _, id := range gone {
		w.apply(&metadata.BrokerRegistrationChangeRecord{BrokerID: id, BrokerEpoch: w.image.Broker(id).Epoch, Fenced: metadata.FencingFence})
	}
	return gone
}

func (w *watched) expect(what string, got map[int32]int64, id int32, earliest, latest int64) {
	w.t.Helper()
	if at, ok := got[id]; !ok || at < earliest || at > latest || len(got) != 1 {
		w.t.Errorf("%s: fenced %v, want broker %d between %d and %d ms", what, got, id, earliest, latest)
	}
}

func TestSilentBrokerIsFencedAfterItsSession(t *testing.T) {
	t.Parallel()
	w := newWatched(t, 3)
	if got := w.run(5000, 1, 2, 3); len(got) > 0 {
		t.Errorf("fenced %v", got)
	}
	w.s.Touch(3, 99, w.nowMs) // of an incarnation that nobody knows
	w.expect("silent", w.run(3000, 1, 2), 3, 1500, 1600)
	if got := w.run(5000, 1, 2); len(got) > 0 {
		t.Errorf("again: %v", got)
	}
}

func TestDeadBrokerIsFencedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWatched(t, 3)
	w.s.Dead(3, kafka.UUID{99}, w.nowMs)
	if got := w.tick(); len(got) > 0 {
		t.Errorf("another incarnation is dead, and %v were fenced", got)
	}
	w.s.Dead(3, incarnationOf(3), w.nowMs)
	if got := w.tick(); !slices.Equal(got, []int32{3}) {
		t.Errorf("fenced %v", got)
	}
	// Its next incarnation has a session of its own.
	w.apply(&metadata.RegisterBrokerRecord{BrokerID: 3, BrokerEpoch: 30, IncarnationID: kafka.UUID{33}})
	w.expect("next incarnation", w.run(3000, 1, 2), 3, 1500, 1600)
}

// TestNewControllerKnowsWhatItHasHeard: a broker that was heard of last before the controller before it had gone is fenced when
// its session is over, but not before the new controller has listened for a moment.
func TestNewControllerKnowsWhatItHasHeard(t *testing.T) {
	t.Parallel()
	w := newWatched(t, 3)
	w.s.Deactivate()
	w.run(1000, 1, 2, 3)
	w.run(700, 1, 2) // broker 3 was the active controller, too
	w.s.Activate(w.nowMs)
	w.expect("silent since 700 ms", w.run(3000, 1, 2), 3, 700, 900)

	w = newWatched(t, 3)
	w.s.Deactivate()
	w.run(1000, 1, 2, 3)
	w.run(60_000, 1)
	w.s.Activate(w.nowMs)
	w.expect("silent for long", w.run(3000, 1, 3), 2, 500, 600)

	// Who has slept has not heard anybody.
	w = newWatched(t, 3)
	w.s.Deactivate()
	w.run(1000, 1, 2, 3)
	w.nowMs += 60_000
	w.s.Activate(w.nowMs)
	w.expect("after a pause of its own", w.run(3000, 1, 2), 3, 1300, 1600)

	// Another incarnation than the one that was heard of has a session of its own.
	w = newWatched(t, 3)
	w.s.Deactivate()
	w.run(1000, 1, 2, 3)
	w.run(5000, 1, 2)
	w.apply(&metadata.RegisterBrokerRecord{BrokerID: 3, BrokerEpoch: 31, IncarnationID: kafka.UUID{33}})
	w.s.Activate(w.nowMs)
	w.expect("next incarnation", w.run(3000, 1, 2), 3, 1500, 1600)
}

func TestNewControllerKnowsTheDead(t *testing.T) {
	t.Parallel()
	w := newWatched(t, 3)
	w.run(1400, 1)
	w.s.Deactivate()
	if got := w.run(5000, 1); len(got) > 0 {
		t.Errorf("one that is not active fenced %v", got)
	}
	w.s.Dead(1, incarnationOf(1), w.nowMs)
	w.s.Activate(w.nowMs)
	if got := w.tick(); !slices.Equal(got, []int32{1}) {
		t.Errorf("the dead: fenced %v", got)
	}
	w.expect("silent for long", w.run(3000, 3), 2, 500, 600)

	// What is heard shortly after a report comes out of buffers; what is heard later refutes it.
	for _, test := range []struct {
		afterMs int64
		want    []int32
	}{{50, []int32{1}}, {150, nil}} {
		w := newWatched(t, 3)
		w.s.Deactivate()
		w.s.Dead(1, incarnationOf(1), w.nowMs)
		w.s.Touch(1, 10, w.nowMs+test.afterMs)
		w.s.Activate(w.nowMs + 200)
		w.nowMs += 250
		if got := w.tick(); !slices.Equal(got, test.want) {
			t.Errorf("heard of after %d ms: fenced %v, want %v", test.afterMs, got, test.want)
		}
	}
}

func TestHalfOfTheBrokersGoneAtOnce(t *testing.T) {
	t.Parallel()
	w := newWatched(t, 4)
	w.run(1000, 1, 2, 3, 4)
	got := w.run(10_000, 1, 2)
	if len(got) != 2 || got[3] < 2900 || got[3] > 3200 || got[4] != got[3] {
		t.Errorf("fenced %v, want 3 and 4 after two sessions", got)
	}
	// They come back in time: it was the controller's own network.
	w = newWatched(t, 4)
	w.run(2500, 1)
	if got := w.run(10_000, 1, 2, 3, 4); len(got) > 0 {
		t.Errorf("fenced %v although all came back", got)
	}
	// Both known to be dead, one after the other or at once: nothing is to be suspected, and nobody else is held
	// back for them.
	w = newWatched(t, 5)
	for _, id := range []int32{2, 3} {
		w.s.Dead(id, incarnationOf(id), w.nowMs)
		if got := w.tick(); !slices.Equal(got, []int32{id}) {
			t.Errorf("%d is dead: fenced %v", id, got)
		}
	}
	w.expect("a silent one", w.run(5000, 1, 4), 5, 1400, 1600)
	// The dead do not wait for those who are only silent.
	w = newWatched(t, 5)
	if got := w.run(1600, 1, 2); len(got) > 0 {
		t.Errorf("three of five are silent: fenced %v", got)
	}
	w.s.Dead(3, incarnationOf(3), w.nowMs)
	if got := w.tick(); !slices.Equal(got, []int32{3}) {
		t.Errorf("one of them is dead: fenced %v", got)
	}
	// Of two brokers one is half, and no reason to suspect oneself.
	w = newWatched(t, 2)
	w.expect("one of two", w.run(5000, 1), 2, 1500, 1600)
}

func TestLongGapBetweenTicksIsOneTick(t *testing.T) {
	t.Parallel()
	w := newWatched(t, 3)
	w.run(1000, 1, 2, 3)
	w.nowMs += 60_000 // the process was stopped
	if got := w.tick(); len(got) > 0 {
		t.Errorf("fenced %v after a pause of its own", got)
	}
	w.expect("later", w.run(5000, 1, 2), 3, 1300, 1600)
}

func TestShutdownWaitsUntilAllKnow(t *testing.T) {
	t.Parallel()
	w := newWatched(t, 3)
	w.tick()
	b := w.image.Broker(3)
	w.s.beginShutdown(b, 100)
	w.apply(&metadata.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: b.Epoch, InControlledShutdown: 1})
	if w.s.movesLeaders(w.image.Broker(3)) || !w.s.movesLeaders(b) {
		t.Error("the partitions are looked at once, and only when that has got into the image")
	}
	w.s.Applied(1, 10, 150, w.nowMs)
	w.s.Applied(2, 9, 150, w.nowMs) // of an incarnation that is over
	if got := w.s.lowestApplied(w.image); got != -1 {
		t.Errorf("lowest applied %d, and broker 2 has not said", got)
	}
	w.s.Applied(2, 20, 100, w.nowMs)
	if got, want := w.s.lowestApplied(w.image), w.s.shutdownOffset(b, 500); got != 100 || want != 100 {
		t.Errorf("lowest applied %d, shutdown at %d", got, want)
	}
	// Another controller does not know when it began.
	w.s.Deactivate()
	w.s.Activate(w.nowMs)
	if leaving := w.image.Broker(3); !w.s.movesLeaders(leaving) {
		t.Error("it has not looked at the partitions itself")
	}
	if got := w.s.shutdownOffset(b, 500); got != 500 {
		t.Errorf("shutdown at %d", got)
	}
	var none *Sessions
	if none.isValid(b) || none.lowestApplied(w.image) < none.shutdownOffset(b, 500) {
		t.Error("without sessions nobody is waited for")
	}
}

func TestOnlyOneBrokerHasAnID(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, nil)
	cl.addBroker(1, false)
	cl.sessions = NewSessions(1500, 50)
	cl.sessions.Activate(0)
	cl.sessions.Tick(cl.image, 50)
	register := func(dir byte) kafka.ErrorCode {
		req := registrationOf(registration{id: 1}, 77)
		req.LogDirs = [][16]byte{{dir}}
		resp, _ := cl.handle(req)
		return kafka.ErrorCode(resp.(*kmsg.BrokerRegistrationResponse).ErrorCode)
	}
	if got := register(200); got != kafka.ErrDuplicateBrokerRegistration {
		t.Errorf("another folder while the broker is alive: %s", got)
	}
	if got := register(1); got != kafka.ErrNone {
		t.Errorf("the same folder: %s", got)
	}
}
