package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/kafka"
)

// filler gives every field a random value, so that the round trip covers each of them.
type filler struct{ t *rapid.T }

func (f filler) boolean(name string, v *bool)    { *v = rapid.Bool().Draw(f.t, name) }
func (f filler) int8(name string, v *int8)       { *v = rapid.Int8().Draw(f.t, name) }
func (f filler) int16(name string, v *int16)     { *v = rapid.Int16().Draw(f.t, name) }
func (f filler) uint16(name string, v *uint16)   { *v = rapid.Uint16().Draw(f.t, name) }
func (f filler) int32(name string, v *int32)     { *v = rapid.Int32().Draw(f.t, name) }
func (f filler) int64(name string, v *int64)     { *v = rapid.Int64().Draw(f.t, name) }
func (f filler) float64(name string, v *float64) { *v = rapid.Float64().Draw(f.t, name) }
func (f filler) str(name string, v *string)      { *v = rapid.String().Draw(f.t, name) }
func (f filler) uuid(_ string, v *kafka.UUID)    { *v = drawUUID(f.t) }
func (f filler) beginArray(n string, _ int) int  { return rapid.IntRange(0, 3).Draw(f.t, n) }
func (f filler) beginElement() bool              { return true }
func (f filler) endElement()                     {}
func (f filler) endArray()                       {}

func drawUUID(t *rapid.T) kafka.UUID {
	return kafka.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
}

func (f filler) nullableStr(name string, v **string) {
	if rapid.Bool().Draw(f.t, "null") {
		s := rapid.String().Draw(f.t, name)
		*v = &s
	}
}

func (f filler) int32s(name string, v *[]int32, nullable bool) {
	*v = rapid.SliceOfN(rapid.Int32(), 0, 4).Draw(f.t, name)
	if nullable && rapid.Bool().Draw(f.t, "null") {
		*v = nil
	}
}

func (f filler) uuids(_ string, v *[]kafka.UUID, nullable bool) {
	*v = make([]kafka.UUID, rapid.IntRange(0, 3).Draw(f.t, "n"))
	for i := range *v {
		(*v)[i] = drawUUID(f.t)
	}
	if nullable && rapid.Bool().Draw(f.t, "null") {
		*v = nil
	}
}

func (f filler) tags(fields ...taggedField) {
	for _, field := range fields {
		if rapid.Bool().Draw(f.t, "set") {
			field.visit(f)
		}
	}
}

func TestEveryVersionOfEveryRecordSurvivesTheRoundTrip(t *testing.T) {
	t.Parallel()
	for key, spec := range recordSpecs {
		for version := range spec.maxVersion + 1 {
			t.Run(fmt.Sprint(key, version), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(t *rapid.T) {
					r := spec.create()
					r.visit(filler{t}, version)
					data := encodeVersion(r, version)
					got, gotVersion, err := DecodeVersioned(data)
					if err != nil {
						t.Fatalf("%x: %v", data, err)
					}
					if gotVersion != version || !bytes.Equal(encodeVersion(got, version), data) {
						t.Fatalf("version %d of %+v came back as version %d of %+v", version, r, gotVersion, got)
					}
					if !reflect.DeepEqual(withoutEmpty(got), withoutEmpty(r)) {
						t.Fatalf("%+v came back as %+v", r, got)
					}
					for cut := range len(data) {
						if _, err := Decode(data[:cut]); err == nil {
							t.Fatalf("%x is accepted when it is cut to %d bytes", data, cut)
						}
					}
				})
			})
		}
	}
}

// withoutEmpty makes empty lists nil where the schema has no null for them, so that
// DeepEqual sees only differences that mean something.
func withoutEmpty(r Record) Record {
	if change, ok := r.(*BrokerRegistrationChangeRecord); ok && len(change.LogDirs) == 0 {
		change.LogDirs = nil
	}
	if register, ok := r.(*RegisterBrokerRecord); ok && len(register.LogDirs) == 0 {
		register.LogDirs = nil
	}
	return r
}

func TestPartitionChangeWithoutChangesIsMinimal(t *testing.T) {
	t.Parallel()
	r := NewPartitionChangeRecord(kafka.UUID{1}, 7)
	data := Encode(r)
	if want := 3 + 4 + 16 + 1; len(data) != want {
		t.Errorf("%d bytes, want %d", len(data), want)
	}
	got, err := Decode(data)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	topic := Encode(&TopicRecord{Name: "t", TopicID: kafka.UUID{1}})
	tests := []struct {
		name    string
		data    []byte
		unknown bool
	}{
		{"nothing", nil, false},
		{"frame version 0", []byte{0, 2, 0}, false},
		{"an unknown type", []byte{1, 99, 0}, true},
		{"a newer version", append([]byte{1, 2, 1}, topic[3:]...), true},
		{"a type beyond 15 bits", []byte{1, 0xff, 0xff, 0x7f, 0}, false},
		{"a varint of many bytes", []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, false},
		{"trailing bytes", append(bytes.Clone(topic), 0), false},
		{"a null name", []byte{1, 2, 0, 0}, false},
		{"a name longer than the record", []byte{1, 2, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, false},
		{"an array longer than the record", append(append([]byte{1, 3, 2}, make([]byte, 20)...), 0xff, 0xff, 0xff, 0xff, 0x0f), false},
		{"tags out of order", append(append([]byte{1, 17, 3}, make([]byte, 12)...), 2, 1, 1, 1, 0, 1, 1), false},
		{"a tag with bytes left over", append(append([]byte{1, 17, 3}, make([]byte, 12)...), 1, 0, 2, 1, 1), false},
		{"a tag longer than the record", append(append([]byte{1, 17, 3}, make([]byte, 12)...), 1, 0, 9, 1), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, err := Decode(test.data)
			if r != nil {
				t.Errorf("decoded %+v", r)
			}
			_, unknown := errors.AsType[*UnknownRecordError](err)
			_, malformed := errors.AsType[*MalformedRecordError](err)
			if unknown != test.unknown || malformed == test.unknown {
				t.Errorf("error is %T: %v", err, err)
			}
		})
	}
}

func TestDecodePassesOverUnknownTags(t *testing.T) {
	t.Parallel()
	data := append(append([]byte{1, 17, 3}, make([]byte, 12)...), 2, 0, 1, 1, 50, 3, 1, 2, 3)
	r, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.(*BrokerRegistrationChangeRecord).Fenced; got != FencingFence {
		t.Errorf("fenced is %d", got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, logged := range kafkaLog(f) {
		f.Add(logged.data)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for key, spec := range recordSpecs {
		f.Add([]byte{1, byte(key), byte(random.IntN(int(spec.maxVersion) + 1))})
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, version, err := DecodeVersioned(data)
		if err != nil {
			return
		}
		again, err := Decode(encodeVersion(r, version))
		if err != nil {
			t.Fatalf("%+v does not decode again: %v", r, err)
		}
		if !bytes.Equal(encodeVersion(again, version), encodeVersion(r, version)) {
			t.Fatalf("%+v became %+v", r, again)
		}
		if d := NewDelta(EmptyImage()); d.Replay(r) == nil {
			d.Apply(0, 0)
		}
		JSON(r, version)
	})
}
