package replica

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/purgatory"
	"github.com/moldau/moldau/internal/record"
)

// FetchRequest asks for records of several partitions.
type FetchRequest struct {
	MaxWait    time.Duration
	MinBytes   int
	MaxBytes   int
	Isolation  kafka.IsolationLevel
	Files      bool             // records may be parts of files instead of bytes
	Partitions []FetchPartition // in the order in which they are read
	// Follower is who fetches to replicate: it reads what is not committed, and what it says to have counts.
	// Whoever sets it has checked who asks (CVE-2018-1288).
	Follower *Follower
	// Since and Extend are of a follower's fetch with those partitions of its session only that may have changed. Since is from before it
	// was found out which. Extend, where it is not nil, adds those that have changed since to Partitions, behind the others.
	Since  Moment
	Extend func()
	// HasOthers says that the session has others beside those, which the follower has in full and in sync: news of them is waited for.
	HasOthers bool
	// AnyReplica lets followers serve consumers that know of it (KIP-392). Those that say where they are, on
	// which listener they come in, are sent to a replica near them.
	AnyReplica bool
	Rack       string
	Listener   string
}

// Follower is a broker that fetches to replicate.
type Follower struct {
	BrokerID    int32
	BrokerEpoch int64
	// Resumes says that it has got the answer to its fetch before, in the same session.
	Resumes bool
}

// FetchPartition is one partition of a FetchRequest.
type FetchPartition struct {
	kafka.TopicPartition
	TopicID            kafka.UUID // zero where the client names topics
	Offset             int64
	MaxBytes           int32
	CurrentLeaderEpoch int32
	LastFetchedEpoch   int32
	LogStartOffset     int64 // of a follower's log
	// Standing is noted of a follower that has everything; nil if its session does not leave the partition out.
	Standing *partition.Standing
}

// FetchResult is what was read of one partition, or why nothing was.
type FetchResult struct {
	partition.ReadResult
	Err error
	// ReadReplica is the broker that the consumer should read from, kafka.NoLeader for none.
	ReadReplica int32
	// Stands says that Standing was noted, see partition.NoteFetch.
	Stands bool
}

// Fetch reads the partitions into memory of buffers and returns a result for each. Unless
// that is MinBytes or more, or there is something else to tell, it waits up to MaxWait and
// reads again. When ctx ends it returns what it has. The results are in buffers, too, until its next
// use.
func (m *Manager) Fetch(ctx context.Context, r *FetchRequest, buffers *Buffers) []FetchResult {
	buffers.memory = &m.fetchMemory
	f := fetch{m: m, request: r, buffers: buffers}
	f.results, f.seen = buffers.resultsFor(len(r.Partitions))
	if f.since = r.Since; r.Follower != nil && r.Extend == nil {
		f.since = m.Now(r.Follower.BrokerID)
	}
	f.lookUp()
	f.read(false)
	if f.urgent && f.awaitLeaderships(ctx) {
		f.lookUp()
		f.read(false)
	}
	f.note()
	defer f.recordThrottled()
	if r.Follower != nil {
		defer m.answeredFollower(r.Follower)
	}
	if r.MaxWait <= 0 || len(r.Partitions) == 0 && r.Extend == nil || f.isSatisfied() {
		return f.results
	}
	for left, start := r.MaxWait, m.options.Clock.Now(); left > 0; left = r.MaxWait - m.options.Clock.Now().Sub(start) {
		outcome := f.wait(ctx, left)
		if outcome == purgatory.Canceled {
			break
		}
		isNews := false
		if r.Follower != nil {
			isNews = m.news.Load() != f.since.news // it wants to fetch more, or to know where the logs begin
			f.readAgain()
		} else {
			unchanged := f.bytes == 0 // nothing was read that is not held any more
			if !unchanged {
				f.lookUp()
			}
			f.read(unchanged)
		}
		if f.sendAway() || outcome == purgatory.Expired || isNews || f.isSatisfied() {
			break
		}
	}
	return f.results
}

// fetch is one Fetch that is going on.
type fetch struct {
	m       *Manager
	request *FetchRequest
	buffers *Buffers
	results []FetchResult

	bytes  int
	urgent bool   // an error or a diverging epoch must be told at once
	seen   []seen // by partition
	since  Moment // of a follower: what came before was read
}

// seen is the state of a replica before it was read.
type seen struct {
	replica        *Replica // nil if there is none
	committedBytes int64
	isThrottled    bool // so that it was not read, whatever there is
	isCatchingUp   bool // of a follower that nobody waits for
}

