package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Listener is an address with a name and the security protocol spoken there.
type Listener struct {
	Name     string // upper case
	Protocol string // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL
	Host     string // "" is every address
	Port     int32  // 0 is any free port
}

// Address returns host:port.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) }

// String returns NAME://host:port, as listeners are written in properties.
func (l Listener) String() string { return fmt.Sprintf("%s://%s", l.Name, l.Address()) }

// Security protocols of listeners.
const plaintext = "PLAINTEXT"

var securityProtocols = []string{plaintext, "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

var listenerForm = regexp.MustCompile(`^([^:/]+)://(\[[0-9a-fA-F:.%]+\]|[0-9a-zA-Z._%-]*):([0-9]{1,5})$`)

// parseListeners parses the value of the property called property.
func parseListeners(property string, items []string, protocols map[string]string) ([]Listener, error) {
	var listeners []Listener
	for _, item := range items {
		parts := listenerForm.FindStringSubmatch(item)
		if parts == nil {
			return nil, &ValueError{Name: property, Value: item, Allowed: "NAME://host:port is required, such as PLAINTEXT://localhost:9092"}
		}
		port, err := strconv.ParseUint(parts[3], 10, 16)
		if err != nil {
			return nil, &ValueError{Name: property, Value: item, Allowed: "a port from 0 to 65535 is required"}
		}
		l := Listener{Name: strings.ToUpper(parts[1]), Host: strings.Trim(parts[2], "[]"), Port: int32(port)}
		if l.Protocol = protocols[l.Name]; l.Protocol == "" {
			return nil, &ValueError{Name: property, Value: item, Allowed: fmt.Sprintf("listener.security.protocol.map must give a security protocol for %s", l.Name)}
		}
		if slices.ContainsFunc(listeners, func(other Listener) bool { return other.Name == l.Name }) {
			return nil, &ValueError{Name: property, Value: item, Allowed: fmt.Sprintf("each listener needs a name of its own, %s is given twice", l.Name)}
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// checkPorts refuses two listeners on one port, unless one is for IPv4 and one for IPv6.
func checkPorts(listeners []Listener) error {
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if a.Port == b.Port && a.Port != 0 && (ipVersion(a.Host) == 0 || ipVersion(a.Host)+ipVersion(b.Host) != 10) {
				return &ValueError{Name: "listeners", Value: a.String(), Allowed: fmt.Sprintf("each listener needs a port of its own, %s has the same", b)}
			}
		}
	}
	return nil
}

// ipVersion is 4, 6, or 0 where host is no address.
func ipVersion(host string) int {
	address, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return 0
	case address.Is4():
		return 4
	default:
		return 6
	}
}

// parseProtocolMap parses listener.security.protocol.map.
func parseProtocolMap(text string) (map[string]string, error) {
	const property = "listener.security.protocol.map"
	protocols := map[string]string{}
	for item := range strings.SplitSeq(text, ",") {
		name, protocol, ok := strings.Cut(strings.TrimSpace(item), ":")
		name, protocol = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || name == "" || !slices.Contains(securityProtocols, protocol) {
			return nil, &ValueError{Name: property, Value: item, Allowed: "NAME:PROTOCOL is required with one of " + strings.Join(securityProtocols, ", ")}
		}
		if protocols[name] != "" {
			return nil, &ValueError{Name: property, Value: item, Allowed: fmt.Sprintf("%s must be given once", name)}
		}
		protocols[name] = protocol
	}
	return protocols, nil
}
