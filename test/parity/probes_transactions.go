package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/record"
)

func transactionProbes() []probe {
	all := []probe{transactionalInitProbe(), openTransactionProbe(), endRefusedProbe(), partitionsRefusedProbe(), transactionalOffsetsProbe(), transactionListProbe(), transactionalProduceProbe()}
	for _, v := range []int16{0, 1, 3, 4, 6} {
		all = append(all, probe{fmt.Sprintf("txn find coordinator v%d", v), []step{initTransactions(2, "p-txn-find", 60_000), askOf(v, findTransactional("p-txn-find"))}})
	}
	return all
}

func findTransactional(id string) *kmsg.FindCoordinatorRequest {
	r := findGroup(id)
	r.CoordinatorType, r.CoordinatorKeys = 1, []string{id}
	return r
}

func initOf(id string, timeoutMs int32) *kmsg.InitProducerIDRequest {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionalID, r.TransactionTimeoutMillis = &id, timeoutMs
	return r
}

// answered repeats a request while the coordinator is not there yet or the transaction before is
// still being completed, which takes each broker its own time.
func answered(version int16, build func(b *broker) kmsg.Request, code func(b *broker, r kmsg.Response) int16) step {
	return func(b *broker, c *conn) (string, error) {
		for deadline := time.Now().Add(15 * time.Second); ; {
			response, err := c.request(build(b), version)
			if err != nil {
				return "", err
			}
			switch code(b, response) {
			case 14, 15, 16, 51: // COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS
				if time.Now().Before(deadline) {
					continue
				}
			}
			return normalise(response), nil
		}
	}
}

// initTransactions finds the coordinator, which makes __transaction_state on first use, and asks for the producer id and epoch.
func initTransactions(version int16, id string, timeoutMs int32) step {
	return func(b *broker, c *conn) (string, error) {
		if _, err := c.request(findTransactional(id), 3); err != nil {
			return "", err
		}
		return answered(version, func(*broker) kmsg.Request { return initOf(id, timeoutMs) }, func(b *broker, r kmsg.Response) int16 {
			answer := r.(*kmsg.InitProducerIDResponse)
			if answer.ErrorCode == 0 {
				b.state["pid"], b.state["epoch"] = answer.ProducerID, answer.ProducerEpoch
			}
			return answer.ErrorCode
		})(b, c)
	}
}

func (b *broker) producer() (int64, int16) {
	pid, _ := b.state["pid"].(int64)
	epoch, _ := b.state["epoch"].(int16)
	return pid, epoch
}

func transactionalInitProbe() probe {
	again := func(version int16, pid int64, epochs int16) step {
		return ask(version, func(b *broker) kmsg.Request {
			r := initOf("p-txn-init", 60_000)
			learned, epoch := b.producer()
			r.ProducerID, r.ProducerEpoch = learned+pid, epoch+epochs
			return r
		})
	}
	return probe{"txn init producer id", []step{initTransactions(2, "p-txn-init", 60_000), initTransactions(4, "p-txn-init", 60_000), initTransactions(5, "p-txn-init", 60_000), initTransactions(0, "p-txn-init", 60_000),
		askOf(2, initOf("", 60_000)), askOf(4, initOf("p-txn-init", 0)), askOf(4, initOf("p-txn-init", -1)), askOf(4, initOf("p-txn-init", 900_001)), askOf(2, initOf("p-txn-init", 900_001)), askOf(4, initOf("p-txn-init", 900_000)),
		again(4, 0, 9), again(4, 1000, 0), again(3, 0, -1), again(4, 0, 1)}}
}

func addPartitions(version int16, id string, topics ...string) step {
	return answered(version, func(b *broker) kmsg.Request {
		r := kmsg.NewPtrAddPartitionsToTxnRequest()
		r.TransactionalID = id
		r.ProducerID, r.ProducerEpoch = b.producer()
		for _, t := range topics {
			r.Topics = append(r.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: t, Partitions: []int32{0}})
		}
		return r
	}, func(_ *broker, r kmsg.Response) int16 {
		if answer := r.(*kmsg.AddPartitionsToTxnResponse); len(answer.Topics) > 0 && len(answer.Topics[0].Partitions) > 0 {
			return answer.Topics[0].Partitions[0].ErrorCode
		}
		return 0
	})
}

