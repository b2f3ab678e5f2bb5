package record

import "fmt"

// Codec is a compression codec by its number in the batch attributes.
type Codec int8

const (
	CodecNone   Codec = 0
	CodecGzip   Codec = 1
	CodecSnappy Codec = 2
	CodecLZ4    Codec = 3
	CodecZstd   Codec = 4
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// IsKnown reports whether the codec exists.
func (c Codec) IsKnown() bool { return c >= CodecNone && c <= CodecZstd }

// String returns Kafka's name of the codec, as configs and tools spell it.
func (c Codec) String() string {
	if c.IsKnown() {
		return codecNames[c]
	}
	return fmt.Sprintf("unknown codec %d", int8(c))
}

// ParseCodec returns the codec of a name: none (also uncompressed, as topic configs say),
// gzip, snappy, lz4, zstd.
func ParseCodec(name string) (Codec, error) {
	if name == "uncompressed" {
		return CodecNone, nil
	}
	for i, n := range codecNames {
		if n == name {
			return Codec(i), nil
		}
	}
	return CodecNone, fmt.Errorf("%q is not a compression codec: want none, gzip, snappy, lz4 or zstd", name)
}
