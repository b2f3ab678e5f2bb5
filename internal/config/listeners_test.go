package config

import (
	"maps"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// listenersOf are the static listeners of these tests.
const listenersOf = "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"

func withListeners(t *testing.T, more map[string]string) *Broker {
	t.Helper()
	properties := map[string]string{"listeners": listenersOf, "controller.listener.names": "CONTROLLER", "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTRA:PLAINTEXT"}
	maps.Copy(properties, more)
	b, _, err := NewBroker(properties)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const withExtra = listenersOf + ",EXTRA://localhost:9094"

// TestListenersThatMayChange has the refusals of Kafka's DynamicListenerConfig.
func TestListenersThatMayChange(t *testing.T) {
	t.Parallel()
	const refused = kafka.ErrInvalidRequest
	for _, test := range []struct {
		name    string
		static  map[string]string
		dynamic map[string]string // of the broker, before the change
		change  map[string]string // and after it
		code    kafka.ErrorCode
	}{
		{"add", nil, nil, one("listeners", withExtra), 0},
		{"add without a protocol", nil, nil, one("listeners", listenersOf+",NEW://localhost:9094"), refused},
		{"add with a protocol", nil, nil, map[string]string{"listeners": listenersOf + ",NEW://localhost:9094", "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,NEW:PLAINTEXT"}, 0},
		{"add one whose protocol is not served", nil, nil, map[string]string{"listeners": withExtra, "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTRA:SSL"}, refused},
		{"the same port", nil, nil, one("listeners", listenersOf+",EXTRA://localhost:9092"), refused},
		{"no address", nil, nil, one("listeners", "PLAINTEXT"), refused},
		{"none", nil, nil, one("listeners", ""), refused},
		{"without the brokers'", nil, nil, one("listeners", "EXTRA://localhost:9094,CONTROLLER://localhost:9093"), refused},
		{"without the controller's", nil, nil, one("listeners", "PLAINTEXT://localhost:9092"), refused},
		{"another address", nil, nil, one("listeners", "PLAINTEXT://localhost:9099,CONTROLLER://localhost:9093"), 0},
		{"remove one that clients are told of", nil, one("listeners", withExtra), nil, refused},
		{"remove one that clients are not told of", one("advertised.listeners", "PLAINTEXT://localhost:9092"), one("listeners", withExtra), nil, 0},
		{"remove the one between brokers", map[string]string{"advertised.listeners": "EXTRA://localhost:9094", "listeners": withExtra, "inter.broker.listener.name": "EXTRA"}, nil, one("listeners", listenersOf), refused},
		{"a protocol taken away", nil, nil, one("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT"), refused},
		{"a protocol of nobody taken away", nil, nil, one("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"), 0},
		{"another protocol", nil, nil, one("listener.security.protocol.map", "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"), refused},
		{"advertised", nil, nil, one("advertised.listeners", "PLAINTEXT://other:1"), refused},
		{"between brokers", nil, nil, one("inter.broker.listener.name", "PLAINTEXT"), refused},
		{"a config of one", nil, nil, one("listener.name.plaintext.sasl.enabled.mechanisms", "PLAIN"), 0},
		{"a config of one that is open, with others", nil, nil, map[string]string{"listener.name.plaintext.sasl.enabled.mechanisms": "PLAIN", "listeners": withExtra}, refused},
		{"a config of one that is not", nil, nil, map[string]string{"listener.name.extra.sasl.enabled.mechanisms": "PLAIN", "listeners": withExtra}, 0},
		{"limits and keys of one that is open, with others", nil, nil, map[string]string{"listener.name.plaintext.max.connections": "5", "listener.name.plaintext.ssl.keystore.type": "PEM", "listeners": withExtra}, 0},
		{"no connections of one", nil, nil, one("listener.name.plaintext.max.connections", "0"), refused},
		{"no connections of none", nil, nil, one("listener.name.nobody.max.connections", "0"), 0},
		{"threads of one", nil, nil, one("listener.name.plaintext.num.network.threads", "7"), refused},
		{"what mends", one("broker.rack", "a"), one("listeners", "PLAINTEXT://localhost:9092"), nil, 0},
	} {
		l := Layers{Static: withListeners(t, test.static), DynamicBroker: test.dynamic}
		err := l.ValidateBrokerConfigs(test.change, true)
		var code kafka.ErrorCode
		if err != nil {
			code = kafka.CodeOf(err)
		}
		if code != test.code {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	for name, refused := range map[string]bool{"listeners": true, "listener.security.protocol.map": true, "listener.name.plaintext.sasl.enabled.mechanisms": true, "listener.name.plaintext.max.connections": false} {
		value := map[string]string{"listeners": withExtra, "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT", "listener.name.plaintext.sasl.enabled.mechanisms": "PLAIN", "listener.name.plaintext.max.connections": "5"}[name]
		if err := (Layers{Static: withListeners(t, nil)}).ValidateBrokerConfigs(one(name, value), false); (err != nil) != refused {
			t.Errorf("%s for all brokers: %v", name, err)
		}
	}
}

// TestDynamicConfigsOfListeners: what is set for one listener counts for it.
func TestDynamicConfigsOfListeners(t *testing.T) {
	t.Parallel()
	l := Layers{Static: withListeners(t, nil), DynamicDefault: one("listener.name.plaintext.max.connections", "7"), DynamicBroker: map[string]string{"listeners": withExtra, "listener.name.extra.max.connection.creation.rate": "3"}}
	b, err := l.Current()
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Listeners) != 2 || b.Listeners[1].Port != 9094 || len(b.AdvertisedListeners) != 2 || b.ListenerMaxConnections["PLAINTEXT"] != 7 || b.ListenerConnectionRates["EXTRA"] != 3 {
		t.Errorf("%+v", b)
	}
}
