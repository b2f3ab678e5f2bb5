package tools

import "github.com/moldau/moldau/internal/tools/cli"

// examples are what the tools' help shows, by Kafka's names. A test runs every line, in this order of
// the names, against a broker with the topic orders, some records in it and the group billing. A broker
// without security refuses those that say what they need.
var examples = map[string][]cli.Example{
	"kafka-acls": {
		{Purpose: "Who may do what (needs an authorizer)", Line: "kafka-acls --bootstrap-server localhost:9092 --list"},
		{Purpose: "Let alice write to a topic (needs an authorizer)", Line: "kafka-acls --bootstrap-server localhost:9092 --add --allow-principal User:alice --producer --topic orders"},
	},
	"kafka-broker-api-versions": {{Purpose: "What each broker serves", Line: "kafka-broker-api-versions --bootstrap-server localhost:9092"}},
	"kafka-client-metrics": {
		{Purpose: "Ask Java's clients of version 3.9 for all metrics every minute", Line: "kafka-client-metrics --bootstrap-server localhost:9092 --alter --name java --metrics '*' --interval 60000 --match client_software_version=3.9.*"},
		{Purpose: "Show all subscriptions", Line: "kafka-client-metrics --bootstrap-server localhost:9092 --describe"},
	},
	"kafka-cluster": {
		{Purpose: "The cluster's id", Line: "kafka-cluster cluster-id --bootstrap-server localhost:9092"},
		{Purpose: "The brokers' addresses", Line: "kafka-cluster list-endpoints --bootstrap-server localhost:9092"},
	},
	"kafka-configs": {
		{Purpose: "Keep a topic's records for a day", Line: "kafka-configs --bootstrap-server localhost:9092 --alter --topic orders --add-config retention.ms=86400000"},
		{Purpose: "What has been changed for a topic; with --all, everything", Line: "kafka-configs --bootstrap-server localhost:9092 --describe --topic orders"},
		{Purpose: "Back to the default", Line: "kafka-configs --bootstrap-server localhost:9092 --alter --topic orders --delete-config retention.ms"},
	},
	"kafka-console-consumer": {
		{Purpose: "The first three records of a topic", Line: "kafka-console-consumer --bootstrap-server localhost:9092 --topic orders --from-beginning --max-messages 3"},
		{Purpose: "Keys, partitions and offsets too", Line: "kafka-console-consumer --bootstrap-server localhost:9092 --topic orders --from-beginning --max-messages 1 --formatter-property print.key=true --formatter-property print.partition=true --formatter-property print.offset=true"},
	},
	"kafka-console-producer": {
		{Purpose: "Send a line", Line: "echo hello | kafka-console-producer --bootstrap-server localhost:9092 --topic orders"},
		{Purpose: "Send a line with a key", Line: "echo alice:hello | kafka-console-producer --bootstrap-server localhost:9092 --topic orders --reader-property parse.key=true --reader-property key.separator=:"},
	},
	"kafka-consumer-groups": {
		{Purpose: "How far behind a group is", Line: "kafka-consumer-groups --bootstrap-server localhost:9092 --describe --group billing"},
		{Purpose: "What going back to the beginning would mean", Line: "kafka-consumer-groups --bootstrap-server localhost:9092 --reset-offsets --group billing --topic orders --to-earliest --dry-run"},
		{Purpose: "Go back by an hour", Line: "kafka-consumer-groups --bootstrap-server localhost:9092 --reset-offsets --group billing --topic orders --by-duration PT1H --execute"},
	},
	"kafka-consumer-perf-test": {{Purpose: "Read five records", Line: "kafka-consumer-perf-test --bootstrap-server localhost:9092 --topic orders --num-records 5"}},
	"kafka-delegation-tokens":  {{Purpose: "All tokens (needs authentication)", Line: "touch client.properties; kafka-delegation-tokens --bootstrap-server localhost:9092 --command-config client.properties --describe"}},
	"kafka-delete-records": {{Purpose: "Drop the records of partition 0 below offset 1",
		Line: `echo '{"partitions":[{"topic":"orders","partition":0,"offset":1}]}' > cut.json; kafka-delete-records --bootstrap-server localhost:9092 --offset-json-file cut.json`}},
	"kafka-dump-log": {
		{Purpose: "The records of a segment", Line: "kafka-dump-log --files moldau-data/orders-0/00000000000000000000.log --print-data-log"},
		{Purpose: "The cluster's metadata", Line: "kafka-dump-log --files moldau-data/__cluster_metadata-0/00000000000000000000.log --cluster-metadata-decoder"},
	},
	"kafka-e2e-latency":     {{Purpose: "100 records of 64 bytes, there and back", Line: "kafka-e2e-latency --bootstrap-server localhost:9092 --topic orders --num-records 100 --producer-acks 1 --record-size 64"}},
	"kafka-features":        {{Purpose: "What is switched on", Line: "kafka-features --bootstrap-server localhost:9092 describe"}, {Purpose: "What belongs to a release", Line: "kafka-features version-mapping --release-version 4.3"}},
	"kafka-get-offsets":     {{Purpose: "Where partitions end", Line: "kafka-get-offsets --bootstrap-server localhost:9092 --topic orders"}, {Purpose: "Where they begin", Line: "kafka-get-offsets --bootstrap-server localhost:9092 --topic orders --time earliest"}},
	"kafka-groups":          {{Purpose: "All groups of all kinds", Line: "kafka-groups --bootstrap-server localhost:9092 --list"}},
	"kafka-leader-election": {{Purpose: "Make the first replicas leaders again", Line: "kafka-leader-election --bootstrap-server localhost:9092 --election-type preferred --all-topic-partitions"}},
	"kafka-log-dirs":        {{Purpose: "How much a topic takes", Line: "kafka-log-dirs --bootstrap-server localhost:9092 --describe --topic-list orders"}},
	"kafka-metadata-quorum": {{Purpose: "Who leads the quorum", Line: "kafka-metadata-quorum --bootstrap-server localhost:9092 describe --status"}, {Purpose: "How far its members are", Line: "kafka-metadata-quorum --bootstrap-server localhost:9092 describe --replication"}},
	"kafka-producer-perf-test": {{Purpose: "10,000 records of 100 bytes, as fast as possible",
		Line: "kafka-producer-perf-test --bootstrap-server localhost:9092 --topic orders --num-records 10000 --record-size 100 --throughput -1"}},
	"kafka-reassign-partitions": {
		{Purpose: "Propose where a topic's partitions could go", Line: `echo '{"version":1,"topics":[{"topic":"orders"}]}' > topics.json; kafka-reassign-partitions --bootstrap-server localhost:9092 --generate --topics-to-move-json-file topics.json --broker-list 1`},
		{Purpose: "Do it", Line: `echo '{"version":1,"partitions":[{"topic":"orders","partition":0,"replicas":[1]}]}' > plan.json; kafka-reassign-partitions --bootstrap-server localhost:9092 --execute --reassignment-json-file plan.json`},
		{Purpose: "See whether it is done", Line: "kafka-reassign-partitions --bootstrap-server localhost:9092 --verify --reassignment-json-file plan.json"},
	},
	"kafka-replica-verification": {{Purpose: "Verify a topic from its beginning on, for two seconds",
		Line: "timeout 2 kafka-replica-verification --broker-list localhost:9092 --topics-include orders --time -2 --report-interval-ms 500 || true"}},
	"kafka-storage": {
		{Purpose: "An id for a new cluster", Line: "kafka-storage random-uuid"},
		{Purpose: "Folders for a cluster with an id of your choice", Line: "echo log.dirs=new-data > server.properties; kafka-storage format --cluster-id jVKI9tV5Rfu5n__-BQhKbg --config server.properties"},
		{Purpose: "What a release brings", Line: "kafka-storage version-mapping --release-version 4.3"},
	},
	"kafka-streams-application-reset": {{Purpose: "What resetting an application would do",
		Line: "kafka-streams-application-reset --bootstrap-server localhost:9092 --application-id billing --input-topics orders --dry-run"}},
	"kafka-topics": {
		{Purpose: "A topic with three partitions", Line: "kafka-topics --bootstrap-server localhost:9092 --create --topic invoices --partitions 3"},
		{Purpose: "What it is like", Line: "kafka-topics --bootstrap-server localhost:9092 --describe --topic invoices"},
		{Purpose: "More partitions", Line: "kafka-topics --bootstrap-server localhost:9092 --alter --topic invoices --partitions 6"},
		{Purpose: "Away with it", Line: "kafka-topics --bootstrap-server localhost:9092 --delete --topic invoices"},
	},
	"kafka-transactions":        {{Purpose: "All transactional ids", Line: "kafka-transactions --bootstrap-server localhost:9092 list"}, {Purpose: "Transactions that hang", Line: "kafka-transactions --bootstrap-server localhost:9092 find-hanging --broker-id 1"}},
	"kafka-verifiable-consumer": {{Purpose: "Read five records in a group", Line: "kafka-verifiable-consumer --bootstrap-server localhost:9092 --topic orders --group-id checker --max-messages 5 --reset-policy earliest"}},
	"kafka-verifiable-producer": {{Purpose: "Send the numbers 0 to 9", Line: "kafka-verifiable-producer --bootstrap-server localhost:9092 --topic orders --max-messages 10"}},
}
