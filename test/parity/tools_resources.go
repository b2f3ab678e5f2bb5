package main

import (
	"regexp"
	"slices"
)

// resourceCommands are about groups and client metrics subscriptions as things with configs.
func resourceCommands() []command {
	// Others' groups may show: only those of a line's own mark are compared.
	own := regexp.MustCompile(`(?i)^GROUP|r-[a-z0-9-]*@|^error|^exit|^\$`)
	return []command{
		{name: "client metrics", smoke: true, lines: on("client-metrics", "--alter --name cm@ --metrics org.apache.kafka.producer.,org.apache.kafka.consumer. --interval 60000 --match client_id=a.*,client_software_name=Java",
			"--describe --name cm@", "--alter --name cm@ --interval '' --match ''", "--describe --name cm@", "--delete --name cm@", "--describe --name cm@", "--delete --name cm@")},
		{name: "client metrics listed", kept: regexp.MustCompile(`lm@|^error|^exit|^\$`), lines: on("client-metrics", "--alter --name lm@ --metrics *", "--list", "--describe", "--delete --name lm@", "--list")},
		{name: "client metrics refused", lines: slices.Concat(on("client-metrics", "--alter --name cr@ --interval 99", "--alter --name cr@ --interval soon", "--alter --name cr@ --match nobody=x", "--alter --name cr@ --metrics a --generate-name",
			"--alter --metrics a", "--alter --name cr@", "--describe --name cr@ --interval 100", "--list --name cr@", "--delete", "--delete --name cr@ --match a=b", "", "--alter --list", "--describe --name nobody@", "--odd"),
			with("client-metrics", "--list", "", "--help", "--version")), wordless: true},
		{name: "configs of client metrics", lines: on("configs", "--alter --entity-type client-metrics --entity-name cc@ --add-config metrics=[a.,b.],interval.ms=5000", "--describe --entity-type client-metrics --entity-name cc@",
			"--describe --all --client-metrics cc@", "--alter --client-metrics cc@ --delete-config metrics,interval.ms", "--describe --client-metrics cc@", "--describe --all --client-metrics cc@",
			"--alter --client-metrics cc@ --add-config metrics=a --delete-config no.such", "--alter --client-metrics cc@ --delete-config metrics")},
		{name: "configs of client metrics refused", wordless: true, lines: on("configs", "--alter --client-metrics cd@ --add-config no.such=1", "--alter --client-metrics cd@ --add-config interval.ms=1",
			"--alter --entity-type client-metrics --add-config interval.ms=1000", "--describe --entity-type client-metrics --entity-default", "--describe --client-metrics ''")},
		{name: "configs of groups", lines: on("configs", "--alter --entity-type groups --entity-name gc@ --add-config consumer.session.timeout.ms=50000,share.auto.offset.reset=earliest", "--describe --entity-type groups --entity-name gc@",
			"--describe --group gc@", "--describe --all --group gc@", "--alter --group gc@ --delete-config consumer.session.timeout.ms", "--describe --group gc@", "--alter --group gc@ --delete-config share.auto.offset.reset",
			"--describe --group gc@", "--describe --group nobody@", "--describe --all --group nobody@")},
		{name: "configs of groups refused", wordless: true, lines: on("configs", "--alter --group gd@ --add-config no.such=1", "--alter --group gd@ --add-config consumer.session.timeout.ms=1", "--alter --entity-type groups --add-config share.isolation.level=read_committed",
			"--describe --entity-type groups --entity-default", "--describe --group ''", "--alter --entity-type groups --entity-name gd@")},
		{name: "groups", kept: own, unordered: true, prepare: func(mark string) []step {
			// At a group without a name, which probes have left, the tool stops: after which others is up to the order of a set.
			return []step{topic("r-g"+mark, 1), askOf(2, deleteGroups(""))}
		}, lines: slices.Concat(
			on("consumer-groups", "--reset-offsets --to-earliest --topic r-g@ --group r-simple@ --execute"),
			on("groups", "--list", "--list --consumer", "--list --share", "--list --streams", "--list --group-type classic", "--list --group-type CONSUMER", "--list --group-type share --protocol consumer",
				"--list --group-type classic --protocol ''", "--list --protocol consumer", "--list --protocol ''"),
			on("configs", "--describe --entity-type groups", "--describe --group r-simple@"), on("consumer-groups", "--delete --group r-simple@"))},
		{name: "groups refused", lines: slices.Concat(on("groups", "", "--list --group-type odd", "--list --group-type unknown", "--list --consumer --share", "--list --streams --protocol x", "--consumer", "--list --odd"), with("groups", "--list", "", "--version"))},
		// Apache Kafka's tool ends its process at a wrong command line, so none is here.
		{name: "cluster endpoints", shape: true, lines: on("cluster list-endpoints", "", "--include-fenced-brokers")},
		{name: "controllers", shape: true, lines: slices.Concat(with("cluster list-endpoints --bootstrap-controller CONTROLLER", "", "--include-fenced-brokers"), with("features --bootstrap-controller CONTROLLER", "upgrade --feature transaction.version=2"),
			with("metadata-quorum --bootstrap-controller CONTROLLER describe", "", "--status --replication"))},
		{name: "configs at the controller", lines: slices.Concat(with("configs --bootstrap-controller CONTROLLER", "--alter --group rc@ --add-config share.isolation.level=read_committed"),
			on("configs", "--describe --group rc@"), with("configs --bootstrap-controller CONTROLLER", "--alter --group rc@ --delete-config share.isolation.level", "--alter --group rc@ --add-config a=b"),
			with("cluster unregister --bootstrap-controller CONTROLLER", "--id 77")), wordless: true},
		{name: "cluster unregister", wordless: true, lines: on("cluster unregister", "--id 7", "--id -1", "-i 2147483647")},
	}
}
