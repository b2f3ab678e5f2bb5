package fetchsession

import (
	"sync"

	"github.com/moldau/moldau/internal/kafka"
)

// Key names a partition in a session: by topic id, or by name where the client uses names.
type Key struct {
	Topic     string // empty where TopicID is set
	TopicID   kafka.UUID
	Partition int32
}

// Partition is what a client wants of a partition.
type Partition struct {
	Key
	FetchOffset        int64
	CurrentLeaderEpoch int32
	LastFetchedEpoch   int32
	LogStartOffset     int64 // of a follower's log, -1 from consumers
	MaxBytes           int32
}

func (p *Partition) isFollowers() bool { return p.LogStartOffset >= 0 }

// Answer is what decides whether a partition is in an incremental response.
type Answer struct {
	HighWatermark  int64
	LogStartOffset int64
	HasRecords     bool
	// MustSend is set for errors, diverging epochs and preferred read replicas.
	MustSend bool
	IsError  bool
}

// session is one client's partitions in the order in which they are fetched: those that gave
// records go to the end, so that no partition starves another.
type session struct {
	id           int32
	usesTopicIDs bool
	owner        Owner
	createdMs    int64
	lastUsedMs   int64 // guarded by the shard, as counted
	counted      int   // partitions counted in the metric

	mu         sync.Mutex // after the shard's
	epoch      int32      // of the next request
	index      map[Key]*entry
	head, tail *entry
	spare      *snapshot // nil while a context has it
}

// snapshot is a session's partitions as one request fetches them, with the entries they are copies
// of. The entries are the session's own as long as its epoch is that of the request.
type snapshot struct {
	partitions []Partition
	entries    []*entry
}

type entry struct {
	Partition
	// What the client was told last.
	highWatermark  int64
	logStartOffset int64

	prev, next *entry
}

func newSession(id int32, usesTopicIDs bool, nowMs int64) *session {
	return &session{id: id, usesTopicIDs: usesTopicIDs, createdMs: nowMs, lastUsedMs: nowMs, epoch: nextEpoch(InitialEpoch), index: map[Key]*entry{}}
}

func (s *session) fill(partitions []Partition, answers []Answer) {
	for i, p := range partitions {
		s.put(p).sends(answers[i]) // all are sent
	}
}

// put adds a partition, or changes what is wanted of it.
func (s *session) put(p Partition) *entry {
	e := s.index[p.Key]
	if e == nil {
		e = &entry{highWatermark: -1, logStartOffset: -1}
		s.index[p.Key] = e
		s.append(e)
	} else if p.isFollowers() && p.CurrentLeaderEpoch != e.CurrentLeaderEpoch {
		// A follower drops the answers of an epoch that has ended for it, and would not hear again how far an idle partition is committed.
		e.highWatermark = -1
	}
	e.Partition = p
	return e
}

func (s *session) update(partitions []Partition, forgotten []Key) {
	for _, p := range partitions {
		s.put(p)
	}
	for _, k := range forgotten {
		if e := s.index[k]; e != nil {
			delete(s.index, k)
			s.unlink(e)
		}
	}
}

// snapshot copies the partitions, into the memory of an earlier request's copy if that is over.
func (s *session) snapshot() *snapshot {
	all := s.spare
	s.spare = nil
	if all == nil || cap(all.partitions) < len(s.index) {
		all = &snapshot{make([]Partition, 0, len(s.index)), make([]*entry, 0, len(s.index))}
	}
	all.partitions, all.entries = all.partitions[:0], all.entries[:0]
	for e := s.head; e != nil; e = e.next {
		all.partitions, all.entries = append(all.partitions, e.Partition), append(all.entries, e)
	}
	return all
}

func (s *session) append(e *entry) {
	e.prev, e.next = s.tail, nil
	if s.tail != nil {
		s.tail.next = e
	} else {
		s.head = e
	}
	s.tail = e
}

func (s *session) unlink(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		s.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		s.tail = e.prev
	}
}

// sends reports whether the client must hear of the partition, and remembers what it hears.
func (e *entry) sends(a Answer) bool {
	send := a.HasRecords || a.MustSend || a.IsError || e.highWatermark != a.HighWatermark || e.logStartOffset != a.LogStartOffset
	e.highWatermark, e.logStartOffset = a.HighWatermark, a.LogStartOffset
	if a.IsError || a.MustSend {
		// So that the client hears when the error is over, or, once it has truncated, how far it is committed: it
		// cannot take that over with the answer that has it truncate.
		e.highWatermark = -1
	}
	return send
}

type contextKind int

const (
	sessionlessContext contextKind = iota
	fullContext
	incrementalContext
)

// Context is one Fetch request's part in a session. It is used by the request's goroutine.
type Context struct {
	// Partitions to fetch, in order. The caller must not change it.
	Partitions []Partition

	cache        *Cache
	kind         contextKind
	usesTopicIDs bool
	owner        Owner
	session      *session
	snapshot     *snapshot
	epoch        int32
}

// Release gives the memory of Partitions back to the session; nothing of the context may be used
// after it.
func (c *Context) Release() {
	if c.session == nil || c.snapshot == nil {
		return
	}
	c.session.mu.Lock()
	c.session.spare = c.snapshot
	c.session.mu.Unlock()
	c.snapshot, c.Partitions = nil, nil
}

// Skip ends a request that is answered without any partition, as when its client is throttled,
// and returns the session id for the response: a session stays as it is, and a full fetch makes none.
func (c *Context) Skip() (sessionID int32, err error) {
	if c.kind != incrementalContext {
		return NoSession, nil
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.session.id, c.checkEpoch()
}

// checkEpoch finds that another request has used the session meanwhile. The session is locked.
func (c *Context) checkEpoch() error {
	if c.session.epoch != c.epoch {
		return kafka.Errorf(kafka.ErrInvalidFetchSessionEpoch, "fetch session %d was used by another request", c.session.id)
	}
	return nil
}

// Finish takes the answers to Partitions, index by index, clears the flags in send of those
// that the response leaves out, and returns the session id for the response. It is called
// once, with what is really sent. The error says that the session was used elsewhere
// meanwhile; the response has no partitions then.
func (c *Context) Finish(answers []Answer, send []bool, nowMs int64) (sessionID int32, err error) {
	for i := range send {
		send[i] = true
	}
	switch c.kind {
	case sessionlessContext:
		return NoSession, nil
	case fullContext:
		return c.cache.create(c, answers, nowMs), nil
	}
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.checkEpoch(); err != nil {
		return s.id, err
	}
	for i, e := range c.snapshot.entries { // no request has changed them since
		if send[i] = e.sends(answers[i]); send[i] && answers[i].HasRecords {
			s.unlink(e)
			s.append(e)
		}
	}
	return s.id, nil
}
