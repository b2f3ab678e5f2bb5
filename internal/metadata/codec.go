package metadata

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/moldau/moldau/internal/kafka"
)

// frameVersion is the version of the prefix before each record (version 0 was Kafka 2.8's
// preview and is not readable by anything newer).
const frameVersion = 1

// UnknownRecordError says that a record's type or schema version is newer than this program
// (or was never Kafka's).
type UnknownRecordError struct {
	Type    RecordType
	Version int16
	Known   bool // whether the type is known and only the version is not
}

func (e *UnknownRecordError) Error() string {
	if e.Known {
		return fmt.Sprintf("metadata record %s has schema version %d; versions up to %d are known", e.Type, e.Version, recordSpecs[e.Type].maxVersion)
	}
	return fmt.Sprintf("metadata record type %d is unknown", int16(e.Type))
}

// MalformedRecordError says where the bytes of a record are not what its schema wants.
type MalformedRecordError struct {
	Position int    // within the record
	Field    string // of the schema; empty within the frame
	Reason   string
}

func (e *MalformedRecordError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("malformed metadata record at byte %d: %s", e.Position, e.Reason)
	}
	return fmt.Sprintf("malformed metadata record at byte %d, field %s: %s", e.Position, e.Field, e.Reason)
}

// Encode returns the bytes of r as Apache Kafka 4.3 writes them at its latest metadata.version.
func Encode(r Record) []byte { return EncodeAt(r, LatestMetadataVersion) }

// EncodeAt returns the bytes of r as Apache Kafka 4.3 writes them at a metadata.version: older releases read
// them. What that level cannot say is left out.
func EncodeAt(r Record, metadataVersion int16) []byte {
	return encodeVersion(r, writtenVersion(r, metadataVersion))
}

// writtenVersion is the newest schema version at a level, except that Kafka writes each kind of
// registration change in the version that introduced it.
func writtenVersion(r Record, level int16) int16 {
	switch r := r.(type) {
	case *RegisterBrokerRecord:
		return newest(level, migrationVersion-1, migrationVersion, directoriesVersion, cordonVersion)
	case *PartitionRecord, *PartitionChangeRecord:
		return newest(level, directoriesVersion, eligibleVersion)
	case *BrokerRegistrationChangeRecord:
		switch {
		case r.CordonedLogDirs != nil:
			return 3
		case len(r.LogDirs) > 0:
			return 2
		case r.InControlledShutdown != 0:
			return 1
		}
		return 0
	}
	return recordSpecs[r.Type()].maxVersion
}

// newest is how many of the levels from which there is a further schema version are reached.
func newest(level int16, from ...int16) (version int16) {
	for _, f := range from {
		if level >= f {
			version++
		}
	}
	return version
}

func encodeVersion(r Record, version int16) []byte {
	e := &encoder{}
	e.uvarint(frameVersion)
	e.uvarint(uint64(r.Type()))
	e.uvarint(uint64(version))
	r.visit(e, version)
	return e.out
}

// Decode parses one record. The error is an *UnknownRecordError or a *MalformedRecordError.
// The record does not alias data.
func Decode(data []byte) (Record, error) {
	r, _, err := DecodeVersioned(data)
	return r, err
}

// DecodeVersioned parses one record and also returns the schema version it was written with,
// which only tools that print records want to know.
func DecodeVersioned(data []byte) (Record, int16, error) {
	d := &decoder{in: data}
	if frame := d.uvarint(""); d.err == nil && frame != frameVersion {
		return nil, 0, &MalformedRecordError{Reason: fmt.Sprintf("frame version is %d, want %d", frame, frameVersion)}
	}
	key, version := d.uvarint(""), d.uvarint("")
	if d.err != nil {
		return nil, 0, d.err
	}
	if key > 0x7fff || version > 0x7fff {
		return nil, 0, &MalformedRecordError{Position: d.pos, Reason: "record type or version does not fit 15 bits"}
	}
	spec, known := recordSpecs[RecordType(key)]
	if !known || int16(version) > spec.maxVersion {
		return nil, 0, &UnknownRecordError{Type: RecordType(key), Version: int16(version), Known: known}
	}
	r := spec.create()
	r.visit(d, int16(version))
	if d.err == nil && d.pos != len(d.in) {
		d.fail("", "%d bytes left over", len(d.in)-d.pos)
	}
	if d.err != nil {
		return nil, 0, d.err
	}
	return r, int16(version), nil
}