// end ends the transaction as another producer id or epoch where pid or epochs is not 0.
func end(version int16, id string, commit bool, pid int64, epochs int16) step {
	return answered(version, func(b *broker) kmsg.Request {
		r := kmsg.NewPtrEndTxnRequest()
		learned, epoch := b.producer()
		r.TransactionalID, r.Commit, r.ProducerID, r.ProducerEpoch = id, commit, learned+pid, epoch+epochs
		return r
	}, func(b *broker, r kmsg.Response) int16 {
		answer := r.(*kmsg.EndTxnResponse)
		if version >= 5 && answer.ErrorCode == 0 {
			b.state["pid"], b.state["epoch"] = answer.ProducerID, answer.ProducerEpoch
		}
		return answer.ErrorCode
	})
}

func describeTransactions(ids ...string) step {
	r := kmsg.NewPtrDescribeTransactionsRequest()
	r.TransactionalIDs = ids
	return askOf(0, r)
}

func openTransactionProbe() probe {
	const id = "p-txn-open"
	return probe{"txn add, commit, abort", []step{topic("p-txn-open", 1), initTransactions(4, id, 60_000), describeTransactions(id, "not-there", ""),
		addPartitions(3, id, "p-txn-open"), describeTransactions(id), addPartitions(3, id, "p-txn-open"), end(3, id, true, 0, 0),
		addPartitions(0, id, "p-txn-open"), describeTransactions(id), end(4, id, false, 0, 0), addPartitions(3, id, "p-txn-open"), end(4, id, true, 0, 0),
		initTransactions(4, id, 60_000), describeTransactions(id)}}
}

func endRefusedProbe() probe {
	const id = "p-txn-end"
	return probe{"txn end refused", []step{topic("p-txn-end", 1), initTransactions(4, id, 60_000),
		end(3, id, true, 0, 0), end(4, id, false, 0, 0), end(4, id, true, 1000, 0), end(4, "not-there", true, 0, 0), end(4, "", true, 0, 0),
		addPartitions(3, id, "p-txn-end"), end(3, id, true, 0, 1), end(4, id, true, 0, 1), end(1, id, true, 0, 1), end(4, id, true, 1000, 0), end(4, id, true, 0, -1),
		end(4, id, false, 0, 0), end(4, id, false, 0, 0), end(4, id, true, 0, 0), end(5, id, false, 0, 0), end(5, id, true, 0, 0)}}
}

func partitionsRefusedProbe() probe {
	const id = "p-txn-partitions"
	forget := func(b *broker, _ *conn) (string, error) {
		b.state["pid"] = int64(987_654)
		return "another producer id\n", nil
	}
	age := func(b *broker, _ *conn) (string, error) {
		b.state["epoch"] = int16(7)
		return "another epoch\n", nil
	}
	return probe{"txn partitions refused", []step{topic("p-txn-partitions", 1), initTransactions(4, id, 60_000),
		addPartitions(3, id, "not-there"), addPartitions(3, id, "not-there", "p-txn-partitions"), addPartitions(3, "not-there-id", "p-txn-partitions"), addPartitions(3, "", "p-txn-partitions"), addPartitions(3, id),
		describeTransactions(id), age, addPartitions(3, id, "p-txn-partitions"), addPartitions(1, id, "p-txn-partitions"), forget, addPartitions(3, id, "p-txn-partitions")}}
}

func transactionalOffsetsProbe() probe {
	const id, group = "p-txn-offsets", "p-txn-group" // id is also the name of the topic
	commitIn := func(version int16, topic string, partition int32, member string, generation int32, epochs int16) step {
		return ask(version, func(b *broker) kmsg.Request {
			r := kmsg.NewPtrTxnOffsetCommitRequest()
			r.TransactionalID, r.Group, r.MemberID, r.Generation = id, group, member, generation
			r.ProducerID, r.ProducerEpoch = b.producer()
			r.ProducerEpoch += epochs
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = partition, 42, -1
			r.Topics = append(r.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}})
			return r
		})
	}
	add := answered(3, func(b *broker) kmsg.Request {
		r := kmsg.NewPtrAddOffsetsToTxnRequest()
		r.TransactionalID, r.Group = id, group
		r.ProducerID, r.ProducerEpoch = b.producer()
		return r
	}, func(_ *broker, r kmsg.Response) int16 { return r.(*kmsg.AddOffsetsToTxnResponse).ErrorCode })
	stable := fetchOffsets(group, "p-txn-offsets")
	stable.RequireStable = true
	return probe{"txn offsets", []step{topic("p-txn-offsets", 1), ready(group), initTransactions(4, id, 60_000), add, commitIn(3, id, 0, "", -1, 0), commitIn(3, id, 9, "", -1, 0), commitIn(3, "not-there", 0, "", -1, 0), commitIn(3, id, 0, "nobody", 3, 0), commitIn(3, id, 0, "", -1, -1), commitIn(2, id, 0, "", -1, 0),
		askOf(7, fetchOffsets(group, "p-txn-offsets")), askOf(7, stable), describeTransactions(id), askOf(2, deleteGroups(group)), end(3, id, false, 0, 0),
		initTransactions(4, id, 60_000), askOf(7, stable), add, commitIn(3, id, 0, "", -1, 0), end(3, id, true, 0, 0), initTransactions(4, id, 60_000), askOf(7, stable)}}
}

