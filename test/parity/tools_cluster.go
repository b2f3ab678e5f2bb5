package main

import "slices"

// clusterCommands ask about the cluster itself and change nothing.
func clusterCommands() []command {
	const bootstrap = "--bootstrap-server BOOTSTRAP "
	return []command{
		{name: "features without a cluster", lines: with("features", "version-mapping", "version-mapping --release-version 3.9", "version-mapping --release-version 4.1-IV0",
			"version-mapping --release-version 9.9", "feature-dependencies --feature transaction.version=2 --feature metadata.version=20",
			"feature-dependencies --feature eligible.leader.replicas.version=1 --feature kraft.version=1", "feature-dependencies --feature nope=1",
			"feature-dependencies --feature group.version=7", "feature-dependencies --feature metadata.version", "describe", "nonsense", "")},
		{name: "features", lines: with("features "+bootstrap, "upgrade --feature metadata.version=30 --dry-run", "upgrade --feature transaction.version=2",
			"disable", "describe --node-id -1", "upgrade --feature transaction.version=0", "upgrade --release-version 4.3 --feature a=1", "upgrade --feature a=1 --feature a=1")},
		{name: "metadata quorum refused", lines: slices.Concat(with("metadata-quorum "+bootstrap, "describe", "describe --status --replication",
			"describe --status --human-readable", "add-controller", "remove-controller -i 5 -d AAAAAAAAAAAAAAAAAAAAAQ --dry-run", "remove-controller -i -5 -d AAAAAAAAAAAAAAAAAAAAAQ",
			"remove-controller -i 5", "nonsense"), []string{"metadata-quorum describe --status"})},
		{name: "leader election", prepare: func(mark string) []step { return []step{topic("c-elected"+mark, 2)} }, lines: with("leader-election "+bootstrap,
			"--election-type preferred --all-topic-partitions", "--election-type PREFERRED --topic c-elected@ --partition 0", "--election-type unclean --topic c-elected@ --partition 1",
			"--election-type unclean --topic c-elected@", "--election-type odd --topic c-elected@ --partition 0", "--election-type unclean", "--topic c-elected@")},
	}
}
