package segment

import (
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// FileRange is whole batches where they lie in the .log file, which stays open, and the segment in
// use, until Release.
type FileRange struct {
	vfs.Range
	// NextOffset is the offset after the batches.
	NextOffset int64
	segment    *Segment
	handle     *Handle
}

// Release ends the use. Whoever took the range calls it once.
func (r *FileRange) Release() {
	r.handle.unpin()
	r.segment.Release()
}

const (
	// MinRangeBytes is the least that is sent out of a file: less costs more than to copy it.
	MinRangeBytes = 64 << 10
	// maxRangeHeaders bounds the headers that are read to find the end of a range. Where batches are
	// so small that it takes more, reading all of them costs little more.
	maxRangeHeaders = 64
)

// RangeRequest asks for the batches from the one at Position on, which begins with Offset.
type RangeRequest struct {
	Position, Offset int64
	MaxBytes         int
	MinOneBatch      bool  // also one that is larger than MaxBytes
	UpTo             int64 // the first offset that must not be in it
	NowMs            int64
	IsReplica        bool // for a follower, whose records may be cut before they are committed
}

// TakeRange returns what a read would return, if all of it is known to be right; nil if it is not, or
// is better read. The caller holds the segment.
func (s *Segment) TakeRange(r RangeRequest) *FileRange {
	cuts := s.dir.cuts.Count()
	end, next := s.soundTo(r.Position, r.NowMs)
	if end-r.Position < MinRangeBytes || s.failed.Load() {
		return nil
	}
	end, next, ok := s.rangeEnd(r, end, next)
	if !ok || end-r.Position < MinRangeBytes {
		return nil
	}
	h, err := s.acquire(LogSuffix, false)
	if err != nil {
		return nil
	}
	file, ok := h.File().(vfs.Sender)
	if !ok || !h.pin() {
		h.Release()
		return nil
	}
	if !s.Acquire() {
		h.unpin()
		return nil
	}
	s.noteSent(end, cuts, r.IsReplica)
	s.NoteReadEnd(next, end, cuts)
	return &FileRange{
		Range: vfs.NewRange(file, r.Position, int(end-r.Position), &s.dir.cuts, cuts), NextOffset: next,
		segment: s, handle: h,
	}
}

// rangeEnd finds the end of a range that is right as far as end, before which the offset is next.
func (s *Segment) rangeEnd(r RangeRequest, end, next int64) (to, nextOffset int64, ok bool) {
	c, err := s.scan(r.Position, s.SizeBytes())
	if err != nil {
		return 0, 0, false
	}
	defer c.close()
	c.least, c.nextRead = r.Offset, sparseReadBytes
	first, _, err := c.next()
	if err != nil || first.BaseOffset != r.Offset || first.LastOffset >= r.UpTo {
		return 0, 0, false
	}
	limit := r.Position + int64(max(r.MaxBytes, 0))
	if r.MinOneBatch {
		limit = max(limit, first.End())
	}
	switch {
	case first.End() > min(limit, end):
		return 0, 0, false
	case end > limit || next > r.UpTo:
		return c.lastWithin(first, min(limit, end), r.UpTo)
	case next >= r.UpTo || limit-end < record.BatchOverhead || end == c.limit:
		return end, next, true
	}
	// More may fit that is not known.
	c.position, c.least, c.nextRead = end, next, sparseReadBytes
	more, _, err := c.next()
	return end, next, err == nil && (more.End() > limit || more.LastOffset >= r.UpTo)
}

// lastWithin walks from a batch on to the last one that ends at limit at most and before the offset upTo.
func (c *headerScanner) lastWithin(at BatchPosition, limit, upTo int64) (to, next int64, ok bool) {
	if (limit-at.Position)/int64(at.SizeBytes) > maxRangeHeaders {
		return 0, 0, false
	}
	to, next = at.End(), at.LastOffset+1
	for range maxRangeHeaders {
		if limit-to < record.BatchOverhead {
			return to, next, true
		}
		batch, _, err := c.next()
		switch {
		case err != nil || batch.BaseOffset != next: // a hole: a reader looks closer at what follows
			return 0, 0, false
		case batch.End() > limit || batch.LastOffset >= upTo:
			return to, next, true
		}
		to, next = batch.End(), batch.LastOffset+1
	}
	return 0, 0, false
}