// transactionListProbe looks at one transaction only: which others are there depends on the probes that ran.
func transactionListProbe() probe {
	const id = "p-txn-listed"
	list := func(version int16, change func(b *broker, r *kmsg.ListTransactionsRequest)) step {
		return func(b *broker, c *conn) (string, error) {
			r := kmsg.NewPtrListTransactionsRequest()
			change(b, r)
			response, err := c.request(r, version)
			if err != nil {
				return "", err
			}
			answer := response.(*kmsg.ListTransactionsResponse)
			found := "not listed"
			for _, t := range answer.TransactionStates {
				if t.TransactionalID == id {
					found = t.TransactionState
				}
			}
			return fmt.Sprintf("code %d, unknown states %q: %s\n", answer.ErrorCode, answer.UnknownStateFilters, found), nil
		}
	}
	everything := func(*broker, *kmsg.ListTransactionsRequest) {}
	states := func(names ...string) func(*broker, *kmsg.ListTransactionsRequest) {
		return func(_ *broker, r *kmsg.ListTransactionsRequest) { r.StateFilters = names }
	}
	producers := func(other int64) func(*broker, *kmsg.ListTransactionsRequest) {
		return func(b *broker, r *kmsg.ListTransactionsRequest) {
			pid, _ := b.producer()
			r.ProducerIDFilters = []int64{pid + other}
		}
	}
	longer := func(durationMs int64) func(*broker, *kmsg.ListTransactionsRequest) {
		return func(_ *broker, r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = durationMs }
	}
	older := func(*broker, *conn) (string, error) { // than a millisecond
		now := time.Now().UnixMilli()
		return "waited\n", patiently("two milliseconds later", func() (bool, error) { return time.Now().UnixMilli() > now+1, nil })
	}
	pattern := func(p string) func(*broker, *kmsg.ListTransactionsRequest) {
		return func(_ *broker, r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = &p }
	}
	return probe{"txn list", []step{topic("p-txn-listed", 1), initTransactions(4, id, 60_000), list(0, everything), addPartitions(3, id, "p-txn-listed"), list(0, everything), list(1, everything), list(2, everything),
		list(0, states("Ongoing")), list(0, states("Empty")), list(0, states("ongoing")), list(0, states("Nonsense")), list(0, states("Nonsense", "Ongoing")), list(0, producers(0)), list(0, producers(5000)),
		older, list(1, longer(0)), list(1, longer(600_000)), list(1, longer(-5)), list(2, pattern("p-txn-l.*")), list(2, pattern("p-txn-l")), list(2, pattern("")), list(2, pattern("(")), end(3, id, false, 0, 0)}}
}

func transactionalProduceProbe() probe {
	const id, name = "p-txn-produce", "p-txn-produce"
	send := func(version int16, epochs int16, sequence int32, transactionalID *string) step {
		return ask(version, func(b *broker) kmsg.Request {
			pid, epoch := b.producer()
			r := produce(name, 0, -1, build(record.BuilderOptions{ProducerID: pid, ProducerEpoch: epoch + epochs, BaseSequence: sequence, Transactional: true}, 1_700_000_000_000, "v"))
			r.TransactionID = transactionalID
			return r
		})
	}
	return probe{"txn produce", []step{topic(name, 1), initTransactions(4, id, 60_000), send(9, 0, 0, ptr(id)), send(11, 0, 0, ptr(id)), addPartitions(3, id, name), send(9, 0, 0, ptr(id)), send(9, 0, 0, ptr(id)), send(9, 0, 5, ptr(id)), send(9, 0, 1, ptr("another")),
		send(9, 0, 1, nil), askOffsets(5, name, 0, -1), ask(5, func(*broker) kmsg.Request {
			r := offsetsOf(name, 0, -1)
			r.IsolationLevel = 1
			return r
		}), end(3, id, true, 0, 0), initTransactions(4, id, 60_000), send(9, -1, 1, ptr(id)), send(9, 0, 0, ptr(id)), askOffsets(5, name, 0, -1)}}
}
