package segmentio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/moldau/moldau/test/compat/expect"
)

// members is what the members of one group have seen.
type members struct {
	mu     sync.Mutex
	values []string
}

func (m *members) count() int { return len(m.delivered()) }

func (m *members) delivered() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return expect.Delivered(m.values)
}

// join starts a member that notes what it gets and commits it; the result makes it leave.
func (m *members) join(t *testing.T, group, topic string, balancer kafka.GroupBalancer) (leave func()) {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: expect.Brokers, GroupID: group, GroupTopics: []string{topic}, GroupBalancers: []kafka.GroupBalancer{balancer},
		StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond, HeartbeatInterval: 200 * time.Millisecond, SessionTimeout: sessionTimeout()})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			record, err := r.FetchMessage(ctx)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.values = append(m.values, string(record.Value))
			m.mu.Unlock()
			if err := r.CommitMessages(context.WithoutCancel(ctx), record); err != nil && !expect.Three { // there it is delivered again
				t.Errorf("commit: %v", err)
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
		expect.Must(t, r.Close())
	}
}

// sessionTimeout is short where the coordinator may be away when a member leaves.
func sessionTimeout() time.Duration {
	if expect.Three {
		return 3 * time.Second
	}
	return 30 * time.Second // the client's own
}

// assigned returns how many partitions each member of a stable group has, in ascending order, and whether none has two owners.
func assigned(t *testing.T, group, topic string) string {
	t.Helper()
	described := ask(t, client.DescribeGroups, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}}, func(r *kafka.DescribeGroupsResponse) error { return passing(r.Groups[0].Error) })
	var counts, all []int
	for _, m := range described.Groups[0].Members {
		counts = append(counts, 0)
		for _, of := range m.MemberAssignments.Topics {
			if of.Topic == topic {
				counts[len(counts)-1] += len(of.Partitions)
				all = append(all, of.Partitions...)
			}
		}
	}
	slices.Sort(counts)
	slices.Sort(all)
	return fmt.Sprintf("%s %v of %v", described.Groups[0].GroupState, counts, slices.Compact(all))
}

func testRebalance(t *testing.T) {
	balancers := map[string]kafka.GroupBalancer{"range": kafka.RangeGroupBalancer{}, "roundrobin": kafka.RoundRobinGroupBalancer{}, "rack": kafka.RackAffinityGroupBalancer{}}
	if expect.Smoke {
		balancers = map[string]kafka.GroupBalancer{"roundrobin": kafka.RoundRobinGroupBalancer{}}
	}
	for name, balancer := range balancers {
		topic, group, all := create(t, "rebalance-"+name, 4), named("rebalance-"+name), &members{}
		write(t, topic, expect.Numbered("v", 100))
		leaveA := all.join(t, group, topic, balancer)
		expect.Until(t, "one member reads all", func() bool { return all.count() >= 100 })
		leaveB := all.join(t, group, topic, balancer)
		expect.Until(t, "two members share", func() bool { return assigned(t, group, topic) == "Stable [2 2] of [0 1 2 3]" })
		write(t, topic, expect.Numbered("w", 100))
		expect.Until(t, "both read on", func() bool { return all.count() >= 200 })
		leaveB()
		expect.Until(t, "the one that is left takes over", func() bool { return assigned(t, group, topic) == "Stable [4] of [0 1 2 3]" })
		write(t, topic, expect.Numbered("x", 20))
		expect.Until(t, "and reads on", func() bool { return all.count() >= 220 })
		leaveA()
		want := slices.Concat(expect.Numbered("v", 100), expect.Numbered("w", 100), expect.Numbered("x", 20))
		slices.Sort(want)
		if !slices.Equal(want, all.delivered()) {
			t.Errorf("%s: %d records instead of 220 that are each delivered once", name, len(all.values))
		}
		listed := ask(t, client.ListGroups, &kafka.ListGroupsRequest{}, func(r *kafka.ListGroupsResponse) error { return r.Error })
		if !slices.ContainsFunc(listed.Groups, func(g kafka.ListGroupsResponseGroup) bool { return g.GroupID == group && g.ProtocolType == "consumer" }) {
			t.Errorf("the group is not listed: %+v", listed.Groups)
		}
		ask(t, client.DeleteGroups, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}}, func(r *kafka.DeleteGroupsResponse) error {
			if err := r.Errors[group]; !expect.Three || !errors.Is(err, kafka.GroupIdNotFound) { // gone already, in a repetition
				return err
			}
			return nil
		})
	}
}

// committed returns the group's committed offset of partition 0.
func committed(t *testing.T, group, topic string) string {
	t.Helper()
	fetched := ask(t, client.OffsetFetch, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}}, func(r *kafka.OffsetFetchResponse) error {
		if r.Error != nil {
			return r.Error
		}
		return r.Topics[topic][0].Error
	})
	p := fetched.Topics[topic][0]
	return fmt.Sprintf("%d %s", p.CommittedOffset, p.Metadata)
}

