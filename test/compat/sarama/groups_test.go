package sarama

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

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

// member is one consumer of a group; it is its own handler.
type member struct {
	all     *members
	mu      sync.Mutex
	claims  []int32
	joined  int
	group   sarama.ConsumerGroup
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims, m.joined = nil, m.joined+1
	for _, partitions := range s.Claims() {
		m.claims = append(m.claims, partitions...)
	}
	return nil
}

func (m *member) Cleanup(s sarama.ConsumerGroupSession) error {
	s.Commit()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims = nil
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case record, ok := <-c.Messages():
			if !ok {
				return nil
			}
			m.all.mu.Lock()
			m.all.values = append(m.all.values, string(record.Value))
			m.all.mu.Unlock()
			s.MarkMessage(record, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func (m *member) assigned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.claims)
}

func (v version) join(t *testing.T, all *members, group, topic string, change ...func(*sarama.Config)) *member {
	t.Helper()
	config := v.config(append(change, func(c *sarama.Config) { c.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond })...)
	g, err := sarama.NewConsumerGroup(expect.Brokers, group, config)
	expect.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{all: all, group: g, cancel: cancel}
	m.running.Go(func() {
		for ctx.Err() == nil {
			err := expect.Again(passes, func() error { return g.Consume(ctx, []string{topic}, m) })
			if err != nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) && ctx.Err() == nil {
				t.Errorf("consume: %v", err)
				return
			}
		}
	})
	t.Cleanup(m.cancel)
	return m
}

func (m *member) leave(t *testing.T) {
	t.Helper()
	m.cancel()
	m.running.Wait()
	if err := m.group.Close(); !expect.Three { // there the coordinator may be away
		expect.Must(t, err)
	}
}

func testRebalance(t *testing.T, v version) {
	strategies := map[string]sarama.BalanceStrategy{"range": sarama.NewBalanceStrategyRange(), "roundrobin": sarama.NewBalanceStrategyRoundRobin(), "sticky": sarama.NewBalanceStrategySticky()}
	if expect.Smoke {
		strategies = map[string]sarama.BalanceStrategy{"sticky": sarama.NewBalanceStrategySticky()}
	}
	for name, strategy := range strategies {
		topic, group, all := v.create(t, "rebalance-"+name, 4, nil), v.topicName("rebalance-"+name), &members{}
		balanced := func(c *sarama.Config) {
			c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
		}
		v.produce(t, topic, expect.Numbered("v", 100))
		a := v.join(t, all, group, topic, balanced)
		expect.Until(t, "one member reads all", func() bool { return all.count() >= 100 })
		b := v.join(t, all, group, topic, balanced)
		expect.Until(t, "two members share", func() bool {
			both := append(a.assigned(), b.assigned()...)
			slices.Sort(both)
			return len(a.assigned()) == 2 && slices.Equal(both, []int32{0, 1, 2, 3})
		})
		v.produce(t, topic, expect.Numbered("w", 100))
		expect.Until(t, "both read on", func() bool { return all.count() >= 200 })
		described, err := v.admin(t).DescribeConsumerGroups([]string{group})
		expect.Must(t, err)
		expect.Same(t, "described group", "Stable 2 "+name, fmt.Sprintf("%s %d %s", described[0].State, len(described[0].Members), described[0].Protocol))
		b.leave(t)
		expect.Until(t, "the one that is left takes over", func() bool { return len(a.assigned()) == 4 })
		v.produce(t, topic, expect.Numbered("x", 20))
		expect.Until(t, "and reads on", func() bool { return all.count() >= 220 })
		a.leave(t)
		want := slices.Concat(expect.Numbered("v", 100), expect.Numbered("w", 100), expect.Numbered("x", 20))
		slices.Sort(want)
		if !slices.Equal(want, all.delivered()) {
			t.Errorf("%s: %d records instead of 220 that are each delivered once: %v", name, len(all.values), all.values)
		}
	}
}