type encoder struct{ out []byte }

func (e *encoder) uvarint(v uint64) { e.out = binary.AppendUvarint(e.out, v) }

func (e *encoder) boolean(_ string, v *bool) {
	if *v {
		e.out = append(e.out, 1)
	} else {
		e.out = append(e.out, 0)
	}
}
func (e *encoder) int8(_ string, v *int8)     { e.out = append(e.out, byte(*v)) }
func (e *encoder) int16(_ string, v *int16)   { e.out = binary.BigEndian.AppendUint16(e.out, uint16(*v)) }
func (e *encoder) uint16(_ string, v *uint16) { e.out = binary.BigEndian.AppendUint16(e.out, *v) }
func (e *encoder) int32(_ string, v *int32)   { e.out = binary.BigEndian.AppendUint32(e.out, uint32(*v)) }
func (e *encoder) int64(_ string, v *int64)   { e.out = binary.BigEndian.AppendUint64(e.out, uint64(*v)) }
func (e *encoder) float64(_ string, v *float64) {
	e.out = binary.BigEndian.AppendUint64(e.out, math.Float64bits(*v))
}
func (e *encoder) uuid(_ string, v *kafka.UUID) { e.out = append(e.out, v[:]...) }
func (e *encoder) str(_ string, v *string) {
	e.uvarint(uint64(len(*v)) + 1)
	e.out = append(e.out, *v...)
}
func (e *encoder) beginElement() bool             { return true }
func (e *encoder) endElement()                    {}
func (e *encoder) endArray()                      {}
func (e *encoder) beginArray(_ string, n int) int { e.uvarint(uint64(n) + 1); return n }

func (e *encoder) nullableStr(name string, v **string) {
	if *v == nil {
		e.uvarint(0)
		return
	}
	e.str(name, *v)
}

func (e *encoder) int32s(_ string, v *[]int32, nullable bool) {
	if *v == nil && nullable {
		e.uvarint(0)
		return
	}
	e.uvarint(uint64(len(*v)) + 1)
	for _, x := range *v {
		e.out = binary.BigEndian.AppendUint32(e.out, uint32(x))
	}
}

func (e *encoder) uuids(_ string, v *[]kafka.UUID, nullable bool) {
	if *v == nil && nullable {
		e.uvarint(0)
		return
	}
	e.uvarint(uint64(len(*v)) + 1)
	for _, x := range *v {
		e.out = append(e.out, x[:]...)
	}
}

func (e *encoder) tags(fields ...taggedField) {
	n := uint64(0)
	for _, f := range fields {
		if f.isSet {
			n++
		}
	}
	e.uvarint(n)
	for _, f := range fields {
		if f.isSet {
			var body encoder
			f.visit(&body)
			e.uvarint(f.tag)
			e.uvarint(uint64(len(body.out)))
			e.out = append(e.out, body.out...)
		}
	}
}

// decoder reads until its first error; from then on every read is a no-op. It compares each
// length with the bytes that are left before it allocates.
type decoder struct {
	in  []byte
	pos int
	err error
}

func (d *decoder) fail(field, format string, args ...any) {
	if d.err == nil {
		d.err = &MalformedRecordError{Position: d.pos, Field: field, Reason: fmt.Sprintf(format, args...)}
	}
}

func (d *decoder) take(field string, n int) []byte {
	if d.err == nil && len(d.in)-d.pos < n {
		d.fail(field, "needs %d bytes, %d are left", n, len(d.in)-d.pos)
	}
	if d.err != nil {
		return nil
	}
	b := d.in[d.pos : d.pos+n]
	d.pos += n
	return b
}

func (d *decoder) uvarint(field string) uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.in[d.pos:])
	if n <= 0 || v > 0xffffffff {
		d.fail(field, "no unsigned 32-bit varint")
		return 0
	}
	d.pos += n
	return v
}

