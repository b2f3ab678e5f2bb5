package storage

import (
	"container/heap"
	"errors"
	"math"
	"sync"
)

// Group commit: on a topic with flush.messages or flush.ms, an append that finds too much unflushed
// asks its log dir for a flush and is not counted before. The dir's flusher takes all logs that
// have asked, syncs them, and tells who waits; what is appended meanwhile is the next group.

// never is what flush.messages and flush.ms are when they do not ask for anything.
const never int64 = math.MaxInt64

// asksForFlush says that the topic sets flush.messages or flush.ms.
func (c *LogConfig) asksForFlush() bool { return c.FlushMessages != never || c.FlushMs != never }

// MaxUnflushed returns how many records may count that are not on disk, one less than
// flush.messages; flush.ms=0 leaves no time, and therefore no record. limited is false where the
// number of records does not matter.
func (c *LogConfig) MaxUnflushed() (records int64, limited bool) {
	if c.FlushMs <= 0 {
		return 0, true
	}
	return c.FlushMessages - 1, c.FlushMessages != never
}

// CountedOffset is how far the log counts towards the high watermark: up to its end, except that
// with flush.messages=N never N or more records count that are not on disk (flush.ms=0 is N=1).
func (l *Log) CountedOffset() int64 { return l.countedOffset.Load() }

// OnCounted has count called, without locks, after a flush or a change of configs has counted more
// or has found that the log cannot be used any more. bytes is the size of what is counted now and
// was not before; ended says that a marker is among it.
func (l *Log) OnCounted(count func(bytes int64, ended bool)) { l.onCounted.Store(&count) }

// counted is what somebody is to be told.
type counted struct {
	bytes int64
	ended bool
}

func (l *Log) tellCounted(c counted) {
	if tell := l.onCounted.Load(); tell != nil {
		(*tell)(c.bytes, c.ended)
	}
}

// count decides under mu how much is counted now. It never takes back what is counted.
func (l *Log) count() counted {
	end, flushed := l.endOffset.Load(), l.flushedOffset.Load()
	upTo, bytes := flushed, l.flushedBytes
	if unflushed, _ := l.config.Load().MaxUnflushed(); end-flushed <= unflushed {
		upTo, bytes = end, l.appendedBytes
	}
	if upTo <= l.countedOffset.Load() {
		return counted{}
	}
	c := counted{bytes - l.countedBytes, l.uncountedMarker}
	l.countedOffset.Store(upTo)
	l.countedBytes = bytes
	if upTo == end {
		l.uncountedMarker = false
	}
	return c
}

// noteFlushed says under mu that everything below end is durable; appendedBytes is what had been appended by then.
func (l *Log) noteFlushed(end, appendedBytes int64) counted {
	if end > l.flushedOffset.Load() {
		l.flushedBytes = appendedBytes
		l.flushedOffset.Store(end)
	}
	return l.count()
}

// commitNeed is what an append wants of the flusher.
type commitNeed struct {
	now   bool
	dueMs int64 // never: not by time
}

// need says under mu what the log's unflushed records want.
func (l *Log) need(nowMs int64) commitNeed {
	n, config := commitNeed{dueMs: never}, l.config.Load()
	switch {
	case l.endOffset.Load() == l.flushedOffset.Load():
	case l.countedOffset.Load() < l.endOffset.Load():
		n.now = true
	case config.FlushMs < never-nowMs:
		n.dueMs = nowMs + config.FlushMs
	}
	return n
}

// ask passes a need on to the flusher. It is called without mu.
func (l *Log) ask(n commitNeed) {
	switch {
	case n.now:
		l.dir.commits.ask(l)
	case n.dueMs < l.commitDueMs.Load():
		l.dir.commits.askLater(l, n.dueMs)
	}
}

// commit makes durable what was appended before the call. Only the data is synced, and that its
// files exist: indexes, leader epochs and producers' state above the recovery point, which stays,
// are made anew from the data after a crash.
func (l *Log) commit() error {
	l.flushMu.Lock()
	c, err := l.flushData()
	l.flushMu.Unlock()
	l.tellCounted(c)
	return err
}

