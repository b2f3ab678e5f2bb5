package main

// quickStartCommands are the first lines of Kafka's users. They build on each other.
func quickStartCommands() []command {
	const events = "--topic quickstart@ "
	return []command{
		{name: "topics", smoke: true, lines: on("topics", "--create --partitions 2 --config retention.ms=86400000 "+events, "--create "+events, "--create --if-not-exists "+events,
			"--describe --topic not-there", "--list --topic quickstart@", "")},
		{name: "describe", smoke: true, lines: on("topics", "--describe "+events)},
		{name: "alter", smoke: true, lines: on("topics", "--alter --partitions 3 "+events, "--describe "+events)},
		{name: "produce and consume", smoke: true, lines: append(on("console-producer", `--property parse.key=true --property key.separator=: --topic quickstart@ <<< k1:first\nk2:second\nk1:third\n`),
			on("console-consumer", "--partition 0 --offset earliest --max-messages 1 --timeout-ms 10000 --property print.key=true --property print.partition=true --property print.offset=true "+events)...)},
		{name: "offsets", smoke: true, lines: on("get-offsets", events, "--time earliest "+events)},
		{name: "reset", smoke: true, unordered: true, lines: on("consumer-groups --group readers@", events+"--reset-offsets --to-earliest --dry-run", events+"--reset-offsets --to-earliest --execute")},
		{name: "groups", smoke: true, lines: on("consumer-groups", "--describe --group readers@", "--describe --group readers@ --state", "--group readers@ --topic quickstart@:0 --reset-offsets --shift-by 1 --execute",
			"--group readers@ --topic quickstart@:1 --delete-offsets", "--describe --group not-there", "--delete --group readers@")},
		{name: "configs", smoke: true, lines: on("configs --entity-type topics --entity-name quickstart@", "--alter --add-config max.message.bytes=2000000", "--describe",
			"--alter --delete-config max.message.bytes", "--describe", "--alter --add-config retention.ms=soon")},
		{name: "delete", smoke: true, lines: on("topics", "--delete "+events, "--delete --topic not-there")},
	}
}
