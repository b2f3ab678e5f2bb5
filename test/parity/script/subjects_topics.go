package script

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func topicSubjects() []subject {
	replications := constants(int16(-2), int16(-1), int16(0), int16(2), int16(math.MaxInt16))
	return []subject{
		{
			key: 3, mineOnly: true, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrMetadataRequest()
				r.Topics = []kmsg.MetadataRequestTopic{{Topic: ptr(fixedTopic)}}
				return r
			},
			forms: []form{
				shape("by id", true, 10, func(s *Session, r *kmsg.MetadataRequest) {
					r.Topics[0] = kmsg.MetadataRequestTopic{TopicID: s.id(fixedTopic)}
				}),
				shape("no name and no id", false, 1, func(_ *Session, r *kmsg.MetadataRequest) { r.Topics[0].Topic = nil }),
				shape("by an unknown id", false, 10, func(_ *Session, r *kmsg.MetadataRequest) {
					r.Topics[0] = kmsg.MetadataRequestTopic{TopicID: unknownID}
				}),
				shape("illegal name, creation allowed", false, 4, func(s *Session, r *kmsg.MetadataRequest) {
					r.Topics[0].Topic, r.AllowAutoTopicCreation = ptr(s.own+"a b"), true
				}),
			},
		},
		{
			key: 19, values: map[string][]value{"NumPartitions": constants(int32(-2), int32(-1), int32(0), int32(2), int32(10_001), int32(math.MaxInt32)), "ReplicationFactor": replications, "TimeoutMillis": waits, "ValidateOnly": {}},
			build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrCreateTopicsRequest()
				r.TimeoutMillis, r.ValidateOnly = 30_000, true // each log takes Apache Kafka a while
				t := kmsg.NewCreateTopicsRequestTopic()
				t.Topic, t.NumPartitions, t.ReplicationFactor = s.own+"new", 1, 1
				t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: ptr("86400000")}}
				r.Topics = append(r.Topics, t)
				return r
			},
			forms: creationForms(),
		},
		{
			key: 20, fresh: true, values: map[string][]value{"TimeoutMillis": waits, "TopicID": {constant("unknown id", unknownID), {"its own id", func(s *Session) any { return s.id(s.topic()) }}}},
			build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrDeleteTopicsRequest()
				r.TimeoutMillis, r.TopicNames, r.Topics = 30_000, []string{s.topic()}, []kmsg.DeleteTopicsRequestTopic{{Topic: ptr(s.topic())}}
				return r
			},
			forms: []form{
				shape("by id", true, 6, func(s *Session, r *kmsg.DeleteTopicsRequest) {
					r.Topics[0] = kmsg.DeleteTopicsRequestTopic{TopicID: s.id(s.topic())}
				}),
				shape("by an unknown id", false, 6, func(_ *Session, r *kmsg.DeleteTopicsRequest) {
					r.Topics[0] = kmsg.DeleteTopicsRequestTopic{TopicID: unknownID}
				}),
				shape("by name and by id", false, 6, func(s *Session, r *kmsg.DeleteTopicsRequest) {
					r.Topics = append(r.Topics, kmsg.DeleteTopicsRequestTopic{TopicID: s.id(s.topic())})
				}),
			},
		},
		{
			key: 37, values: map[string][]value{"Count": constants(int32(-1), int32(0), int32(1), int32(2), int32(10_003)), "TimeoutMillis": waits, "ValidateOnly": {}},
			build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrCreatePartitionsRequest()
				r.TimeoutMillis, r.ValidateOnly = 30_000, true
				r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: fixedTopic, Count: 4}}
				return r
			},
			forms: []form{
				assigned("assignment", true, []int32{1}, []int32{1}), assigned("assignment of one", false, []int32{1}), assigned("assignment of three", false, []int32{1}, []int32{1}, []int32{1}),
				assigned("unknown broker", false, []int32{1}, []int32{7}), assigned("broker twice", false, []int32{1, 1}, []int32{1}), assigned("no broker", false, []int32{}, []int32{1}),
				assigned("negative broker", false, []int32{-1}, []int32{1}), assigned("two replicas", false, []int32{1, 2}, []int32{1, 2}), assigned("no assignments", false),
				{name: "for real", good: true, fresh: true, change: func(s *Session, r kmsg.Request) {
					request := r.(*kmsg.CreatePartitionsRequest)
					request.ValidateOnly, request.Topics[0] = false, kmsg.CreatePartitionsRequestTopic{Topic: s.topic(), Count: 2}
				}},
			},
		},
		{
			key: 75, values: map[string][]value{"Topics": {}}, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrDescribeTopicPartitionsRequest()
				r.ResponsePartitionLimit = 2000
				r.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: fixedTopic}, {Topic: txnTopic}}
				return r
			},
			forms: []form{cursor("cursor", true, fixedTopic, 1), cursor("cursor at the start", true, fixedTopic, 0), cursor("cursor behind the end", false, fixedTopic, 9), cursor("cursor at a topic not asked for", true, "fixed-u", 0), cursor("negative cursor", false, fixedTopic, -1),
				cursor("cursor before all", true, "a", 3), cursor("cursor behind all", true, "zzz", 0)},
		},
	}
}

