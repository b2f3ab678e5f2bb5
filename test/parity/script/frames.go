package script

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/wire"
)

// frame is a request made wrong, or odd, where kmsg can only make it right.
type frame struct {
	name string
	// change returns the whole frame with its size; r is the good request.
	change func(s *Session, r kmsg.Request) []byte
}

// clientID is the client id of every request that does not try another.
const clientID = "parity"

// header builds a request's header.
func header(key, version int16, flexible bool) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, correlation)
	b = binary.BigEndian.AppendUint16(b, uint16(len(clientID)))
	b = append(b, clientID...)
	if flexible {
		b = append(b, 0)
	}
	return b
}

// correlation is the correlation id of every request.
const correlation = 0x01020304

// sized puts its size before a frame.
func sized(frame []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

// frames are the odd frames of a subject in a version: cut, with bytes too many, with odd headers, with lengths and
// counts that lie.
func frames(u *subject, version int16) []frame {
	api, _ := wire.LookupAPI(u.key)
	flexible := api.IsFlexible(version)
	head := header(u.key, version, flexible)
	body := func(name string, change func(b []byte) []byte) frame {
		return frame{name, func(_ *Session, r kmsg.Request) []byte {
			return sized(append(head[:len(head):len(head)], change(encode(r, version))...))
		}}
	}
	headed := func(name string, head []byte) frame {
		return frame{name, func(_ *Session, r kmsg.Request) []byte {
			return sized(append(head[:len(head):len(head)], encode(r, version)...))
		}}
	}
	plain := head[:8:8]
	tail := []byte{}
	if flexible {
		tail = []byte{0}
	}
	all := []frame{
		body("no body", func([]byte) []byte { return nil }),
		body("half a body", func(b []byte) []byte { return b[:len(b)/2] }),
		body("a byte less", func(b []byte) []byte { return b[:max(len(b)-1, 0)] }),
		body("a byte more", func(b []byte) []byte { return append(b, 0) }),
		body("five bytes more", func(b []byte) []byte { return append(b, 1, 2, 3, 4, 5) }),
		headed("null client id", append(append(plain, 0xff, 0xff), tail...)),
		headed("empty client id", append(append(plain, 0, 0), tail...)),
		headed("client id of length -2", append(append(plain, 0xff, 0xfe), tail...)),
		headed("client id beyond the frame", append(append(plain, 0x7f, 0xff), tail...)),
		headed("header cut in the client id", append(plain, 0)),
	}
	if flexible {
		all = append(all,
			headed("tag in the header", append(head[:len(head)-1:len(head)-1], 1, 99, 2, 7, 7)),
			headed("tags in the header out of order", append(head[:len(head)-1:len(head)-1], 2, 99, 1, 7, 98, 1, 7)),
			headed("tag twice in the header", append(head[:len(head)-1:len(head)-1], 2, 99, 1, 7, 99, 1, 7)),
			headed("tags beyond the frame in the header", append(head[:len(head)-1:len(head)-1], 0xff, 0xff, 0xff, 0xff, 0x07)),
			headed("-1 tags in the header", append(head[:len(head)-1:len(head)-1], 0xff, 0xff, 0xff, 0xff, 0x0f)),
			body("tag twice", func(b []byte) []byte { return append(b[:len(b)-1], 2, 99, 1, 7, 99, 1, 7) }),
			body("tags out of order", func(b []byte) []byte { return append(b[:len(b)-1], 2, 99, 1, 7, 98, 1, 7) }),
			body("more tags than bytes", func(b []byte) []byte { return append(b[:len(b)-1], 0xff, 0xff, 0xff, 0xff, 0x07) }),
			body("-1 tags", func(b []byte) []byte { return append(b[:len(b)-1], 0xff, 0xff, 0xff, 0xff, 0x0f) }),
			body("tag longer than the frame", func(b []byte) []byte { return append(b[:len(b)-1], 1, 99, 0xff, 0xff, 0xff, 0xff, 0x07) }),
		)
	}
	sample := u.build(sampleSession(u))
	sample.SetVersion(version)
	for _, p := range lengthsIn(reflect.ValueOf(sample).Elem(), nil, "") {
		if _, _, there := locate(sample, version, p.path); there {
			all = append(all, lies(p, version, flexible, head)...)
		}
	}
	return all
}

// place is a field that has a length or count on the wire, or is one byte for a truth.
type place struct {
	path []move
	name string
	kind reflect.Kind
}

// lengthsIn lists the strings, byte fields, arrays and truths of a message.
func lengthsIn(v reflect.Value, path []move, name string) []place {
	var all []place
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Name != "Version" && f.Name != "UnknownTags" {
				prefix := name
				if prefix != "" {
					prefix += "."
				}
				all = append(all, lengthsIn(v.Field(i), append(path[:len(path):len(path)], move{i}), prefix+f.Name)...)
			}
		}
	case reflect.String, reflect.Bool:
		all = append(all, place{path, name, v.Kind()})
	case reflect.Pointer:
		if !v.IsNil() && v.Elem().Kind() == reflect.String {
			all = append(all, place{path, name, reflect.String})
		}
	case reflect.Slice:
		if v.Len() > 0 || v.Type().Elem().Kind() == reflect.Uint8 && !v.IsNil() {
			all = append(all, place{path, name, reflect.Slice})
		}
		if v.Len() > 0 && v.Type().Elem().Kind() != reflect.Uint8 {
			all = append(all, lengthsIn(v.Index(0), append(path[:len(path):len(path)], move{0}), name+"[0]")...)
		}
	}
	return all
}

