package main

import "slices"

// offlineCommands need no broker, or only the offsets of a group.
func offlineCommands() []command {
	return []command{
		{name: "storage", smoke: true, lines: with("storage", "version-mapping", "version-mapping --release-version 3.9", "version-mapping -r 9.9", "feature-dependencies --feature transaction.version=2 -f group.version=1",
			"feature-dependencies --feature nope=1", "feature-dependencies", "nonsense", "", "format", "info", "version-mapping --nonsense")},
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
