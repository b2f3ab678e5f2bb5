package record

import (
	"bytes"
	"testing"
)

// TestSizeBytesIsExact: who asks whether records fit must not be told too much nor too little.
func TestSizeBytesIsExact(t *testing.T) {
	t.Parallel()
	b := NewBuilder(NoProducer(CodecNone))
	for i := range 300 {
		key, value := bytes.Repeat([]byte("k"), i*i%200), bytes.Repeat([]byte("v"), i*61)
		if i%7 == 0 {
			value = nil
		}
		want := b.UncompressedBytes() + SizeBytes(i, key, value)
		if b.Append(5, key, value, nil); b.UncompressedBytes() != want {
			t.Fatalf("record %d: the batch has %d bytes, not %d", i, b.UncompressedBytes(), want)
		}
	}
}
