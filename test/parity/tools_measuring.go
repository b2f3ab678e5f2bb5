package main

import (
	"regexp"
	"slices"
)

// ownMetrics are what --print-metrics of our tools shows: each must be among those of Apache Kafka's.
var ownMetrics = regexp.MustCompile(`^(Metric Name |producer-metrics:(batch-size-avg|batch-size-max|compression-rate-avg|record-send-total|record-send-rate|records-per-request-avg|request-latency-avg|request-latency-max|produce-throttle-time-avg|produce-throttle-time-max|connection-count|connection-creation-total|connection-close-total|request-total|request-rate|request-size-avg|request-size-max|outgoing-byte-total|outgoing-byte-rate|response-total|response-rate|incoming-byte-total|incoming-byte-rate):` +
	`|producer-topic-metrics:(record-send-total|record-send-rate|byte-total|byte-rate):|consumer-metrics:(connection-count|connection-creation-total|connection-close-total|request-total|request-rate|request-size-avg|request-size-max|outgoing-byte-total|outgoing-byte-rate|response-total|response-rate|incoming-byte-total|incoming-byte-rate):` +
	`|consumer-coordinator-metrics:(commit-total|commit-latency-avg|commit-latency-max|heartbeat-total|heartbeat-response-time-max|join-total|join-time-avg|join-time-max|sync-total|sync-time-avg|sync-time-max):` +
	`|consumer-fetch-manager-metrics:(fetch-total|fetch-rate|fetch-latency-avg|fetch-latency-max|fetch-size-avg|fetch-size-max|fetch-throttle-time-avg|fetch-throttle-time-max|records-consumed-total|records-consumed-rate|records-per-request-avg|bytes-consumed-total|bytes-consumed-rate):\{client-id=[a-z-]+\})`)