// lookUp finds the replicas.
func (f *fetch) lookUp() {
	var topic string
	var of map[int32]*Replica
	f.m.mu.RLock()
	defer f.m.mu.RUnlock()
	for i := range f.request.Partitions {
		p := &f.request.Partitions[i]
		if of == nil || p.Topic != topic {
			topic, of = p.Topic, f.m.replicas[p.Topic]
		}
		f.seen[i].replica = of[p.Partition]
		f.seen[i].isCatchingUp = f.isCatchingUp(i)
	}
}

// isUnchanged reports whether reading a partition once more would find nothing new.
func (f *fetch) isUnchanged(i int) bool {
	r := f.seen[i].replica
	s := &f.seen[i]
	return r != nil && !s.isThrottled && r.committedBytes.Load() == s.committedBytes && r.Usable() == nil && f.mayServe(i) == nil
}

// mayServe returns why the replica of a partition cannot answer this fetch, or nil.
func (f *fetch) mayServe(i int) error {
	return f.seen[i].replica.CheckServing(f.request.Partitions[i].CurrentLeaderEpoch, f.request.AnyReplica)
}

// isSatisfied reports whether waiting adds nothing: there is enough, something to tell, or less
// than is there because a limit or the end of a segment cut the read short.
func (f *fetch) isSatisfied() bool {
	return f.urgent || f.bytes >= f.request.MinBytes || f.bytes > 0 && f.isCutShort()
}

// isCutShort finds a partition that has more than was read of it.
func (f *fetch) isCutShort() bool {
	for i := range f.results {
		r := &f.results[i]
		upTo := r.HighWatermark
		switch {
		case f.request.Follower != nil:
			upTo = r.LogEndOffset
		case f.request.Isolation == kafka.ReadCommitted:
			upTo = r.LastStableOffset
		}
		if nextOffset(f.request.Partitions[i].Offset, &r.ReadResult) < upTo {
			return true
		}
	}
	return false
}

// nextOffset is the offset after the last of the records, which were read at offset.
func nextOffset(offset int64, r *partition.ReadResult) int64 {
	if r.File != nil {
		return r.File.NextOffset
	}
	for records := r.Records; len(records) > 0; {
		batch, rest, err := record.Next(records)
		if err != nil {
			return offset // cannot happen: only whole batches are read
		}
		offset, records = batch.NextOffset(), rest
	}
	return offset
}

// read reads all partitions. The first that has records gives at least one batch even beyond
// the limits, so that a consumer gets past a batch larger than what it asks for.
// What was found empty before is left out where it is unchanged.
func (f *fetch) read(again bool) {
	f.buffers.Release()
	f.bytes, f.urgent = 0, false
	left, minOneBatch := f.request.MaxBytes, true
	r := partition.ReadRequest{Isolation: f.request.Isolation, AnyReplica: f.request.AnyReplica, Buffer: f.buffers.next}
	if f.request.Follower != nil {
		r.IsReplica, r.ReplicaID = true, f.request.Follower.BrokerID
	}
	if r.Files = f.request.Files; r.Files {
		r.NowMs = f.m.options.Clock.Now().UnixMilli()
	}
	catchingUp := 0
	for i := range f.request.Partitions {
		if f.seen[i].isCatchingUp {
			catchingUp++
			continue
		}
		r.MaxBytes, r.MinOneBatch = left, minOneBatch
		if n := f.readNext(i, again, &r); n > 0 {
			left, minOneBatch = max(0, left-n), false
		}
	}
	if catchingUp == 0 {
		return
	}
	// Also where nothing is left: each has to be compared with this log before it is noted how far its follower has come.
	if catchingUp < len(f.request.Partitions) || f.request.HasOthers {
		left, minOneBatch = f.catchUpLimit(left, f.bytes)
	}
	for i := range f.request.Partitions {
		if !f.seen[i].isCatchingUp {
			continue
		}
		r.MaxBytes, r.MinOneBatch = left, minOneBatch
		if n := f.readNext(i, again, &r); n > 0 {
			left, minOneBatch = max(0, left-n), false
		}
	}
}

