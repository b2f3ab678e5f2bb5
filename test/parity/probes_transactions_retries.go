package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/record"
)

func transactionRetryProbes() []probe {
	return []probe{endRetriesProbe(), endAfterAbortProbe(), initRecoveryProbe(), initOverOpenProbe(), epochsProbe()}
}

// sendIn produces a record as version 2's producers do: the partition leader adds the partition.
func sendIn(version int16, id, topic string, epochs int16, sequence int32) step {
	return answered(version, func(b *broker) kmsg.Request {
		pid, epoch := b.producer()
		r := produce(topic, 0, -1, build(record.BuilderOptions{ProducerID: pid, ProducerEpoch: epoch + epochs, BaseSequence: sequence, Transactional: true}, 1_700_000_000_000, "v"))
		r.TransactionID = &id
		return r
	}, func(_ *broker, r kmsg.Response) int16 {
		return r.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
	})
}

// completed waits until the markers of the transaction before are written, so that what follows
// meets the same state at every broker.
func completed(id string) step {
	return func(_ *broker, c *conn) (string, error) {
		for deadline := time.Now().Add(10 * time.Second); ; {
			r := kmsg.NewPtrDescribeTransactionsRequest()
			r.TransactionalIDs = []string{id}
			response, err := c.request(r, 0)
			if err != nil {
				return "", err
			}
			state := response.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].State
			if state != "PrepareCommit" && state != "PrepareAbort" || time.Now().After(deadline) {
				return state + "\n", nil
			}
		}
	}
}

func endRetriesProbe() probe {
	const id = "p-txn-retry"
	return probe{"txn end v5, repeated", []step{topic(id, 1), initTransactions(5, id, 60_000), end(5, id, true, 0, 0),
		sendIn(12, id, id, 0, 0), end(5, id, true, 0, 0), completed(id), end(5, id, true, 0, -1), end(5, id, false, 0, -1), end(5, id, true, 0, 0), end(5, id, true, 0, 3), end(5, id, true, 1000, -1),
		sendIn(12, id, id, -1, 1), sendIn(12, id, id, 0, 5), sendIn(12, id, id, 0, 0), end(5, id, false, 0, -1), end(5, id, false, 0, 0), completed(id), end(5, id, false, 0, -1), end(5, id, false, 0, -2),
		end(5, id, false, 0, 0), completed(id), end(5, id, false, 0, -1), end(5, id, false, 0, 0), completed(id),
		end(4, id, false, 0, 0), end(4, id, true, 0, 0), addPartitions(3, id, id), end(4, id, true, 0, 0), completed(id), end(5, id, true, 0, -1), describeTransactions(id), initTransactions(5, id, 60_000)}}
}

// endAfterAbortProbe commits what has been aborted.
func endAfterAbortProbe() probe {
	const id = "p-txn-aborted"
	return probe{"txn end v5, commit of an aborted one", []step{topic(id, 1), initTransactions(5, id, 60_000), sendIn(12, id, id, 0, 0), end(5, id, false, 0, 0), completed(id), end(5, id, true, 0, -1)}}
}

// initFrom goes on from the id and epoch that the producer has.
func initFrom(version int16, id string, pid int64, epochs int16) step {
	return answered(version, func(b *broker) kmsg.Request {
		r := initOf(id, 60_000)
		learned, epoch := b.producer()
		r.ProducerID, r.ProducerEpoch = learned+pid, epoch+epochs
		return r
	}, func(b *broker, r kmsg.Response) int16 {
		answer := r.(*kmsg.InitProducerIDResponse)
		if answer.ErrorCode == 0 {
			b.state["pid"], b.state["epoch"] = answer.ProducerID, answer.ProducerEpoch
		}
		return answer.ErrorCode
	})
}

func initRecoveryProbe() probe {
	const id = "p-txn-recover"
	return probe{"txn init, recovery", []step{topic(id, 1), initTransactions(5, id, 60_000), initFrom(3, id, 0, 0), initFrom(4, id, 0, -1), initFrom(5, id, 0, -1), initFrom(5, id, 0, 0), initFrom(5, id, 0, -2), initFrom(5, id, 0, 1),
		initTransactions(5, id, 60_000), initFrom(4, id, 0, -1), initFrom(3, id, 0, -1), sendIn(12, id, id, 0, 0), end(5, id, true, 0, 0), completed(id), initFrom(5, id, 0, -1), initFrom(5, id, 0, 0), initFrom(5, id, 7, 0),
		initFrom(5, "p-txn-recover-new", 0, 0)}}
}

// initOverOpenProbe initializes while a transaction is open, which aborts it.
func initOverOpenProbe() probe {
	const id = "p-txn-over"
	return probe{"txn init over an open transaction", []step{topic(id, 1), initTransactions(5, id, 60_000), sendIn(12, id, id, 0, 0), initFrom(5, id, 0, 3), initFrom(5, id, 0, 0),
		initTransactions(5, id, 60_000), completed(id), describeTransactions(id), sendIn(12, id, id, 0, 0), initTransactions(5, id, 60_000), describeTransactions(id), sendIn(12, id, id, -2, 1), end(5, id, true, 0, -2)}}
}

// lastEpoch is the last one that a producer may have; the one above is for the marker that fences it.
const lastEpoch = 32766

// epochsProbe uses up the epochs of a producer id, by a request each, and then ends transactions.
func epochsProbe() probe {
	const id = "p-txn-epochs"
	bump := func(b *broker, c *conn) (string, error) {
		if err := bumpTo(b, c, id, lastEpoch); err != nil {
			return "", err
		}
		return "used up\n", nil
	}
	return probe{"txn epochs used up", []step{topic(id, 1), initTransactions(5, id, 60_000), bump, sendIn(12, id, id, 0, 0), end(5, id, true, 0, 0), completed(id), describeTransactions(id), sendIn(12, id, id, 0, 0), end(5, id, false, 0, 0), completed(id), initTransactions(5, id, 60_000), describeTransactions(id)}}
}

func bumpTo(b *broker, c *conn, id string, epoch int16) error {
	for {
		pid, now := b.producer()
		if now >= epoch {
			return nil
		}
		if _, err := initTransactions(5, id, 60_000)(b, c); err != nil {
			return err
		}
		if after, _ := b.producer(); after != pid {
			return fmt.Errorf("producer id %d after %d in epoch %d", after, pid, now)
		}
	}
}
