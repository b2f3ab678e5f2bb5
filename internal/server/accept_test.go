package server

import (
	"math"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/wire"
)

// TestConnectionCreationRate lets connections in as fast as max.connection.creation.rate allows,
// measured over the window of the quotas.
func TestConnectionCreationRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rates := quota.NewConnections(quota.Window{Samples: 11, Sample: time.Second}, time.Now())
		rates.SetLimits(quota.ConnectionLimits{Broker: 10})
		s := New(Options{Metrics: metrics.NewRegistry(), Connections: rates, Limits: Limits{RequestMemoryBytes: 1}})
		began := time.Now()
		for i := range 400 {
			if !s.waitForSlot(t.Context(), &boundListener{Listener: Listener{Name: "A", Kind: wire.BrokerListener}}) {
				t.Fatal("the wait ended")
			}
			if i == 99 && time.Since(began) > 0 {
				t.Errorf("a window's worth of connections took %s", time.Since(began))
			}
		}
		if took := time.Since(began); took < 28*time.Second || took > 36*time.Second {
			t.Errorf("400 connections took %s, want about 30s", took)
		}
	})
}

// A listener with a limit of its own does not hold up the others.
func TestConnectionsOfAListener(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{MaxListenerConnections: map[string]int{"PLAINTEXT": 1}}, nil, func(o *Options) {
		other := o.Listeners[0]
		other.Name = "OTHER"
		o.Listeners = append(o.Listeners, other)
	})
	first, second := s.dial(), s.dial()
	first.send(frameOf(metadataRequest(1), 1))
	first.receive()
	second.send(frameOf(metadataRequest(1), 2))
	s.address = s.Addr("OTHER").String()
	other := s.dial()
	other.send(frameOf(metadataRequest(1), 3))
	other.receive()
	eventually(t, "two are in", func() bool { return s.counter("moldau_connections_accepted_total") == 2 })
	_ = first.Close()
	if id, _ := second.receive(); id != 2 {
		t.Errorf("got the response to %d", id)
	}
}

// What exceeds the rate of an address is closed, after its throttle time.
func TestConnectionRateOfAnAddress(t *testing.T) {
	t.Parallel()
	rates := quota.NewConnections(quota.Window{Samples: 2, Sample: 100 * time.Millisecond}, time.Now())
	rates.SetAddressLimits(quota.AddressLimits{Default: math.MaxInt32, Addresses: map[netip.Addr]int32{netip.MustParseAddr("127.0.0.1"): 10}})
	s := startServer(t, Limits{}, nil, func(o *Options) { o.Connections = rates })
	conn := s.dial()
	conn.send(frameOf(metadataRequest(1), 1))
	conn.receive()
	began := time.Now()
	refused := s.dial()
	refused.wantClosed()
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("it was closed after %s", took)
	}
	if n := s.counter("moldau_connections_refused_total", "reason", "address rate"); n != 1 {
		t.Errorf("%d are counted as refused", n)
	}
	eventually(t, "it is forgotten", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.refusedSockets) == 0
	})
}
