package storage

import "slices"

// flushPromises is what flush.messages and flush.ms have promised of a log, worked out from the
// configs and from what was counted, without the log's own word on what is flushed.
type flushPromises struct {
	// promised is the first offset that power loss may take.
	promised int64
	// waiting are appends that nobody was told of yet, in order; unflushed those that flush.ms has
	// not had its time for.
	waiting   []int64
	unflushed []appendTime
}

type appendTime struct{ lastOffset, atMs int64 }

func (f *flushPromises) appended(lastOffset, nowMs int64) {
	f.waiting = append(f.waiting, lastOffset)
	f.unflushed = append(f.unflushed, appendTime{lastOffset, nowMs})
}

func (f *flushPromises) truncated(end int64) {
	f.promised = min(f.promised, end)
	f.waiting = slices.DeleteFunc(f.waiting, func(last int64) bool { return last >= end })
	f.unflushed = slices.DeleteFunc(f.unflushed, func(a appendTime) bool { return a.lastOffset >= end })
}

// checkFlush acknowledges what is counted.
func (r *modelRun) checkFlush() {
	r.t.Helper()
	counted, flushed, point := r.l.CountedOffset(), r.l.FlushedOffset(), r.l.recoveryPoint.Load()
	if counted < flushed || counted > r.l.LogEndOffset() || flushed < point {
		r.fail("counted %d, flushed %d, recovery point %d, end %d", counted, flushed, point, r.l.LogEndOffset())
	}
	unflushed, limited := r.l.Config().MaxUnflushed()
	if counted < r.l.LogEndOffset() && (!limited || r.l.LogEndOffset()-flushed <= unflushed) {
		r.fail("%d records wait, counted %d, flushed %d, up to %d may be unflushed", r.l.LogEndOffset()-counted, counted, flushed, unflushed)
	}
	for f := &r.flush; len(f.waiting) > 0 && f.waiting[0] < counted; f.waiting = f.waiting[1:] {
		if limited {
			f.promised = max(f.promised, f.waiting[0]+1-unflushed)
		}
	}
}

// commit is what the flusher does.
func (r *modelRun) commit() {
	r.nowMs += int64(r.random.IntN(500))
	waiting := r.l.CountedOffset() < r.l.LogEndOffset()
	nextMs, err := r.m.CommitDir(0, r.nowMs, nil)
	if err != nil {
		r.fail("group commit: %v", err)
	}
	r.note("group commit: counted %d, flushed %d of %d, next in %d ms", r.l.CountedOffset(), r.l.FlushedOffset(), r.l.LogEndOffset(), nextMs-r.nowMs)
	if waiting && (r.l.CountedOffset() != r.l.LogEndOffset() || r.l.FlushedOffset() != r.l.LogEndOffset()) {
		r.fail("a group commit leaves what waited for it: flushed %d of %d", r.l.FlushedOffset(), r.l.LogEndOffset())
	}
	if nextMs <= r.nowMs {
		r.fail("the next group commit is due %d ms ago", r.nowMs-nextMs)
	}
	for flushMs := r.l.Config().FlushMs; flushMs != never && len(r.flush.unflushed) > 0; r.flush.unflushed = r.flush.unflushed[1:] {
		a := r.flush.unflushed[0]
		if r.nowMs-a.atMs < flushMs {
			break
		}
		r.flush.promised = max(r.flush.promised, a.lastOffset+1)
	}
}

// drawFlush draws flush.messages and flush.ms.
func (r *modelRun) drawFlush() {
	r.config.FlushMessages, r.config.FlushMs = never, never
	switch r.random.IntN(5) {
	case 0, 1:
		r.config.FlushMessages = 1
	case 2:
		r.config.FlushMessages = 2 + r.random.Int64N(12)
	case 3:
		r.config.FlushMs = r.random.Int64N(3) * 700
	}
}

func (r *modelRun) changeFlush() {
	config := *r.config
	r.config = &config
	r.drawFlush()
	r.note("flush.messages %d, flush.ms %d", r.config.FlushMessages, r.config.FlushMs)
	r.l.UpdateConfig(r.config)
}
