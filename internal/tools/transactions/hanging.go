package transactions

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// defaultMaxTimeoutMinutes is transaction.max.timeout.ms' default.
const defaultMaxTimeoutMinutes = 15

// topicsPerRequest and partitionsPerRequest bound what is asked for at a time.
const (
	topicsPerRequest     = 500
	partitionsPerRequest = 500
)

// openTransaction is a transaction without a marker in one partition.
type openTransaction struct {
	tp kafka.TopicPartition
	producer
}

// findHanging looks for transactions that are older than any time-out and that no coordinator
// knows to be open in their partition.
func (c *command) findHanging(ctx context.Context) error {
	broker := c.brokerArgument()
	minutes := int64(defaultMaxTimeoutMinutes)
	if given, ok := c.Number("--max-transaction-timeout"); ok {
		minutes = given
	}
	partitions, err := c.partitionsToSearch(ctx, broker)
	if err != nil {
		return err
	}
	candidates, err := c.candidates(ctx, partitions, broker, minutes*time.Minute.Milliseconds())
	if err != nil {
		return err
	}
	hanging, err := c.unknownToCoordinators(ctx, candidates)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, t := range hanging {
		age := (c.nowMs() - t.LastTimestamp) / time.Minute.Milliseconds()
		rows = append(rows, []string{t.tp.Topic, text(t.tp.Partition), text(t.ProducerID), text(t.ProducerEpoch), text(max(t.CoordinatorEpoch, -1)),
			text(t.CurrentTxnStartOffset), text(t.LastTimestamp), text(age)})
	}
	c.streams.Table([]string{"Topic", "Partition", "ProducerId", "ProducerEpoch", "CoordinatorEpoch", "StartOffset", "LastTimestamp", "Duration(min)"}, rows)
	return nil
}

// partitionsToSearch lists the partitions that the arguments name.
func (c *command) partitionsToSearch(ctx context.Context, broker int32) ([]kafka.TopicPartition, error) {
	var names []string
	switch {
	case c.Has("--partition"):
		return []kafka.TopicPartition{c.partitionArguments()}, nil
	case c.Has("--topic"):
		names = []string{c.Value("--topic")}
	default:
		const call = "listTopics"
		err := c.admin.Connect(ctx, call)
		if err == nil {
			cluster, listErr := c.admin.Metadata(ctx, nil, call)
			if err = listErr; err == nil {
				for _, t := range cluster.Topics {
					names = append(names, t.Name)
				}
			}
		}
		if err != nil {
			return nil, c.fail("Failed to list topics", err)
		}
	}
	var partitions []kafka.TopicPartition
	for batch := range slices.Chunk(names, topicsPerRequest) {
		err := c.admin.Connect(ctx, "describeTopics")
		if err == nil {
			topics, describeErr := c.admin.DescribeTopics(ctx, batch, 2000)
			err = describeErr
			for _, t := range topics {
				for _, p := range t.Partitions {
					if broker == anyBroker || slices.Contains(p.Replicas, broker) {
						partitions = append(partitions, kafka.TopicPartition{Topic: t.Name, Partition: p.Index})
					}
				}
			}
		}
		if err != nil {
			return nil, c.fail(fmt.Sprintf("Failed to describe %d topics", len(batch)), err)
		}
	}
	return partitions, nil
}

// candidates are the open transactions that have not been written to for longer than any
// transaction may take.
func (c *command) candidates(ctx context.Context, partitions []kafka.TopicPartition, broker int32, maxTimeoutMs int64) ([]openTransaction, error) {
	var found []openTransaction
	for batch := range slices.Chunk(partitions, partitionsPerRequest) {
		producers, err := c.producersOf(ctx, batch, broker)
		if err != nil {
			where := "Optional.empty"
			if broker != anyBroker {
				where = "Optional[" + text(broker) + "]"
			}
			return nil, c.fail(fmt.Sprintf("Failed to describe producers for %d partitions on broker %s", len(batch), where), err)
		}
		for _, tp := range batch {
			for _, p := range producers[tp] {
				if p.CurrentTxnStartOffset >= 0 && c.nowMs()-p.LastTimestamp > maxTimeoutMs {
					found = append(found, openTransaction{tp, p})
				}
			}
		}
	}
	slices.SortStableFunc(found, func(a, b openTransaction) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return found, nil
}

// unknownToCoordinators leaves out the transactions that their coordinators are going to end.
func (c *command) unknownToCoordinators(ctx context.Context, candidates []openTransaction) ([]openTransaction, error) {
	if len(candidates) == 0 {
		return nil, nil
	}
	var producerIDs []int64
	for _, t := range candidates {
		producerIDs = append(producerIDs, t.ProducerID)
	}
	producerIDs = slices.Compact(producerIDs) // they are sorted
	listed, err := c.listAll(ctx, func(req *kmsg.ListTransactionsRequest) { req.ProducerIDFilters = producerIDs })
	if err != nil {
		return nil, c.fail(fmt.Sprintf("Failed to list transactions for %d producers", len(producerIDs)), err)
	}
	awaited := map[int64][]kafka.TopicPartition{}
	for _, t := range listed {
		d, err := c.describeID(ctx, t.TransactionalID)
		if err != nil {
			return nil, c.fail(fmt.Sprintf("Failed to describe %d transactions", len(listed)), err)
		}
		if d != nil {
			awaited[t.ProducerID] = d.partitions()
		}
	}
	return slices.DeleteFunc(candidates, func(t openTransaction) bool { return slices.Contains(awaited[t.ProducerID], t.tp) }), nil
}
