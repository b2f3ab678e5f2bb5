package script

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// value is something to put into a field.
type value struct {
	name string
	of   func(s *Session) any
}

// mutation changes one field of a good request.
type mutation struct {
	name  string
	apply func(s *Session, r kmsg.Request)
}

// mutations are the values that the fields of a subject's good request should not have, one at a
// time; those that leave the bytes of the request as they are, such as in fields of other
// versions, are left out.
func mutations(u *subject, version int16) []mutation {
	sample := sampleSession(u)
	good := encode(u.build(sample), version)
	var all []mutation
	seen := map[string]bool{string(good): true}
	for _, m := range u.walk(reflect.ValueOf(u.build(sample)).Elem(), nil, "") {
		r := u.build(sample)
		m.apply(sample, r)
		if text := string(encode(r, version)); !seen[text] {
			seen[text] = true
			all = append(all, m)
		}
	}
	return all
}

func encode(r kmsg.Request, version int16) []byte {
	r.SetVersion(version)
	return r.AppendTo(nil)
}

// step is one move from a message to a part of it: a field, an element, or what a pointer points to.
type move struct{ index int }

func reach(v reflect.Value, path []move) reflect.Value {
	for _, m := range path {
		switch v.Kind() {
		case reflect.Slice:
			v = v.Index(m.index)
		case reflect.Pointer:
			v = v.Elem().Field(m.index)
		default:
			v = v.Field(m.index)
		}
	}
	return v
}

// walk lists the mutations of message and all its parts.
func (u *subject) walk(message reflect.Value, path []move, name string) []mutation {
	var all []mutation
	for i := range message.NumField() {
		field := message.Type().Field(i)
		switch {
		case field.Name == "Version":
			continue
		case field.Name == "UnknownTags":
			at := append(path[:len(path):len(path)], move{i})
			all = append(all, mutation{name + "unknown tag", func(_ *Session, r kmsg.Request) {
				tags := reach(reflect.ValueOf(r).Elem(), at).Addr().Interface().(*kmsg.Tags)
				tags.Set(4711, []byte("what"))
			}})
			continue
		}
		all = append(all, u.part(message.Field(i), append(path[:len(path):len(path)], move{i}), name+field.Name, field.Name)...)
	}
	return all
}

func (u *subject) part(v reflect.Value, path []move, name, field string) []mutation {
	var all []mutation
	values, replaced := u.values[field]
	if !replaced {
		values = valuesOf(v)
	}
	for _, x := range values {
		all = append(all, mutation{name + "=" + x.name, func(s *Session, r kmsg.Request) {
			put(reach(reflect.ValueOf(r).Elem(), path), x.of(s))
		}})
	}
	switch v.Kind() {
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 || v.Len() == 0 {
			return all
		}
		all = append(all, mutation{name + " twice", func(_ *Session, r kmsg.Request) {
			list := reach(reflect.ValueOf(r).Elem(), path)
			list.Set(reflect.Append(list, list.Index(0)))
		}})
		first := append(path[:len(path):len(path)], move{0})
		if v.Index(0).Kind() == reflect.Struct {
			return append(all, u.walk(v.Index(0), first, name+".")...)
		}
		return append(all, u.part(v.Index(0), first, name+"[0]", field)...)
	case reflect.Pointer:
		if !v.IsNil() && v.Elem().Kind() == reflect.Struct {
			return append(all, u.walk(v.Elem(), path, name+".")...)
		}
	case reflect.Struct:
		return append(all, u.walk(v, path, name+".")...)
	}
	return all
}

// put sets a field to x; nil empties it.
func put(field reflect.Value, x any) {
	if x == nil {
		field.SetZero()
		return
	}
	v := reflect.ValueOf(x)
	if field.Kind() == reflect.Pointer && v.Kind() != reflect.Pointer {
		p := reflect.New(field.Type().Elem())
		p.Elem().Set(v.Convert(p.Elem().Type()))
		field.Set(p)
		return
	}
	field.Set(v.Convert(field.Type()))
}

func constant(name string, x any) value {
	return value{name, func(*Session) any { return x }}
}

func constants(list ...any) []value {
	var all []value
	for _, x := range list {
		all = append(all, constant(fmt.Sprint(x), x))
	}
	return all
}

func owned(suffix string) value {
	return value{"~" + suffix, func(s *Session) any { return s.own + suffix }}
}

// strange are values for any string.
var strange = []value{constant("empty", ""), owned("nobody"), owned("not a/name"), {"long", func(s *Session) any { return s.own + strings.Repeat("x", 260) }}, owned("ünï")}

var unknownID = [16]byte{0x42, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}

// valuesOf are the values for a field by its type.
func valuesOf(v reflect.Value) []value {
	switch v.Kind() {
	case reflect.String:
		return strange
	case reflect.Bool:
		return constants(!v.Bool())
	case reflect.Int8:
		return constants(int8(-1), int8(0), int8(1), int8(2), int8(3), int8(4), int8(math.MaxInt8), int8(math.MinInt8))
	case reflect.Int16:
		return constants(int16(-1), int16(0), int16(1), int16(math.MaxInt16), int16(math.MinInt16))
	case reflect.Int32:
		return constants(int32(-2), int32(-1), int32(0), int32(1), int32(7), int32(math.MaxInt32), int32(math.MinInt32))
	case reflect.Int64:
		return constants(int64(-2), int64(-1), int64(0), int64(1), int64(7), int64(math.MaxInt64), int64(math.MinInt64))
	case reflect.Float64:
		return constants(-1.0, 0.0, 0.5, math.NaN(), math.Inf(1), math.Inf(-1))
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.String {
			return append([]value{constant("null", nil)}, strange...)
		}
		return []value{constant("null", nil)}
	case reflect.Array:
		return []value{constant("no id", [16]byte{}), constant("unknown id", unknownID), {"another id", func(s *Session) any { return s.broker.ids[fixedTopic] }}}
	case reflect.Slice:
		empty := value{"[]", func(*Session) any { return reflect.MakeSlice(v.Type(), 0, 0).Interface() }}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return []value{constant("null", nil), empty, constant("one byte", []byte{0}), constant("noise", bytes.Repeat([]byte{0xa5, 3, 0}, 40))}
		}
		return []value{constant("null", nil), empty}
	}
	return nil
}