// length reads a compact length (value + 1, 0 is null) of elements of at least size bytes.
func (d *decoder) length(field string, size int, nullable bool) (n int, isNull bool) {
	v := d.uvarint(field)
	if d.err != nil {
		return 0, false
	}
	if v == 0 {
		if !nullable {
			d.fail(field, "is null")
		}
		return 0, true
	}
	if v-1 > uint64(len(d.in)-d.pos)/uint64(size) {
		d.fail(field, "announces %d elements, %d bytes are left", v-1, len(d.in)-d.pos)
		return 0, false
	}
	return int(v - 1), false
}

func (d *decoder) boolean(name string, v *bool) {
	if b := d.take(name, 1); b != nil {
		*v = b[0] != 0
	}
}

func (d *decoder) int8(name string, v *int8) {
	if b := d.take(name, 1); b != nil {
		*v = int8(b[0])
	}
}

func (d *decoder) int16(name string, v *int16) {
	if b := d.take(name, 2); b != nil {
		*v = int16(binary.BigEndian.Uint16(b))
	}
}

func (d *decoder) uint16(name string, v *uint16) {
	if b := d.take(name, 2); b != nil {
		*v = binary.BigEndian.Uint16(b)
	}
}

func (d *decoder) int32(name string, v *int32) {
	if b := d.take(name, 4); b != nil {
		*v = int32(binary.BigEndian.Uint32(b))
	}
}

func (d *decoder) int64(name string, v *int64) {
	if b := d.take(name, 8); b != nil {
		*v = int64(binary.BigEndian.Uint64(b))
	}
}

func (d *decoder) float64(name string, v *float64) {
	if b := d.take(name, 8); b != nil {
		*v = math.Float64frombits(binary.BigEndian.Uint64(b))
	}
}

func (d *decoder) uuid(name string, v *kafka.UUID) {
	if b := d.take(name, 16); b != nil {
		*v = kafka.UUID(b)
	}
}

func (d *decoder) str(name string, v *string) {
	n, _ := d.length(name, 1, false)
	*v = string(d.take(name, n))
}

func (d *decoder) nullableStr(name string, v **string) {
	n, isNull := d.length(name, 1, true)
	*v = nil
	if !isNull && d.err == nil {
		s := string(d.take(name, n))
		*v = &s
	}
}

func (d *decoder) int32s(name string, v *[]int32, nullable bool) {
	n, isNull := d.length(name, 4, nullable)
	*v = nil
	if isNull || d.err != nil {
		return
	}
	*v = make([]int32, n)
	for i := range *v {
		d.int32(name, &(*v)[i])
	}
}

func (d *decoder) uuids(name string, v *[]kafka.UUID, nullable bool) {
	n, isNull := d.length(name, 16, nullable)
	*v = nil
	if isNull || d.err != nil {
		return
	}
	*v = make([]kafka.UUID, n)
	for i := range *v {
		d.uuid(name, &(*v)[i])
	}
}

func (d *decoder) beginArray(name string, _ int) int {
	n, _ := d.length(name, 1, false)
	return n
}
func (d *decoder) beginElement() bool { return d.err == nil }
func (d *decoder) endElement()        {}
func (d *decoder) endArray()          {}

// tags reads the known fields and passes over others: later minor schema changes may add
// tagged fields that older readers ignore.
func (d *decoder) tags(fields ...taggedField) {
	last := int64(-1)
	for n := d.uvarint("tagged fields"); n > 0 && d.err == nil; n-- {
		tag, size := d.uvarint("tag"), d.uvarint("tag size")
		if d.err == nil && int64(tag) <= last {
			d.fail("tag", "tag %d follows tag %d", tag, last)
		}
		last = int64(tag)
		start := d.pos
		body := d.take("tagged field", int(size))
		for _, f := range fields {
			if f.tag != tag || d.err != nil {
				continue
			}
			sub := &decoder{in: d.in[:start+len(body)], pos: start}
			f.visit(sub)
			if sub.err == nil && sub.pos != len(sub.in) {
				sub.fail("tagged field", "%d bytes left over in tag %d", len(sub.in)-sub.pos, tag)
			}
			d.err = sub.err
		}
	}
}
