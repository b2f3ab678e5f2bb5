package quota

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

type fixture struct {
	t        *testing.T
	clock    *env.ManualClock
	registry *metrics.Registry
	*Manager
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, clock: env.NewManualClock(time.Unix(1_700_000_000, 0)), registry: metrics.NewRegistry()}
	f.Manager = NewManager(Options{Clients: tenSeconds, Changes: tenSeconds, Metrics: f.registry, Clock: f.clock})
	return f
}

func (f *fixture) set(key string, s set) {
	f.t.Helper()
	f.Update(s.image(f.t, key))
}

func connection(user, clientID string) *security.Connection {
	return &security.Connection{Principal: security.Principal{Type: "User", Name: user}, ClientID: clientID}
}

// produce sends bytes and returns the throttle time.
func (f *fixture) produce(c *security.Connection, bytes int) time.Duration {
	return f.Throttle(c, Usage{APIKey: wire.KeyProduce, RequestBytes: bytes, At: f.clock.Now()})
}

func (f *fixture) fetch(c *security.Connection, bytes int) time.Duration {
	return f.Throttle(c, Usage{APIKey: wire.KeyFetch, ResponseBytes: bytes, At: f.clock.Now()})
}

// A client that heeds its throttle times keeps its limit. Requests of several seconds' worth are
// beyond what Kafka's way of counting can do: some 20 percent too much get through.
func TestProducersKeepTheirLimit(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 10, 100 << 10, 1 << 20} {
		f := newFixture(t)
		f.set("producer_byte_rate", set{{"", "app"}: 1 << 20})
		c := connection("ANONYMOUS", "app")
		begin := f.clock.Now()
		sent, afterStart := 0, 0
		for f.clock.Now().Sub(begin) < 2*time.Minute {
			sent += size
			wait := f.produce(c, size)
			if f.clock.Now().Sub(begin) < 20*time.Second {
				afterStart = sent // it may begin with a window's worth
			}
			f.clock.Advance(wait + 100*time.Microsecond)
		}
		if perSecond := float64(sent-afterStart) / 100; math.Abs(perSecond/(1<<20)-1) > 0.1 {
			t.Errorf("requests of %d bytes: %.0f bytes per second", size, perSecond)
		}
	}
}

func TestFetchesOverTheLimitAreEmptyAndNotCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.set("consumer_byte_rate", set{{"alice", ""}: 1000})
	c := connection("alice", "app")
	if got := f.FetchBytes(c); got != 10_000 {
		t.Errorf("a fetch may have %d bytes", got)
	}
	if got := f.FetchBytes(connection("bob", "app")); got != math.MaxInt {
		t.Errorf("another's may have %d bytes", got)
	}
	if wait := f.fetch(c, 10_000); wait != 0 {
		t.Errorf("a window's worth: %v", wait)
	}
	for range 5 {
		if wait := f.fetch(c, 5000); wait != 5*time.Second {
			t.Errorf("half a window's worth more: %v", wait)
		}
	}
	// As in Kafka a window that has just begun is taken for a whole one at first.
	waited := time.Duration(0)
	for wait := f.fetch(c, 5000); wait > 0; wait = f.fetch(c, 5000) {
		waited += wait
		f.clock.Advance(wait)
	}
	if waited < 5*time.Second || waited > 15*time.Second {
		t.Errorf("%v until the rest can be fetched", waited)
	}
}

// A batch of more than a window's worth must not stop a consumer for ever.
func TestAFirstBatchIsLetThrough(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.set("consumer_byte_rate", set{{"alice", ""}: 1000})
	c := connection("alice", "app")
	f.fetch(c, 40)
	waited := time.Duration(0)
	for wait := f.fetch(c, 50_000); wait > 0; wait = f.fetch(c, 50_000) {
		waited += wait
		f.clock.Advance(wait)
		if waited > 10*time.Minute {
			t.Fatal("it never gets through")
		}
	}
	if wait := f.fetch(c, 40); wait < 35*time.Second {
		t.Errorf("the next fetch waits for %v only", wait)
	}
}

func TestTheLargerThrottleTimeCounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := set{{"alice", ""}: 1000}
	image := s.image(t, "producer_byte_rate")
	f.Update(image)
	c := connection("alice", "app")
	f.set("request_percentage", set{{"alice", ""}: 10})
	busy := Usage{APIKey: wire.KeyMetadata, BusyTime: 2 * time.Second, At: f.clock.Now()}
	// 200 percent-seconds in a window of ten: 20 percent, which would take ten seconds; at most one.
	if wait := f.Throttle(c, busy); wait != time.Second {
		t.Errorf("throttled for %v", wait)
	}
	silent := busy
	silent.Silent, silent.APIKey = true, wire.KeyProduce
	if wait := f.Throttle(c, silent); wait != 0 {
		t.Errorf("acks=0: %v", wait)
	}
	between := busy
	between.APIKey = wire.KeyWriteTxnMarkers
	if wait := f.Throttle(c, between); wait != 0 {
		t.Errorf("a request between nodes: %v", wait)
	}
	// A fetch that is throttled for its time sends nothing either.
	f.Update(image)
	both := newFixture(t)
	both.limits.Store(&limits{fetchBytes: newLimits(s.image(t, "consumer_byte_rate"))[fetchBytes], requestTime: newLimits(set{{"alice", ""}: 10}.image(t, "request_percentage"))[requestTime]})
	fetch := Usage{APIKey: wire.KeyFetch, BusyTime: 2 * time.Second, ResponseBytes: 8000, At: both.clock.Now()}
	if wait := both.Throttle(c, fetch); wait != time.Second {
		t.Errorf("fetch: %v", wait)
	}
	if perSecond, _ := both.meters[fetchBytes].all[user("alice")].rate.measure(tenSeconds, 0); perSecond != 0 {
		t.Errorf("%v bytes per second are counted that were not sent", perSecond)
	}
	// Time spent later counts for the requests after.
	both.Spend(c, wire.KeyMetadata, 2*time.Second, both.clock.Now())
	if perSecond, _ := both.meters[requestTime].all[user("alice")].rate.measure(tenSeconds, 0); perSecond != 40 {
		t.Errorf("%v percent", perSecond)
	}
}

func TestChangesOfTopics(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.set("controller_mutation_rate", set{{"alice", ""}: 1})
	c := connection("alice", "app")
	if f.Changes(connection("bob", "app"), true, f.clock.Now) != nil {
		t.Error("bob has no limit")
	}
	var none *Changes
	if none.Throttle() != 0 {
		t.Error("no limit throttles")
	}
	strict := f.Changes(c, true, f.clock.Now)
	if err := strict.Permit(15); err != nil || strict.Throttle() != 0 {
		t.Errorf("what exceeds the limit first is permitted: %v, %v", err, strict.Throttle())
	}
	if err := strict.Permit(1); kafka.CodeOf(err) != kafka.ErrThrottlingQuotaExceeded {
		t.Errorf("what comes then is not: %v", err)
	}
	if wait := strict.Throttle(); wait != 4*time.Second {
		t.Errorf("4 partitions too many: %v", wait)
	}
	f.clock.Advance(time.Second)
	if wait := strict.Throttle(); wait != 3*time.Second {
		t.Errorf("a second later: %v", wait)
	}
	permissive := f.Changes(c, false, f.clock.Now)
	if err := permissive.Permit(2); err != nil {
		t.Errorf("an old client: %v", err)
	}
	if wait := permissive.Throttle(); wait != 5*time.Second {
		t.Errorf("an old client is held back for %v", wait)
	}
	f.clock.Advance(5 * time.Second)
	again := f.Changes(c, true, f.clock.Now)
	if err := again.Permit(1); err != nil {
		t.Errorf("when the debt is paid: %v", err)
	}
}

func TestUsageSurvivesAChangeOfTheLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.set("producer_byte_rate", set{{"", byDefault}: 1000})
	c := connection("ANONYMOUS", "app")
	if wait := f.produce(c, 10_000); wait != 0 {
		t.Errorf("at the limit: %v", wait)
	}
	f.set("producer_byte_rate", set{{"", byDefault}: 500})
	if wait := f.produce(c, 0); wait != 10*time.Second {
		t.Errorf("at half the limit: %v", wait)
	}
	f.set("producer_byte_rate", set{})
	if wait := f.produce(c, 1<<30); wait != 0 {
		t.Errorf("without a limit: %v", wait)
	}
}

func TestMetersAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.set("producer_byte_rate", set{{"", byDefault}: 1000})
	for i := range 3 * maxMeters {
		f.produce(connection("ANONYMOUS", fmt.Sprint("c", i)), 1)
	}
	if n := len(f.meters[produceBytes].all); n != maxMeters {
		t.Errorf("%d meters", n)
	}
	if n := f.series("moldau_quota_rate"); n != maxShown {
		t.Errorf("%d entities have series", n)
	}
	f.clock.Advance(time.Hour - time.Second)
	f.produce(connection("ANONYMOUS", "awake"), 1)
	f.clock.Advance(2 * time.Second)
	f.produce(connection("ANONYMOUS", "late"), 1)
	if n := len(f.meters[produceBytes].all); n != 2 {
		t.Errorf("%d meters after an hour", n)
	}
	if n := f.series("moldau_quota_rate"); n != 2 {
		t.Errorf("%d entities have series after an hour", n)
	}
}

// Clients choose their ids: what they choose must not break the metrics of all.
func TestLabels(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"app", "\xff\xfe", strings.Repeat("é", 10_000), strings.Repeat("\xff", 10_000), "\x00\n\""} {
		got := label(shortName(name))
		if !utf8.ValidString(got) || len(got) > 3*maxNameBytes || got == "" {
			t.Errorf("%d bytes: %q", len(name), got)
		}
	}
	if shortName(strings.Repeat("a", 300)+"b") == shortName(strings.Repeat("a", 300)+"c") {
		t.Error("two long ids share a meter")
	}
}

func (f *fixture) series(prefix string) int {
	n := 0
	for _, s := range f.registry.Gather() {
		if strings.HasPrefix(s.Name, prefix) {
			n++
			if s.Func() < 0 {
				f.t.Error("negative")
			}
		}
	}
	return n
}

func TestClientsWithoutALimitCostNothing(t *testing.T) {
	// AllocsPerRun must not run beside other tests.
	f := newFixture(t)
	unlimited := connection("ANONYMOUS", "app")
	u := Usage{APIKey: wire.KeyProduce, RequestBytes: 1000, BusyTime: time.Millisecond, At: f.clock.Now()}
	for name, s := range map[string]set{"no limits": {}, "limits of others": {{"alice", ""}: 1, {"bob", "x"}: 1, {"", "y"}: 1}, "its own": {{"ANONYMOUS", "app"}: 1e12}} {
		for _, key := range []string{"producer_byte_rate", "request_percentage"} {
			f.set(key, s)
			f.Throttle(unlimited, u)
			if n := testing.AllocsPerRun(100, func() { f.Throttle(unlimited, u); f.Spend(unlimited, u.APIKey, 1, u.At); f.FetchBytes(unlimited) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", name, key, n)
			}
		}
	}
}

func BenchmarkThrottle(b *testing.B) {
	f := newFixture(nil)
	c := connection("ANONYMOUS", "app")
	u := Usage{APIKey: wire.KeyProduce, RequestBytes: 1000, At: f.clock.Now()}
	for _, bench := range []struct {
		name string
		s    set
	}{{"none", set{}}, {"others", set{{"alice", ""}: 1, {"", "y"}: 1}}, {"limited", set{{"", "app"}: 1e12}}} {
		f.Update(bench.s.image(b, "producer_byte_rate"))
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				f.Throttle(c, u)
			}
		})
	}
}