// locate finds where a field's length lies in the body, by looking what changes when the field
// grows by one; there is false where the version does not have the field.
func locate(r kmsg.Request, version int16, path []move) (body []byte, at int, there bool) {
	body = encode(r, version)
	field := reach(reflect.ValueOf(r).Elem(), path)
	before := reflect.New(field.Type()).Elem()
	before.Set(field)
	if field.Kind() == reflect.Pointer {
		longer := reflect.New(field.Type().Elem())
		longer.Elem().SetString(field.Elem().String() + "x")
		field.Set(longer)
	} else {
		switch field.Kind() {
		case reflect.String:
			field.SetString(field.String() + "x")
		case reflect.Bool:
			field.SetBool(!field.Bool())
		case reflect.Slice:
			if field.Len() > 0 {
				field.Set(reflect.Append(field.Slice3(0, field.Len(), field.Len()), field.Index(0)))
			} else {
				field.Set(reflect.MakeSlice(field.Type(), 1, 1))
			}
		}
	}
	changed := encode(r, version)
	field.Set(before)
	for at = range min(len(body), len(changed)) {
		if body[at] != changed[at] {
			return body, at, true
		}
	}
	return body, 0, false
}

// blunt overwrites the topic id at the head of the elements of p. Who reads an array one element short, or none, takes
// that id for the fields that come after the array: a random one would be well-formed now and then.
func blunt(r kmsg.Request, p place, body []byte) {
	field := reach(reflect.ValueOf(r).Elem(), p.path)
	if field.Kind() != reflect.Slice || field.Len() == 0 || field.Type().Elem().Kind() != reflect.Struct {
		return
	}
	first := field.Index(0).FieldByName("TopicID")
	if !first.IsValid() || first.IsZero() {
		return
	}
	id, _ := first.Interface().([16]byte)
	if at := bytes.Index(body, id[:]); at >= 0 {
		copy(body[at:], bytes.Repeat([]byte{0x7f}, len(id)))
	}
}

