package fetchsession

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
)

// Epochs with a meaning of their own in requests.
const (
	InitialEpoch int32 = 0  // asks for a new session
	FinalEpoch   int32 = -1 // asks for none, and ends the one named
)

// NoSession is the session id of a response without a session.
const NoSession int32 = 0

// evictionMs is how old a session must be before a larger one may take its place, and how
// long one may be unused before any may (Kafka's two minutes).
const evictionMs = 120_000

const shardCount = 8

// Cache holds the sessions of all clients, at most the number of slots given to New.
type Cache struct {
	shards     [shardCount]shard
	nextShard  atomic.Uint32
	random     env.Random
	sessions   *metrics.Gauge
	partitions *metrics.Gauge
	evictions  *metrics.Counter
}

type shard struct {
	mu       sync.Mutex
	slots    int
	sessions map[int32]*session
}

// New returns a cache with the given number of slots (max.incremental.fetch.session.cache.slots);
// with none, every fetch is answered in full.
func New(slots int, random env.Random, registry *metrics.Registry) *Cache {
	c := &Cache{
		random:     random,
		sessions:   registry.Gauge("moldau_fetch_sessions", "Incremental fetch sessions."),
		partitions: registry.Gauge("moldau_fetch_session_partitions", "Partitions in incremental fetch sessions."),
		evictions:  registry.Counter("moldau_fetch_session_evictions_total", "Fetch sessions that gave way to others."),
	}
	for i := range c.shards {
		c.shards[i].sessions = map[int32]*session{}
		c.shards[i].slots = slots / shardCount
		if i < slots%shardCount {
			c.shards[i].slots++
		}
	}
	return c
}

// Request is what a Fetch request says about sessions.
type Request struct {
	SessionID int32
	Epoch     int32
	// UsesTopicIDs is set from Fetch version 13.
	UsesTopicIDs bool
	// Owner is who fetches. Nobody else may use a follower's sessions.
	Owner      Owner
	Partitions []Partition
	Forgotten  []Key
	NowMs      int64
	// Changes are those that the follower must hear of, nil for consumers; BrokerEpoch is the one that it names.
	Changes     *Changes
	BrokerEpoch int64
}

// Owner tells followers from consumers, which are all the same.
type Owner struct {
	IsFollower bool
	BrokerID   int32 // of a follower
}

