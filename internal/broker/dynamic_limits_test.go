package broker

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/config"
)

// TestConnectionLimitsAreDynamic: a limit that is set while the node runs holds at once, and after
// a restart.
func TestConnectionLimitsAreDynamic(t *testing.T) {
	dir := t.TempDir()
	start := func() *broker {
		c, _, err := config.NewBroker(map[string]string{"log.dirs": dir, "listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": ""})
		if err != nil {
			t.Fatal(err)
		}
		b := newBroker(t.Context(), c)
		if err := b.start(); err != nil {
			t.Fatal(errors.Join(err, b.stop()))
		}
		return b
	}
	// admitted reports whether the second of two connections is let in.
	admitted := func(b *broker) bool {
		address := b.server.Addr("PLAINTEXT").String()
		var last net.Conn
		for range 2 {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			last = c
		}
		// A connection that is let in stays open; one that is refused is closed at once.
		_ = last.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := last.Read(make([]byte, 1))
		return !errors.Is(err, io.EOF)
	}
	b := start()
	if !admitted(b) {
		t.Fatal("refused without a limit")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.server.Addr("PLAINTEXT").String()))
	if err != nil {
		t.Fatal(err)
	}
	limit := "1"
	altered, err := kadm.NewClient(client).AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.connections.per.ip", Value: &limit}}, 1)
	if err != nil || altered[0].Err != nil {
		t.Fatal(err, altered)
	}
	client.Close()
	if admitted(b) {
		t.Error("max.connections.per.ip=1 has no effect")
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b = start()
	if admitted(b) {
		t.Error("max.connections.per.ip=1 has no effect after a restart")
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
}