// lies are frames whose length or count at p is not what follows.
func lies(p place, version int16, flexible bool, head []byte) []frame {
	with := func(name string, length func(n int) []byte) frame {
		return frame{p.name + " " + name, func(_ *Session, r kmsg.Request) []byte {
			body, at, _ := locate(r, version, p.path)
			blunt(r, p, body)
			width := 1
			var n int
			switch {
			case p.kind == reflect.Bool:
				n = 0
			case flexible:
				wide, size := binary.Uvarint(body[at:])
				n, width = int(wide)-1, size
			case p.kind == reflect.String:
				at, width = at-1, 2
				n = int(binary.BigEndian.Uint16(body[at:]))
			default:
				at, width = at-3, 4
				n = int(binary.BigEndian.Uint32(body[at:]))
			}
			frame := append(head[:len(head):len(head)], body[:at]...)
			frame = append(frame, length(n)...)
			return sized(append(frame, body[at+width:]...))
		}}
	}
	if p.kind == reflect.Bool {
		return []frame{with("is 2", func(int) []byte { return []byte{2} }), with("is -1", func(int) []byte { return []byte{0xff} })}
	}
	encodeLength := func(n int) []byte {
		switch {
		case flexible:
			return binary.AppendUvarint(nil, uint64(uint32(n+1)))
		case p.kind == reflect.String:
			return binary.BigEndian.AppendUint16(nil, uint16(n))
		default:
			return binary.BigEndian.AppendUint32(nil, uint32(n))
		}
	}
	if strings.HasSuffix(p.name, "MemberID") { // ends in a random id: what follows a wrong length is another field each time
		return []frame{with("null", func(int) []byte { return encodeLength(-1) }), with("length 32767", func(int) []byte { return encodeLength(32767) })}
	}
	all := []frame{
		with("null", func(int) []byte { return encodeLength(-1) }),
		with("length -2", func(int) []byte { return encodeLength(-2) }),
		with("length 32767", func(int) []byte { return encodeLength(32767) }),
		with("one longer", func(n int) []byte { return encodeLength(n + 1) }),
		with("one shorter", func(n int) []byte { return encodeLength(max(n-1, 0)) }),
	}
	if flexible {
		all = append(all, with("length without end", func(int) []byte { return []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }))
	} else if p.kind == reflect.Slice {
		all = append(all, with("length 2147483647", func(int) []byte { return encodeLength(1<<31 - 1) }))
	}
	return all
}

// strangers are requests for versions and keys that are not served.
func strangers() []Case {
	var all []Case
	stranger := func(api *wire.API, version int16, name string, answer kmsg.Request) {
		all = append(all, Case{API: api, Version: version, Name: name, subject: &subject{}, ask: func(s *Session) error {
			return s.exchange(answer, 0, sized(append(header(api.Key, version, false), 0, 0, 0, 0, 0, 0, 0, 0)))
		}})
	}
	for i := range wire.APIs() {
		api := &wire.APIs()[i]
		answer := kmsg.RequestForKey(api.Key)
		for v := api.MinAdvertised - 1; v < api.MinServed; v++ {
			stranger(api, v, "unserved version", answer)
		}
		stranger(api, api.MaxAdvertised+1, "unserved version", answer)
		stranger(api, 1<<15-1, "highest version", answer)
		stranger(api, -1<<15, "lowest version", answer)
	}
	for _, key := range []int16{-1, -1 << 15, 4, 5, 6, 7, 93, 94, 1000, 1<<15 - 1} {
		stranger(&wire.API{Key: key, Name: "unknown key"}, 0, fmt.Sprint("key ", key), kmsg.RequestForKey(18))
	}
	return append(all, sizes()...)
}

// sizes are frames with sizes that no request has.
func sizes() []Case {
	var all []Case
	for _, f := range []struct {
		name  string
		bytes []byte
	}{
		{"size -1", []byte{0xff, 0xff, 0xff, 0xff}}, {"size 0", []byte{0, 0, 0, 0}}, {"size 1", []byte{0, 0, 0, 1, 0}}, {"size 7", []byte{0, 0, 0, 7, 0, 18, 0, 0, 0, 0, 0}},
		{"size 2147483647", []byte{0x7f, 0xff, 0xff, 0xff, 0, 18, 0, 0}}, {"HTTP", []byte("GET / HTTP/1.1\r\n\r\n")}, {"TLS", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}},
	} {
		all = append(all, Case{API: &wire.API{Key: -1, Name: "no request"}, Name: f.name, subject: &subject{}, ask: func(s *Session) error {
			return s.exchange(kmsg.RequestForKey(18), 0, f.bytes)
		}})
	}
	return all
}
