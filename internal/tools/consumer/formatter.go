package consumer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
)

const defaultFormatterClass = "org.apache.kafka.tools.consumer.DefaultMessageFormatter"

// formatter appends the printed form of a record to a buffer.
type formatter interface {
	format(dst []byte, r *kgo.Record) ([]byte, error)
}

// formatters are the formatters by the class names of Kafka's.
var formatters = map[string]func(props map[string]string) (formatter, error){
	defaultFormatterClass: newRecordFormatter,
	"org.apache.kafka.tools.consumer.NoOpMessageFormatter":                        newNoFormatter,
	"org.apache.kafka.tools.consumer.OffsetsMessageFormatter":                     newOffsetsFormatter,
	"org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter":               newGroupMetadataFormatter,
	"org.apache.kafka.tools.consumer.TransactionLogMessageFormatter":              newTransactionLogFormatter,
	"org.apache.kafka.tools.consumer.group.share.ShareGroupStateMessageFormatter": newShareStateFormatter,
}

// noFormatter prints nothing, which leaves the count.
type noFormatter struct{}

func newNoFormatter(map[string]string) (formatter, error) { return noFormatter{}, nil }

func (noFormatter) format(dst []byte, _ *kgo.Record) ([]byte, error) { return dst, nil }

// recordFormatter prints a record's fields between separators.
type recordFormatter struct {
	timestamp, partition, offset, delivery, epoch, headers, key, value bool

	keySeparator, lineSeparator, headersSeparator, nullLiteral []byte
	readKey, readValue, readHeader                             deserializer
}

func newRecordFormatter(props map[string]string) (formatter, error) {
	on := func(name string, otherwise bool) bool {
		value, given := props[name]
		if !given {
			return otherwise
		}
		return strings.EqualFold(strings.TrimSpace(value), "true")
	}
	text := func(name, otherwise string) []byte {
		if value, given := props[name]; given {
			return []byte(value)
		}
		return []byte(otherwise)
	}
	f := &recordFormatter{
		timestamp: on("print.timestamp", false), partition: on("print.partition", false), offset: on("print.offset", false),
		delivery: on("print.delivery", false), epoch: on("print.epoch", false), headers: on("print.headers", false),
		key: on("print.key", false), value: on("print.value", true),
		keySeparator: text("key.separator", "\t"), lineSeparator: text("line.separator", "\n"),
		headersSeparator: text("headers.separator", ","), nullLiteral: text("null.literal", "null"),
	}
	for name, target := range map[string]*deserializer{
		"key.deserializer": &f.readKey, "value.deserializer": &f.readValue, "headers.deserializer": &f.readHeader,
	} {
		class, given := props[name]
		if !given {
			continue
		}
		read, known := deserializers[class[strings.LastIndexByte(class, '.')+1:]]
		if !known {
			return nil, fmt.Errorf("%s is not a deserializer of this tool", class)
		}
		*target = read
	}
	return f, nil
}

func (f *recordFormatter) format(dst []byte, r *kgo.Record) ([]byte, error) {
	columns := [...]struct {
		on     bool
		append func([]byte, *kgo.Record) ([]byte, error)
	}{
		{f.timestamp, appendTimestamp}, {f.partition, appendPartition}, {f.offset, appendOffset}, {f.delivery, appendDelivery},
		{f.epoch, appendEpoch}, {f.headers, f.appendHeaders}, {f.key, f.appendKey}, {f.value, f.appendValue},
	}
	first := true
	var err error
	for _, column := range columns {
		if !column.on {
			continue
		}
		if !first {
			dst = append(dst, f.keySeparator...)
		}
		first = false
		if dst, err = column.append(dst, r); err != nil {
			return dst, err
		}
	}
	if !first {
		dst = append(dst, f.lineSeparator...)
	}
	return dst, nil
}

func appendTimestamp(dst []byte, r *kgo.Record) ([]byte, error) {
	switch r.Attrs.TimestampType() {
	case 0:
		dst = append(dst, "CreateTime:"...)
	case 1:
		dst = append(dst, "LogAppendTime:"...)
	default:
		return append(dst, "NO_TIMESTAMP"...), nil
	}
	return strconv.AppendInt(dst, r.Timestamp.UnixMilli(), 10), nil
}

func appendPartition(dst []byte, r *kgo.Record) ([]byte, error) {
	return strconv.AppendInt(append(dst, "Partition:"...), int64(r.Partition), 10), nil
}