// measuringCommands print what differs from run to run: only its form is compared.
func measuringCommands() []command {
	load := "producer-perf-test --bootstrap-server BOOTSTRAP --topic c-perf@ --num-records 2000 --record-size 100 --throughput -1"
	prepare := func(mark string) []step { return []step{topic("c-perf"+mark, 1)} }
	return []command{
		{name: "perf tests", smoke: true, shape: true, prepare: prepare, files: map[string]string{"payloads": "one\ntwo\nthree\n", "client": "acks=all\n"},
			lines: slices.Concat([]string{load, load + " --command-property acks=1 linger.ms=5", load + " --command-config DIR/client --reporting-interval 60000", load + " --warmup-records 500", load + " --transactional-id c-perf@ --transaction-duration-ms 50",
				"producer-perf-test --bootstrap-server BOOTSTRAP --topic c-perf@ --num-records 100 --payload-file DIR/payloads --throughput 1000", "producer-perf-test --topic c-perf@ --num-records 10 --record-size 10 --throughput -1 --producer-props bootstrap.servers=BOOTSTRAP",
				"producer-perf-test --bootstrap-server BOOTSTRAP --topic c-perf@ --num-records 10 --payload-monotonic --throughput -1"},
				on("consumer-perf-test --topic c-perf@", "--num-records 1000", "--num-records 1000 --show-detailed-stats --reporting-interval 60000", "--num-records 1000 --hide-header", "--messages 1000 --timeout 20000", "--num-records 500 --fetch-size 1000 --group c-perf@"),
				[]string{"e2e-latency --bootstrap-server BOOTSTRAP --topic c-perf@ --num-records 20 --producer-acks 1 --record-size 20 --record-key-size 5 --num-headers 1 --record-header-key-size 3 --record-header-size 4"})},
		{name: "perf tests, metrics", shape: true, prepare: func(mark string) []step { return []step{topic("c-metrics"+mark, 1)} }, kept: ownMetrics,
			lines: []string{"producer-perf-test --bootstrap-server BOOTSTRAP --topic c-metrics@ --num-records 2000 --record-size 100 --throughput -1 --print-metrics",
				"consumer-perf-test --bootstrap-server BOOTSTRAP --topic c-metrics@ --num-records 1000 --print-metrics"}},
		{name: "perf tests, refused", lines: slices.Concat(with("producer-perf-test", "--topic c-perf@ --num-records 10 --record-size 10 --throughput -1", "--bootstrap-server BOOTSTRAP --topic c-perf@ --num-records 0 --record-size 10 --throughput -1",
			"--bootstrap-server BOOTSTRAP --topic c-perf@ --num-records 5 --record-size 0 --throughput -1", "--bootstrap-server BOOTSTRAP --topic c-perf@ --num-records 5 --record-size 10 --throughput -1 --warmup-records 5",
			"--bootstrap-server BOOTSTRAP --topic c-perf@ --num-records 5 --record-size 10 --throughput -1 --reporting-interval 0"),
			on("consumer-perf-test", "--topic c-perf@", "--num-records 5", "--topic c-perf@ --include c.* --num-records 5", "--topic c-perf@ --num-records 5 --messages 5", "--nonsense"), on("e2e-latency", "", "--topic c-perf@ --num-records x --producer-acks 1 --record-size 5", "--topic c-perf@ --num-records 5 --producer-acks 7 --record-size 5"))},
		{name: "verifiable tools", smoke: true, shape: true, prepare: func(mark string) []step { return []step{topic("c-verify"+mark, 1)} }, lines: []string{"verifiable-producer --bootstrap-server BOOTSTRAP --topic c-verify@ --max-messages 20", "verifiable-producer --bootstrap-server BOOTSTRAP --topic c-verify@ --max-messages 5 --acks 1 --value-prefix 7 --repeating-keys 2 --throughput 100 --message-create-time 1600000000000",
			"verifiable-consumer --bootstrap-server BOOTSTRAP --topic c-verify@ --group-id c-verify@ --max-messages 10 --reset-policy earliest", "verifiable-consumer --bootstrap-server BOOTSTRAP --topic c-verify@ --group-id c-verify2@ --max-messages 3 --reset-policy earliest --verbose --enable-autocommit --session-timeout 10000"}},
		{name: "console tools, every flag", smoke: true, prepare: func(mark string) []step { return []step{topic("c-console"+mark, 1)} }, files: map[string]string{"client": "client.id=parity\n", "reader": "parse.key=true\nkey.separator=:\n", "print": "print.key=true\nkey.separator==\n"},
			lines: slices.Concat(on("console-producer --topic c-console@", `<<< plain\n`, `--reader-config DIR/reader <<< a:1\nb:2\n`, `--sync --compression-codec gzip --request-required-acks 1 --batch-size 1000 --timeout 10 <<< packed\n`,
				`--compression-codec --max-block-ms 5000 --max-memory-bytes 1000000 --message-send-max-retries 2 --metadata-expiry-ms 100000 --request-timeout-ms 5000 --retry-backoff-ms 50 --socket-buffer-size 1000 <<< squeezed\n`,
				`--reader-property parse.headers=true --reader-property parse.key=true --reader-property headers.delimiter=; --reader-property headers.separator=, --reader-property headers.key.separator== --reader-property key.separator=: <<< h=1,i=2;k:v\n`,
				`--reader-property null.marker=NIL --reader-property parse.key=true --reader-property key.separator=: <<< gone:NIL\n`, `--reader-property parse.key=true --reader-property key.separator=: <<< nokey\n`,
				`--reader-property parse.key=true --reader-property key.separator=: --reader-property ignore.error=true <<< nokey\n`, `--command-property acks=7 <<< x\n`, `--command-config DIR/client <<< configured\n`, "--nonsense", "--compression-codec lzma <<< x", "--request-required-acks 9 <<< x"),
				[]string{"console-producer", "console-producer --bootstrap-server BOOTSTRAP", "console-producer --topic c-console@"},
				on("console-consumer --topic c-console@ --timeout-ms 6000", "--from-beginning --max-messages 8", "--from-beginning --max-messages 8 --formatter-property print.key=true --formatter-property print.headers=true --formatter-property print.offset=true --formatter-property print.partition=true --formatter-property null.literal=NULL --formatter-property key.separator=|",
					"--partition 0 --offset 1 --max-messages 2", "--partition 0 --offset earliest --max-messages 1 --formatter-config DIR/print", "--partition 0 --offset -1", "--partition 0 --offset soon", "--offset 1", "--from-beginning --offset 1 --partition 0", "--from-beginning --max-messages 1 --isolation-level read_committed",
					"--from-beginning --max-messages 1 --group c-read@", "--max-messages 1 --group c-read@ --command-property auto.offset.reset=latest", "--from-beginning --max-messages 1 --formatter org.apache.kafka.tools.consumer.NoOpMessageFormatter", "--from-beginning --max-messages 1 --value-deserializer org.apache.kafka.common.serialization.StringDeserializer", "--from-beginning --max-messages 1 --enable-systest-events", "--from-beginning --max-messages 1 --skip-message-on-error --command-config DIR/client"),
				[]string{"console-consumer", "console-consumer --topic x", "console-consumer --bootstrap-server BOOTSTRAP", "console-consumer --bootstrap-server BOOTSTRAP --topic x --include y", "console-consumer --bootstrap-server BOOTSTRAP --include c-console@ --from-beginning --max-messages 1 --timeout-ms 6000"})},
	}
}
