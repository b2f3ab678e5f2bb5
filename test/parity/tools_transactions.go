package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/record"
)

// openWith begins a transaction with a record in partition 0 of a topic of the same name, whose
// offset is then {start}.
func openWith(name string) func(mark string) []step {
	return func(mark string) []step {
		id := name + mark
		return []step{topic(id, 2), initTransactions(4, id, 600_000), addPartitions(3, id, id), func(b *broker, c *conn) (string, error) {
			pid, epoch := b.producer()
			r := produce(id, 0, -1, build(record.BuilderOptions{ProducerID: pid, ProducerEpoch: epoch, Transactional: true}, 1_700_000_000_000, "v"))
			r.TransactionID = &id
			response, err := c.request(r, 9)
			if err != nil {
				return "", err
			}
			p := response.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			if b.state["start"] = p.BaseOffset; p.ErrorCode != 0 {
				return "", fmt.Errorf("produce: code %d", p.ErrorCode)
			}
			return "", nil
		}}
	}
}

func transactionCommands() []command {
	const tool = "transactions --bootstrap-server BOOTSTRAP"
	of := func(name string, prepare func(mark string) []step, tails ...string) command {
		return command{name: "transactions, " + name, prepare: prepare, lines: with(tool, tails...),
			hidden: []string{"ProducerId", "LastTimestamp", "CurrentTransactionStartTimeMs", "TransactionDurationMs", "Duration(min)"}}
	}
	refused := of("refused", nil, "", "nonsense", "list --nonsense", "list more", "list --duration-filter soon", "describe", "describe --transactional-id not-there", "abort --topic t",
		"abort --topic t --partition 99999999999", "abort --topic t --partition 0", "abort --topic t --partition 0 --producer-id 5", "abort --topic t --partition 0 --producer-id 5 --producer-epoch 3",
		"find-hanging", "find-hanging --broker-id 1 --partition 0", "find-hanging --topic not-there", "describe-producers --topic t", "forceTerminateTransaction", "list --transactional-id-pattern (")
	refused.lines = append(refused.lines, "transactions", "transactions list")
	return []command{
		refused,
		of("shown", openWith("c-txn-open"), "list --transactional-id-pattern c-txn-o.*@", "list --transactional-id-pattern c-txn-o.*@ --duration-filter 600000", "list --transactional-id-pattern c-txn-o.*@ --duration-filter -1",
			"describe --transactional-id c-txn-open@", "describe-producers --topic c-txn-open@ --partition 0", "describe-producers --topic c-txn-open@ --partition 1 --broker-id 1",
			"find-hanging --topic c-txn-open@ --max-transaction-timeout 0", "find-hanging --topic c-txn-open@ --partition 0", "find-hanging --broker-id 1", "find-hanging --broker-id 77"),
		of("aborted by offset", openWith("c-txn-abort"), "abort --topic c-txn-abort@ --partition 0 --start-offset 77", "abort --topic c-txn-abort@ --partition 1 --start-offset {start}",
			"abort --topic c-txn-abort@ --partition 0 --start-offset {start}", "describe-producers --topic c-txn-abort@ --partition 0", "abort --topic c-txn-abort@ --partition 0 --start-offset {start}", "describe --transactional-id c-txn-abort@"),
		of("aborted by producer", openWith("c-txn-spec"), "abort --topic c-txn-spec@ --partition 0 --producer-id {pid} --producer-epoch {epoch} --coordinator-epoch 7", "abort --topic c-txn-spec@ --partition 0 --producer-id {pid} --producer-epoch {epoch} --coordinator-epoch 6",
			"abort --topic c-txn-spec@ --partition 0 --producer-id {pid} --producer-epoch {epoch} --coordinator-epoch -1", "describe-producers --topic c-txn-spec@ --partition 0"),
		of("aborted with an odd epoch", openWith("c-txn-odd"), "abort --topic c-txn-odd@ --partition 0 --producer-id {pid} --producer-epoch -1 --coordinator-epoch 0"),
		of("terminated", openWith("c-txn-end"), "forceTerminateTransaction --transactionalId c-txn-end@", "describe --transactional-id c-txn-end@", "forceTerminateTransaction --transactionalId c-txn-new@",
			"list --transactional-id-pattern c-txn-new@"),
	}
}
