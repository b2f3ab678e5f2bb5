package telemetry

import (
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
)

var producer = Client{ID: "app", SoftwareName: "apache-kafka-java", SoftwareVersion: "4.3.1", Address: "10.0.0.1", Port: "4711", Connection: 1}

// world is a manager with a clock.
type world struct {
	t     *testing.T
	m     *Manager
	nowMs int64
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, nowMs: 1_000_000_000}
	w.m = New(Options{MaxBytes: 1 << 20, Metrics: metrics.NewRegistry(), NowMs: func() int64 { return w.nowMs }})
	return w
}

func (w *world) subscribe(configs ...string) {
	all := map[string]map[string]string{}
	for _, c := range configs {
		values := map[string]string{}
		for _, item := range strings.Split(c, ";") {
			name, value, _ := strings.Cut(item, ":")
			values[name] = value
		}
		all[fmt.Sprintf("s%d", len(all))] = values
	}
	w.m.SetSubscriptions(all)
}

func (w *world) get(client Client, id kafka.UUID) (Subscription, kafka.ErrorCode) {
	s, err := w.m.Subscribe(w.nowMs, client, id)
	return s, kafka.CodeOf(err)
}

func (w *world) push(client Client, p Push) kafka.ErrorCode {
	return kafka.CodeOf(w.m.Push(w.nowMs, client, p))
}

func (w *world) want(what string, got, want kafka.ErrorCode) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func id(n byte) kafka.UUID { return kafka.UUID{0: n, 6: 0x40, 8: 0x80} }

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if s, code := w.get(producer, id(1)); code != 0 || len(s.Metrics) != 0 || s.IntervalMs != defaultIntervalMs || s.MaxBytes != 1<<20 {
		t.Errorf("without subscriptions: %+v %v", s, code)
	}
	w.subscribe("metrics:b.,a.;interval.ms:5000;match:client_id=ap.", "metrics:a.;interval.ms:7000", "metrics:*;interval.ms:100;match:client_software_name=librdkafka", "metrics:x;match:client_id=[")
	// A change is told at once, whatever the interval.
	first, code := w.get(producer, id(1))
	if code != 0 || !slices.Equal(first.Metrics, []string{"a.", "b."}) || first.IntervalMs != 5000 {
		t.Errorf("after the change: %+v %v", first, code)
	}
	if s, _ := w.get(Client{ID: "other", SoftwareName: "librdkafka", SoftwareVersion: "2"}, id(2)); !slices.Equal(s.Metrics, []string{"*"}) || s.IntervalMs != 100 {
		t.Errorf("for all metrics: %+v", s)
	}
	if s, _ := w.get(producer, id(3)); s.ID == first.ID {
		t.Error("two instances have one subscription id")
	}
	w.nowMs += 5000
	if s, code := w.get(producer, id(1)); code != 0 || s.ID != first.ID {
		t.Errorf("an interval later: %+v %v", s, code)
	}
}

func TestRequestsAreThrottled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribe("metrics:*;interval.ms:5000")
	s, code := w.get(producer, id(1))
	w.want("first question", code, 0)
	_, code = w.get(producer, id(1))
	w.want("question again", code, kafka.ErrThrottlingQuotaExceeded)
	p := Push{ID: id(1), SubscriptionID: s.ID, Metrics: pushed(gauge("g", of(double(1))))}
	w.want("push at once after the question", w.push(producer, p), 0)
	w.want("push again", w.push(producer, p), kafka.ErrThrottlingQuotaExceeded)
	w.nowMs += 4999
	w.want("a millisecond too early", w.push(producer, p), kafka.ErrThrottlingQuotaExceeded)
	w.nowMs++
	w.want("in time", w.push(producer, p), 0)
	// Over another connection it is a client that begins.
	again := producer
	again.Connection = 2
	_, code = w.get(again, id(1))
	w.want("another connection", code, 0)
	last := p
	last.Terminating = true
	w.want("the last push, early", w.push(again, last), 0)
	w.want("after the last", w.push(again, p), kafka.ErrInvalidRequest)
}

func TestPushesAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribe("metrics:*;interval.ms:100")
	s, _ := w.get(producer, id(1))
	good := Push{ID: id(1), SubscriptionID: s.ID, Metrics: pushed(gauge("g", of(double(1))))}
	for _, c := range []struct {
		what   string
		change func(p *Push)
		want   kafka.ErrorCode
	}{
		{"no id", func(p *Push) { p.ID = kafka.ZeroUUID }, kafka.ErrInvalidRequest}, {"a reserved id", func(p *Push) { p.ID = kafka.MetadataTopicUUID }, kafka.ErrInvalidRequest},
		{"another subscription", func(p *Push) { p.SubscriptionID++ }, kafka.ErrUnknownSubscriptionID}, {"no codec", func(p *Push) { p.Compression = 5 }, kafka.ErrUnsupportedCompressionType},
		{"a negative codec", func(p *Push) { p.Compression = -1 }, kafka.ErrUnsupportedCompressionType}, {"too much", func(p *Push) { p.Metrics = make([]byte, 1<<20+1) }, kafka.ErrTelemetryTooLarge},
		{"not compressed", func(p *Push) { p.Compression = 1 }, kafka.ErrInvalidRecord}, {"not OpenTelemetry's", func(p *Push) { p.Metrics = []byte("metrics") }, kafka.ErrInvalidRecord},
		{"a bomb", func(p *Push) { p.Compression, p.Metrics = 1, zipped(2<<20) }, kafka.ErrInvalidRecord}, {"nothing", func(p *Push) { p.Metrics = nil }, 0}, {"as it should be", func(*Push) {}, 0},
	} {
		w.nowMs += 100
		p := good
		c.change(&p)
		w.want(c.what, w.push(producer, p), c.want)
		if c.want == kafka.ErrUnknownSubscriptionID || c.want == kafka.ErrUnsupportedCompressionType {
			_, code := w.get(producer, id(1)) // such a client may ask at once
			w.want("question after "+c.what, code, 0)
		}
	}
}

func zipped(size int) []byte {
	var out strings.Builder
	z := gzip.NewWriter(&out)
	_, _ = z.Write(make([]byte, size))
	_ = z.Close()
	return []byte(out.String())
}

func shown(m *Manager) map[string]string {
	all := map[string]string{}
	for _, s := range m.Series() {
		var labels []string
		for _, l := range s.Labels {
			labels = append(labels, l.Name+"="+l.Value)
		}
		key := s.Name + "{" + strings.Join(labels, ",") + "}"
		if _, twice := all[key]; twice {
			all[key] = "twice"
			continue
		}
		all[key] = fmt.Sprintf("%v %g", s.Kind == metrics.KindCounter, s.Func())
	}
	return all
}

func TestSeries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribe("metrics:*;interval.ms:20000")
	s, _ := w.get(producer, id(1))
	for range 2 {
		w.want("push", w.push(producer, Push{ID: id(1), SubscriptionID: s.ID, Metrics: pushed(
			gauge("org.apache.kafka.producer.size-avg", of(double(2), pair("topic", "t\xff"), pair("client_id", "liar"), pair("a.b", "1"), pair("a-b", "2"), pair("0", "z"))),
			sum("org.apache.kafka.producer.sent.total", 1, true, of(integer(5))), sum("held", 2, false, of(integer(9))),
		)}), 0)
		w.nowMs += 20_000
	}
	const own = "client_id=app,client_instance_id=AQAAAAAAQACAAAAAAAAAAA,software=apache-kafka-java/4.3.1"
	want := map[string]string{
		"kafka_client_producer_size_avg{" + own + ",a_b=1,attribute_0=z,topic=t�}": "false 2",
		"kafka_client_producer_sent_total{" + own + "}":                            "true 10",
		"kafka_client_held{" + own + "}":                                           "false 9",
	}
	got := shown(w.m)
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %q, want %q", key, got[key], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("series: %v", got)
	}
	// A name that another client uses for another type would spoil the whole page.
	other := producer
	other.Connection = 9
	s2, _ := w.get(other, id(2))
	w.want("another type", w.push(other, Push{ID: id(2), SubscriptionID: s2.ID, Metrics: pushed(sum("held", 2, true, of(integer(1))))}), 0)
	if n := len(shown(w.m)); n != 3 || w.m.dropped["type"].Value() != 1 {
		t.Errorf("%d series", n)
	}
	// Silence for three intervals, or a minute, ends it all.
	w.nowMs += 60_001
	if got := shown(w.m); len(got) != 0 || len(w.m.kinds) != 0 || w.m.seriesCount != 0 || len(w.m.instances) != 0 || w.m.recency.Len() != 0 {
		t.Errorf("after silence: %v", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribe("metrics:*;interval.ms:100")
	var points [][]byte
	for n := range maxInstanceSeries + 5 {
		points = append(points, of(double(1), pair("n", fmt.Sprint(n))))
	}
	data := pushed(gauge("many", points...))
	clients := maxSeries/maxInstanceSeries + 1
	for n := range clients {
		instance := kafka.UUID{0: byte(n + 1), 6: 0x40}
		s, _ := w.get(producer, instance)
		w.want("push", w.push(producer, Push{ID: instance, SubscriptionID: s.ID, Metrics: data}), 0)
	}
	if n := len(w.m.Series()); n != maxSeries {
		t.Errorf("%d series", n)
	}
	if each, all := w.m.dropped["limit of a client"].Value(), w.m.dropped["limit"].Value(); each != int64(5*clients) || all != maxInstanceSeries {
		t.Errorf("dropped %d and %d", each, all)
	}
	for n := range maxInstances + 10 {
		w.get(producer, kafka.UUID{0: byte(n), 1: byte(n >> 8), 2: 1, 6: 0x40})
	}
	if len(w.m.instances) != maxInstances || w.m.recency.Len() != maxInstances || w.m.seriesCount != 0 {
		t.Errorf("%d instances, %d series", len(w.m.instances), w.m.seriesCount)
	}
}