// readNext reads a partition, within the limits of r, and returns how many bytes that are.
func (f *fetch) readNext(i int, again bool, r *partition.ReadRequest) int {
	if again && f.isUnchanged(i) {
		return 0
	}
	p := &f.request.Partitions[i]
	if again {
		f.seen[i].replica = f.m.find(p.TopicPartition)
	}
	r.Offset, r.CurrentLeaderEpoch, r.LastFetchedEpoch = p.Offset, p.CurrentLeaderEpoch, p.LastFetchedEpoch
	r.MaxBytes = min(int(p.MaxBytes), r.MaxBytes)
	if f.seen[i].isThrottled = f.isThrottled(i); f.seen[i].isThrottled {
		r.MaxBytes, r.MinOneBatch = 0, false
	}
	if f.request.Follower == nil { // followers are few, and consumers must not hold up what is acknowledged
		r.MaxBytes = min(r.MaxBytes, f.m.fetchMemory.left())
	}
	waits := f.readPartition(i, p, r)
	if result := &f.results[i]; result.Err != nil && !waits || result.Diverging != nil || result.ReadReplica != kafka.NoLeader {
		f.urgent = true
	}
	n := f.results[i].SizeBytes()
	f.bytes += n
	return n
}

// readPartition reads a partition, and reports whether what is wrong with it may be over soon.
func (f *fetch) readPartition(i int, p *FetchPartition, r *partition.ReadRequest) (waits bool) {
	result, replica := &f.results[i], f.seen[i].replica
	result.Err, result.ReadReplica = nil, kafka.NoLeader
	if replica == nil || replica.Usable() != nil || !p.TopicID.IsZero() && p.TopicID != replica.topicID {
		result.ReadResult, result.Err = partition.ReadResult{}, f.m.whyNot(p)
		return false
	}
	f.seen[i].committedBytes = replica.committedBytes.Load()
	if f.request.Rack != "" {
		if result.ReadReplica = f.m.nearReplica(replica, f.request, p.Offset); result.ReadReplica != kafka.NoLeader {
			if result.Err = f.mayServe(i); result.Err == nil {
				result.ReadResult = replica.Offsets()
				return false
			}
		}
	}
	var atEnd bool
	if result.ReadResult, atEnd = replica.ReadAtEnd(r); atEnd {
		return false
	}
	result.ReadResult, result.Err = replica.Read(*r)
	f.buffers.endRead(len(result.Records) > 0)
	f.buffers.hold(result.File)
	if code := kafka.CodeOf(result.Err); code == kafka.ErrUnknownServerError || code == kafka.ErrCorruptMessage {
		replica.ReportReadError(result.Err, f.m.options.Clock.Now().UnixMilli())
		if r.Isolation != kafka.ReadToEnd { // who mends another replica with this one hears that it is damaged here, too
			result.Err, waits = replica.ReadError(result.Err)
		}
	}
	return waits && f.request.Follower == nil // a follower does not hold up the other partitions' fetches for it
}

// whyNot says why a partition cannot be read.
func (m *Manager) whyNot(p *FetchPartition) error {
	replica, err := m.Lookup(p.TopicPartition)
	if err != nil {
		return err
	}
	if !p.TopicID.IsZero() && p.TopicID != replica.topicID {
		return kafka.Errorf(kafka.ErrInconsistentTopicID, "topic id %s of %s is not the one that the log has", p.TopicID, p.TopicPartition)
	}
	return kafka.Errorf(kafka.ErrNotLeaderOrFollower, "%s could not be read a moment ago", p.TopicPartition)
}

// wait parks the fetch on its partitions until enough bytes came, in sum. Bytes that come
// between a read and the wait may be counted twice: then the fetch reads once more.
func (f *fetch) wait(ctx context.Context, timeout time.Duration) purgatory.Outcome {
	if f.request.Follower != nil {
		return f.waitForAppends(ctx, timeout)
	}
	missing := new(atomic.Int64)
	missing.Store(int64(f.request.MinBytes - f.bytes))
	f.giveUpRead()
	lists := make([]*purgatory.List, len(f.seen))
	for i := range f.seen {
		lists[i] = &f.seen[i].replica.fetchWaiters
	}
	op := purgatory.NewOperation(func(n int64) bool { return missing.Add(-n) <= 0 }, nil)
	if err := f.m.fetches.Watch(op, lists); err != nil {
		return purgatory.Expired // no room to wait: answer with what there is
	}
	var missed int64
	for _, s := range f.seen {
		missed += s.replica.committedBytes.Load() - s.committedBytes
	}
	if missed > 0 && missing.Add(-missed) <= 0 || f.anyGone() {
		op.Complete()
	}
	return op.Wait(ctx, timeout)
}

// giveUpRead gives up what was read, since it will be read again: nothing is held while parked.
func (f *fetch) giveUpRead() {
	f.buffers.Release()
	for i := range f.results {
		f.results[i].Records, f.results[i].File = nil, nil
	}
}

// anyGone finds partitions that ended between the read and the wait.
func (f *fetch) anyGone() bool {
	for i, s := range f.seen {
		if f.mayServe(i) != nil || s.replica.Usable() != nil {
			return true
		}
	}
	return false
}
