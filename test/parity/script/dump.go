package script

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// dumper writes an answer in one line without what must differ between two brokers: values that a broker
// makes up are replaced by what they stand for. Numbers of 0, empty strings, absent and null fields are left
// out; an empty array that might be null is [].
type dumper struct {
	session *Session
	out     strings.Builder
}

// dump returns the line for an answer whose body was raw.
func (s *Session) dump(response kmsg.Response, raw []byte) string {
	d := &dumper{session: s}
	again := response.AppendTo(nil)
	d.fields(reflect.ValueOf(response).Elem())
	line := strings.TrimSpace(d.out.String())
	if !bytes.Equal(again, raw) {
		at := 0
		for at < len(again) && at < len(raw) && again[at] == raw[at] {
			at++
		}
		line += fmt.Sprintf(" (not encoded as kmsg would: %x at byte %d)", raw[at:min(len(raw), at+8)], at)
	}
	if line == "" {
		return "empty"
	}
	return line
}

// names in answers by which the entries of other cases are told.
var entryNames = map[string]bool{"Topic": true, "Group": true, "TransactionalID": true, "ResourceName": true, "Name": true}

func (d *dumper) fields(v reflect.Value) {
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch name {
		case "Version", "ThrottleMillis":
			continue
		case "UnknownTags":
			tags := field.Addr().Interface().(*kmsg.Tags)
			tags.Each(func(key uint32, content []byte) { fmt.Fprintf(&d.out, "tag%d=%x ", key, content) })
			continue
		}
		if text := d.value(field, name); text != "" {
			fmt.Fprintf(&d.out, "%s=%s ", name, text)
		}
	}
}

func (d *dumper) value(v reflect.Value, name string) string {
	if mask := d.masked(v, name); mask != "" {
		return mask
	}
	switch v.Kind() {
	case reflect.Struct:
		inner := &dumper{session: d.session}
		inner.fields(v)
		return "{" + strings.TrimSpace(inner.out.String()) + "}"
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		if v.Elem().Kind() == reflect.String && v.Elem().Len() == 0 {
			return `""`
		}
		return d.value(v.Elem(), name)
	case reflect.Slice:
		return d.list(v, name)
	case reflect.Array:
		return d.id(v)
	case reflect.String:
		if v.Len() == 0 {
			return ""
		}
		return strconv.Quote(d.session.label(v.String()))
	case reflect.Bool:
		if v.Bool() {
			return "true"
		}
		return ""
	case reflect.Uint16:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if v.Int() == 0 {
			return ""
		}
		return strconv.FormatInt(v.Int(), 10)
	}
	return fmt.Sprint(v.Interface())
}

// masked returns what stands for a value that differs from broker to broker or run to run.
func (d *dumper) masked(v reflect.Value, name string) string {
	if slices.Contains(d.session.subject.unlike, name) && (v.Int() > 0 || v.Int() < -1) {
		return "<number>"
	}
	switch name {
	case "ErrorCode":
		if v.Int() == 0 {
			return ""
		}
		return kafka.ErrorCode(v.Int()).Error()
	case "ErrorMessage":
		if v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Len() > 0 || v.Kind() == reflect.String && v.Len() > 0 {
			return "<text>"
		}
	case "Port":
		if v.CanInt() && int(v.Int()) == d.session.broker.port || v.CanUint() && v.Uint() > 0 {
			return "<port>"
		}
	case "PreviousProducerID", "NextProducerID": // in records
		if v.Int() > 0 {
			return "<a producer id>"
		}
	case "ProducerID":
		if n := v.Int(); n > 0 && d.session.pid > 0 {
			if off := n - d.session.pid; off > -100 && off < 100 {
				return fmt.Sprintf("<pid%+d>", off)
			}
		}
		if v.Int() > 0 && v.Int() < 1<<40 {
			return "<a producer id>"
		}
	case "BaseOffset", "Offset", "LowWatermark":
		if d.session.subject.pool != "" && v.Int() >= 0 {
			return fmt.Sprintf("<%+d>", v.Int()-d.session.base)
		}
	case "ClusterID":
		if v.Kind() == reflect.String && v.Len() > 0 || v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Len() > 0 {
			return "<cluster>"
		}
	case "Documentation":
		if !v.IsNil() && v.Elem().Len() > 0 {
			return "<text>"
		}
	case "TotalBytes", "UsableBytes", "SessionID", "TimeSinceLastCaughtUpMillis", "FinalizedFeaturesEpoch":
		if v.Int() > 0 {
			return "<number>"
		}
	}
	if name == "ExpireTimestamp" && (v.Int() > 1<<62 || v.Int() < -1<<62) {
		return "<in thousands of years>"
	}
	if v.Kind() == reflect.Int64 && (strings.Contains(name, "Time") || strings.Contains(name, "Append")) {
		if now, n := time.Now().UnixMilli(), v.Int(); n > now-3600_000 && n < now+3600_000 {
			return "<now>"
		}
	}
	return ""
}

func (d *dumper) id(v reflect.Value) string {
	var id [16]byte
	reflect.Copy(reflect.ValueOf(&id).Elem(), v)
	switch {
	case id == [16]byte{}:
		return ""
	case id == unknownID:
		return "<unknown id>"
	}
	for topic, known := range d.session.broker.ids {
		if known == id {
			return "<id of " + d.session.label(topic) + ">"
		}
	}
	return "<an id>"
}

func (d *dumper) list(v reflect.Value, name string) string {
	switch element := v.Type().Elem(); {
	case v.IsNil():
		return ""
	case element.Kind() == reflect.Uint8:
		return "0x" + d.session.labelBytes(v.Bytes())
	}
	var items []string
	for i := range v.Len() {
		if d.session.hides(v.Index(i), name) {
			continue
		}
		text := d.value(v.Index(i), name)
		if text == "" {
			text = "0" // or false
		}
		items = append(items, text)
	}
	if d.session.subject.mineOnly || d.session.subject.sorted {
		sort.Strings(items)
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// hides says whether an entry of a list was left by another case.
func (s *Session) hides(entry reflect.Value, list string) bool {
	if list == "ApiKeys" || list == "SupportedFeatures" || list == "FinalizedFeatures" { // which there are, PARITY.md and internal/lint say
		return true
	}
	if !s.subject.mineOnly || entry.Kind() != reflect.Struct {
		return false
	}
	for name := range entryNames {
		field := entry.FieldByName(name)
		if field.IsValid() && field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if field.IsValid() && field.Kind() == reflect.String && field.Len() > 0 {
			return !strings.HasPrefix(field.String(), s.own) && !strings.HasPrefix(field.String(), fixed)
		}
	}
	return false
}

// label replaces the names of this case and what the broker has made up in its course.
func (s *Session) label(text string) string {
	for made, meaning := range s.labels {
		text = strings.ReplaceAll(text, made, meaning)
	}
	return strings.ReplaceAll(text, s.own, "~")
}

func (s *Session) labelBytes(b []byte) string {
	for made, meaning := range s.labels {
		b = bytes.ReplaceAll(b, []byte(made), []byte(meaning))
	}
	b = bytes.ReplaceAll(b, []byte(s.own), []byte("~"))
	if len(b) > 60 {
		return fmt.Sprintf("<%d bytes, crc %08x>", len(b), crc32.ChecksumIEEE(b))
	}
	return hex.EncodeToString(b)
}
