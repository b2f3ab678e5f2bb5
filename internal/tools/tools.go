package tools

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/tools/acls"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/clientmetrics"
	"github.com/moldau/moldau/internal/tools/cluster"
	"github.com/moldau/moldau/internal/tools/completion"
	"github.com/moldau/moldau/internal/tools/configs"
	"github.com/moldau/moldau/internal/tools/consumer"
	"github.com/moldau/moldau/internal/tools/delegationtokens"
	"github.com/moldau/moldau/internal/tools/deleterecords"
	"github.com/moldau/moldau/internal/tools/dumplog"
	"github.com/moldau/moldau/internal/tools/features"
	"github.com/moldau/moldau/internal/tools/groups"
	"github.com/moldau/moldau/internal/tools/leaderelection"
	"github.com/moldau/moldau/internal/tools/logdirs"
	"github.com/moldau/moldau/internal/tools/metadataquorum"
	"github.com/moldau/moldau/internal/tools/offsets"
	"github.com/moldau/moldau/internal/tools/perf"
	"github.com/moldau/moldau/internal/tools/producer"
	"github.com/moldau/moldau/internal/tools/reassign"
	"github.com/moldau/moldau/internal/tools/replicaverification"
	"github.com/moldau/moldau/internal/tools/server"
	"github.com/moldau/moldau/internal/tools/storagetool"
	"github.com/moldau/moldau/internal/tools/streamsreset"
	"github.com/moldau/moldau/internal/tools/topics"
	"github.com/moldau/moldau/internal/tools/transactions"
	"github.com/moldau/moldau/internal/tools/verifiable"
)

// Command is one of Kafka's tools.
type Command struct {
	KafkaName string // the name of Kafka's script, without .sh
	Summary   string
	Run       func(ctx context.Context, s cli.Streams, args []string) error
}

// Name is the sub-command of moldau: Kafka's name without its prefix.
func (c Command) Name() string { return strings.TrimPrefix(c.KafkaName, "kafka-") }

// Commands returns the tools in the order of their names. start runs a broker for
// kafka-server-start.
func Commands(start server.StartFunc) []Command {
	commands := []Command{
		{"kafka-acls", "Add, remove and list access control lists", acls.Run},
		{"kafka-broker-api-versions", "Show which versions of which requests each broker serves", cluster.RunAPIVersions},
		{"kafka-client-metrics", "Show and change which metrics clients push to the brokers", clientmetrics.Run},
		{"kafka-cluster", "Show the cluster id and the brokers' addresses", cluster.Run},
		{"kafka-configs", "Show and change the configs of topics and brokers", configs.Run},
		{"kafka-console-consumer", "Print the records of a topic", consumer.Run},
		{"kafka-console-producer", "Send lines of standard input to a topic", producer.Run},
		{"kafka-consumer-groups", "List, describe, reset and delete consumer groups", groups.Run},
		{"kafka-consumer-perf-test", "Measure how fast records can be consumed", perf.RunConsumer},
		{"kafka-delegation-tokens", "Create, renew, expire and show delegation tokens", delegationtokens.Run},
		{"kafka-delete-records", "Delete the records of partitions below given offsets", deleterecords.Run},
		{"kafka-dump-log", "Print the files of a log and check its indexes", dumplog.Run},
		{"kafka-e2e-latency", "Measure the time from sending a record to receiving it", perf.RunLatency},
		{"kafka-features", "Show and change the features of a cluster", features.Run},
		{"kafka-get-offsets", "Print offsets of partitions", offsets.Run},
		{"kafka-groups", "List groups of all types", groups.RunAll},
		{"kafka-leader-election", "Have leaders of partitions elected", leaderelection.Run},
		{"kafka-log-dirs", "Show what lies in the brokers' log directories", logdirs.Run},
		{"kafka-metadata-quorum", "Show the quorum of the cluster's metadata", metadataquorum.Run},
		{"kafka-producer-perf-test", "Measure how fast a topic takes records", perf.RunProducer},
		{"kafka-reassign-partitions", "Move partitions between brokers and log directories", reassign.Run},
		{"kafka-replica-verification", "Compare the replicas of topics with each other", replicaverification.Run},
		{"kafka-server-start", "Start a broker from a server.properties file", server.StartCommand(start)},
		{"kafka-server-stop", "Stop this user's running brokers", server.Stop},
		{"kafka-storage", "Generate a cluster id; format log directories and look at them", storagetool.Run},
		{"kafka-streams-application-reset", "Have an application of Kafka Streams begin anew", streamsreset.Run},
		{"kafka-topics", "Create, list, describe, alter and delete topics", topics.Run},
		{"kafka-transactions", "Show transactional ids; find and end transactions that hang", transactions.Run},
		{"kafka-verifiable-consumer", "Read a topic in a group and tell as JSON what came", verifiable.RunConsumer},
		{"kafka-verifiable-producer", "Send numbers and tell as JSON which are acknowledged", verifiable.RunProducer},
	}
	for i, c := range commands {
		run, about := c.Run, cli.About{Program: c.KafkaName, Summary: c.Summary, Examples: examples[c.KafkaName]}
		commands[i].Run = func(ctx context.Context, s cli.Streams, args []string) error {
			s.About = about
			return run(ctx, s, args)
		}
	}
	return commands
}

// IsScript says of one of Kafka's names that it is a shell script with flags of its own, and that ours has
// no help for completion either.
func IsScript(kafkaName string) bool {
	return kafkaName == "kafka-server-start" || kafkaName == "kafka-server-stop"
}

// Names are the names of Kafka's scripts, without .sh.
func Names(commands []Command) []string {
	var names []string
	for _, c := range commands {
		names = append(names, c.KafkaName)
	}
	return names
}

// Completable is what completion knows of the tools.
func Completable(ctx context.Context, commands []Command) []completion.Tool {
	var all []completion.Tool
	for _, c := range commands {
		t := completion.Tool{Names: []string{c.Name(), c.KafkaName}, Summary: c.Summary}
		if !IsScript(c.KafkaName) {
			s := cli.Streams{Out: io.Discard, Err: io.Discard, Describe: func(h cli.Help) { t.Help = h }}
			_ = c.Run(ctx, s, []string{"--help"})
		}
		all = append(all, t)
	}
	return all
}

// ByProgram finds the tool whose name a program was started under, such as
// /opt/kafka/bin/kafka-topics.sh.
func ByProgram(commands []Command, program string) (Command, bool) {
	name := filepath.Base(program)
	for _, suffix := range []string{".exe", ".cmd", ".bat", ".sh"} {
		name = strings.TrimSuffix(name, suffix)
	}
	i := slices.IndexFunc(commands, func(c Command) bool { return c.KafkaName == name })
	if i < 0 {
		return Command{}, false
	}
	return commands[i], true
}
