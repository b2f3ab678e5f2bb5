package main

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterCommands ask about the cluster itself and change nothing.
func clusterCommands() []command {
	const bootstrap = "--bootstrap-server BOOTSTRAP "
	return []command{
		{name: "features without a cluster", lines: with("features", "version-mapping", "version-mapping --release-version 3.9", "version-mapping --release-version 4.1-IV0",
			"version-mapping --release-version 9.9", "feature-dependencies --feature transaction.version=2 --feature metadata.version=20",
			"feature-dependencies --feature eligible.leader.replicas.version=1 --feature kraft.version=1", "feature-dependencies --feature nope=1",
			"feature-dependencies --feature group.version=7", "feature-dependencies --feature metadata.version", "describe", "nonsense", "")},
		{name: "features", lines: with("features "+bootstrap, "upgrade --feature metadata.version=30 --dry-run", "upgrade --feature transaction.version=2",
			"downgrade --feature transaction.version=1 --dry-run", "downgrade --unsafe --feature eligible.leader.replicas.version=0 --dry-run", "disable --feature transaction.version --dry-run",
			"disable --unsafe --feature eligible.leader.replicas.version --dry-run", "upgrade --metadata 4.3-IV0 --dry-run",
			"disable", "describe --node-id -1", "upgrade --feature transaction.version=0", "upgrade --release-version 4.3 --feature a=1", "upgrade --feature a=1 --feature a=1")},
		{name: "metadata quorum refused", lines: slices.Concat(with("metadata-quorum "+bootstrap, "describe", "describe --status --replication",
			"describe --status --human-readable", "add-controller", "remove-controller -i 5 -d AAAAAAAAAAAAAAAAAAAAAQ --dry-run", "remove-controller -i -5 -d AAAAAAAAAAAAAAAAAAAAAQ",
			"remove-controller -i 5", "nonsense"), []string{"metadata-quorum describe --status"})},
		{name: "leader election", prepare: func(mark string) []step { return []step{topic("c-elected"+mark, 2)} }, lines: with("leader-election "+bootstrap,
			"--election-type preferred --all-topic-partitions", "--election-type PREFERRED --topic c-elected@ --partition 0", "--election-type unclean --topic c-elected@ --partition 1",
			"--election-type unclean --topic c-elected@", "--election-type odd --topic c-elected@ --partition 0", "--election-type unclean", "--topic c-elected@")},
	}
}

// learnLogDir finds out where the broker keeps a partition: {logdir}.
func learnLogDir(topicName string) step {
	return func(b *broker, c *conn) (string, error) {
		response, err := c.request(kmsg.NewPtrDescribeLogDirsRequest(), 4)
		if err != nil {
			return "", err
		}
		for _, dir := range response.(*kmsg.DescribeLogDirsResponse).Dirs {
			for _, t := range dir.Topics {
				if t.Topic == topicName {
					b.state["logdir"] = dir.Dir
					return "", nil
				}
			}
		}
		return "", fmt.Errorf("no log dir has the topic %s", topicName)
	}
}

