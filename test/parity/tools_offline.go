package main

import (
	"regexp"
	"slices"
)

// offlineCommands need no broker, or only the offsets of a group.
func offlineCommands() []command {
	return []command{
		{name: "storage", smoke: true, lines: with("storage", "version-mapping", "version-mapping --release-version 3.9", "version-mapping -r 9.9", "feature-dependencies --feature transaction.version=2 -f group.version=1",
			"feature-dependencies --feature nope=1", "feature-dependencies --feature x", "feature-dependencies --feature group.version=y", "feature-dependencies --feature group.version=7", "feature-dependencies --feature metadata.version=1000",
			"feature-dependencies", "nonsense", "", "format", "info", "version-mapping --nonsense")},
		formatCommand(),
		{name: "replica verification, refused", lines: with("replica-verification", "--nonsense", "--topics-include x", "--broker-list nowhere", "--broker-list BOOTSTRAP --topics-include none-of-them", "--broker-list BOOTSTRAP --time soon")},
		{name: "streams application reset", smoke: true, prepare: func(mark string) []step {
			return []step{topic("c-in"+mark, 2), topic("c-app"+mark+"-x-repartition", 1), topic("c-app"+mark+"-own", 1)}
		}, files: map[string]string{"plan.csv": "c-in@,0,1\nc-in@,1,0\n", "odd.csv": "c-in@,0\n"}, unordered: true,
			lines: slices.Concat([]string{`console-producer --bootstrap-server BOOTSTRAP --topic c-in@ --reader-property parse.key=true --reader-property key.separator=: <<< a:1\nb:2\na:3\nc:4\nd:5\n`},
				on("streams-application-reset --application-id c-app@", "--dry-run", "--input-topics c-in@ --dry-run", "--input-topics c-in@", "--input-topics c-in@ --to-latest --dry-run", "--input-topics c-in@ --to-offset 1 --dry-run",
					"--input-topics c-in@ --to-offset 99 --dry-run", "--input-topics c-in@ --to-offset -3 --dry-run", "--input-topics c-in@ --shift-by 1 --dry-run", "--input-topics c-in@ --to-datetime 2000-01-01T00:00:00.000 --dry-run",
					"--input-topics c-in@ --to-datetime 2999-01-01T00:00:00.000 --dry-run", "--input-topics c-in@ --by-duration PT1H --dry-run", "--input-topics c-in@ --from-file DIR/plan.csv", "--input-topics c-in@ --from-file DIR/odd.csv", "--input-topics c-in@ --from-file DIR/nothing.csv",
					"--input-topics c-absent@,c-in@ --dry-run", "--input-topics c-absent@ --dry-run", "--intermediate-topics c-in@ --dry-run", "--internal-topics c-app@-own --dry-run", "--internal-topics c-app@-x-repartition", "", "--force",
					"--to-earliest --to-latest", "--nonsense", "--to-offset 1 --shift-by 2", "--config-file x --command-config y"),
				[]string{"consumer-groups --bootstrap-server BOOTSTRAP --describe --group c-app@", "topics --bootstrap-server BOOTSTRAP --list --topic c-app@.*", "streams-application-reset", "streams-application-reset --dry-run"})},
	}
}

// formatCommand formats folders. What the cluster begins with is not compared: Apache Kafka shows more features.
func formatCommand() command {
	const id, other = "Q0hhbmdlIG1lIHBsZWFzZQ", "jVKI9tV5Rfu5n__-BQhKbg"
	node := func(dirs string) string {
		return "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\nlisteners=PLAINTEXT://localhost:9092,QUORUM://localhost:9093\n" +
			"controller.listener.names=QUORUM\nlistener.security.protocol.map=QUORUM:PLAINTEXT,PLAINTEXT:PLAINTEXT\nlog.dirs=" + dirs + "\n"
	}
	return command{name: "storage format", smoke: true, unordered: true, kept: regexp.MustCompile("^([^B]|$)"),
		files: map[string]string{
			"one": node("DIR/a"), "two": node("DIR/b,DIR/c"), "three": node("DIR/a,DIR/d"), "renamed": node("DIR/a") + "node.id=2\n", "late": node("DIR/e"), "listed": node("DIR/f"), "elsewhere": node("DIR/g"),
			"voters": node("DIR/h") + "controller.quorum.voters=1{at}localhost:9093\n", "refused": node("DIR/i"), "older": node("DIR/m"), "oldest": node("DIR/n"), "file": "",
			"apart": node("DIR/j,DIR/k") + "metadata.log.dir=DIR/l\n", "odd": node("DIR/a,DIR/b,DIR/file"),
		},
		lines: with("storage", "info -c DIR/one", "format -c DIR/one", "format -t "+id, "format -c DIR/one -t "+id, "format -c DIR/one --standalone -t "+id, "info -c DIR/one",
			"format -c DIR/one --standalone -t "+id, "format -c DIR/one --standalone -g -t "+id, "format -c DIR/one --standalone -g -t "+other, "format -c DIR/renamed --standalone -g -t "+id,
			"format -c DIR/two -s -t "+other, "info -c DIR/two", "format -c DIR/three -s -t "+id, "format -c DIR/three -s --ignore-formatted --cluster-id "+id, "info -c DIR/three", "info -c DIR/odd",
			"format -c DIR/late -N -t "+id, "format -c DIR/listed -t "+id+" -I 1{at}localhost:9093:JEXY6aqzQY-32P5TStzaFg", "info -c DIR/listed",
			"format -c DIR/elsewhere -t "+id+" --initial-controllers 2{at}localhost:9093:JEXY6aqzQY-32P5TStzaFg", "format -c DIR/voters -t "+id+" -s", "format -c DIR/voters -t "+id, "format -c DIR/apart -s -t "+id,
			"format -c DIR/refused -t "+id+" -s -N", "format -c DIR/refused -t "+id+" -s -r 9.9", "format -c DIR/refused -t "+id+" -s -r 4.3 -f metadata.version=30", "format -c DIR/refused -t "+id+" -s -f nope=1",
			"format -c DIR/refused -t "+id+" -s -f x", "format -c DIR/refused -t "+id+" -s -f group.version=9", "format -c DIR/refused -t "+id+" -s -f metadata.version=99", "format -c DIR/refused -t "+id+" -I x",
			"format -c DIR/refused -t "+id+" -I 1{at}host", "format -c DIR/refused -t "+id+" -I 1{at}host:9", "format -c DIR/refused -t "+id+" -I 1{at}host:a:b", "format -c DIR/refused -t "+id+" -I 1{at}host:9:b", "format -c DIR/refused -t "+id+" --nonsense",
			"format -c DIR/refused -t "+id+" -s --release-version 4.3 --feature transaction.version=2", "info -c DIR/refused", "format -c DIR/older -t "+id+" -s -r 4.0", "format -c DIR/oldest -t "+id+" -s -r 3.9 -f transaction.version=1")}
}
