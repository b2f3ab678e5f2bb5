package fetchsession

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
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
	// Standing is the follower's word on the partition, nil for others.
	Standing *partition.Standing
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
	// Stands says that nothing but what Changes hears of makes the next answer another one, and that Standing was noted.
	Stands bool
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
	follower   *followed // nil of a consumer's session
}

// followed is what a follower's session has beside.
type followed struct {
	changes     *Changes
	listener    int64 // of changes
	brokerEpoch int64
	lastMs      *atomic.Int64 // when it fetched last
	lookedMs    int64         // when it looked at everything last
	// open are the entries that must be looked at: named by a request, changed, or with an answer that does not stand. All of them are as
	// long as owesAll, since a look at everything has begun and not ended.
	open    []*entry
	owesAll bool
	place   int64 // of the last entry
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

	// Of a follower's session only:
	place    int64 // larger than that of the entries before it
	lookedAt int32 // the epoch of the last request that looked at it
	markedAt int32 // the epoch of the last request that it has changed under
	isOpen   bool
}

func newSession(id int32, usesTopicIDs bool, nowMs int64) *session {
	return &session{id: id, usesTopicIDs: usesTopicIDs, createdMs: nowMs, lastUsedMs: nowMs, epoch: nextEpoch(InitialEpoch), index: map[Key]*entry{}}
}

func (s *session) fill(partitions []Partition, answers []Answer) {
	for i, p := range partitions {
		e := s.put(p)
		e.sends(answers[i]) // all are sent
		s.settle(e, &answers[i])
	}
	s.closeSettled()
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
	if s.follower != nil {
		if p.Standing == nil {
			p.Standing = e.Standing
		}
		if p.Standing == nil {
			p.Standing = partition.NewStanding(s.follower.lastMs)
		}
		s.open(e)
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
			s.forget(e)
		}
	}
	s.closeSettled()
}

// snapshot copies the partitions, into the memory of an earlier request's copy if that is over: those that must be looked at, or all.
func (s *session) snapshot(all bool) *snapshot {
	size := len(s.index)
	if !all {
		size = len(s.follower.open)
	}
	copied := s.spare
	s.spare = nil
	if copied == nil || cap(copied.partitions) < size {
		copied = &snapshot{make([]Partition, 0, size), make([]*entry, 0, size)}
	}
	copied.partitions, copied.entries = copied.partitions[:0], copied.entries[:0]
	if !all {
		s.look(copied, s.follower.open)
		return copied
	}
	for e := s.head; e != nil; e = e.next {
		s.lookAt(copied, e)
	}
	return copied
}

func (s *session) append(e *entry) {
	if f := s.follower; f != nil {
		f.place++
		e.place = f.place
	}
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
	isAll        bool // Partitions are all of the session
	hasOthers    bool
	follower     *followed // of the session that a full fetch of a follower makes
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
		s.settle(e, &answers[i])
	}
	s.closeSettled()
	if f := s.follower; f != nil && c.isAll {
		f.owesAll = false
	}
	return s.id, nil
}
