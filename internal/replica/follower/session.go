package follower

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	noSession    int32 = 0
	initialEpoch int32 = 0
	finalEpoch   int32 = -1
)

// session is what the leader remembers of this follower's partitions (KIP-227), and what it is to be
// told with the next request.
type session struct {
	id    int32
	epoch int32             // of the next request
	all   map[Key]*followed // that are in it once the next request has arrived
	joins int64

	changed   []*followed
	forgotten []Key
}

// want has the leader told where to fetch a partition from.
func (s *session) want(p *followed, w kmsg.FetchRequestTopicPartition) {
	if p.isInSession && isSame(&p.sent, &w) {
		return
	}
	if !p.isInSession {
		p.isInSession = true
		if s.all == nil {
			s.all = map[Key]*followed{}
		}
		s.all[p.key] = p
		s.joins++
		p.joined = s.joins
	}
	p.sent = w
	if !p.isChanged {
		p.isChanged = true
		s.changed = append(s.changed, p)
	}
}

// isSame leaves out what the leader needs no request for: the log dir.
func isSame(a, b *kmsg.FetchRequestTopicPartition) bool {
	return a.FetchOffset == b.FetchOffset && a.CurrentLeaderEpoch == b.CurrentLeaderEpoch && a.LastFetchedEpoch == b.LastFetchedEpoch &&
		a.LogStartOffset == b.LogStartOffset && a.PartitionMaxBytes == b.PartitionMaxBytes
}

// forget takes a partition out.
func (s *session) forget(p *followed) {
	if !p.isInSession {
		return
	}
	p.isInSession = false
	delete(s.all, p.key)
	s.forgotten = append(s.forgotten, p.key)
}

// request is the next one; it has no limits yet.
func (s *session) request() *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.SessionID, r.SessionEpoch = s.id, s.epoch
	if len(s.all) == 0 {
		r.SessionEpoch = finalEpoch
	}
	places := map[[16]byte]int{}
	for _, p := range s.changed {
		p.isChanged = false
		if !p.isInSession { // forgotten again
			continue
		}
		at, ok := places[p.key.TopicID]
		if !ok {
			at = len(r.Topics)
			places[p.key.TopicID] = at
			topic := kmsg.NewFetchRequestTopic()
			topic.TopicID = p.key.TopicID
			r.Topics = append(r.Topics, topic)
		}
		r.Topics[at].Partitions = append(r.Topics[at].Partitions, p.sent)
	}
	if r.SessionEpoch > initialEpoch {
		r.ForgottenTopics = s.forgottenTopics()
	}
	clear(s.changed)
	s.changed, s.forgotten = s.changed[:0], s.forgotten[:0]
	return r
}

func (s *session) forgottenTopics() (topics []kmsg.FetchRequestForgottenTopic) {
	places := map[[16]byte]int{}
	for _, k := range s.forgotten {
		if s.all[k] != nil { // wanted again
			continue
		}
		at, ok := places[k.TopicID]
		if !ok {
			at = len(topics)
			places[k.TopicID] = at
			topic := kmsg.NewFetchRequestForgottenTopic()
			topic.TopicID = k.TopicID
			topics = append(topics, topic)
		}
		topics[at].Partitions = append(topics[at].Partitions, k.Partition)
	}
	return topics
}

// answered takes the session id of a response without an error, and reports whether the session goes on.
func (s *session) answered(id int32) bool {
	if len(s.all) == 0 || id == noSession {
		return false
	}
	s.id = id
	if s.epoch++; s.epoch <= 0 { // after the largest
		s.epoch = 1
	}
	return true
}

// inOrder returns the partitions of the session that are wanted, in the order in which they joined.
func (s *session) inOrder(wanted func(p *followed) bool) []*followed {
	var some []*followed
	for _, p := range s.all {
		if wanted(p) {
			some = append(some, p)
		}
	}
	slices.SortFunc(some, func(a, b *followed) int { return cmp.Compare(a.joined, b.joined) })
	return some
}

// reset begins anew without a session; list is told of the partitions that were in it.
func (s *session) reset(list func(p *followed)) {
	for _, p := range s.inOrder(func(*followed) bool { return true }) {
		p.isInSession = false
		list(p)
	}
	for _, p := range s.changed {
		p.isChanged = false
	}
	*s = session{}
}
