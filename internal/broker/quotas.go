package broker

import (
	"context"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quota"
)

// connectionRateKey is the limit of an address.
const connectionRateKey = "connection_creation_rate"

// newQuotas makes the quotas of a node, which have no limits until the metadata is loaded.
func (b *broker) newQuotas() {
	clients := quotaWindow(b.config.QuotaSamples, b.config.QuotaSampleSeconds)
	b.quotas = quota.NewManager(quota.Options{
		Clients: clients, Changes: quotaWindow(b.config.ControllerQuotaSamples, b.config.ControllerQuotaSampleSeconds), Metrics: b.metrics, Clock: b.clock,
	})
	b.newThrottles()
	b.connections = quota.NewConnections(clients, b.clock.Now())
	b.controllerConnections = quota.NewConnections(clients, b.clock.Now())
	b.limitConnections(b.config)
}

func quotaWindow(samples, seconds int32) quota.Window {
	return quota.Window{Samples: int(samples), Sample: time.Duration(seconds) * time.Second}
}

// limitConnections has connections made as fast as c says. Those of the controller listeners have the
// same limits, but a count of their own, as in Kafka.
func (b *broker) limitConnections(c *config.Broker) {
	rates := connectionRates(c)
	b.connections.SetLimits(rates)
	rates.ExemptListener = ""
	b.controllerConnections.SetLimits(rates)
}

// connectionRates are the limits that the broker's configs set. The listener between brokers is
// held back by its own only, where clients have others.
func connectionRates(c *config.Broker) quota.ConnectionLimits {
	l := quota.ConnectionLimits{Broker: c.ConnectionCreationRate, Listeners: map[string]int32{}}
	if len(c.Listeners) > 1 {
		l.ExemptListener = c.InterBrokerListener
	}
	for listener, rate := range c.ListenerConnectionRates {
		if rate != math.MaxInt32 {
			l.Listeners[listener] = rate
		}
	}
	return l
}

// publishQuotas has this node follow the limits of its clients, on the loader's goroutine.
func (b *broker) publishQuotas(image *metadata.Image, delta *metadata.Delta) {
	if !delta.ChangesQuotas() {
		return
	}
	b.quotas.Update(image)
	limits := b.addressLimits(image)
	b.connections.SetAddressLimits(limits)
	b.controllerConnections.SetAddressLimits(limits)
}

// host is an address or the name of a host that has a limit. It is looked up, as in Kafka, when the
// limit is set: a name server that does not answer must not hold up every change of metadata.
type host struct {
	rate      int32
	addresses []netip.Addr
}

// addressLimits finds the limits of addresses; those of hosts count for all addresses that a host
// had when its limit was set.
func (b *broker) addressLimits(image *metadata.Image) quota.AddressLimits {
	l := quota.AddressLimits{Default: math.MaxInt32, Addresses: map[netip.Addr]int32{}}
	known := b.hosts
	b.hosts = map[string]host{}
	ctx, cancel := context.WithTimeout(b.ctx, resolveTime) // for all hosts together
	defer cancel()
	for q := range image.ClientQuotas() {
		limit, set := q.Limits[connectionRateKey]
		if !set || len(q.Entity) != 1 || q.Entity[0].Type != metadata.QuotaIP {
			continue
		}
		rate, name := int32(min(max(limit, 0), math.MaxInt32)), q.Entity[0].Name
		switch {
		case math.IsNaN(limit):
			continue
		case name == nil:
			l.Default = rate
			continue
		}
		h, found := known[*name]
		if !found || h.rate != rate {
			h = host{rate: rate}
			var err error
			if h.addresses, err = resolveHost(ctx, *name); err != nil {
				slog.Warn("The connection rate of a host is not limited, for its address cannot be found; set another rate when it can", "host", *name, "error", err)
			}
		}
		b.hosts[*name] = h
		for _, a := range h.addresses {
			l.Addresses[a] = rate
		}
	}
	return l
}

// resolveTime bounds how long the name of a host may take that a quota is set for.
const resolveTime = 2 * time.Second

// resolveHost returns the addresses of a host, or the one that is given in its place.
func resolveHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap().WithZone("")}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for i := range addresses {
		addresses[i] = addresses[i].Unmap().WithZone("")
	}
	return addresses, err
}
