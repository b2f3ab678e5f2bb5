package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func offsetProbes() []probe {
	all := []probe{{"list offsets in version 1", append(withRecords("p-offsets-1", 1), askOffsets(1, "p-offsets-1", 0, -1), askOffsets(1, "p-offsets-1", 0, -2))}}
	for v := int16(2); v <= 11; v++ {
		name := fmt.Sprintf("p-offsets-%d", v)
		steps := withRecords(name, 2)
		for _, timestamp := range []int64{-1, -2, -3, -4, -5, -6, -7, 0, 1_700_000_000_000, 1_700_000_000_001, 1_700_000_005_000, 1_700_000_005_001} {
			steps = append(steps, askOffsets(v, name, 0, timestamp), askOffsets(v, name, 1, timestamp))
		}
		all = append(all, probe{fmt.Sprintf("list offsets in version %d", v), append(steps, askOffsets(v, name, 9, -1), askOffsets(v, "not-there", 0, -1))})
	}
	all = append(all, probe{"list offsets, odd requests", append(withRecords("p-offsets-odd", 1), ask(5, func(*broker) kmsg.Request {
		r := offsetsOf("p-offsets-odd", 0, -1)
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, r.Topics[0].Partitions[0])
		return r
	}), ask(5, func(*broker) kmsg.Request {
		r := offsetsOf("p-offsets-odd", 0, -1)
		r.Topics[0].Partitions[0].CurrentLeaderEpoch = 7
		return r
	}), ask(5, func(*broker) kmsg.Request {
		r := offsetsOf("p-offsets-odd", 0, -1)
		r.IsolationLevel = 1
		return r
	}))})
	for v := int16(2); v <= 4; v++ {
		name := fmt.Sprintf("p-epochs-%d", v)
		steps := withRecords(name, 1)
		for _, epoch := range []int32{0, 1, 5, -1} {
			steps = append(steps, askEpoch(v, name, -1, epoch))
		}
		all = append(all, probe{fmt.Sprintf("offset for leader epoch in version %d", v), append(steps, askEpoch(v, name, 0, 0), askEpoch(v, name, 3, 0), askEpoch(v, "not-there", -1, 0))})
	}
	return all
}

func askOffsets(version int16, topic string, partition int32, timestamp int64) step {
	return ask(version, func(*broker) kmsg.Request { return offsetsOf(topic, partition, timestamp) })
}

func offsetsOf(topic string, partition int32, timestamp int64) *kmsg.ListOffsetsRequest {
	r := kmsg.NewPtrListOffsetsRequest()
	r.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, timestamp, -1
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

func askEpoch(version int16, topic string, current, epoch int32) step {
	r := kmsg.NewPtrOffsetForLeaderEpochRequest()
	r.ReplicaID = -1
	t := kmsg.NewOffsetForLeaderEpochRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = 0, current, epoch
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return askOf(version, r)
}
