package telemetry

import (
	"math"
	"os"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// The builders of messages below write OpenTelemetry's metrics v1.

func message(number protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), slices.Concat(parts...))
}

func text(number protowire.Number, s string) []byte { return message(number, []byte(s)) }

func varint(number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
}

func double(v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, doubleField, protowire.Fixed64Type), math.Float64bits(v))
}

func integer(v int64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, integerField, protowire.Fixed64Type), uint64(v))
}

func pair(name, value string) []byte {
	return message(attributeField, text(keyField, name), message(valueField, text(stringValueField, value)))
}

func gauge(name string, points ...[]byte) []byte {
	return message(metricField, text(nameField, name), message(gaugeField, points...))
}

func sum(name string, temporality uint64, monotonic bool, points ...[]byte) []byte {
	flags := varint(temporalityField, temporality)
	if monotonic {
		flags = append(flags, varint(monotonicField, 1)...)
	}
	return message(metricField, text(nameField, name), message(sumField, append(points, flags)...))
}

func of(data ...[]byte) []byte { return message(dataPointField, data...) }

func pushed(metrics ...[]byte) []byte {
	return message(resourceMetricsField, message(scopeMetricsField, metrics...))
}

func TestDecode(t *testing.T) {
	t.Parallel()
	data := pushed(
		gauge("a.gauge", of(double(1.5), pair("topic", "t")), of(integer(-3))),
		sum("a.counter", 1, true, of(integer(7))), sum("a.level", 2, false, of(double(-2))),
		message(metricField, text(nameField, "a.histogram"), message(histogramField)), gauge("", of(double(1))), sum("bad", 1, true, of(double(math.NaN()))),
		gauge("odd", of(double(1), message(attributeField, text(keyField, "list"), message(valueField, message(5))))),
		gauge("typed", of(double(4), message(attributeField, text(keyField, "n"), message(valueField, varint(intValueField, 12))), message(attributeField, text(keyField, "b"), message(valueField, varint(boolValueField, 1))))),
	)
	p, err := decode(data, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := []point{
		{name: "a.gauge", value: 1.5, attributes: []attribute{{"topic", "t"}}}, {name: "a.gauge", value: -3},
		{name: "a.counter", value: 7, counter: true, delta: true}, {name: "a.level", value: -2}, {name: "typed", value: 4, attributes: []attribute{{"n", "12"}, {"b", "true"}}},
	}
	if len(p.points) != len(want) || p.unusable != 4 || p.beyond != 0 {
		t.Fatalf("%+v", p)
	}
	for i, got := range p.points {
		if got.name != want[i].name || got.value != want[i].value || got.counter != want[i].counter || got.delta != want[i].delta || !slices.Equal(got.attributes, want[i].attributes) {
			t.Errorf("point %d: %+v, want %+v", i, got, want[i])
		}
	}
	if p, err := decode(data, 2); err != nil || len(p.points) != 2 || p.beyond != 3 {
		t.Errorf("with a limit: %d points, %d beyond, %v", len(p.points), p.beyond, err)
	}
	for n := range data {
		_, _ = decode(data[:n], 10) // an error or not, never a panic
	}
	for _, broken := range [][]byte{{0x0a}, {0x0a, 0x05, 1}, {0xff}, data[:len(data)-1]} {
		if _, err := decode(broken, 10); err == nil {
			t.Errorf("%x is read", broken)
		}
	}
}

// TestDecodeOfKafkasClient reads what a producer of Apache Kafka's Java client pushed.
func TestDecodeOfKafkasClient(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/kafka-4.3.1-producer.otlp")
	if err != nil {
		t.Fatal(err)
	}
	p, err := decode(data, maxInstanceSeries)
	if err != nil || len(p.points) < 50 || p.unusable > 0 {
		t.Fatalf("%d points, %d unusable, %v", len(p.points), p.unusable, err)
	}
	total := slices.IndexFunc(p.points, func(p point) bool { return p.name == "org.apache.kafka.producer.record.send.total" })
	if total < 0 || !p.points[total].counter || !p.points[total].delta {
		t.Errorf("the number of records is %d: %+v", total, p.points[max(total, 0)])
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(pushed(gauge("a", of(double(1), pair("k", "v"))), sum("b", 1, true, of(integer(1)))))
	f.Add([]byte{0x0a, 0x02, 0x12, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decode(data, 50)
		if len(p.points) > 50 {
			t.Errorf("%d points", len(p.points))
		}
		if err != nil {
			return
		}
		for _, taken := range p.points {
			if len(taken.name) > maxNameBytes || len(taken.attributes) > maxAttributes {
				t.Errorf("%+v", taken)
			}
			labelsOf(taken.attributes)
		}
	})
}