// flushData is the part of a flush that acknowledgements wait for. It needs flushMu. Every failure
// takes the log dir offline: what a failed sync has left undone the next one would not do.
func (l *Log) flushData() (counted, error) {
	if err := l.usable(); err != nil {
		return counted{}, err
	}
	l.mu.Lock()
	list, flushed, end, appendedBytes := l.segments.Load(), l.flushedOffset.Load(), l.endOffset.Load(), l.appendedBytes
	unsyncedFolder := l.unsyncedFolder
	l.unsyncedFolder = false
	l.mu.Unlock()
	if flushed < end {
		for _, s := range list.all[list.indexOf(max(flushed-1, 0)):] {
			if !s.Acquire() {
				continue // retention has removed it
			}
			err := s.FlushLog()
			s.Release()
			if err != nil {
				return counted{}, l.failed("flushing", err)
			}
		}
	}
	if unsyncedFolder {
		if err := l.syncFolder(); err != nil {
			return counted{}, l.failed("flushing", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noteFlushed(end, appendedBytes), nil
}

// commitQueue is the logs of a log dir that have asked for a flush: each is there at most once, so
// that the number of logs bounds it.
type commitQueue struct {
	wake func() // not nil; called without locks

	mu    sync.Mutex // taken last
	asked []*Log
	later laterCommits
}

func (q *commitQueue) ask(l *Log) {
	if l.commitAsked.Swap(true) {
		return // the group that takes it has not looked at the log yet
	}
	q.mu.Lock()
	q.asked = append(q.asked, l)
	q.mu.Unlock()
	q.wake()
}

func (q *commitQueue) askLater(l *Log, dueMs int64) {
	q.mu.Lock()
	switch due := l.commitDueMs.Load(); {
	case dueMs >= due || l.closed.Load() != nil: // somebody was faster
	case due == never:
		l.commitDueMs.Store(dueMs)
		heap.Push(&q.later, l)
	default:
		l.commitDueMs.Store(dueMs)
		heap.Fix(&q.later, l.commitIndex)
	}
	first := len(q.later) > 0 && q.later[0] == l
	q.mu.Unlock()
	if first {
		q.wake()
	}
}

// forget takes a closed log out of those that are due later: flush.ms may be days.
func (q *commitQueue) forget(l *Log) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.commitDueMs.Swap(never) != never {
		heap.Remove(&q.later, l.commitIndex)
	}
}

// take returns the logs to flush now, and when the next one is due.
func (q *commitQueue) take(nowMs int64) (group []*Log, nextMs int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	group, q.asked = q.asked, nil
	for len(q.later) > 0 && q.later[0].commitDueMs.Load() <= nowMs {
		l := heap.Pop(&q.later).(*Log)
		l.commitDueMs.Store(never)
		if !l.commitAsked.Swap(true) {
			group = append(group, l)
		}
	}
	if len(q.later) > 0 {
		return group, q.later[0].commitDueMs.Load()
	}
	return group, never
}

func (q *commitQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.asked)
}

// laterCommits is a heap of logs by commitDueMs.
type laterCommits []*Log

func (h laterCommits) Len() int           { return len(h) }
func (h laterCommits) Less(i, j int) bool { return h[i].commitDueMs.Load() < h[j].commitDueMs.Load() }
func (h laterCommits) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].commitIndex, h[j].commitIndex = i, j
}

// Push is heap.Interface's.
func (h *laterCommits) Push(x any) {
	l := x.(*Log)
	l.commitIndex = len(*h)
	*h = append(*h, l)
}

// Pop is heap.Interface's.
func (h *laterCommits) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}

// OnCommitAsked has wake called when CommitDir is to be called for a log dir: at once, or because
// the time that it returned last is too late. wake must not block.
func (m *Manager) OnCommitAsked(wake func(dir int)) { m.shared.wakeCommits.Store(&wake) }

// CommitDir flushes the logs of log dir i that have asked for it and returns when the next one is
// due by flush.ms, Unix milliseconds or math.MaxInt64. parallel runs work(0..count-1), several at
// a time, so that the file system syncs them together; nil runs them one by one. Once it has
// failed, everybody who waits for a flush in the dir has been told.
func (m *Manager) CommitDir(i int, nowMs int64, parallel func(count int, work func(i int))) (nextMs int64, err error) {
	d := m.dirs[i]
	group, nextMs := d.commits.take(nowMs)
	if len(group) == 0 {
		return nextMs, nil
	}
	if parallel == nil || len(group) == 1 {
		parallel = oneByOne
	}
	started := m.shared.clock.Now()
	failures := make([]error, len(group))
	parallel(len(group), func(i int) {
		l := group[i]
		l.commitAsked.Store(false) // before the flush looks: what is appended from now on asks again
		if err := l.commit(); err != nil && l.closed.Load() == nil {
			failures[i] = err
		}
	})
	d.metrics.commitSeconds.Observe(m.shared.clock.Now().Sub(started).Seconds())
	d.metrics.commitLogs.Add(int64(len(group)))
	return nextMs, errors.Join(failures...)
}
