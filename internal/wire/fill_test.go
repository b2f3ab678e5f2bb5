package wire

import (
	"reflect"
)

// byteSource draws small decisions from fuzz bytes; after the last byte it draws zeros.
type byteSource struct{ data []byte }

func (s *byteSource) next() byte {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b
}

func (s *byteSource) number() int64 {
	var v int64
	for range s.next() % 9 {
		v = v<<8 | int64(s.next())
	}
	return v
}

// fill sets every field of a kmsg struct from source, except Version and tags nobody knows.
func fill(v reflect.Value, s *byteSource) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
				fill(v.Field(i), s)
			}
		}
	case reflect.Pointer:
		if s.next()%3 == 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), s)
	case reflect.Float64:
		v.SetFloat(float64(s.number()) / 3)
	case reflect.Slice:
		n := int(s.next() % 6)
		if n == 5 {
			v.SetZero()
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), s)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), s)
		}
	case reflect.String:
		text := make([]byte, s.next()%40)
		for i := range text {
			text[i] = 'a' + s.next()%26
		}
		v.SetString(string(text))
	case reflect.Bool:
		v.SetBool(s.next()%2 == 1)
	case reflect.Uint8:
		v.SetUint(uint64(s.next()))
	case reflect.Uint16, reflect.Uint64:
		v.SetUint(reflect.ValueOf(s.number()).Convert(v.Type()).Uint())
	default:
		v.SetInt(reflect.ValueOf(s.number()).Convert(v.Type()).Int())
	}
}
