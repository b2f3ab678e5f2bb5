package completion

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// liveTimeout bounds the question to a cluster: who presses a key does not want to wait.
const liveTimeout = 2 * time.Second

// choices are what certain options take.
var choices = map[string][]string{
	"--entity-type":           {"topics", "clients", "users", "brokers", "broker-loggers", "ips", "client-metrics", "groups"},
	"--election-type":         {"PREFERRED", "UNCLEAN"},
	"--isolation-level":       {"read_committed", "read_uncommitted"},
	"--compression-codec":     {"none", "gzip", "snappy", "lz4", "zstd"},
	"--resource-pattern-type": {"any", "match", "literal", "prefixed"},
	"--time":                  {"earliest", "latest", "max-timestamp", "earliest-local", "latest-tiered"},
	"--bootstrap-server":      {"localhost:9092"},
	"--request-required-acks": {"all", "0", "1"},
	"--operation": {"Read", "Write", "Create", "Delete", "Alter", "Describe", "ClusterAction", "DescribeConfigs", "AlterConfigs", "IdempotentWrite",
		"CreateTokens", "DescribeTokens", "TwoPhaseCommit", "All"},
}

// values are what may stand after an option: known choices, or names that the cluster tells.
func values(ctx context.Context, option cli.HelpOption, words []string) []string {
	if option.Choices != nil {
		return option.Choices
	}
	for _, name := range option.Names {
		if known := choices[name]; known != nil {
			return known
		}
	}
	var ask func(context.Context, *client.Client) ([]string, error)
	switch strings.TrimLeft(option.Names[0], "-") {
	case "topic", "topics", "topic-list", "input-topics":
		ask = topicNames
	case "group", "group-id", "application-id":
		ask = groupNames
	case "broker", "broker-list", "broker-id", "node-id":
		ask = brokerIDs
	case "entity-name":
		ask = map[string]func(context.Context, *client.Client) ([]string, error){"topics": topicNames, "groups": groupNames, "brokers": brokerIDs}[argument(words, "entity-type")]
	}
	if ask == nil {
		return nil
	}
	names, err := askCluster(ctx, argument(words, "bootstrap-server"), ask)
	if err != nil {
		return nil // there is nobody to tell
	}
	return names
}

// argument returns what the words give an option.
func argument(words []string, name string) string {
	for i, word := range words {
		key, value, isPair := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case key != name || !strings.HasPrefix(word, "-"):
		case isPair:
			return value
		case i+1 < len(words):
			return words[i+1]
		}
	}
	return ""
}

func askCluster(ctx context.Context, bootstrap string, ask func(context.Context, *client.Client) ([]string, error)) ([]string, error) {
	if bootstrap == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	millis := strconv.FormatInt(liveTimeout.Milliseconds(), 10)
	admin, err := client.NewAdmin(cli.Streams{Out: io.Discard, Err: io.Discard}, client.Properties{"bootstrap.servers": bootstrap, "default.api.timeout.ms": millis})
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	names, err := ask(ctx, admin)
	slices.Sort(names)
	return names, err
}

func topicNames(ctx context.Context, admin *client.Client) ([]string, error) {
	cluster, err := admin.Metadata(ctx, nil, "listTopics")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, topic := range cluster.Topics {
		names = append(names, topic.Name)
	}
	return names, nil
}

func groupNames(ctx context.Context, admin *client.Client) ([]string, error) {
	groups, err := kadm.NewClient(admin.Client).ListGroups(ctx)
	return groups.Groups(), err
}

func brokerIDs(ctx context.Context, admin *client.Client) ([]string, error) {
	cluster, err := admin.Metadata(ctx, []string{}, "listNodes")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, b := range cluster.Brokers {
		ids = append(ids, strconv.Itoa(int(b.NodeID)))
	}
	return ids, nil
}
