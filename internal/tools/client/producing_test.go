package client

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestSerializedSize holds the figure that Kafka's producer gave for such a record.
func TestSerializedSize(t *testing.T) {
	t.Parallel()
	if got := serializedSize(&kgo.Record{Value: make([]byte, 2_000_000)}); got != 2_000_088 {
		t.Errorf("%d", got)
	}
}