func creationForms() []form {
	replicas := func(name string, good bool, partitions ...kmsg.CreateTopicsRequestTopicReplicaAssignment) form {
		return shape(name, good, 0, func(_ *Session, r *kmsg.CreateTopicsRequest) {
			r.Topics[0].NumPartitions, r.Topics[0].ReplicationFactor, r.Topics[0].ReplicaAssignment = -1, -1, partitions
		})
	}
	at := func(partition int32, brokers ...int32) kmsg.CreateTopicsRequestTopicReplicaAssignment {
		return kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: partition, Replicas: brokers}
	}
	all := []form{
		shape("for real", true, 0, func(_ *Session, r *kmsg.CreateTopicsRequest) { r.ValidateOnly = false }),
		shape("for real, and one that is there", false, 0, func(_ *Session, r *kmsg.CreateTopicsRequest) {
			r.ValidateOnly, r.Topics[0].Topic = false, fixedTopic
		}),
		replicas("assignment", true, at(0, 1), at(1, 1)), replicas("assignment in another order", true, at(1, 1), at(0, 1)), replicas("assignment with a gap", false, at(0, 1), at(2, 1)),
		replicas("assignment from 1", false, at(1, 1)), replicas("partition assigned twice", false, at(0, 1), at(0, 1)), replicas("unknown broker", false, at(0, 7)), replicas("negative broker", false, at(0, -1)),
		replicas("broker twice", false, at(0, 1, 1)), replicas("no broker", false, at(0)), replicas("negative partition", false, at(-1, 1)), replicas("different replication", false, at(0, 1), at(1, 1, 2)),
		shape("assignment and counts", false, 0, func(_ *Session, r *kmsg.CreateTopicsRequest) {
			r.Topics[0].ReplicaAssignment = append(r.Topics[0].ReplicaAssignment, at(0, 1))
		}),
		shape("assignment and replication", false, 0, func(_ *Session, r *kmsg.CreateTopicsRequest) {
			r.Topics[0].NumPartitions, r.Topics[0].ReplicaAssignment = -1, append(r.Topics[0].ReplicaAssignment, at(0, 1))
		}),
		shape("defaults", true, 0, func(_ *Session, r *kmsg.CreateTopicsRequest) {
			r.Topics[0].NumPartitions, r.Topics[0].ReplicationFactor, r.Topics[0].Configs = -1, -1, nil
		}),
		shape("two topics", true, 0, func(s *Session, r *kmsg.CreateTopicsRequest) {
			other := r.Topics[0]
			other.Topic = s.own + "other"
			r.Topics = append(r.Topics, other)
		}),
		shape("one good and one bad", false, 0, func(s *Session, r *kmsg.CreateTopicsRequest) {
			other := r.Topics[0]
			other.Topic = s.own + "a b"
			r.Topics = append(r.Topics, other)
		}),
	}
	for _, name := range []string{".", "..", fixedTopic, "fixed.topic", "__consumer_offsets", " "} {
		all = append(all, shape("name "+name, false, 0, func(_ *Session, r *kmsg.CreateTopicsRequest) { r.Topics[0].Topic = name }))
	}
	for _, c := range [][2]string{{"retention.ms", "-2"}, {"retention.ms", "x"}, {"retention.ms", ""}, {"retention.ms", " 5 "}, {"cleanup.policy", "compact,delete"}, {"cleanup.policy", "nonsense"}, {"cleanup.policy", ""}, {"cleanup.policy", "compact,"}, {"no.such.config", "1"},
		{"max.message.bytes", "-1"}, {"max.message.bytes", "2147483648"}, {"compression.type", "zstd"}, {"compression.type", "ZSTD"}, {"min.insync.replicas", "0"}, {"unclean.leader.election.enable", "yes"}, {"unclean.leader.election.enable", "TRUE"},
		{"min.cleanable.dirty.ratio", "1.1"}, {"segment.bytes", "13"}, {"segment.bytes", "1048576"}, {"message.timestamp.type", "LogAppendTime"}, {"remote.storage.enable", "true"}, {"follower.replication.throttled.replicas", "*"}, {"follower.replication.throttled.replicas", "0:1,x"}, {"", "x"}} {
		all = append(all, shape("config "+c[0]+"="+c[1], false, 0, func(_ *Session, r *kmsg.CreateTopicsRequest) {
			r.Topics[0].Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: c[0], Value: &c[1]}}
		}))
	}
	return all
}

func assigned(name string, good bool, replicas ...[]int32) form {
	return shape(name, good, 0, func(_ *Session, r *kmsg.CreatePartitionsRequest) {
		r.Topics[0].Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{}
		for _, brokers := range replicas {
			r.Topics[0].Assignment = append(r.Topics[0].Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: brokers})
		}
	})
}

func cursor(name string, good bool, topic string, partition int32) form {
	return shape(name, good, 0, func(_ *Session, r *kmsg.DescribeTopicPartitionsRequest) {
		r.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic, Partition: partition}
	})
}
