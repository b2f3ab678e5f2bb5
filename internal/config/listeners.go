package config

import (
	"fmt"
	"maps"
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

// ofAllListeners are the configs that may be changed while brokers run and that listeners depend on
// (KIP-226): only with one of them are the listeners looked at.
func ofAllListeners(name string) bool {
	d := brokerDefs[name]
	return d != nil && (d.Mode == PerBroker && name != "cordoned.log.dirs" || slices.Contains(limitsOfListeners, name))
}

// limitsOfListeners are the configs that a listener may have for itself and change while it is open.
var limitsOfListeners = []string{"max.connection.creation.rate", "max.connections", "num.network.threads"}

// checkListenerChange refuses what Kafka refuses of a change while the broker runs: to take away a
// listener that clients are told of, and another protocol or other settings of a listener that is open.
func checkListenerChange(before, after *Broker, old, changed values) error {
	concerned := func(name string) bool {
		a, had := old[name]
		b, has := changed[name]
		return ofAllListeners(name) && (had != has || a != b)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(brokerDefs)), concerned) {
		return nil
	}
	for _, l := range before.AdvertisedListeners {
		if !hasListener(after.Listeners, l.Name) {
			return &ValueError{Name: "listeners", Value: changed.get("listeners").Text, Allowed: fmt.Sprintf("%s must stay, which clients are told of; without advertised.listeners that is every listener", l.Name)}
		}
	}
	open := slices.Concat(before.Listeners, before.ControllerListeners)
	for _, l := range slices.Concat(after.Listeners, after.ControllerListeners) {
		at := slices.IndexFunc(open, func(o Listener) bool { return o.Name == l.Name })
		if at < 0 {
			continue
		}
		if was := open[at]; was.Protocol != l.Protocol {
			return &ValueError{Name: "listener.security.protocol.map", Value: l.Name + ":" + l.Protocol, Allowed: fmt.Sprintf("an open listener keeps its protocol, %s", was.Protocol)}
		}
		if !maps.Equal(old.fixedOf(l.Name), changed.fixedOf(l.Name)) {
			return &dynamicError{fmt.Sprintf("the configs of listener %s cannot be changed together with others of listeners while it is open: restart the broker, or add another listener", l.Name)}
		}
	}
	return nil
}

// checkListenerLimits refuses limits of open listeners, their own ones or the broker's, that Kafka
// allows in properties only.
func checkListenerLimits(open []Listener, old, changed values) error {
	for _, l := range open {
		for _, name := range limitsOfListeners {
			a, b := old.int32OfListener(l.Name, name), changed.int32OfListener(l.Name, name)
			switch {
			case a == b:
			case name == "num.network.threads":
				if err := checkStep(name, int64(a), int64(b)); err != nil {
					return err
				}
			case b < 1:
				return &ValueError{Name: name, Value: strconv.Itoa(int(b)), Allowed: "at least 1 is required"}
			}
		}
	}
	return nil
}

// fixedOf are the configs of one listener that it keeps while it is open.
func (v values) fixedOf(listener string) map[string]string {
	fixed := map[string]string{}
	for name, value := range v {
		if base, ok := strings.CutPrefix(name, listenerPrefix+strings.ToLower(listener)+"."); ok && !slices.Contains(limitsOfListeners, base) && !slices.Contains(onlyOfOneListener, base) {
			fixed[base] = value
		}
	}
	return fixed
}

// onlyOfOneListener are the keys and certificates of TLS, which a listener may change while it is open,
// and which can be changed only for one listener.
var onlyOfOneListener = []string{"ssl.key.password", "ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.keystore.location", "ssl.keystore.password", "ssl.keystore.type",
	"ssl.truststore.certificates", "ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.type"}

// baseOfListener splits the name of a config of one listener off.
func baseOfListener(name string) (base string, ok bool) {
	rest, ok := strings.CutPrefix(name, listenerPrefix)
	if !ok {
		return "", false
	}
	_, base, ok = strings.Cut(rest, ".")
	return base, ok
}

func hasListener(listeners []Listener, name string) bool {
	return slices.ContainsFunc(listeners, func(l Listener) bool { return l.Name == name })
}
