package telemetry

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// point is one number of a push.
type point struct {
	name       string
	attributes []attribute
	value      float64
	// counter says that the value only grows; delta, that it is what was added since the last push.
	counter, delta bool
}

type attribute struct{ name, value string }

// Bounds of what is taken from one push.
const (
	maxNameBytes      = 200
	maxAttributes     = 8
	maxAttributeBytes = 128
)

// push is what decode found: the points it took, and how many it did not.
type push struct {
	points []point
	// beyond are those above the limit, unusable those of a kind or form that is not shown.
	beyond, unusable int
}

// Field numbers of OpenTelemetry's metrics v1: MetricsData → ResourceMetrics → ScopeMetrics →
// Metric → Gauge or Sum → NumberDataPoint. The message is walked, not built: a push of a few bytes
// must not become a tree of many times its size.
const (
	resourceMetricsField protowire.Number = 1
	scopeMetricsField    protowire.Number = 2
	metricField          protowire.Number = 2

	nameField                 protowire.Number = 1
	gaugeField                protowire.Number = 5
	sumField                  protowire.Number = 7
	histogramField            protowire.Number = 9
	exponentialHistogramField protowire.Number = 10
	summaryField              protowire.Number = 11

	dataPointField   protowire.Number = 1
	temporalityField protowire.Number = 2
	monotonicField   protowire.Number = 3

	doubleField    protowire.Number = 4
	integerField   protowire.Number = 6
	attributeField protowire.Number = 7

	keyField         protowire.Number = 1
	valueField       protowire.Number = 2
	stringValueField protowire.Number = 1
	boolValueField   protowire.Number = 2
	intValueField    protowire.Number = 3
)

const deltaTemporality = 1

var errMalformed = errors.New("the pushed metrics are not of OpenTelemetry's form")

// field is one field of a message: bytes for what has a length, else the number.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte
	value  uint64
}

// eachField calls visit for the fields of a message in order.
func eachField(message []byte, visit func(f field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		message = message[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
		}
		message = message[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// messages calls visit for the embedded messages of one field.
func messages(message []byte, number protowire.Number, visit func(m []byte) error) error {
	return eachField(message, func(f field) error {
		if f.number != number || f.kind != protowire.BytesType {
			return nil
		}
		return visit(f.bytes)
	})
}

// decode reads a push and takes at most limit points of it.
func decode(data []byte, limit int) (push, error) {
	var p push
	err := messages(data, resourceMetricsField, func(resource []byte) error {
		return messages(resource, scopeMetricsField, func(scope []byte) error {
			return messages(scope, metricField, func(metric []byte) error { return p.metric(metric, limit) })
		})
	})
	return p, err
}

func (p *push) metric(metric []byte, limit int) error {
	var name string
	var body field
	err := eachField(metric, func(f field) error {
		switch {
		case f.kind != protowire.BytesType:
		case f.number == nameField && len(f.bytes) <= maxNameBytes:
			name = string(f.bytes)
		case f.number >= gaugeField && f.number <= summaryField:
			body = f
		}
		return nil
	})
	if err != nil {
		return err
	}
	var template point
	switch body.number {
	case gaugeField:
	case sumField:
		if template, err = sumOf(body.bytes); err != nil {
			return err
		}
	default:
		p.unusable++
		return nil
	}
	template.name = name
	return messages(body.bytes, dataPointField, func(data []byte) error { return p.number(data, template, limit) })
}

// sumOf says how the points of a sum are to be read.
func sumOf(sum []byte) (point, error) {
	var template point
	err := eachField(sum, func(f field) error {
		if f.kind == protowire.VarintType {
			switch f.number {
			case temporalityField:
				template.delta = f.value == deltaTemporality
			case monotonicField:
				template.counter = f.value != 0
			}
		}
		return nil
	})
	return template, err
}

func (p *push) number(data []byte, template point, limit int) error {
	taken, usable := template, template.name != ""
	err := eachField(data, func(f field) error {
		switch {
		case f.number == doubleField && f.kind == protowire.Fixed64Type:
			taken.value = math.Float64frombits(f.value)
		case f.number == integerField && f.kind == protowire.Fixed64Type:
			taken.value = float64(int64(f.value))
		case f.number == attributeField && f.kind == protowire.BytesType:
			a, ok, err := attributeOf(f.bytes)
			if err != nil {
				return err
			}
			if usable = usable && ok && len(taken.attributes) < maxAttributes; usable {
				taken.attributes = append(taken.attributes, a)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !usable || taken.counter && !(taken.value >= 0):
		p.unusable++
	case len(p.points) >= limit:
		p.beyond++
	default:
		p.points = append(p.points, taken)
	}
	return nil
}

// attributeOf reads a pair of name and value; false where the value is no text, number or truth, or
// too long.
func attributeOf(pair []byte) (a attribute, ok bool, err error) {
	err = eachField(pair, func(f field) error {
		if f.kind != protowire.BytesType || len(f.bytes) > 2*maxAttributeBytes {
			return nil
		}
		switch f.number {
		case keyField:
			a.name = string(f.bytes)
		case valueField:
			a.value, ok, err = valueOf(f.bytes)
			return err
		}
		return nil
	})
	return a, ok && a.name != "" && len(a.name) <= maxAttributeBytes, err
}

func valueOf(value []byte) (text string, ok bool, err error) {
	err = eachField(value, func(f field) error {
		switch {
		case f.number == stringValueField && f.kind == protowire.BytesType && len(f.bytes) <= maxAttributeBytes:
			text, ok = string(f.bytes), true
		case f.number == boolValueField && f.kind == protowire.VarintType:
			text, ok = fmt.Sprint(f.value != 0), true
		case f.number == intValueField && f.kind == protowire.VarintType:
			text, ok = fmt.Sprint(int64(f.value)), true
		}
		return nil
	})
	return text, ok, err
}