func testOffsets(t *testing.T) {
	topic, group := prepare(t, "offsets", 5, func(topic string) { write(t, topic, expect.Numbered("v", 5)) }), named("offsets")
	expect.Same(t, "offset of a new group", "-1 ", committed(t, group, topic))
	ask(t, client.OffsetCommit, &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 3, Metadata: "a note"}}}},
		func(r *kafka.OffsetCommitResponse) error { return r.Topics[topic][0].Error })
	expect.Same(t, "committed offset", "3 a note", committed(t, group, topic))
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: expect.Brokers, GroupID: group, Topic: topic, MaxWait: 100 * time.Millisecond, SessionTimeout: sessionTimeout()})
	expect.Same(t, "from the committed offset", "v3 v4", values(receive(t, r, 2)))
	expect.Must(t, r.Close())
	expect.Same(t, "committed by the reader", "5 ", committed(t, group, topic))
	ask(t, client.OffsetDelete, &kafka.OffsetDeleteRequest{GroupID: group, Topics: map[string][]int{topic: {0}}}, func(r *kafka.OffsetDeleteResponse) error {
		if r.Error != nil {
			return r.Error
		}
		return r.Topics[topic][0].Error
	})
	expect.Same(t, "deleted offset", "-1 ", committed(t, group, topic))
}

// testTransactions ends transactions of offsets: its writers cannot write in a transaction.
func testTransactions(t *testing.T) {
	topic, group, id := create(t, "tx", 1), named("tx"), named("tx")
	for i, commit := range []bool{false, true, false} {
		var found *kafka.FindCoordinatorResponse
		expect.Until(t, "there is a coordinator", func() bool { // the first question makes its topic
			found = ask(t, client.FindCoordinator, &kafka.FindCoordinatorRequest{Key: id, KeyType: kafka.CoordinatorKeyTypeTransaction})
			return !errors.Is(found.Error, kafka.GroupCoordinatorNotAvailable)
		})
		expect.Must(t, found.Error)
		expect.Same(t, "coordinator", true, expect.IsNode(found.Coordinator.NodeID))
		var producer *kafka.InitProducerIDResponse
		expect.Until(t, "the transaction before is complete", func() bool { // and the coordinator has loaded its state
			producer = ask(t, client.InitProducerID, &kafka.InitProducerIDRequest{TransactionalID: id, TransactionTimeoutMs: 30000, ProducerID: -1, ProducerEpoch: -1})
			return !slices.ContainsFunc([]kafka.Error{kafka.GroupLoadInProgress, kafka.NotCoordinatorForGroup, 51}, // CONCURRENT_TRANSACTIONS
				func(again kafka.Error) bool { return errors.Is(producer.Error, again) })
		})
		expect.Must(t, producer.Error)
		pid, epoch := producer.Producer.ProducerID, producer.Producer.ProducerEpoch
		ask(t, client.AddPartitionsToTxn, &kafka.AddPartitionsToTxnRequest{TransactionalID: id, ProducerID: pid, ProducerEpoch: epoch, Topics: map[string][]kafka.AddPartitionToTxn{topic: {{Partition: 0}}}},
			func(r *kafka.AddPartitionsToTxnResponse) error { return r.Topics[topic][0].Error })
		ask(t, client.AddOffsetsToTxn, &kafka.AddOffsetsToTxnRequest{TransactionalID: id, ProducerID: pid, ProducerEpoch: epoch, GroupID: group},
			func(r *kafka.AddOffsetsToTxnResponse) error { return r.Error })
		ask(t, client.TxnOffsetCommit, &kafka.TxnOffsetCommitRequest{TransactionalID: id, GroupID: group, ProducerID: pid, ProducerEpoch: epoch, GenerationID: -1,
			Topics: map[string][]kafka.TxnOffsetCommit{topic: {{Partition: 0, Offset: int64(10 * (i + 1)), Metadata: "in a transaction"}}}},
			func(r *kafka.TxnOffsetCommitResponse) error { return r.Topics[topic][0].Error })
		ask(t, client.EndTxn, &kafka.EndTxnRequest{TransactionalID: id, ProducerID: pid, ProducerEpoch: epoch, Committed: commit},
			func(r *kafka.EndTxnResponse) error { return r.Error })
		// The markers are written after the answer; the second transaction commits, the others abort.
		want := []string{"-1 ", "20 in a transaction", "20 in a transaction"}[i]
		expect.Until(t, "offset "+want, func() bool { return committed(t, group, topic) == want })
	}
	// The partition has the markers of three transactions. The client's readers would hand them out as records.
	expect.Until(t, "three markers", func() bool {
		listed := ask(t, client.ListOffsets, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(0)}}, IsolationLevel: kafka.ReadCommitted})
		return listed.Topics[topic][0].LastOffset == 3
	})
}
