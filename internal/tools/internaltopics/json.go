package internaltopics

import (
	"encoding/base64"
	"strconv"

	"github.com/moldau/moldau/internal/kafka"
)

// Object is a JSON object whose members keep their order. Its values are of the types that
// appendValue knows.
type Object []Member

// Member is a member of an Object.
type Member struct {
	Name  string
	Value any
}

// Append appends the object as Kafka's tools print it: in one line, without spaces.
func (o Object) Append(dst []byte) []byte {
	if o == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = kafka.AppendJSONString(dst, m.Name)
		dst = append(dst, ':')
		dst = appendValue(dst, m.Value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(dst, "null"...)
	case Object:
		return v.Append(dst)
	case []Object:
		return appendArray(dst, v, Object.appendTo)
	case string:
		return kafka.AppendJSONString(dst, v)
	case *string:
		if v == nil {
			return append(dst, "null"...)
		}
		return kafka.AppendJSONString(dst, *v)
	case []string:
		return appendArray(dst, v, func(s string, dst []byte) []byte { return kafka.AppendJSONString(dst, s) })
	case []byte:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v)
		return append(dst, '"')
	case []int32:
		return appendArray(dst, v, func(n int32, dst []byte) []byte { return strconv.AppendInt(dst, int64(n), 10) })
	case int8:
		return strconv.AppendInt(dst, int64(v), 10)
	case int16:
		return strconv.AppendInt(dst, int64(v), 10)
	case int32:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	}
	panic("BUG: a value of the internal topics' JSON has an unknown type")
}

func (o Object) appendTo(dst []byte) []byte { return o.Append(dst) }

func appendArray[T any](dst []byte, items []T, appendItem func(item T, dst []byte) []byte) []byte {
	dst = append(dst, '[')
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendItem(item, dst)
	}
	return append(dst, ']')
}

// nullable makes absent bytes null.
func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
