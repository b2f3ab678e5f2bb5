package transactions

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
)

// listing is a transactional id and the broker that coordinates it.
type listing struct {
	kmsg.ListTransactionsResponseTransactionState
	coordinator int32
}

// listAll asks every broker for the ids that it coordinates.
func (c *command) listAll(ctx context.Context, change func(*kmsg.ListTransactionsRequest)) ([]listing, error) {
	if err := c.admin.Connect(ctx, "listTransactions(api=METADATA)"); err != nil {
		return nil, err
	}
	cluster, err := c.admin.Metadata(ctx, []string{}, "listTransactions(api=METADATA)")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(cluster.Brokers, func(a, b kmsg.MetadataResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	var all []listing
	for _, broker := range cluster.Brokers {
		err := c.retried(ctx, "listTransactions(api=LIST_TRANSACTIONS)", func(ctx context.Context) (bool, error) {
			req := kmsg.NewPtrListTransactionsRequest()
			change(req)
			answer, err := c.admin.Broker(int(broker.NodeID)).RetriableRequest(ctx, req)
			if err != nil {
				return false, err
			}
			resp, ok := answer.(*kmsg.ListTransactionsResponse)
			switch code := kafka.ErrorCode(codeOf(resp, ok)); code {
			case kafka.ErrNone:
			case kafka.ErrCoordinatorLoadInProgress:
				return true, nil
			default:
				return false, &client.Error{Code: code, Message: fmt.Sprintf("ListTransactions request sent to broker %d failed with an unexpected exception", broker.NodeID)}
			}
			for _, t := range resp.TransactionStates {
				all = append(all, listing{t, broker.NodeID})
			}
			return false, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func codeOf(resp *kmsg.ListTransactionsResponse, ok bool) int16 {
	if !ok {
		return int16(kafka.ErrUnknownServerError)
	}
	return resp.ErrorCode
}

func (c *command) list(ctx context.Context) error {
	all, err := c.listAll(ctx, func(req *kmsg.ListTransactionsRequest) {
		if ms, ok := c.Number("--duration-filter"); ok {
			req.DurationFilterMillis = ms
		}
		if pattern := c.Value("--transactional-id-pattern"); pattern != "" {
			req.TransactionalIDPattern = &pattern
		}
	})
	if err != nil {
		return c.fail("Failed to list transactions", err)
	}
	var rows [][]string
	for _, t := range all {
		rows = append(rows, []string{t.TransactionalID, text(t.coordinator), text(t.ProducerID), stateName(t.TransactionState)})
	}
	c.streams.Table([]string{"TransactionalId", "Coordinator", "ProducerId", "TransactionState"}, rows)
	return nil
}

// stateName is a state as Kafka's tool shows it; of one that it does not know it says so.
func stateName(state string) string {
	switch state {
	case "Ongoing", "PrepareAbort", "PrepareCommit", "CompleteAbort", "CompleteCommit", "Empty", "PrepareEpochFence":
		return state
	}
	return "Unknown"
}

// description is a transactional id as its coordinator knows it.
type description struct {
	kmsg.DescribeTransactionsResponseTransactionState
	coordinator int32
}

// partitions are those that are, or still have to be, in the transaction.
func (d *description) partitions() []kafka.TopicPartition {
	var all []kafka.TopicPartition
	for _, t := range d.Topics {
		for _, p := range t.Partitions {
			all = append(all, kafka.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	return all
}

// coordinatorOf finds the broker that coordinates a transactional id.
func (c *command) coordinatorOf(ctx context.Context, id string) (broker int32, err error) {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = 1, id, []string{id}
	resp, err := req.RequestWith(ctx, c.admin.Client)
	switch {
	case err != nil:
		return -1, err
	case len(resp.Coordinators) == 1:
		return resp.Coordinators[0].NodeID, client.FromCode(resp.Coordinators[0].ErrorCode, nil)
	}
	return resp.NodeID, client.FromCode(resp.ErrorCode, nil)
}

// atCoordinator asks the coordinator of a transactional id until it has an answer. ask returns the
// code of the answer.
func (c *command) atCoordinator(ctx context.Context, id, call string, ask func(ctx context.Context, broker int32) (code int16, err error)) error {
	if err := c.admin.Connect(ctx, call+"(api=FIND_COORDINATOR)"); err != nil {
		return err
	}
	return c.retried(ctx, call+"(api=FIND_COORDINATOR)", func(ctx context.Context) (bool, error) {
		broker, err := c.coordinatorOf(ctx, id)
		if mustSearch(client.Code(err)) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		code, err := ask(ctx, broker)
		switch known := kafka.ErrorCode(code); {
		case err != nil:
			return false, err
		case mustSearch(known), known == kafka.ErrConcurrentTransactions:
			return true, nil
		}
		return false, nil
	})
}

// mustSearch reports whether a coordinator is to be looked for again.
func mustSearch(code kafka.ErrorCode) bool {
	return code == kafka.ErrCoordinatorLoadInProgress || code == kafka.ErrCoordinatorNotAvailable || code == kafka.ErrNotCoordinator
}

// describeID describes a transactional id; nil says that there is none.
func (c *command) describeID(ctx context.Context, id string) (*description, error) {
	var found *description
	err := c.atCoordinator(ctx, id, "describeTransactions", func(ctx context.Context, broker int32) (int16, error) {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = []string{id}
		answer, err := c.admin.Broker(int(broker)).RetriableRequest(ctx, req)
		if err != nil {
			return 0, err
		}
		resp, ok := answer.(*kmsg.DescribeTransactionsResponse)
		if !ok || len(resp.TransactionStates) != 1 {
			return 0, fmt.Errorf("broker %d answered something else than the state of %q", broker, id)
		}
		found = &description{resp.TransactionStates[0], broker}
		switch code := kafka.ErrorCode(found.ErrorCode); {
		case code == kafka.ErrTransactionalIDAuthorizationFailed:
			return 0, &client.Error{Code: code, Message: "DescribeTransactions request for transactionalId `" + id + "` failed due to authorization failure"}
		case code != kafka.ErrNone && code != kafka.ErrTransactionalIDNotFound && !mustSearch(code):
			return 0, &client.Error{Code: code, Message: "DescribeTransactions request for transactionalId `" + id + "` failed due to unexpected error"}
		}
		return found.ErrorCode, nil
	})
	if err != nil {
		return nil, err
	}
	if kafka.ErrorCode(found.ErrorCode) == kafka.ErrTransactionalIDNotFound {
		return nil, nil
	}
	return found, nil
}

func (c *command) describe(ctx context.Context) error {
	id := c.Value("--transactional-id")
	d, err := c.describeID(ctx, id)
	if err == nil && d == nil {
		err = &client.Error{Code: kafka.ErrTransactionalIDNotFound, Message: "DescribeTransactions request for transactionalId `" + id + "` failed because the ID could not be found"}
	}
	if err != nil {
		return c.fail("Failed to describe transaction state of transactional-id `"+id+"`", err)
	}
	duration := int64(-1)
	if d.StartTimestamp >= 0 {
		duration = max(c.nowMs()-d.StartTimestamp, 0)
	}
	var partitions []string
	for _, tp := range d.partitions() {
		partitions = append(partitions, tp.String())
	}
	c.streams.Table([]string{"CoordinatorId", "TransactionalId", "ProducerId", "ProducerEpoch", "TransactionState", "TransactionTimeoutMs",
		"CurrentTransactionStartTimeMs", "TransactionDurationMs", "TopicPartitions"}, [][]string{{
		text(d.coordinator), id, text(d.ProducerID), text(d.ProducerEpoch), stateName(d.State), text(d.TimeoutMillis),
		orNone(d.StartTimestamp), orNone(duration), strings.Join(partitions, ","),
	}})
	return nil
}

// terminationTimeoutMs is the transaction time-out that the fenced id is left with: Kafka's tool
// gives its request time-out.
const terminationTimeoutMs = 30_000

// forceTerminate initializes the id as a new producer would, which aborts the transaction and
// fences its owner.
func (c *command) forceTerminate(ctx context.Context) error {
	id := c.Value("--transactionalId")
	err := c.atCoordinator(ctx, id, "fenceProducer", func(ctx context.Context, broker int32) (int16, error) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &id, terminationTimeoutMs
		answer, err := c.admin.Broker(int(broker)).RetriableRequest(ctx, req)
		if err != nil {
			return 0, err
		}
		resp, ok := answer.(*kmsg.InitProducerIDResponse)
		if !ok {
			return 0, fmt.Errorf("broker %d answered something else than a producer id", broker)
		}
		what := "InitProducerId request for transactionalId `" + id + "` failed due to "
		switch code := kafka.ErrorCode(resp.ErrorCode); {
		case code == kafka.ErrNone, code == kafka.ErrConcurrentTransactions, mustSearch(code):
			return resp.ErrorCode, nil
		case code == kafka.ErrTransactionalIDAuthorizationFailed:
			return 0, &client.Error{Code: code, Message: what + "transactional ID authorization failure"}
		case code == kafka.ErrClusterAuthorizationFailed:
			return 0, &client.Error{Code: code, Message: what + "cluster authorization failure"}
		default:
			return 0, &client.Error{Code: code, Message: what + "unexpected error"}
		}
	})
	if err != nil {
		return c.fail("Failed to force terminate transactionalId `"+id+"`", err)
	}
	return nil
}
