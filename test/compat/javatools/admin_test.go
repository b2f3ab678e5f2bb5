//go:build unix

package javatools

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/compat/programs"
)

func topics(b *bench) {
	b.has(b.runs("topics", "--create", "--topic", "managed", "--partitions", "3", "--config", "retention.ms=7200000"), "Created topic managed")
	b.has(b.ends(1, "", "topics", "--create", "--topic", "managed"), "already exists")
	b.runs("topics", "--create", "--topic", "managed", "--if-not-exists")
	b.has(b.runs("topics", "--list"), `(?m)^managed$`)
	b.has(b.runs("topics", "--describe", "--topic", "managed"), `PartitionCount: 3\s+ReplicationFactor: \d\s+Configs: .*retention.ms=7200000`, `Partition: 2\s+Leader: \d+\s+Replicas: [\d,]+\s+Isr: [\d,]+`)
	b.runs("topics", "--alter", "--topic", "managed", "--partitions", "5")
	programs.Await(b.T, "five partitions", func() error {
		topics, err := b.admin.ListTopics(b.Context(), "managed")
		if n := len(topics["managed"].Partitions); err == nil && n != 5 {
			err = fmt.Errorf("%d", n)
		}
		return err
	})
	for _, of := range []string{"--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"} {
		if out := strings.TrimSpace(b.runs("topics", "--describe", of)); out != "" && programs.Replicas() == 1 {
			b.Errorf("%s: %s", of, out)
		}
	}
	b.has(b.runs("topics", "--describe", "--topics-with-overrides"), "managed")
	b.runs("topics", "--delete", "--topic", "managed")
	programs.Await(b.T, "the topic is gone", func() error {
		if topics, err := b.admin.ListTopics(b.Context()); err != nil || topics.Has("managed") {
			return fmt.Errorf("still there: %v", err)
		}
		return nil
	})
	b.has(b.ends(1, "", "topics", "--describe", "--topic", "managed"), "does not exist")
}

func (b *bench) awaitOutput(pattern, name string, args ...string) {
	b.Helper()
	programs.Await(b.T, pattern, func() error {
		if out := b.runs(name, args...); !strings.Contains(out, pattern) {
			return fmt.Errorf("the tool says %s", out)
		}
		return nil
	})
}

func configs(b *bench) {
	b.create("configured", 1)
	b.has(b.runs("configs", "--alter", "--topic", "configured", "--add-config", "max.message.bytes=5000,cleanup.policy=[compact,delete]"), "Completed updating config for topic configured")
	b.awaitOutput("max.message.bytes=5000", "configs", "--describe", "--topic", "configured")
	b.has(b.runs("configs", "--describe", "--topic", "configured"), "cleanup.policy=compact,delete")
	b.runs("configs", "--alter", "--topic", "configured", "--delete-config", "max.message.bytes")
	b.has(b.ends(1, "", "configs", "--alter", "--topic", "configured", "--add-config", "no.such=1"), "InvalidConfigurationException|Unknown topic config name")
	id := b.brokerID()
	b.has(b.runs("configs", "--alter", "--broker", id, "--add-config", "log.cleaner.threads=2"), "Completed updating config for broker "+id)
	b.awaitOutput("log.cleaner.threads=2", "configs", "--describe", "--broker", id)
	b.runs("configs", "--alter", "--broker", id, "--delete-config", "log.cleaner.threads")
	b.has(b.runs("configs", "--describe", "--broker", id, "--all"), "log.retention.hours=168", "group.initial.rebalance.delay.ms")
	b.has(b.runs("configs", "--describe", "--entity-type", "broker-loggers", "--entity-name", id), "=INFO|=WARN|=ERROR")
}

func (b *bench) brokerID() string {
	b.Helper()
	id := ""
	programs.Await(b.T, "all brokers are there", func() error {
		brokers, err := b.admin.ListBrokers(b.Context())
		if err != nil || len(brokers) != int(programs.Replicas()) {
			return fmt.Errorf("brokers %v, %w", brokers, err)
		}
		id = fmt.Sprint(brokers[0].NodeID)
		return nil
	})
	return id
}

