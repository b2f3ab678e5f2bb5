package follower

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quota"
)

// Version is the version of Fetch that followers send.
const Version = 18

// Limits are the configs of replica.fetch.
type Limits struct {
	MaxWaitMs         int64 // replica.fetch.wait.max.ms
	MinBytes          int32
	MaxBytes          int32 // of a response
	PartitionMaxBytes int32
	// BackoffMs is the longest pause after a failure. The first ones are short: a leader that has not heard
	// yet that it leads is one most of the time.
	BackoffMs int64
}

// Options configure a Fetcher.
type Options struct {
	NodeID  int32 // of the follower
	Source  int32 // the broker that is fetched from
	Limits  Limits
	Metrics *Metrics
	// Throttles hold back the replicas that they cover as long as these have not caught up with what is
	// committed. What is covered by several is held to the lowest rate.
	Throttles []*quota.Replication
}

// Key names a partition of one incarnation of a topic.
type Key struct {
	TopicID   kafka.UUID
	Partition int32
}

// KeyOf is the key of a partition.
func KeyOf(p *partition.Partition) Key { return Key{p.TopicID(), p.TopicPartition().Partition} }

// Fetcher fetches from one broker.
type Fetcher struct {
	options    Options
	partitions map[Key]*followed
	// todo are the partitions of which the leader's session may have to be told something, in the order
	// in which that came up.
	todo    []*followed
	session session

	isOutstanding bool // a request was sent and not answered
	sentMs        int64
	askedWaitMs   int64 // for how long the leader may hold it back

	waitMs   int64 // for how long the leader may hold the next one back
	early    int   // answers in a row that came early and empty
	failures int   // in a row, of whole requests
	retryMs  int64 // before which nothing is sent
}

// followed is a partition that is fetched.
type followed struct {
	key         Key
	partition   *partition.Partition
	leaderEpoch int32
	isCaughtUp  bool // had all that was committed, by the leader's last answer
	isGone      bool // not followed any more
	isListed    bool // in todo

	// sent is what the leader's session has, or will have after the next request, where isInSession.
	isInSession bool
	isChanged   bool // the next request says so
	joined      int64
	sent        kmsg.FetchRequestTopicPartition

	failures    int
	retryMs     int64
	unreadyMs   int64 // since when it waits for a flush, 0 if it does not
	complainsMs int64 // when a failure was logged last
}

const (
	firstBackoffMs = 2
	// holdMs is how long a request waits for a flush that one of the partitions needs, since it could not join
	// before the answer. Then the others go on, with short requests.
	holdMs      = 10
	unreadyWait = 5
	// earlyWaitMs is for how long the leader may hold a request back when it has let the one before
	// go early, for news of partitions that are on their way to here, too.
	earlyWaitMs = 2
	mostEarly   = 4
	// asideWaitMs is when a replica that has stepped aside is looked at again.
	asideWaitMs = 500
	// throttledWaitMs is when a replica that is held back is looked at again.
	throttledWaitMs = 50
)

// New returns a Fetcher without partitions.
func New(o Options) *Fetcher {
	return &Fetcher{options: o, partitions: map[Key]*followed{}, waitMs: o.Limits.MaxWaitMs}
}

// Len is the number of partitions.
func (f *Fetcher) Len() int { return len(f.partitions) }

// Follow begins to fetch a partition that the source leads in leaderEpoch, or does it in that
// epoch from now on.
func (f *Fetcher) Follow(p *partition.Partition, leaderEpoch int32) {
	key := KeyOf(p)
	known := f.partitions[key]
	if known == nil {
		known = &followed{key: key}
		f.partitions[key] = known
	}
	if known.partition != p || known.leaderEpoch != leaderEpoch {
		known.failures, known.retryMs, known.unreadyMs, known.isCaughtUp = 0, 0, 0, false
	}
	known.partition, known.leaderEpoch, known.isGone = p, leaderEpoch, false
	f.failures, f.retryMs = 0, 0 // who hears of a change may be back from where nobody was reached
	f.list(known)
}

// Unfollow ends the fetching of a partition.
func (f *Fetcher) Unfollow(key Key) {
	if p := f.partitions[key]; p != nil {
		p.isGone = true
		f.list(p)
	}
}

// list has a partition looked at before the next request.
func (f *Fetcher) list(p *followed) {
	if !p.isListed {
		p.isListed = true
		f.todo = append(f.todo, p)
	}
}

// never is when a Fetcher wants to be asked again that waits for being told something.
const never = math.MaxInt64