func reassignCommands() []command {
	return []command{{
		name: "reassign partitions", smoke: true,
		prepare: func(mark string) []step {
			return []step{topic("c-moved"+mark, 2), learnLogDir("c-moved" + mark)}
		},
		files: map[string]string{
			"topics.json":    `{"version":1,"topics":[{"topic":"c-moved@"}]}`,
			"absent.json":    `{"topics":[{"topic":"c-absent@"}]}`,
			"twice.json":     `{"topics":[{"topic":"c-moved@"},{"topic":"c-moved@"}]}`,
			"plan.json":      `{"version":1,"partitions":[{"topic":"c-moved@","partition":1,"replicas":[1]},{"topic":"c-moved@","partition":0,"replicas":[1],"log_dirs":["any"]}]}`,
			"dirs.json":      `{"version":1,"partitions":[{"topic":"c-moved@","partition":0,"replicas":[1],"log_dirs":["{logdir}"]}]}`,
			"wrong-dir.json": `{"version":1,"partitions":[{"topic":"c-moved@","partition":0,"replicas":[1],"log_dirs":["/nowhere"]}]}`,
			"more.json":      `{"version":1,"partitions":[{"topic":"c-moved@","partition":0,"replicas":[1,2]}]}`,
			"unknown.json":   `{"version":1,"partitions":[{"topic":"c-moved@","partition":7,"replicas":[1]}]}`,
			"no-topic.json":  `{"version":1,"partitions":[{"topic":"c-absent@","partition":0,"replicas":[1]}]}`,
			"version.json":   `{"version":2,"partitions":[]}`,
			"empty.json":     `{"version":1,"partitions":[]}`,
			"none.json":      `{"version":1,"partitions":[{"topic":"c-moved@","partition":0,"replicas":[]}]}`,
			"again.json":     `{"version":1,"partitions":[{"topic":"c-moved@","partition":0,"replicas":[1]},{"topic":"c-moved@","partition":0,"replicas":[1]}]}`,
			"broker.json":    `{"version":1,"partitions":[{"topic":"c-moved@","partition":0,"replicas":[1,1]}]}`,
			"sizes.json":     `{"version":1,"partitions":[{"topic":"c-moved@","partition":0,"replicas":[1],"log_dirs":["any","any"]}]}`,
			"fieldless.json": `{"version":1,"partitions":[{"topic":"c-moved@"}]}`,
		},
		lines: slices.Concat(on("reassign-partitions", "--list", "--generate --topics-to-move-json-file DIR/topics.json --broker-list 1", "--generate --topics-to-move-json-file DIR/topics.json --broker-list 1 --disable-rack-aware",
			"--generate --topics-to-move-json-file DIR/absent.json --broker-list 1", "--generate --topics-to-move-json-file DIR/twice.json --broker-list 1", "--generate --topics-to-move-json-file DIR/topics.json --broker-list 1,1",
			"--generate --topics-to-move-json-file DIR/topics.json --broker-list x", "--generate --topics-to-move-json-file DIR/topics.json --broker-list 7", "--generate --topics-to-move-json-file DIR/topics.json",
			"--verify --reassignment-json-file DIR/plan.json --preserve-throttles", "--execute --reassignment-json-file DIR/plan.json", "--verify --reassignment-json-file DIR/plan.json",
			"--execute --reassignment-json-file DIR/plan.json --throttle 5000 --replica-alter-log-dirs-throttle 6000 --additional --timeout 1000 --disallow-replication-factor-change"),
			[]string{"configs --bootstrap-server BOOTSTRAP --describe --topic c-moved@", "configs --bootstrap-server BOOTSTRAP --describe --broker 1"},
			on("reassign-partitions", "--verify --reassignment-json-file DIR/plan.json"),
			[]string{"configs --bootstrap-server BOOTSTRAP --describe --topic c-moved@", "configs --bootstrap-server BOOTSTRAP --describe --broker 1"},
			on("reassign-partitions", "--execute --reassignment-json-file DIR/dirs.json --replica-alter-log-dirs-throttle 6000", "--verify --reassignment-json-file DIR/dirs.json",
				"--cancel --reassignment-json-file DIR/plan.json", "--cancel --reassignment-json-file DIR/dirs.json --preserve-throttles",
				"--execute --reassignment-json-file DIR/wrong-dir.json", "--verify --reassignment-json-file DIR/wrong-dir.json", "--execute --reassignment-json-file DIR/more.json",
				"--execute --reassignment-json-file DIR/unknown.json", "--verify --reassignment-json-file DIR/unknown.json", "--execute --reassignment-json-file DIR/no-topic.json",
				"--verify --reassignment-json-file DIR/no-topic.json --preserve-throttles", "--verify --reassignment-json-file DIR/more.json --preserve-throttles"),
			with("reassign-partitions --bootstrap-server BOOTSTRAP --execute --reassignment-json-file", "DIR/version.json", "DIR/empty.json", "DIR/none.json", "DIR/again.json", "DIR/broker.json", "DIR/sizes.json", "DIR/fieldless.json", "DIR/nothing.json"),
			on("reassign-partitions", "", "--list --verify", "--verify", "--list --throttle 5", "--verify --reassignment-json-file x --throttle 5", "--bootstrap-controller x:1 --list", "--execute --reassignment-json-file DIR/plan.json --throttle many", "--nonsense"),
			[]string{"reassign-partitions --list", "reassign-partitions"}),
	}, {
		name: "reassign partitions, broken plans", wordless: true, prepare: func(mark string) []step { return []step{topic("c-broken"+mark, 1)} },
		files: map[string]string{"broken.json": `{"version":1,`, "odd.json": `{"version":1,"partitions":{}}`},
		lines: on("reassign-partitions", "--execute --reassignment-json-file DIR/broken.json", "--verify --reassignment-json-file DIR/odd.json", "--generate --broker-list 1 --topics-to-move-json-file DIR/broken.json"),
	}}
}