func testStaticMembers(t *testing.T, v version) {
	if !v.IsAtLeast(sarama.V2_3_0_0) {
		t.Skip("sarama has no static members as a client of Kafka before 2.3")
	}
	topic, group, all := v.create(t, "static", 2, nil), v.topicName("static"), &members{}
	named := func(name string) func(*sarama.Config) {
		return func(c *sarama.Config) {
			c.Consumer.Group.InstanceId = name
			c.Consumer.Group.Session.Timeout = 20 * time.Second
		}
	}
	a, b := v.join(t, all, group, topic, named("a")), v.join(t, all, group, topic, named("b"))
	expect.Until(t, "two static members share", func() bool { return len(a.assigned()) == 1 && len(b.assigned()) == 1 })
	before, joined := b.assigned(), a.joined
	b.leave(t)
	b = v.join(t, all, group, topic, named("b"))
	expect.Until(t, "the static member has its partition again", func() bool { return slices.Equal(before, b.assigned()) })
	v.produce(t, topic, expect.Numbered("v", 20))
	expect.Until(t, "all records", func() bool { return all.count() >= 20 })
	a.mu.Lock()
	if !expect.Three { // members join again when their coordinator was away
		expect.Same(t, "how often the other one joined: no rebalance", joined, a.joined)
	}
	a.mu.Unlock()
	a.leave(t)
	b.leave(t)
	admin := v.admin(t)
	described, err := admin.DescribeConsumerGroups([]string{group})
	expect.Must(t, err)
	expect.Same(t, "static members stay when they close", 2, len(described[0].Members))
	removed, err := admin.RemoveMemberFromConsumerGroup(group, []string{"a", "b"})
	expect.Must(t, err)
	for _, m := range removed.Members {
		if !expect.Three || !errors.Is(m.Err, sarama.ErrUnknownMemberId) { // removed by the request whose answer was lost
			expect.Same(t, "removed member", sarama.ErrNoError, m.Err)
		}
	}
	described, err = admin.DescribeConsumerGroups([]string{group})
	expect.Must(t, err)
	expect.Same(t, "state without members", "Empty", described[0].State)
}

func testOffsets(t *testing.T, v version) {
	topic, group := v.create(t, "offsets", 2, nil), v.topicName("offsets")
	client, err := sarama.NewClient(expect.Brokers, v.config())
	expect.Must(t, err)
	defer func() { expect.Must(t, client.Close()) }()
	manager, err := sarama.NewOffsetManagerFromClient(group, client)
	expect.Must(t, err)
	partition, err := manager.ManagePartition(topic, 1)
	expect.Must(t, err)
	if next, _ := partition.NextOffset(); next != sarama.OffsetOldest {
		t.Errorf("offset of a new group: %d", next)
	}
	partition.MarkOffset(7, "a note")
	manager.Commit()
	expect.Must(t, partition.Close())
	expect.Must(t, manager.Close())
	manager, err = sarama.NewOffsetManagerFromClient(group, client)
	expect.Must(t, err)
	partition, err = manager.ManagePartition(topic, 1)
	expect.Must(t, err)
	next, note := partition.NextOffset()
	expect.Same(t, "committed offset", "7 a note", fmt.Sprintf("%d %s", next, note))
	expect.Must(t, partition.Close())
	expect.Must(t, manager.Close())
	admin := v.admin(t)
	listed, err := admin.ListConsumerGroupOffsets(group, nil)
	expect.Must(t, err)
	expect.Same(t, "listed offset", 7, listed.GetBlock(topic, 1).Offset)
	if listed.GetBlock(topic, 0) != nil {
		t.Errorf("a partition without an offset is listed: %+v", listed.GetBlock(topic, 0))
	}
	if !v.IsAtLeast(sarama.V2_4_0_0) {
		return
	}
	expect.Must(t, admin.DeleteConsumerGroupOffset(group, topic, 1))
	listed, err = admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {1}})
	expect.Must(t, err)
	expect.Same(t, "deleted offset", -1, listed.GetBlock(topic, 1).Offset)
}
