package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// QuorumAddress is where a controller of the metadata quorum listens.
type QuorumAddress struct {
	// NodeID is -1 where it was not given (controller.quorum.bootstrap.servers).
	NodeID int32
	Host   string
	Port   uint16
}

func (a QuorumAddress) String() string {
	address := net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
	if a.NodeID < 0 {
		return address
	}
	return fmt.Sprintf("%d@%s", a.NodeID, address)
}

// IsClustered reports whether this node is to be one of several: it then finds out from the others
// whether their quorum is formed, and does not start alone. The only controller does, whether it is a broker, too, or not.
func (b *Broker) IsClustered() bool {
	return !b.IsController || len(b.QuorumVoters) > 1 || slices.ContainsFunc(b.QuorumServers, func(a QuorumAddress) bool { return !b.isOwn(a) })
}

// ServesPeers reports whether other nodes may reach this one: it is one of several, or is alone and has a
// controller listener, through which others may join.
func (b *Broker) ServesPeers() bool {
	return b.IsClustered() || len(b.ControllerListeners) > 0
}

// isOwn reports whether an address is one of this node's own controller listeners, as in a file of
// Kafka's for one node.
func (b *Broker) isOwn(a QuorumAddress) bool {
	machine, _ := os.Hostname() // "" is nobody's
	match := func(l Listener) bool {
		everywhere := l.Host == "" || l.Host == "0.0.0.0" || l.Host == "::"
		here := strings.EqualFold(l.Host, a.Host) || isLoopback(a.Host) && (everywhere || isLoopback(l.Host)) || everywhere && strings.EqualFold(machine, a.Host)
		return l.Port == int32(a.Port) && here
	}
	return slices.ContainsFunc(b.ControllerListeners, match) || slices.ContainsFunc(b.AdvertisedControllerListeners, match)
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

// fillRoles reads what the node is and who votes on the metadata.
func (b *Broker) fillRoles(v values) error {
	roles := v.get("process.roles")
	b.IsBroker, b.IsController = slices.Contains(roles.List, "broker"), slices.Contains(roles.List, "controller")
	voters := v.get("controller.quorum.voters")
	for _, item := range voters.List {
		id, address, ok := strings.Cut(item, "@")
		n, err := strconv.ParseInt(id, 10, 32)
		a, valid := parseAddress(address)
		if !ok || err != nil || n < 0 || !valid {
			return &ValueError{Name: "controller.quorum.voters", Value: item, Allowed: "id@host:port is required, such as 1@localhost:9093"}
		}
		a.NodeID = int32(n)
		for _, other := range b.QuorumVoters {
			if other.NodeID == a.NodeID || other.Host == a.Host && other.Port == a.Port {
				return &ValueError{Name: "controller.quorum.voters", Value: voters.Text, Allowed: fmt.Sprintf("%s and %s must not be the same node or address", other, a)}
			}
		}
		b.QuorumVoters = append(b.QuorumVoters, a)
	}
	for _, item := range v.get("controller.quorum.bootstrap.servers").List {
		a, ok := parseAddress(item)
		if !ok {
			return &ValueError{Name: "controller.quorum.bootstrap.servers", Value: item, Allowed: "host:port is required, such as localhost:9093"}
		}
		b.QuorumServers = append(b.QuorumServers, a)
	}
	b.AutoJoin = v.bool("controller.quorum.auto.join.enable")
	return b.checkVoters(v)
}

func parseAddress(text string) (QuorumAddress, bool) {
	host, port, err := net.SplitHostPort(text)
	n, badPort := strconv.ParseUint(port, 10, 16)
	return QuorumAddress{NodeID: -1, Host: host, Port: uint16(n)}, err == nil && badPort == nil && host != "" && n > 0
}

// checkVoters has Kafka's rules about the voters and the roles of this node.
func (b *Broker) checkVoters(v values) error {
	voters, roles := v.get("controller.quorum.voters"), v.get("process.roles")
	votes := slices.ContainsFunc(b.QuorumVoters, func(a QuorumAddress) bool { return a.NodeID == b.NodeID })
	switch {
	case b.IsController && len(b.QuorumVoters) > 0 && !votes:
		return &ValueError{Name: "controller.quorum.voters", Value: voters.Text, Allowed: fmt.Sprintf("a controller must be among the voters, this one as %d@host:port (node.id)", b.NodeID)}
	case !b.IsController && votes:
		return &ValueError{Name: "controller.quorum.voters", Value: voters.Text, Allowed: fmt.Sprintf("node %d is no controller by process.roles and must not be among the voters", b.NodeID)}
	case !(b.IsController && b.IsBroker) && len(b.QuorumVoters) == 0 && len(b.QuorumServers) == 0:
		return &ValueError{Name: "process.roles", Value: roles.Text, Allowed: "a node with one role needs controller.quorum.voters or controller.quorum.bootstrap.servers to find the others"}
	case !b.IsController && v.bool("controller.quorum.auto.join.enable"):
		return &ValueError{Name: "controller.quorum.auto.join.enable", Value: "true", Allowed: "only a controller by process.roles can join the voters"}
	}
	return nil
}

// checkListeners has Kafka's rules about the listeners of each role.
func (b *Broker) checkListeners(v values, controllerNames []string, protocols map[string]string) error {
	names, listeners := v.get("controller.listener.names"), v.get("listeners")
	bad := func(value Value, name, allowed string) error {
		return &ValueError{Name: name, Value: value.Text, Allowed: allowed}
	}
	several := len(b.QuorumVoters) > 1 || len(b.QuorumServers) > 0 || !b.IsBroker || !b.IsController
	switch {
	case several && len(controllerNames) == 0:
		return bad(names, "controller.listener.names", "the name of the listener is required through which the controllers are reached")
	case !b.IsController && len(b.ControllerListeners) > 0:
		return bad(listeners, "listeners", fmt.Sprintf("%s is in controller.listener.names, but this node is no controller by process.roles", b.ControllerListeners[0].Name))
	case !b.IsController && protocols[controllerNames[0]] == "":
		return bad(names, "controller.listener.names", fmt.Sprintf("listener.security.protocol.map must give a security protocol for %s", controllerNames[0]))
	case !b.IsBroker && len(b.Listeners) > 0:
		return bad(listeners, "listeners", fmt.Sprintf("%s is not in controller.listener.names, but this node is no broker by process.roles", b.Listeners[0].Name))
	case b.IsBroker && len(b.Listeners) == 0:
		return bad(listeners, "listeners", "at least one must not be in controller.listener.names")
	}
	if b.IsController {
		for _, name := range controllerNames {
			if !hasListener(b.ControllerListeners, name) {
				return &ValueError{Name: "controller.listener.names", Value: name, Allowed: "each must be one of listeners"}
			}
		}
	}
	return nil
}
