package metadata

import (
	"fmt"
	"math"
	"strconv"

	"github.com/moldau/moldau/internal/kafka"
)

// JSON returns r in the form that Kafka's dump-log tool prints with its cluster metadata
// decoder: {"type":…,"version":…,"data":{…}}, tagged fields only where they are set.
func JSON(r Record, version int16) []byte {
	j := &jsonWriter{out: fmt.Appendf(nil, `{"type":%q,"version":%d,"data":{`, r.Type().String(), version)}
	r.visit(j, version)
	return append(j.out, "}}"...)
}

type jsonWriter struct{ out []byte }

// separate puts a comma between two members or elements.
func (j *jsonWriter) separate() {
	if last := j.out[len(j.out)-1]; last != '{' && last != '[' {
		j.out = append(j.out, ',')
	}
}

func (j *jsonWriter) name(name string) {
	j.separate()
	j.out = strconv.AppendQuote(j.out, name)
	j.out = append(j.out, ':')
}

func (j *jsonWriter) number(name string, v int64) {
	j.name(name)
	j.out = strconv.AppendInt(j.out, v, 10)
}

func (j *jsonWriter) text(s string) { j.out = kafka.AppendJSONString(j.out, s) }

func (j *jsonWriter) boolean(name string, v *bool) {
	j.name(name)
	j.out = strconv.AppendBool(j.out, *v)
}

func (j *jsonWriter) int8(name string, v *int8)     { j.number(name, int64(*v)) }
func (j *jsonWriter) int16(name string, v *int16)   { j.number(name, int64(*v)) }
func (j *jsonWriter) uint16(name string, v *uint16) { j.number(name, int64(*v)) }
func (j *jsonWriter) int32(name string, v *int32)   { j.number(name, int64(*v)) }
func (j *jsonWriter) int64(name string, v *int64)   { j.number(name, *v) }

func (j *jsonWriter) float64(name string, v *float64) {
	j.name(name)
	text := kafka.JavaFloat(*v, 64)
	if math.IsNaN(*v) || math.IsInf(*v, 0) {
		text = strconv.Quote(text) // JSON has no such numbers
	}
	j.out = append(j.out, text...)
}

func (j *jsonWriter) uuid(name string, v *kafka.UUID) {
	j.name(name)
	j.text(v.String())
}

func (j *jsonWriter) str(name string, v *string) {
	j.name(name)
	j.text(*v)
}

func (j *jsonWriter) nullableStr(name string, v **string) {
	j.name(name)
	if *v == nil {
		j.out = append(j.out, "null"...)
	} else {
		j.text(**v)
	}
}

func (j *jsonWriter) int32s(name string, v *[]int32, _ bool) {
	j.beginArray(name, len(*v))
	for _, x := range *v {
		j.separate()
		j.out = strconv.AppendInt(j.out, int64(x), 10)
	}
	j.endArray()
}

func (j *jsonWriter) uuids(name string, v *[]kafka.UUID, _ bool) {
	j.beginArray(name, len(*v))
	for _, x := range *v {
		j.separate()
		j.text(x.String())
	}
	j.endArray()
}

func (j *jsonWriter) beginArray(name string, n int) int {
	j.name(name)
	j.out = append(j.out, '[')
	return n
}

func (j *jsonWriter) beginElement() bool {
	j.separate()
	j.out = append(j.out, '{')
	return true
}

func (j *jsonWriter) endElement() { j.out = append(j.out, '}') }
func (j *jsonWriter) endArray()   { j.out = append(j.out, ']') }

func (j *jsonWriter) tags(fields ...taggedField) {
	for _, f := range fields {
		if f.isSet {
			f.visit(j)
		}
	}
}
