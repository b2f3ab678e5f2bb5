package main

import "slices"

// adminCommands go through the flags of the tools that look after topics, groups and offsets.
func adminCommands() []command {
	const numbers = `console-producer --bootstrap-server BOOTSTRAP --topic c-flags@ --reader-property parse.key=true --reader-property key.separator=: <<< a:1\nb:2\na:3\nc:4\nd:5\n`
	return []command{
		{name: "topics, every flag", lines: slices.Concat(on("topics", "--create --topic c-flags@ --partitions 3 --replication-factor 1 --config retention.ms=100000 --config cleanup.policy=compact,delete",
			"--create --topic c-placed@ --replica-assignment 1,1", "--create --topic c-placed@ --replica-assignment 1:1,1", "--create --topic c-many@ --replication-factor 3", "--create --topic c-none@ --partitions 0",
			"--create --topic c-bad@ --config nonsense=1", "--create --topic c-bad@ --config retention.ms", "--create --topic c/bad", "--create --topic c-both@ --replica-assignment 1 --partitions 2",
			"--list --topic c-(flags|placed)@", "--list --topic c-(flags|placed)@ --exclude-internal", "--describe --topic c-placed@ --exclude-internal", "--describe --topic c-flags@ --topics-with-overrides", "--describe --topic c-flags@ --under-replicated-partitions", "--describe --topic c-flags@ --unavailable-partitions", "--describe --topic c-flags@ --under-min-isr-partitions",
			"--describe --topic c-absent@ --if-exists", "--describe --topic-id AAAAAAAAAAAAAAAAAAAAAQ", "--describe --if-exists",
			"--alter --topic c-placed@ --partitions 4 --replica-assignment 1,1,1,1", "--alter --topic c-placed@ --partitions 2", "--alter --topic c-placed@ --partitions 4", "--alter --topic c-absent@ --partitions 4", "--alter --topic c-absent@ --partitions 4 --if-exists", "--alter --topic c-placed@",
			"--alter --topic c-placed@ --config a=b", "--delete --topic c-placed@", "--delete --topic c-absent@ --if-exists", "--delete", "--list --describe", "--create", "--create --if-exists --topic c-x@", "--list --partitions 3", "--list --nonsense", "--create --topic c-x@ --partitions many",
			"--describe --topic c-flags@ --partition-size-limit-per-response 1 --exclude-internal --at-min-isr-partitions", "--delete-config x --list --topic c-absent@"),
			[]string{"topics", "topics --list", numbers},
			on("get-offsets", "--topic c-flags@", "--topic c-flags@ --time -1", "--topic c-flags@ --time earliest", "--topic c-flags@ --time latest", "--topic-partitions c-flags@:0 --time max-timestamp", "--topic c-flags@ --time -2", "--topic c-flags@ --time 0", "--topic c-flags@ --time 99999999999999",
				"--topic c-flags@ --time earliest-local", "--topic c-flags@ --time latest-tiered", "--topic c-flags@ --time soon", "--topic c-flags@ --partitions 0,2", "--topic c-flags@ --partitions x", "--topic-partitions c-flags@:0,c-flags@:2", "--topic-partitions c-flags@:1-", "--topic-partitions c-flags@:-1", "--topic-partitions c-flags@:0-2",
				"--topic-partitions c-flags@ --topic x", "--topic c-absent@", "--topic c-fl.*@ --exclude-internal-topics", "--partitions 0 --topic-partitions c-flags@", "--nonsense", "--topic-partitions c-flags@:2-1", "--topic-partitions c-flags@:z"),
			[]string{"get-offsets", "get-offsets --bootstrap-server nonsense", "get-offsets --bootstrap-server localhost"})},
		{name: "odd values", wordless: true, smoke: true, lines: append(on("topics", "--describe --topic-id odd"), on("consumer-groups", "--list --state nonsense", "--group g@ --reset-offsets --from-file DIR/nothing.csv --topic t --dry-run")...)},
		{name: "delete records", smoke: true, unordered: true, prepare: func(mark string) []step { return []step{topic("c-cut"+mark, 2)} },
			files: map[string]string{
				"to2.json": `{"partitions":[{"topic":"c-cut@","partition":0,"offset":0},{"topic":"c-cut@","partition":1,"offset":0}],"version":1}`, "far.json": `{"partitions":[{"topic":"c-cut@","partition":0,"offset":99}],"version":1}`,
				"twice.json":  `{"partitions":[{"topic":"c-cut@","partition":0,"offset":0},{"topic":"c-cut@","partition":0,"offset":0}]}`,
				"broken.json": `{`, "version.json": `{"version":7,"partitions":[]}`, "fields.json": `{"version":1,"parts":[]}`, "none.json": `{"version":1,"partitions":[]}`, "end.json": `{"partitions":[{"topic":"c-cut@","partition":0,"offset":-1}]}`,
			},
			lines: slices.Concat([]string{`console-producer --bootstrap-server BOOTSTRAP --topic c-cut@ --reader-property parse.key=true --reader-property key.separator=: <<< a:1\nb:2\na:3\nc:4\nd:5\n`},
				with("delete-records --bootstrap-server BOOTSTRAP --offset-json-file", "DIR/to2.json", "DIR/far.json", "DIR/twice.json", "DIR/version.json", "DIR/fields.json", "DIR/none.json", "DIR/nothing.json", "DIR/end.json", "DIR/broken.json"),
				on("get-offsets", "--topic c-cut@ --time earliest"), []string{"delete-records", "delete-records --bootstrap-server BOOTSTRAP"})},
		{name: "log dirs", smoke: true, prepare: func(mark string) []step { return []step{topic("c-dirs"+mark, 2), learnLogDir("c-dirs" + mark)} },
			lines: append(on("log-dirs", "--describe --topic-list c-dirs@", "--describe --topic-list c-dirs@ --broker-list 1", "--describe --topic-list c-absent@", "--describe --broker-list 1,9", "--describe --broker-list x", "", "--topic-list c-dirs@"), "log-dirs --describe", "log-dirs")},
		{name: "cluster", smoke: true, lines: append(on("cluster", "list-endpoints --nonsense", "unregister --id 77", "unregister --id x", "unregister", "nonsense", ""), "cluster cluster-id", "cluster", "cluster list-endpoints", "cluster list-endpoints --bootstrap-server BOOTSTRAP",
			"cluster unregister --bootstrap-server BOOTSTRAP", "cluster list-endpoints --bootstrap-server BOOTSTRAP --include-fenced-brokers")},
		{name: "consumer groups, every flag", files: map[string]string{"plan.csv": "c-groups@,0,1\nc-groups@,1,0\n"},
			kept: nil, unordered: true, prepare: func(mark string) []step { return []step{topic("c-groups"+mark, 2), topic("c-other"+mark, 1)} },
			lines: groupLines()},
	}
}