// Next returns the request to send now, or nil and when to ask again at the latest. There is one
// outstanding at a time: Take or Failed must follow.
func (f *Fetcher) Next(nowMs, brokerEpoch int64) (r *kmsg.FetchRequest, againMs int64) {
	if f.isOutstanding {
		return nil, never
	}
	if f.rests(f.retryMs, nowMs) {
		return nil, f.retryMs
	}
	again, hold := f.look(nowMs)
	if hold > nowMs {
		return nil, hold
	}
	r = f.request()
	if r == nil {
		return nil, again
	}
	wait := min(f.waitMs, f.options.Limits.MaxWaitMs)
	if again != never {
		wait = min(wait, max(again-nowMs, 1))
	}
	r.ReplicaState.ID, r.ReplicaState.Epoch = f.options.NodeID, brokerEpoch
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = int32(wait), f.options.Limits.MinBytes, f.options.Limits.MaxBytes
	f.isOutstanding, f.sentMs, f.askedWaitMs = true, nowMs, wait
	return r, never
}

// look brings the partitions of todo to where they belong: into the next request, out of the session, or to
// wait, until again. hold is until when the request had better wait for a flush.
func (f *Fetcher) look(nowMs int64) (again, hold int64) {
	again = never
	isExceeded := f.throttle(nowMs)
	keep := f.todo[:0]
	for _, p := range f.todo {
		if p.isGone {
			f.session.forget(p)
			delete(f.partitions, p.key)
			p.isListed = false
			continue
		}
		offset, lastEpoch, isReady := p.partition.FollowFrom()
		switch {
		case f.rests(p.retryMs, nowMs):
			f.session.forget(p)
			again = min(again, p.retryMs)
		case p.partition.IsAside():
			p.unreadyMs = 0
			f.session.forget(p)
			again = min(again, nowMs+asideWaitMs)
		case !isReady:
			f.session.forget(p)
			if p.unreadyMs == 0 || p.unreadyMs > nowMs {
				p.unreadyMs = nowMs
			}
			if hold < p.unreadyMs+holdMs {
				hold = p.unreadyMs + holdMs
			}
			again = min(again, nowMs+unreadyWait)
		case isExceeded && f.isThrottled(p, nowMs):
			p.unreadyMs = 0
			f.session.forget(p)
			again = min(again, nowMs+throttledWaitMs)
		default:
			p.unreadyMs, p.isListed = 0, false
			f.session.want(p, f.wanted(p, offset, lastEpoch))
			continue
		}
		keep = append(keep, p)
	}
	clear(f.todo[len(keep):])
	f.todo = keep
	return again, hold
}

// throttle has all replicas looked at that a throttle holds back and that the leader's session has.
func (f *Fetcher) throttle(nowMs int64) (isExceeded bool) {
	for _, t := range f.options.Throttles {
		isExceeded = isExceeded || t.IsExceeded(nowMs)
	}
	if !isExceeded {
		return false
	}
	for _, p := range f.session.inOrder(func(p *followed) bool { return f.isThrottled(p, nowMs) }) {
		f.list(p)
	}
	return true
}

func (f *Fetcher) isThrottled(p *followed, nowMs int64) bool {
	if p.isCaughtUp {
		return false
	}
	for _, t := range f.options.Throttles {
		if t.Covers(p.partition.TopicPartition()) && t.IsExceeded(nowMs) {
			return true
		}
	}
	return false
}

func (f *Fetcher) wanted(p *followed, offset int64, lastEpoch int32) kmsg.FetchRequestTopicPartition {
	w := kmsg.NewFetchRequestTopicPartition()
	w.Partition, w.CurrentLeaderEpoch, w.FetchOffset, w.LastFetchedEpoch = p.key.Partition, p.leaderEpoch, offset, lastEpoch
	w.LogStartOffset, w.PartitionMaxBytes = p.partition.Log().LogStartOffset(), f.options.Limits.PartitionMaxBytes
	w.ReplicaDirectoryID = p.partition.Log().DirectoryID()
	return w
}

// request puts together what the session has to be told, if anything is fetched or a session is to end.
func (f *Fetcher) request() *kmsg.FetchRequest {
	if len(f.session.all) == 0 && (f.session.id == noSession || len(f.partitions) > 0) {
		return nil
	}
	r := f.session.request()
	r.Version = Version
	return r
}

// Failed says that the outstanding request was not answered, or not sent.
func (f *Fetcher) Failed(nowMs int64) {
	f.isOutstanding = false
	f.options.Metrics.failed.Inc()
	f.restart()
	f.pause(nowMs)
}

// restart forgets the session: the next request begins another one.
func (f *Fetcher) restart() { f.session.reset(f.list) }

func (f *Fetcher) pause(nowMs int64) {
	f.retryMs = nowMs + backoffMs(f.failures, f.options.Limits.BackoffMs)
	f.failures++
}

// rests reports whether a pause lasts, which a wall clock that is set back does not make longer than any pause is.
func (f *Fetcher) rests(untilMs, nowMs int64) bool {
	return nowMs < untilMs && untilMs-nowMs <= max(f.options.Limits.BackoffMs, firstBackoffMs)
}

// backoffMs doubles with every failure.
func backoffMs(failures int, mostMs int64) int64 {
	return min(firstBackoffMs<<min(failures, 20), max(mostMs, firstBackoffMs))
}
