package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
)

// ErrMalformed is under every error about a request that does not follow its schema.
var ErrMalformed = errors.New("malformed request")

// Cost of decoded tagged fields: kmsg keeps the unknown ones in a map per struct.
const (
	tagSectionCost = 320
	tagCost        = 96
)

// inspect walks a request body without allocating and returns how many bytes kmsg will allocate
// at most to decode it, or an error where the body does not follow its schema.
//
// kmsg alone is not safe against hostile bodies: it believes an array count up to the number of
// bytes that are left, so that one byte on the wire becomes a struct of up to some hundred bytes
// (a 100 MiB Metadata request: 5 GiB); it believes a count of tagged fields without any bound
// (five bytes cost four billion turns of a loop); and it takes null where the schema forbids it.
// After inspect every counted element is really there.
func inspect(api *API, version int16, body []byte) (decodedBytes int64, err error) {
	in := inspector{src: body, version: version, flexible: api.IsFlexible(version), elementCost: elementCosts[api.Key]}
	in.structure(parsedShapes[api.Key])
	if in.problem != "" {
		return 0, fmt.Errorf("%w: %s version %d: %s at byte %d of %d", ErrMalformed, api.Name, version, in.problem, len(body)-len(in.src), len(body))
	}
	return in.cost, nil
}

type inspector struct {
	src         []byte
	version     int16
	flexible    bool
	elementCost int64
	cost        int64
	problem     string
}

func (in *inspector) fail(problem string) {
	if in.problem == "" {
		in.problem = problem
	}
}

func (in *inspector) structure(fields []shape) {
	for i := range fields {
		f := &fields[i]
		if f.kind == shapeTagged || !f.versions.has(in.version) {
			continue
		}
		in.field(f)
		if in.problem != "" {
			return
		}
	}
	in.tags(fields)
}

func (in *inspector) field(f *shape) {
	switch f.kind {
	case shapeFixed:
		in.skip(f.size)
	case shapeString:
		in.str(f.nullable.has(in.version))
	case shapeBytes:
		n, isNull := in.length(4)
		in.present(n, isNull, f)
	case shapeStruct:
		if f.nullable.has(in.version) {
			presence := in.src
			in.skip(1)
			if in.problem != "" || presence[0] == 0xff {
				return
			}
			in.cost += in.elementCost
		}
		in.structure(f.fields)
	case shapeStructArray, shapePlainArray:
		in.array(f)
	}
}

func (in *inspector) array(f *shape) {
	count, isNull := in.length(4)
	if in.problem != "" {
		return
	}
	if isNull {
		if !f.nullable.has(in.version) {
			in.fail("null array")
		}
		return
	}
	if count > int64(len(in.src)) {
		in.fail("array count above the bytes that are left")
		return
	}
	in.cost += count * in.elementCost
	for range count {
		if f.kind == shapeStructArray {
			in.structure(f.fields)
		} else {
			in.field(&f.fields[0])
		}
		if in.problem != "" {
			return
		}
	}
}

func (in *inspector) present(n int64, isNull bool, f *shape) {
	switch {
	case in.problem != "":
	case isNull && !f.nullable.has(in.version):
		in.fail("null bytes")
	case !isNull:
		in.skip64(n)
	}
}

func (in *inspector) str(nullable bool) {
	n, isNull := in.length(2)
	switch {
	case in.problem != "":
	case isNull:
		if !nullable {
			in.fail("null string")
		}
	case n > math.MaxInt16:
		in.fail("string longer than 32767 bytes")
	default:
		in.cost += n
		in.skip64(n)
	}
}

// length reads a length of width bytes, or in flexible versions a compact one.
func (in *inspector) length(width int) (n int64, isNull bool) {
	if in.flexible {
		n = int64(in.uvarint()) - 1
		return n, n < 0
	}
	src := in.src
	in.skip(width)
	if in.problem != "" {
		return 0, true
	}
	if width == 2 {
		n = int64(int16(binary.BigEndian.Uint16(src)))
	} else {
		n = int64(int32(binary.BigEndian.Uint32(src)))
	}
	return n, n < 0
}

// tags skips a section of tagged fields and walks those that known describes.
func (in *inspector) tags(known []shape) {
	if !in.flexible || in.problem != "" {
		return
	}
	count := in.uvarint()
	if count == 0 || in.problem != "" {
		return
	}
	// A tagged field has at least its number and its size.
	if int64(count)*2 > int64(len(in.src)) {
		in.fail("count of tagged fields above the bytes that are left")
		return
	}
	in.cost += tagSectionCost + int64(count)*tagCost
	for range count {
		number := in.uvarint()
		size := in.uvarint()
		content := in.src
		in.skip64(int64(size))
		if in.problem != "" {
			return
		}
		for i := range known {
			if known[i].kind == shapeTagged && known[i].tag == number {
				in.tagged(content[:size], &known[i].fields[0])
			}
		}
	}
}

// tagged walks the content of one tagged field.
func (in *inspector) tagged(content []byte, f *shape) {
	rest := in.src
	in.src = content
	in.field(f)
	if in.problem == "" {
		in.src = rest
	}
}

func (in *inspector) skip(n int) { in.skip64(int64(n)) }

func (in *inspector) skip64(n int64) {
	if n > int64(len(in.src)) {
		in.fail("length above the bytes that are left")
		return
	}
	if in.problem == "" {
		in.src = in.src[n:]
	}
}

// uvarint reads an unsigned varint of at most 32 bits.
func (in *inspector) uvarint() uint32 {
	v, n := readUvarint(in.src)
	if n == 0 {
		in.fail("unsigned varint cut short or above 32 bits")
		return 0
	}
	in.src = in.src[n:]
	return v
}

// readUvarint returns an unsigned varint of at most 32 bits and its length, 0 if there is none.
func readUvarint(src []byte) (v uint32, n int) {
	wide, n := binary.Uvarint(src[:min(len(src), 5)])
	if n <= 0 || wide > math.MaxUint32 {
		return 0, 0
	}
	return uint32(wide), n
}

// elementCosts holds per API key the size of the largest element of any slice in its request, plus
// what a nullable string in it allocates.
var elementCosts = computeElementCosts()

func computeElementCosts() map[int16]int64 {
	costs := make(map[int16]int64)
	for _, a := range allAPIs() {
		costs[a.Key] = largestElement(reflect.TypeOf(newRequest(a.Key)).Elem())
	}
	return costs
}

func largestElement(t reflect.Type) int64 {
	var largest int64
	for i := range t.NumField() {
		f := t.Field(i).Type
		if f.Kind() == reflect.Slice || f.Kind() == reflect.Pointer {
			f = f.Elem()
			// 64 bytes: the headers of pointed-to strings and the allocator's rounding.
			largest = max(largest, int64(f.Size())+64)
		}
		if f.Kind() == reflect.Struct {
			largest = max(largest, largestElement(f))
		}
	}
	return largest
}