func groupLines() []string {
	return slices.Concat([]string{`console-producer --bootstrap-server BOOTSTRAP --topic c-groups@ --reader-property parse.key=true --reader-property key.separator=: <<< a:1\nb:2\na:3\nc:4\nd:5\n`,
		"console-consumer --bootstrap-server BOOTSTRAP --topic c-groups@ --group g1@ --from-beginning --max-messages 5 --timeout-ms 20000"},
		on("consumer-groups", "--describe --group g1@", "--describe --group g1@ --verbose", "--describe --group g1@ --offsets", "--describe --group g1@ --offsets --verbose", "--describe --group g1@ --members", "--describe --group g1@ --members --verbose",
			"--describe --group g1@ --state", "--describe --group g1@ --state --verbose", "--describe --group g1@ --group g2@", "--describe --group g1@ --members --state"),
		on("consumer-groups --reset-offsets --group g1@ --topic c-groups@", "--to-earliest", "--to-latest --dry-run", "--to-current --execute", "--to-offset 1 --execute", "--to-offset 99 --execute", "--to-offset -5 --execute", "--shift-by -1 --execute", "--shift-by 100 --execute",
			"--to-datetime 2000-01-01T00:00:00.000 --execute", "--to-datetime 2999-01-01T00:00:00.000 --execute", "--to-datetime 2000-01-01T00:00:00.000Z --dry-run", "--to-datetime soon --dry-run", "--by-duration PT1H --execute", "--by-duration P1D --dry-run", "--by-duration soon", "--to-earliest --export", "--to-earliest --export --dry-run",
			"--from-file DIR/plan.csv --dry-run", "--from-file DIR/plan.csv --execute", "--to-earliest --to-latest", "--to-earliest --execute --dry-run", "", "--nonsense", "--to-offset x"),
		on("consumer-groups --reset-offsets", "--group g1@ --all-topics --to-earliest --execute", "--group g1@ --topic c-groups@:0 --to-latest --execute", "--group g1@ --topic c-groups@:0,1 --topic c-other@ --to-latest --dry-run", "--group g1@ --to-earliest", "--group g1@ --topic c-absent@ --to-earliest", "--group g1@ --topic c-absent@:0 --to-earliest",
			"--group g1@ --topic c-groups@:7 --to-earliest --dry-run", "--topic c-groups@ --to-earliest", "--all-groups --group g1@ --all-topics --to-earliest", "--group g3@ --all-topics --to-earliest --dry-run", "--group g3@ --topic c-other@ --to-latest --execute", "--group g1@ --group g3@ --topic c-other@ --to-latest --execute --export"),
		on("consumer-groups", "--describe --group g3@", "--delete-offsets --group g1@ --topic c-groups@:1", "--delete-offsets --group g1@ --topic c-absent@", "--delete-offsets --group g1@", "--delete-offsets --group absent@ --topic c-groups@", "--delete --group g1@ --group g3@", "--delete --group g1@ --group absent@", "--delete --group absent@ --topic t", "--delete",
			"--validate-regex a.*", "--validate-regex (", "--list --describe", "--describe", "--describe --group x --list", "--members", "--list --group x", "--list --type nonsense", "--describe --group absent@ --members", "--describe --group absent@ --state", "--describe --group absent@ --timeout 5000", "--list --timeout x", "--reset-offsets --all-groups --to-latest --topic x --dry-run --nonsense"),
		[]string{"consumer-groups", "consumer-groups --list", "consumer-groups --validate-regex a"})
}
