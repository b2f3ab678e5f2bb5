package broker

import (
	"math"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/quorum"
)

// TestMemoryForPeers: a voter must be able to take the largest change of metadata, whatever clients may send.
func TestMemoryForPeers(t *testing.T) {
	t.Parallel()
	small := map[string]string{"socket.request.max.bytes": "1000000", "queued.max.request.bytes": "1000000"}
	alone, _, err := config.NewBroker(small)
	if err != nil {
		t.Fatal(err)
	}
	if got := newBroker(t.Context(), alone).limits().RequestMemoryBytes; got != 1_000_000 {
		t.Errorf("a node that is alone gives requests %d bytes", got)
	}
	small["listeners"], small["controller.listener.names"], small["controller.quorum.voters"] = "PLAINTEXT://127.0.0.1:9092,C://127.0.0.1:9093", "C", "1@127.0.0.1:9093,2@127.0.0.1:9094"
	small["node.id"] = "1"
	voter, _, err := config.NewBroker(small)
	if err != nil {
		t.Fatal(err)
	}
	if got := newBroker(t.Context(), voter).limits().RequestMemoryBytes; got < quorum.MaxMessageBytes {
		t.Errorf("a voter gives requests %d bytes, but others may send %d", got, quorum.MaxMessageBytes)
	}
}

// TestLongestTimes: what is to be as late as can be is not early.
func TestLongestTimes(t *testing.T) {
	t.Parallel()
	now := time.Now().UnixMilli()
	if delayMs := topicConfig(config.TopicConfig{FileDeleteDelayMs: math.MaxInt64}).Log.FileDeleteDelayMs; now+delayMs < now {
		t.Error("with the largest file.delete.delay.ms files are removed at once")
	}
}
