package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// eventually polls until condition holds: listeners follow a moment after their configs.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		case <-poll.C:
		}
	}
}

// brokersAt are the addresses that Metadata names to who asks at address.
func brokersAt(t *testing.T, address string) (all []string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	resp, err := cl.SeedBrokers()[0].Request(t.Context(), kmsg.NewPtrMetadataRequest())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range resp.(*kmsg.MetadataResponse).Brokers {
		all = append(all, net.JoinHostPort(b.Host, fmt.Sprint(b.Port)))
	}
	return all
}

// listeners are those of the properties, as the dynamic config must repeat them.
func (n *configNode) listeners(more ...string) *string {
	return ptr(strings.Join(append([]string{"PLAINTEXT://" + n.b.server.Addr("PLAINTEXT").String()}, more...), ","))
}

const namedMap = "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT"

// TestListenerIsAdded: it opens, clients that come in through it are told its address, the node keeps
// its epoch and its leaderships, and all that is so after a restart.
func TestListenerIsAdded(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, map[string]string{"listener.security.protocol.map": namedMap})
	topic := n.topic("t", nil)
	epoch := n.b.loader.Current().Broker(1).Epoch
	n.alter(ofBroker("listeners", n.listeners("EXTRA://127.0.0.1:0")))
	eventually(t, "clients are told of it", func() bool { return len(n.b.loader.Current().Broker(1).Endpoints) == 2 })
	for range 2 {
		for _, name := range []string{"PLAINTEXT", "EXTRA"} {
			address := n.b.server.Addr(name).String()
			if got := brokersAt(t, address); len(got) != 1 || got[0] != address {
				t.Errorf("who asks at %s is told %v, want %s", name, got, address)
			}
		}
		topic.must(rec{time.Now().UnixMilli(), "k", "v"})
		if err := n.tryAlter(ofBroker("listeners", nil)); !errors.Is(err, kafka.ErrInvalidRequest) {
			t.Errorf("a listener that clients are told of is taken away: %v", err)
		}
		if b := n.b.loader.Current().Broker(1); epoch != 0 && (b.Epoch != epoch || b.Fenced) {
			t.Errorf("the registration became %+v", b)
		}
		n.restart(map[string]string{"listeners": *n.listeners()})
		epoch = 0
	}
}

// TestListenerIsRemoved: its connections end, others stay.
func TestListenerIsRemoved(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, map[string]string{"listener.security.protocol.map": namedMap, "advertised.listeners": "PLAINTEXT://127.0.0.1:0"})
	n.alter(ofBroker("listeners", n.listeners("EXTRA://127.0.0.1:0")))
	eventually(t, "it is open", func() bool { return n.b.server.Addr("EXTRA") != nil })
	address := n.b.server.Addr("EXTRA").String()
	if got := brokersAt(t, address); len(got) != 0 {
		t.Errorf("clients are told of %v, which nobody advertises", got)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	n.alter(ofBroker("listeners", n.listeners()))
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("its connection goes on: %v", err)
	}
	eventually(t, "it is closed", func() bool { return n.b.server.Addr("EXTRA") == nil })
	n.topic("t", nil) // over a connection that was there before
}

// TestListenerThatCannotOpen costs nothing but itself, also at a start.
func TestListenerThatCannotOpen(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := newConfigNode(t, map[string]string{"listener.security.protocol.map": namedMap})
	n.alter(ofBroker("listeners", n.listeners("EXTRA://"+taken.Addr().String())))
	n.restart(map[string]string{"listeners": *n.listeners()})
	if names := n.b.loader.Current().Broker(1).Endpoints; len(names) != 1 {
		t.Errorf("clients are told of %v", names)
	}
	_ = taken.Close()
	n.alter(ofBroker("log.cleaner.backoff.ms", ptr("1000"))) // any change has it tried again
	eventually(t, "it is open", func() bool { return n.b.server.Addr("EXTRA") != nil })
}

// TestAddressOfAControllerListener stays that of the properties, by which other controllers know it.
func TestAddressOfAControllerListener(t *testing.T) {
	t.Parallel()
	known := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	n := newConfigNode(t, map[string]string{"listeners": "PLAINTEXT://127.0.0.1:0,C1://" + known, "controller.listener.names": "C1"})
	n.alter(ofBroker("listeners", n.listeners(fmt.Sprintf("C1://127.0.0.1:%d", freePort(t)))))
	n.restart(nil)
	if at := n.b.server.Addr("C1"); at == nil || at.String() != known {
		t.Errorf("it is at %v, was at %s", at, known)
	}
}

// TestAddressOfAListener changes with the next start, not under who is connected.
func TestAddressOfAListener(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, nil)
	before := n.b.server.Addr("PLAINTEXT").String()
	n.alter(ofBroker("listeners", ptr("PLAINTEXT://localhost:0")))
	n.alter(ofBroker("listeners", ptr("PLAINTEXT://127.0.0.1:0")))
	if after := n.b.server.Addr("PLAINTEXT").String(); after != before {
		t.Errorf("it is at %s, was at %s", after, before)
	}
	n.restart(map[string]string{"listeners": "PLAINTEXT://" + before})
	if after := n.b.server.Addr("PLAINTEXT").String(); after == before {
		t.Errorf("it is at %s, which the dynamic config has replaced", after)
	}
}

// TestListenerHasItsProtocol: one that no property knows comes with its protocol, in one request or before.
func TestListenerHasItsProtocol(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, nil)
	added := ofBroker("listeners", n.listeners("EXTRA://127.0.0.1:0"))
	if err := n.tryAlter(added); !errors.Is(err, kafka.ErrInvalidRequest) {
		t.Errorf("a listener without a protocol: %v", err)
	}
	n.alter(ofBroker("listener.security.protocol.map", ptr(namedMap)))
	n.alter(added)
	eventually(t, "it is open", func() bool { return n.b.server.Addr("EXTRA") != nil })
	if err := n.tryAlter(ofBroker("listener.security.protocol.map", nil)); !errors.Is(err, kafka.ErrInvalidRequest) {
		t.Errorf("the protocol of an open listener is taken away: %v", err)
	}
}
