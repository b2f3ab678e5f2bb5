package script

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// transient are errors after which the same request is asked again: the coordinator is being loaded,
// or completes a transaction.
func transient(code int16) bool {
	switch code {
	case 14, 15, 16, 51:
		return true
	}
	return false
}

// ready waits for a group's coordinator.
func ready(group string) func(s *Session) error {
	return func(s *Session) error {
		return until(func() (bool, error) {
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.CoordinatorKey = group
			response, err := s.fetch(find, 3)
			if err != nil || response.(*kmsg.FindCoordinatorResponse).ErrorCode != 0 {
				return false, err
			}
			heartbeat := kmsg.NewPtrHeartbeatRequest()
			heartbeat.Group = group
			response, err = s.fetch(heartbeat, 4)
			return err == nil && !transient(response.(*kmsg.HeartbeatResponse).ErrorCode), err
		})
	}
}

// learnProducer asks for a producer id.
func learnProducer(s *Session) error {
	return until(func() (bool, error) {
		response, err := s.fetch(kmsg.NewPtrInitProducerIDRequest(), 4)
		if err != nil {
			return false, err
		}
		answer := response.(*kmsg.InitProducerIDResponse)
		s.pid, s.epoch = answer.ProducerID, answer.ProducerEpoch
		return answer.ErrorCode == 0, nil
	})
}

// beginAs asks for the producer id and epoch of a transactional id; empty: the case's own.
func beginAs(id string) func(s *Session) error {
	return func(s *Session) error {
		name := id
		if name == "" {
			name = s.txn()
		}
		return until(func() (bool, error) {
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.CoordinatorKey, find.CoordinatorType = name, 1
			if response, err := s.fetch(find, 3); err != nil || response.(*kmsg.FindCoordinatorResponse).ErrorCode != 0 {
				return false, err
			}
			r := kmsg.NewPtrInitProducerIDRequest()
			r.TransactionalID, r.TransactionTimeoutMillis = &name, 600_000
			response, err := s.fetch(r, 4)
			if err != nil {
				return false, err
			}
			answer := response.(*kmsg.InitProducerIDResponse)
			if transient(answer.ErrorCode) {
				return false, nil
			}
			s.pid, s.epoch = answer.ProducerID, answer.ProducerEpoch
			return true, codeError(answer.ErrorCode)
		})
	}
}

func codeError(code int16) error {
	if code == 0 {
		return nil
	}
	return kafka.ErrorCode(code)
}

// addToTxn adds the first partition of a topic to a transaction.
func addToTxn(id, topic string) func(s *Session) error {
	return func(s *Session) error {
		r := kmsg.NewPtrAddPartitionsToTxnRequest()
		r.TransactionalID, r.ProducerID, r.ProducerEpoch = id, s.pid, s.epoch
		if id == "" {
			r.TransactionalID = s.txn()
		}
		r.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{0}}}
		return until(func() (bool, error) {
			response, err := s.fetch(r, 3)
			if err != nil {
				return false, err
			}
			code := response.(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode
			return !transient(code), codeErrorUnless(transient, code)
		})
	}
}

func codeErrorUnless(fine func(int16) bool, code int16) error {
	if fine(code) {
		return nil
	}
	return codeError(code)
}

func endTxn(id string, commit bool) func(s *Session) error {
	return func(s *Session) error {
		r := kmsg.NewPtrEndTxnRequest()
		r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = id, s.pid, s.epoch, commit
		if id == "" {
			r.TransactionalID = s.txn()
		}
		return until(func() (bool, error) {
			response, err := s.fetch(r, 4)
			if err != nil {
				return false, err
			}
			code := response.(*kmsg.EndTxnResponse).ErrorCode
			return !transient(code), codeErrorUnless(transient, code)
		})
	}
}

// joinRequest is that of a consumer with a subscription.
func joinRequest(group, member string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.ProtocolType = group, member, 30_000, 30_000, "consumer"
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, []string{fixedTopic}
	r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range", Metadata: m.AppendTo(nil)})
	return r
}

// joined makes the session the only member of the case's group, in a generation that waits for the leader's assignment.
func joined(s *Session) error {
	r := joinRequest(s.group(), s.member)
	for range 2 {
		response, err := s.fetch(r, 5)
		if err != nil {
			return err
		}
		answer := response.(*kmsg.JoinGroupResponse)
		s.member, s.generation = answer.MemberID, answer.Generation
		s.labels[s.member] = "<member>"
		if answer.ErrorCode != 79 { // MEMBER_ID_REQUIRED
			return codeError(answer.ErrorCode)
		}
		r.MemberID = s.member
	}
	return fmt.Errorf("%s cannot join", s.member)
}

// stable makes the session the only member of the case's group and gives it an assignment.
func stable(s *Session) error {
	if err := joined(s); err != nil {
		return err
	}
	response, err := s.fetch(syncRequest(s), 5)
	if err != nil {
		return err
	}
	return codeError(response.(*kmsg.SyncGroupResponse).ErrorCode)
}

func syncRequest(s *Session) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.MemberID, r.Generation = s.group(), s.member, s.generation
	kind, protocol := "consumer", "range"
	r.ProtocolType, r.Protocol = &kind, &protocol
	r.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: s.member, MemberAssignment: []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0}}}
	return r
}

func commitRequest(group, topic string, id [16]byte) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch = 3, 0
	metadata := "metadata"
	p.Metadata = &metadata
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

// committed leaves an offset of the fixed topic in the case's group, which has no members.
func committed(s *Session) error {
	response, err := s.fetch(commitRequest(s.group(), fixedTopic, [16]byte{}), 8)
	if err != nil {
		return err
	}
	return codeError(response.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}
