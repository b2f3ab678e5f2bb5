package cluster

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/sim"
	"github.com/moldau/moldau/internal/txn"
)

const (
	markerCallMs = 5000
	movedCheckMs = 100
	enlistCallMs = 5000
)

// coordinators are those of a process, and its ways to those of others.
type coordinators struct {
	*sim.Coordinators
	p *process
	// The connections to other brokers, by what they are for.
	markers, enlistments map[int32]*conn
}

func newCoordinators(p *process, registry *metrics.Registry) *coordinators {
	c := &coordinators{p: p, markers: map[int32]*conn{}, enlistments: map[int32]*conn{}}
	c.Coordinators = sim.NewCoordinators(sim.CoordinatorsOptions{Loop: p.w, NodeID: p.node.id, Clock: p.node.clock, Random: p.random, Metrics: registry, Replicas: p.replicas, Log: p.replicas,
		IsAlive: p.alive, After: p.after, OnDisk: p.onDisk, Appended: p.replication.wake, NewProducerID: p.newProducerID, WriteMarkers: c.write, AddToTransaction: c.add})
	return c
}

// write has every marker written by the leader of its partition.
func (c *coordinators) write(marker shard.Marker, partitions []kafka.TopicPartition, done func([]kafka.ErrorCode)) {
	p := c.p
	codes, missing := make([]kafka.ErrorCode, len(partitions)), len(partitions)
	finish := func(places []int, code func(i int) kafka.ErrorCode) {
		for i, place := range places {
			codes[place] = code(i)
		}
		if missing -= len(places); missing == 0 {
			done(codes)
		}
	}
	if missing == 0 {
		done(codes)
		return
	}
	remote, brokers := map[int32][]int{}, []int32{}
	for i, tp := range partitions {
		switch assigned := p.image.Partition(tp.Topic, tp.Partition); {
		case assigned == nil:
			finish([]int{i}, func(int) kafka.ErrorCode { return kafka.ErrUnknownTopicOrPartition })
		case assigned.Leader == kafka.NoLeader:
			finish([]int{i}, func(int) kafka.ErrorCode { return kafka.ErrLeaderNotAvailable })
		case assigned.Leader == p.node.id:
			c.Transactions.WriteMarker(tp, marker, func(err error) { finish([]int{i}, func(int) kafka.ErrorCode { return kafka.CodeOf(err) }) })
		default:
			if remote[assigned.Leader] == nil {
				brokers = append(brokers, assigned.Leader)
			}
			remote[assigned.Leader] = append(remote[assigned.Leader], i)
		}
	}
	for _, broker := range brokers {
		places := remote[broker]
		var theirs []kafka.TopicPartition
		for _, place := range places {
			theirs = append(theirs, partitions[place])
		}
		c.writeThere(broker, marker, theirs, func(answer []kafka.ErrorCode) {
			finish(places, func(i int) kafka.ErrorCode { return answer[i] })
		})
	}
}

// link returns a connection to another broker, for one purpose.
func (c *coordinators) link(links map[int32]*conn, name string, broker int32) *conn {
	link := links[broker]
	if link == nil || link.closed {
		link = c.p.w.dial(name, c.p.node.id, c.p, broker)
		link.onBroken = func() { c.p.lost(link) }
		links[broker] = link
	}
	return link
}

// writeThere is WriteTxnMarkers to another broker. One that hangs is not waited for when others have become the leaders.
func (c *coordinators) writeThere(broker int32, marker shard.Marker, partitions []kafka.TopicPartition, done func([]kafka.ErrorCode)) {
	p, over := c.p, false
	finish := func(codes []kafka.ErrorCode) {
		if !over {
			over = true
			done(codes)
		}
	}
	failed := slices.Repeat([]kafka.ErrorCode{kafka.ErrNotLeaderOrFollower}, len(partitions))
	c.link(c.markers, "markers", broker).call(markerCallMs, func(at *process, answer func(any)) {
		at.coordinators.Transactions.WriteMarkers(marker, partitions, func(codes []kafka.ErrorCode) { answer(codes) })
	}, func(answer any, err error) {
		if codes, ok := answer.([]kafka.ErrorCode); ok && err == nil {
			for i, code := range codes {
				if code == kafka.ErrUnknownTopicOrPartition { // it may just be behind with the metadata
					codes[i] = kafka.ErrNotLeaderOrFollower
				}
			}
			finish(codes)
			return
		}
		finish(failed)
	})
	var look func()
	look = func() {
		if over {
			return
		}
		if !slices.ContainsFunc(partitions, func(tp kafka.TopicPartition) bool {
			assigned := p.image.Partition(tp.Topic, tp.Partition)
			return assigned != nil && assigned.Leader == broker
		}) {
			finish(failed)
			return
		}
		p.after(movedCheckMs, look)
	}
	p.after(movedCheckMs, look)
}

// add has the coordinator of a transaction take a partition in, or verify that it is in it.
func (c *coordinators) add(r txn.AddRequest, done func(kafka.ErrorCode)) {
	p := c.p
	topic := p.image.TopicByName(kafka.TransactionStateTopic)
	if topic == nil {
		done(kafka.ErrNotCoordinator)
		return
	}
	coordinates := topic.Partition(kafka.CoordinatorPartition(r.TransactionalID, int32(len(topic.Partitions)))).Leader
	switch coordinates {
	case kafka.NoLeader:
		done(kafka.ErrCoordinatorNotAvailable)
	case p.node.id:
		c.Transactions.Add(r, done)
	default:
		c.link(c.enlistments, "enlistments", coordinates).call(enlistCallMs, func(at *process, answer func(any)) {
			at.coordinators.Transactions.Add(r, func(code kafka.ErrorCode) { answer(code) })
		}, func(answer any, err error) {
			if code, ok := answer.(kafka.ErrorCode); ok && err == nil {
				done(code)
				return
			}
			done(kafka.ErrCoordinatorNotAvailable)
		})
	}
}