// limits sets and removes what a client may use.
func limits(b *bench) {
	entity := []string{"--entity-type", "clients", "--entity-name", "limited"}
	b.has(b.runs("configs", append([]string{"--alter", "--add-config", "producer_byte_rate=12345"}, entity...)...), "Completed updating config for client limited")
	b.awaitOutput("producer_byte_rate=12345", "configs", append([]string{"--describe"}, entity...)...)
	b.runs("configs", append([]string{"--alter", "--delete-config", "producer_byte_rate"}, entity...)...)
	programs.Await(b.T, "the limit is gone", func() error {
		if out := b.runs("configs", append([]string{"--describe"}, entity...)...); strings.Contains(out, "12345") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// metricsSubscriptions sets and removes what clients are asked to report.
func metricsSubscriptions(b *bench) {
	b.runs("client-metrics", "--alter", "--name", "subscription", "--metrics", "org.apache.kafka.producer.", "--interval", "30000", "--match", "client_id=a.*")
	b.awaitOutput("subscription", "client-metrics", "--list")
	b.awaitOutput("interval.ms=30000", "client-metrics", "--describe", "--name", "subscription")
	b.runs("client-metrics", "--delete", "--name", "subscription")
	programs.Await(b.T, "the subscription is gone", func() error {
		if out := b.runs("client-metrics", "--list"); strings.Contains(out, "subscription") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

func offsetsAndRecords(b *bench) {
	b.create("offsets", 1)
	b.produce("offsets", "a", "b", "c", "d", "e")
	b.has(b.runs("get-offsets", "--topic", "offsets"), `(?m)^offsets:0:5$`)
	b.has(b.runs("get-offsets", "--topic", "offsets", "--time", "earliest"), `(?m)^offsets:0:0$`)
	b.has(b.runs("get-offsets", "--topic", "offsets", "--time", "max-timestamp"), `(?m)^offsets:0:[0-4]$`)
	b.has(b.runs("get-offsets", "--topic", "offsets", "--time", "1000"), `(?m)^offsets:0:0$`)
	file := b.file("delete.json", `{"version":1,"partitions":[{"topic":"offsets","partition":0,"offset":2}]}`)
	b.has(b.runs("delete-records", "--offset-json-file", file), `partition: offsets-0\s+low_watermark: 2`)
	b.has(b.runs("get-offsets", "--topic", "offsets", "--time", "-2"), `(?m)^offsets:0:2$`)
	if got := b.values("offsets"); !slices.Equal(got, []string{"c", "d", "e"}) {
		b.Errorf("after the deletion: %q", got)
	}
	b.has(b.runs("log-dirs", "--describe", "--topic-list", "offsets"), `"partition":"offsets-0","size":[1-9]`)
}

func cluster(b *bench) {
	metadata, err := b.admin.BrokerMetadata(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	id := b.brokerID()
	b.has(b.runs("broker-api-versions"), `\(id: `+id+` rack: null.*\) -> \(`, `Produce\(0\): \d+ to \d+ \[usable: \d+\]`, `EndTxn\(26\)`)
	out := b.tools.Run(b.T, "", "cluster", "cluster-id", "--bootstrap-server", b.bootstrap)
	b.has(out.Stdout, "Cluster ID: "+metadata.Cluster)
	out = b.tools.Run(b.T, "", "cluster", "list-endpoints", "--bootstrap-server", b.bootstrap)
	b.has(out.Stdout, `(?m)^`+id+`\s+localhost\s+`)
	b.has(b.runs("features", "describe"), `Feature: metadata.version\s.*FinalizedVersionLevel: 4`, `Feature: transaction.version\s.*FinalizedVersionLevel: 2`)
	b.has(b.runs("metadata-quorum", "describe", "--status"), `ClusterId:\s+`+metadata.Cluster, `LeaderId:\s+\d`, `CurrentVoters:.*`+id)
	b.has(b.runs("metadata-quorum", "describe", "--replication"), `(?m)^\d+\s.*Leader`)
}

func securityDisabled(b *bench) {
	const disabled = "SecurityDisabledException"
	b.has(b.ends(1, "", "acls", "--list"), disabled)
	b.has(b.ends(1, "", "acls", "--add", "--allow-principal", "User:a", "--operation", "Read", "--topic", "t", "--force"), disabled)
	b.has(b.ends(1, "", "acls", "--remove", "--topic", "t", "--force"), disabled)
}

func replicas(b *bench) {
	b.create("replicas", 2)
	id := b.brokerID()
	b.has(b.runs("leader-election", "--election-type", "preferred", "--all-topic-partitions"), `(?i)Valid replica already elected|Successfully completed leader election|^\s*$`)
	b.has(b.runs("leader-election", "--election-type", "preferred", "--topic", "replicas", "--partition", "0"), `(?i)Valid replica already elected for partitions replicas-0|Successfully completed leader election`)
	b.has(b.runs("reassign-partitions", "--list"), "No partition reassignments found")
	file := b.file("reassign.json", `{"version":1,"partitions":[{"topic":"replicas","partition":0,"replicas":[`+id+`]},{"topic":"replicas","partition":1,"replicas":[`+id+`]}]}`)
	b.has(b.runs("reassign-partitions", "--execute", "--reassignment-json-file", file), "Successfully started partition reassignments for replicas-0,replicas-1")
	for _, p := range []string{"0", "1"} {
		b.awaitOutput("Reassignment of partition replicas-"+p+" is completed", "reassign-partitions", "--verify", "--reassignment-json-file", file)
	}
	topic := b.file("topics.json", `{"version":1,"topics":[{"topic":"replicas"}]}`)
	b.has(b.runs("reassign-partitions", "--generate", "--topics-to-move-json-file", topic, "--broker-list", id), "Proposed partition reassignment configuration")
}

func transactions(b *bench) {
	b.create("transacted", 1)
	client := programs.Client(b.T, b.bootstrap, kgo.TransactionalID("open-one"), kgo.DefaultProduceTopic("transacted"))
	if err := client.BeginTransaction(); err != nil {
		b.Fatal(err)
	}
	if err := client.ProduceSync(b.Context(), kgo.StringRecord("v")).FirstErr(); err != nil {
		b.Fatal(err)
	}
	b.has(b.runs("transactions", "list"), `(?m)^open-one\s+\d+\s+\d+\s+Ongoing`)
	b.has(b.runs("transactions", "describe", "--transactional-id", "open-one"), `Ongoing.*transacted-0`)
	b.has(b.runs("transactions", "describe-producers", "--topic", "transacted", "--partition", "0"), `(?m)^\d+\s+\d+\s+-?\d+\s+0\s+\d+\s+0`)
	if programs.Replicas() == 1 { // it fails if a leader moves between its requests
		b.runs("transactions", "find-hanging", "--broker-id", b.brokerID())
	}
	b.runs("transactions", "abort", "--topic", "transacted", "--partition", "0", "--start-offset", "0")
	programs.Await(b.T, "the transaction holds nothing back", func() error {
		stable, err := b.admin.ListCommittedOffsets(b.Context(), "transacted")
		if at, _ := stable.Lookup("transacted", 0); err == nil && at.Offset != 2 {
			err = fmt.Errorf("the last stable offset is %d and not 2", at.Offset)
		}
		return err
	})
	if got := b.values("transacted"); len(got) != 0 {
		b.Errorf("committed: %q", got)
	}
	b.runs("transactions", "forceTerminateTransaction", "--transactionalId", "open-one")
	programs.Await(b.T, "the transaction has ended", func() error {
		described, err := b.admin.DescribeTransactions(b.Context(), "open-one")
		if state := described["open-one"].State; err == nil && state != "Empty" && !strings.HasPrefix(state, "Complete") {
			err = fmt.Errorf("%s", state)
		}
		return err
	})
}

func groups(b *bench) {
	b.create("grouped", 1)
	b.produce("grouped", "a", "b", "c")
	b.has(b.runs("console-consumer", "--topic", "grouped", "--group", "tooled", "--from-beginning", "--max-messages", "3", "--timeout-ms", "30000"), `a\nb\nc`)
	b.has(b.runs("consumer-groups", "--list"), `(?m)^tooled$`)
	b.has(b.runs("groups", "--list"), `(?m)^tooled\s+Classic\s+consumer`)
	b.awaitOutput("has no active members", "consumer-groups", "--describe", "--group", "tooled")
	b.has(b.runs("consumer-groups", "--describe", "--group", "tooled"), `tooled\s+grouped\s+0\s+3\s+3\s+0`)
	b.has(b.runs("consumer-groups", "--describe", "--group", "tooled", "--state"), `Empty\s+0`)
	b.has(b.runs("consumer-groups", "--reset-offsets", "--group", "tooled", "--topic", "grouped", "--to-offset", "1", "--execute"), `tooled\s+grouped\s+0\s+1`)
	b.has(b.runs("console-consumer", "--topic", "grouped", "--group", "tooled", "--max-messages", "2", "--timeout-ms", "30000"), `b\nc`)
	b.awaitOutput("has no active members", "consumer-groups", "--describe", "--group", "tooled")
	b.has(b.runs("consumer-groups", "--delete-offsets", "--group", "tooled", "--topic", "grouped"), "Request succeeded for deleting offsets from group tooled")
	programs.Await(b.T, "no offsets are left", func() error { // a coordinator that is just away is asked again
		offsets, err := b.admin.FetchOffsets(b.Context(), "tooled")
		if _, there := offsets.Lookup("grouped", 0); there {
			err = fmt.Errorf("there are %v", offsets)
		}
		return err
	})
	b.has(b.runs("consumer-groups", "--delete", "--group", "tooled"), "Deletion of requested consumer groups .* was successful")
	b.has(b.runs("consumer-groups", "--describe", "--group", "tooled"), "Group tooled not found") // and 0, as with Apache Kafka
}

// applicationReset sets the group of an application of Kafka Streams back and deletes its internal topics.
func applicationReset(b *bench) {
	b.create("app-input", 1)
	b.create("app-counts-changelog", 1)
	b.produce("app-input", "a", "b", "c")
	offsets := kadm.Offsets{}
	offsets.AddOffset("app-input", 0, 3, -1)
	if err := b.admin.CommitAllOffsets(b.Context(), "app", offsets); err != nil {
		b.Fatal(err)
	}
	b.has(b.runs("streams-application-reset", "--application-id", "app", "--input-topics", "app-input", "--force"), "Done.")
	got, err := b.admin.FetchOffsets(b.Context(), "app")
	if at, _ := got.Lookup("app-input", 0); err != nil || at.At != 0 {
		b.Errorf("the input is at %d, %v", at.At, err)
	}
	programs.Await(b.T, "the changelog is deleted", func() error {
		if topics, err := b.admin.ListTopics(b.Context()); err != nil || topics.Has("app-counts-changelog") {
			return fmt.Errorf("still there: %v", err)
		}
		return nil
	})
}