// Begin returns the context of a request: Partitions to fetch, in order. The error is one of
// the session's: FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or
// FETCH_SESSION_TOPIC_ID_ERROR, and the answer has no partitions then.
func (c *Cache) Begin(r Request) (*Context, error) {
	if r.Epoch == InitialEpoch || r.Epoch == FinalEpoch {
		if r.SessionID != NoSession {
			c.remove(r.SessionID, r.Owner)
		}
		kind := fullContext
		if r.Epoch == FinalEpoch {
			kind = sessionlessContext
		}
		f := &Context{cache: c, kind: kind, usesTopicIDs: r.UsesTopicIDs, owner: r.Owner, Partitions: distinct(r.Partitions), isAll: true}
		if kind == fullContext && r.Changes != nil && r.UsesTopicIDs {
			f.follower = follow(&r)
			f.follower.stand(f.Partitions)
		}
		return f, nil
	}
	sh := c.shardOf(r.SessionID)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.sessions[r.SessionID]
	if s == nil || s.owner != r.Owner {
		return nil, kafka.Errorf(kafka.ErrFetchSessionIDNotFound, "there is no fetch session %d", r.SessionID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != r.Epoch {
		return nil, kafka.Errorf(kafka.ErrInvalidFetchSessionEpoch, "fetch session %d expects epoch %d, the request has %d", s.id, s.epoch, r.Epoch)
	}
	if s.usesTopicIDs != r.UsesTopicIDs {
		return nil, kafka.Errorf(kafka.ErrFetchSessionTopicIDError, "fetch session %d and the request do not both name topics by id", s.id)
	}
	s.update(r.Partitions, r.Forgotten)
	if len(s.index) == 0 {
		c.drop(sh, s)
		return &Context{cache: c, kind: sessionlessContext, usesTopicIDs: r.UsesTopicIDs, Partitions: distinct(r.Partitions)}, nil
	}
	c.partitions.Add(int64(len(s.index) - s.counted))
	s.counted = len(s.index)
	s.lastUsedMs = r.NowMs
	s.epoch = nextEpoch(s.epoch)
	isAll := s.follower == nil || s.looksAtAll(&r)
	looked := s.snapshot(isAll)
	if s.follower != nil {
		s.follower.lastMs.Store(r.NowMs) // after what is looked at has stopped to stand
	}
	return &Context{cache: c, kind: incrementalContext, usesTopicIDs: r.UsesTopicIDs, Partitions: looked.partitions, snapshot: looked, session: s, epoch: s.epoch,
		isAll: isAll, hasOthers: len(looked.entries) < len(s.index)}, nil
}

// distinct leaves each partition once: its first place, and what the last mention asks for. A
// fetch that named one partition a million times would slow down every append to it while parked.
func distinct(partitions []Partition) []Partition {
	if len(partitions) <= 1 {
		return partitions
	}
	places := make(map[Key]int, len(partitions))
	kept := partitions[:0]
	for _, p := range partitions {
		if place, again := places[p.Key]; again {
			kept[place] = p
			continue
		}
		places[p.Key] = len(kept)
		kept = append(kept, p)
	}
	return kept
}

// Len is the number of sessions.
func (c *Cache) Len() int { return int(c.sessions.Value()) }

func nextEpoch(epoch int32) int32 {
	if epoch < 1<<31-1 {
		return epoch + 1
	}
	return 1 // 0 and -1 have a meaning of their own
}

func (c *Cache) shardOf(id int32) *shard { return &c.shards[uint32(id)%shardCount] }

func (c *Cache) remove(id int32, owner Owner) {
	sh := c.shardOf(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s := sh.sessions[id]; s != nil && s.owner == owner {
		s.mu.Lock()
		c.drop(sh, s)
		s.mu.Unlock()
	}
}

// drop forgets a session; its shard and it are locked.
func (c *Cache) drop(sh *shard, s *session) {
	delete(sh.sessions, s.id)
	c.sessions.Add(-1)
	c.partitions.Add(-int64(s.counted))
	s.counted = 0
	s.follower.leave()
}

// create makes a session of the partitions of a full fetch and their answers. It returns
// NoSession where there is no room for it.
func (c *Cache) create(f *Context, answers []Answer, nowMs int64) int32 {
	number := c.nextShard.Add(1) % shardCount
	sh := &c.shards[number]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.sessions) >= sh.slots && !c.evict(sh, len(f.Partitions), f.owner.IsFollower, nowMs) {
		f.follower.leave()
		return NoSession
	}
	s := newSession(c.newID(sh, number), f.usesTopicIDs, nowMs)
	s.owner, s.follower = f.owner, f.follower
	s.fill(f.Partitions, answers)
	s.counted = len(s.index)
	sh.sessions[s.id] = s
	c.sessions.Add(1)
	c.partitions.Add(int64(s.counted))
	return s.id
}

// newID draws an id that nobody can guess and that leads to the shard.
func (c *Cache) newID(sh *shard, number uint32) int32 {
	for {
		id := int32(uint32(c.random.Uint64())&0x7fffffff&^(shardCount-1) | number)
		if _, taken := sh.sessions[id]; !taken && id != NoSession {
			return id
		}
	}
}

// evict makes room in a full shard: the session unused for longest goes if that is long
// enough; else the smallest of those that are old enough, if the new one is larger, since
// the largest sessions spare the most. A follower's gives way only if it is unused, and takes the place of
// the smallest of a consumer's whatever its age and size.
func (c *Cache) evict(sh *shard, size int, isFollower bool, nowMs int64) bool {
	var unused, smallest *session
	for _, s := range sh.sessions {
		if unused == nil || s.lastUsedMs < unused.lastUsedMs || s.lastUsedMs == unused.lastUsedMs && s.id < unused.id {
			unused = s
		}
		if !s.owner.IsFollower && (isFollower || nowMs-s.createdMs > evictionMs) && (smallest == nil || s.counted < smallest.counted || s.counted == smallest.counted && s.id < smallest.id) {
			smallest = s
		}
	}
	victim := smallest
	if unused != nil && nowMs-unused.lastUsedMs > evictionMs {
		victim = unused
	} else if smallest == nil || !isFollower && size <= smallest.counted {
		return false
	}
	victim.mu.Lock()
	c.drop(sh, victim)
	victim.mu.Unlock()
	c.evictions.Inc()
	return true
}
