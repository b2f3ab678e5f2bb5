package main

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
)

// listenerProbes ask what of listeners may change while a broker runs. They only validate: without
// advertised.listeners Apache Kafka does not let go of a listener that was added, until it is
// started again. test/compat/javanode adds and removes some.
func listenerProbes() []probe {
	const plain, both = "listeners={P},{C}", "listeners={P},{C},EXTRA://localhost:9"
	const protocols = "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
	var steps []step
	for _, settings := range [][]string{
		{plain}, {both}, {both, protocols}, {both, protocols + ",EXTRA:PLAINTEXT"}, {both, protocols + ",extra:plaintext"}, {both, "listener.security.protocol.map=EXTRA:PLAINTEXT"},
		{both, "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT"}, {both, protocols + ",EXTRA:NONSENSE"}, {protocols + ",EXTRA:PLAINTEXT"}, {protocols}, {"listener.security.protocol.map="},
		{"listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"}, {"listener.security.protocol.map=PLAINTEXT"},
		{"listeners="}, {"listeners={P}"}, {"listeners={C}"}, {"listeners=PLAINTEXT"}, {"listeners={P},{C},{P}"}, {"listeners={P},{C},PLAINTEXT://localhost:9"}, {"listeners=PLAINTEXT://localhost:9,{C}"},
		{"listeners=PLAINTEXT://0.0.0.0:9,{C}"}, {"listeners={P},CONTROLLER://localhost:9"}, {"listeners={P},{C},SSL://localhost:{p}"}, {"listeners={P},{C},EXTRA:9", protocols + ",EXTRA:PLAINTEXT"},
		{"listeners={P},{C},EXTRA://localhost:0", protocols + ",EXTRA:PLAINTEXT"}, {"listeners=EXTRA://localhost:9,{C}", protocols + ",EXTRA:PLAINTEXT"},
		{"advertised.listeners={P}"}, {"inter.broker.listener.name=PLAINTEXT"}, {"controller.listener.names=CONTROLLER"}, {"early.start.listeners=PLAINTEXT"}, {"security.inter.broker.protocol=PLAINTEXT"},
		{"listener.name.plaintext.sasl.enabled.mechanisms=PLAIN"}, {both, protocols + ",EXTRA:PLAINTEXT", "listener.name.plaintext.sasl.enabled.mechanisms=PLAIN"},
		{both, protocols + ",EXTRA:PLAINTEXT", "listener.name.extra.sasl.enabled.mechanisms=PLAIN"}, {both, protocols + ",EXTRA:PLAINTEXT", "listener.name.plaintext.max.connections=5"},
		{both, protocols + ",EXTRA:PLAINTEXT", "listener.name.plaintext.nobody.knows=5"}, {both, protocols + ",EXTRA:PLAINTEXT", "listener.name.plaintext.ssl.keystore.type=JKS"},
		{"max.connections=100", "listener.name.plaintext.nobody.knows=5"}, {"log.cleaner.threads=1", "listener.name.plaintext.nobody.knows=5"},
		{"listener.name.plaintext.max.connections=0"}, {"listener.name.plaintext.max.connections=-1"}, {"listener.name.nobody.max.connections=0"}, {"listener.name.plaintext.max.connection.creation.rate=0"},
		{"listener.name.controller.max.connections=0"}, {"listener.name.controller.max.connections=5"}, {"listener.name.plaintext.num.network.threads=6"}, {"listener.name.plaintext.num.network.threads=7"},
		{"listener.name.controller.num.network.threads=7"}, {"listener.name.nobody.num.network.threads=7"}, {"max.connections=0"}, {"max.connections=0", "listener.name.plaintext.max.connections=5"},
		{"listener.name.plaintext.node.id=5"}, {"listener.name.plaintext.no.such=5"}, {"listener.name.plaintext.log.retention.ms=x"}, {"listener.name.plaintext.log.retention.ms=5"}, {"listener.name.plaintext.log.retention.hours=x"},
		{"listener.name.plaintext"}, {"listener.name.plaintext.=5"}, {"listener.name.plaintext.plain.sasl.jaas.config=x"}, {"listener.name.plaintext.plain.connections.max.reauth.ms=x"},
	} {
		steps = append(steps, offerToListeners(settings...))
	}
	impossible := []step{offerToListeners("listeners={P},{C},EXTRA://localhost:99999", protocols+",EXTRA:PLAINTEXT")}
	return []probe{{"listeners that change", steps}, {"a listener with an impossible port", impossible}, {"every config of brokers", offerEvery()}, {"configs of a listener described", describeListener()}}
}

// offerToListeners offers settings, as name=value, to one broker and to all: {P} is its listener for
// clients, {p} that one's port, {C} its controller's.
func offerToListeners(settings ...string) step {
	return func(b *broker, c *conn) (string, error) {
		_, port, _ := strings.Cut(b.addr, ":")
		places := strings.NewReplacer("{P}", "PLAINTEXT://"+b.addr, "{C}", "CONTROLLER://"+controllerOf(b.addr), "{p}", port)
		var requests []kmsg.Request
		for _, resource := range []string{"1", ""} {
			r := alteration(resourceBroker, resource, kmsg.IncrementalAlterConfigOpSet, "", nil)
			r.Resources[0].Configs = nil
			for _, setting := range settings {
				name, value, _ := strings.Cut(setting, "=")
				value = places.Replace(value)
				r.Resources[0].Configs = append(r.Resources[0].Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Value: &value})
			}
			requests = append(requests, r)
		}
		return codes(strings.Join(settings, " "), requests...)(b, c)
	}
}

// offerEvery offers each config of brokers that Kafka has its default, or another value that it could have.
func offerEvery() (steps []step) {
	own := []string{"client.metrics.export.enable", "cluster.id", "http.listen", "log.reserve.bytes"}
	for _, d := range config.BrokerDefs() {
		switch {
		case slices.Contains(own, d.Name), strings.HasPrefix(d.Name, "moldau."), d.Usage == config.Internal, d.Name == "listeners", d.Name == "min.insync.replicas": // see its own probe
			continue
		case d.NullDefault && d.Type == config.Class:
			steps = append(steps, offerToBroker(d.Name, "org.apache.kafka.common.security.ssl.DefaultSslEngineFactory"))
		case d.NullDefault:
			steps = append(steps, offerToBroker(d.Name, "1"))
		default:
			steps = append(steps, offerToBroker(d.Name, d.Default))
		}
	}
	return steps
}

// describeListener sets limits of one listener, shows them and takes them away again.
func describeListener() []step {
	set, remove := kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete
	const limit, rate, unknown = "listener.name.plaintext.max.connections", "listener.name.plaintext.max.connection.creation.rate", "listener.name.plaintext.nobody.knows"
	described := []step{describeConfigs(resourceBroker, "1", 4, limit, rate, unknown, "max.connections"), describeConfigs(resourceBroker, "", 4, limit, rate, unknown)}
	return slices.Concat([]step{
		askOf(1, alter(resourceBroker, "1", set, limit, ptr("1000"))), askOf(1, alter(resourceBroker, "", set, rate, ptr("900"))), askOf(1, alter(resourceBroker, "1", set, unknown, ptr("5"))),
	}, described, []step{
		askOf(1, alter(resourceBroker, "1", remove, limit, nil)), askOf(1, alter(resourceBroker, "", remove, rate, nil)), askOf(1, alter(resourceBroker, "1", remove, unknown, nil)),
	}, described)
}