func appendOffset(dst []byte, r *kgo.Record) ([]byte, error) {
	return strconv.AppendInt(append(dst, "Offset:"...), r.Offset, 10), nil
}

// appendDelivery and appendEpoch print what Kafka's tool prints: it hands records to its
// formatter without either.
func appendDelivery(dst []byte, _ *kgo.Record) ([]byte, error) {
	return append(dst, "Delivery:NOT_PRESENT"...), nil
}

func appendEpoch(dst []byte, _ *kgo.Record) ([]byte, error) {
	return append(dst, "Epoch:NOT_PRESENT"...), nil
}

func (f *recordFormatter) appendHeaders(dst []byte, r *kgo.Record) ([]byte, error) {
	if len(r.Headers) == 0 {
		return append(dst, "NO_HEADERS"...), nil
	}
	var err error
	for i, h := range r.Headers {
		if i > 0 {
			dst = append(dst, f.headersSeparator...)
		}
		dst = append(append(dst, h.Key...), ':')
		if dst, err = f.appendBytes(dst, h.Value, f.readHeader); err != nil {
			return dst, fmt.Errorf("header %s: %w", h.Key, err)
		}
	}
	return dst, nil
}

func (f *recordFormatter) appendKey(dst []byte, r *kgo.Record) ([]byte, error) {
	return f.appendBytes(dst, r.Key, f.readKey)
}

func (f *recordFormatter) appendValue(dst []byte, r *kgo.Record) ([]byte, error) {
	return f.appendBytes(dst, r.Value, f.readValue)
}

func (f *recordFormatter) appendBytes(dst, field []byte, read deserializer) ([]byte, error) {
	if field == nil {
		field = f.nullLiteral
		if read == nil {
			return append(dst, field...), nil
		}
	}
	if read == nil {
		return append(dst, field...), nil
	}
	text, err := read(field)
	if err != nil {
		return dst, err
	}
	return append(dst, text...), nil
}

// deserializer turns a field into the text that Java prints for it.
type deserializer func([]byte) (string, error)

// deserializers are Kafka's own, by class name without package.
var deserializers = map[string]deserializer{
	"StringDeserializer":    func(b []byte) (string, error) { return string(bytes.ToValidUTF8(b, []byte("\uFFFD"))), nil },
	"BytesDeserializer":     func(b []byte) (string, error) { return printableBytes(b), nil },
	"ByteArrayDeserializer": func(b []byte) (string, error) { return string(b), nil },
	"ShortDeserializer": sized(2, "ShortDeserializer", func(b []byte) string {
		return strconv.Itoa(int(int16(binary.BigEndian.Uint16(b))))
	}),
	"IntegerDeserializer": sized(4, "IntegerDeserializer", func(b []byte) string {
		return strconv.Itoa(int(int32(binary.BigEndian.Uint32(b))))
	}),
	"LongDeserializer": sized(8, "LongDeserializer", func(b []byte) string {
		return strconv.FormatInt(int64(binary.BigEndian.Uint64(b)), 10)
	}),
	"FloatDeserializer": sized(4, "Deserializer", func(b []byte) string {
		return cli.JavaFloat(float64(math.Float32frombits(binary.BigEndian.Uint32(b))), 32)
	}),
	"DoubleDeserializer": sized(8, "Deserializer", func(b []byte) string {
		return cli.JavaFloat(math.Float64frombits(binary.BigEndian.Uint64(b)), 64)
	}),
	"BooleanDeserializer": sized(1, "BooleanDeserializer", func(b []byte) string { return strconv.FormatBool(b[0] == 1) }),
	"UUIDDeserializer":    func(b []byte) (string, error) { return string(b), nil },
}

func sized(size int, name string, read func([]byte) string) deserializer {
	return func(b []byte) (string, error) {
		if len(b) != size {
			return "", fmt.Errorf("Size of data received by %s is not %d", name, size) //nolint:staticcheck // the words of Kafka's tools
		}
		return read(b), nil
	}
}

// printableBytes prints bytes outside printable ASCII as \xNN.
func printableBytes(b []byte) string {
	var text strings.Builder
	for _, c := range b {
		if c >= ' ' && c <= '~' && c != '\\' {
			text.WriteByte(c)
			continue
		}
		fmt.Fprintf(&text, "\\x%02X", c)
	}
	return text.String()
}
