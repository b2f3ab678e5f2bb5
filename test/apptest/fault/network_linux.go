package fault

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Rule is what becomes of the packets from one address to another.
type Rule struct {
	Blocked     bool
	LossPercent int
	Delay       time.Duration
	Jitter      time.Duration // on top of Delay, evenly; it lets packets overtake each other
}

// Counters are the packets that a network has carried.
type Counters struct {
	Forwarded, Blocked, Lost, Delayed int64
}

// Network joins namespaces. Each has the address 10.77.0.N and reaches all others, as far as the rules let it.
type Network struct {
	mu         sync.RWMutex
	namespaces map[netip.Addr]*Namespace
	rules      map[[2]netip.Addr]Rule
	wg         sync.WaitGroup

	forwarded, blocked, lost, delayed atomic.Int64
}

// NewNetwork returns a network with nobody in it, or why there can be none here.
func NewNetwork() (*Network, error) {
	n := &Network{namespaces: map[netip.Addr]*Namespace{}, rules: map[[2]netip.Addr]Rule{}}
	probe, err := newNamespace(netip.AddrFrom4([4]byte{10, 77, 0, 254}))
	if err != nil {
		return nil, fmt.Errorf("no network namespaces with tunnels: %w", err)
	}
	probe.close()
	return n, nil
}

// Join adds a namespace with the host number given, 1 to 253.
func (n *Network) Join(host byte) (*Namespace, error) {
	ns, err := newNamespace(netip.AddrFrom4([4]byte{10, 77, 0, host}))
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.namespaces[ns.Address] = ns
	n.mu.Unlock()
	n.wg.Go(func() { n.forward(ns) })
	return ns, nil
}

// Close ends the network. Processes in its namespaces reach nobody from then on.
func (n *Network) Close() {
	n.mu.Lock()
	for _, ns := range n.namespaces {
		ns.close()
	}
	n.mu.Unlock()
	n.wg.Wait()
}

// Set lays down what becomes of packets from one to another: one direction only.
func (n *Network) Set(from, to *Namespace, rule Rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules[[2]netip.Addr{from.Address, to.Address}] = rule
}

// Heal takes back all rules.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.rules)
}

// Counters are what has been carried so far.
func (n *Network) Counters() Counters {
	return Counters{n.forwarded.Load(), n.blocked.Load(), n.lost.Load(), n.delayed.Load()}
}

// forward reads what a namespace sends until the network is closed.
func (n *Network) forward(from *Namespace) {
	packet := make([]byte, 65536)
	for {
		size, err := from.tunnel.Read(packet)
		if err != nil {
			return
		}
		if size < 20 || packet[0]>>4 != 4 {
			continue // not IPv4: neighbours looking for each other
		}
		to := netip.AddrFrom4([4]byte(packet[16:20]))
		n.mu.RLock()
		target, rule := n.namespaces[to], n.rules[[2]netip.Addr{from.Address, to}]
		n.mu.RUnlock()
		switch {
		case target == nil:
		case rule.Blocked:
			n.blocked.Add(1)
		case rule.LossPercent > rand.IntN(100):
			n.lost.Add(1)
		case rule.Delay+rule.Jitter > 0:
			n.delayed.Add(1)
			held := append([]byte(nil), packet[:size]...)
			time.AfterFunc(rule.Delay+time.Duration(rand.Int64N(int64(rule.Jitter)+1)), func() { n.deliver(target, held) })
		default:
			n.deliver(target, packet[:size])
		}
	}
}

// deliver hands a packet over. Who does not take it, because the device is going, is like a full queue on the way.
func (n *Network) deliver(to *Namespace, packet []byte) {
	if _, err := to.tunnel.Write(packet); err == nil {
		n.forwarded.Add(1)
	}
}
