package quota

import (
	"math"
	"net/netip"
	"testing"
	"time"
)

func TestListenersAcceptAtTheirRate(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_700_000_000, 0)
	for _, test := range []struct {
		name   string
		limits ConnectionLimits
		want   float64
	}{
		{"of the broker", ConnectionLimits{Broker: 20}, 20},
		{"of the listener", ConnectionLimits{Broker: math.MaxInt32, Listeners: map[string]int32{"A": 20}}, 20},
		{"of both", ConnectionLimits{Broker: 30, Listeners: map[string]int32{"A": 20}}, 20},
	} {
		c := NewConnections(tenSeconds, begin)
		c.SetLimits(test.limits)
		now, n := begin, 0
		for now.Sub(begin) < time.Minute {
			wait := c.Accept("A", now)
			if wait > time.Second {
				t.Fatalf("a listener waits for %v", wait)
			}
			now = now.Add(wait + time.Millisecond)
			if now.Sub(begin) > 20*time.Second {
				n++
			}
		}
		if perSecond := float64(n) / 40; math.Abs(perSecond/test.want-1) > 0.1 {
			t.Errorf("%s: %v connections per second", test.name, perSecond)
		}
	}
	c := NewConnections(tenSeconds, begin)
	c.SetLimits(ConnectionLimits{Broker: 1, ExemptListener: "INTERNAL", Listeners: map[string]int32{"OTHER": 1}})
	for range 1000 {
		if c.Accept("INTERNAL", begin) != 0 {
			t.Fatal("brokers wait for each other")
		}
	}
	c.SetLimits(ConnectionLimits{Broker: 0})
	if wait := c.Accept("A", begin); wait != time.Second {
		t.Errorf("with a limit of 0 each waits for %v", wait)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_700_000_000, 0)
	c := NewConnections(tenSeconds, begin)
	c.SetLimits(ConnectionLimits{Broker: 1000})
	slow, fast := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	c.SetAddressLimits(AddressLimits{Default: math.MaxInt32, Addresses: map[netip.Addr]int32{slow: 2}})
	from := func(address netip.Addr, at time.Time) time.Duration {
		c.Accept("A", at)
		return c.AcceptFrom("A", address, at)
	}
	for range 20 {
		if wait := from(slow, begin); wait != 0 {
			t.Fatalf("within a window's worth: %v", wait)
		}
	}
	for range 100 {
		if wait := from(slow, begin); wait != 500*time.Millisecond {
			t.Fatalf("one too many: %v", wait)
		}
	}
	if mapped := netip.AddrFrom16(slow.As16()); from(mapped, begin) == 0 {
		t.Error("an address in its IPv6 form has another limit")
	}
	if perSecond, _ := c.broker.measure(tenSeconds, 0); perSecond != 2 {
		t.Errorf("the refused ones count for the broker: %v per second", perSecond)
	}
	for range 1000 {
		if from(fast, begin) != 0 {
			t.Fatal("an address without a limit is held back")
		}
	}
	c.SetAddressLimits(AddressLimits{Default: 1})
	for range 10 {
		from(fast, begin)
	}
	if from(fast, begin) == 0 {
		t.Error("the default does not count")
	}
}
