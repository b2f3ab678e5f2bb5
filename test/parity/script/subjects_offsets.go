package script

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func offsetSubjects() []subject {
	ownReady := func(s *Session) error { return ready(s.group())(s) }
	return []subject{
		{
			key: 8, sorted: true, prepare: []func(*Session) error{ownReady, stable}, after: []func(*Session) error{storedOffsets},
			build: func(s *Session) kmsg.Request {
				r := commitRequest(s.group(), fixedTopic, s.id(fixedTopic))
				r.MemberID, r.Generation = s.member, s.generation
				return r
			},
			forms: []form{
				shape("without members", true, 0, func(s *Session, r *kmsg.OffsetCommitRequest) {
					r.Group, r.MemberID, r.Generation = s.own+"simple", "", -1
				}),
				shape("member without a generation", false, 0, func(_ *Session, r *kmsg.OffsetCommitRequest) { r.Generation = -1 }),
				shape("generation without a member", false, 0, func(_ *Session, r *kmsg.OffsetCommitRequest) { r.MemberID = "" }),
				shape("into a group of members", false, 0, func(_ *Session, r *kmsg.OffsetCommitRequest) { r.MemberID, r.Generation = "", -1 }),
				shape("longest metadata", true, 0, func(_ *Session, r *kmsg.OffsetCommitRequest) {
					r.Topics[0].Partitions[0].Metadata = ptr(strings.Repeat("m", 4096))
				}),
				shape("too long metadata", false, 0, func(_ *Session, r *kmsg.OffsetCommitRequest) {
					r.Topics[0].Partitions[0].Metadata = ptr(strings.Repeat("m", 4097))
				}),
				shape("two partitions", true, 0, func(_ *Session, r *kmsg.OffsetCommitRequest) {
					r.Topics[0].Partitions = append(r.Topics[0].Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: 1, Offset: 9, LeaderEpoch: -1})
				}),
				shape("good and bad topics", false, 0, func(_ *Session, r *kmsg.OffsetCommitRequest) {
					other := r.Topics[0]
					other.Topic, other.TopicID = "fixed-not-there", unknownID
					r.Topics = append(r.Topics, other)
				}),
			},
		},
		{
			key: 9, prepare: []func(*Session) error{ownReady, committed}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrOffsetFetchRequest()
				r.Group, r.Topics = s.group(), []kmsg.OffsetFetchRequestTopic{{Topic: fixedTopic, Partitions: []int32{0, 1}}}
				r.Groups = []kmsg.OffsetFetchRequestGroup{{Group: s.group(), MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: fixedTopic, TopicID: s.id(fixedTopic), Partitions: []int32{0, 1}}}}}
				return r
			},
			forms: []form{
				shape("all", true, 2, func(_ *Session, r *kmsg.OffsetFetchRequest) { r.Topics, r.Groups[0].Topics = nil, nil }),
				shape("two groups", true, 8, func(s *Session, r *kmsg.OffsetFetchRequest) {
					r.Groups = append(r.Groups, kmsg.OffsetFetchRequestGroup{Group: s.own + "nobody", MemberEpoch: -1})
				}),
				talk("of a group with members", true, 0, hush(stable), send(func(s *Session) kmsg.Request {
					r := kmsg.NewPtrOffsetFetchRequest()
					r.Group, r.Topics = s.group(), []kmsg.OffsetFetchRequestTopic{{Topic: fixedTopic, Partitions: []int32{0}}}
					r.Groups = []kmsg.OffsetFetchRequestGroup{{Group: s.group(), MemberID: &s.member, MemberEpoch: s.generation, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: fixedTopic, TopicID: s.id(fixedTopic), Partitions: []int32{0}}}}}
					return r
				})),
			},
		},
		{
			key: 47, prepare: []func(*Session) error{ownReady, committed}, after: []func(*Session) error{storedOffsets}, build: func(s *Session) kmsg.Request { return deleteOffsets(s) },
			forms: []form{
				shape("never committed", true, 0, func(_ *Session, r *kmsg.OffsetDeleteRequest) { r.Topics[0].Partitions[0].Partition = 1 }),
				talk("subscribed", false, 0, hush(stable), send(deleteOffsets)),
				talk("not subscribed", true, 0, hush(stable), send(func(s *Session) kmsg.Request {
					r := deleteOffsets(s).(*kmsg.OffsetDeleteRequest)
					r.Topics[0].Topic = txnTopic
					return r
				})),
			},
		},
	}
}

func deleteOffsets(s *Session) kmsg.Request {
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = s.group()
	r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: fixedTopic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
	return r
}

// storedOffsets writes down what the case's group has committed.
func storedOffsets(s *Session) error {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Group = s.group()
	return s.converse(r, 7)
}
