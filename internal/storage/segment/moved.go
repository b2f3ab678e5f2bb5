package segment

import (
	"fmt"

	"github.com/moldau/moldau/internal/record"
)

// confirming is how many headers behind a batch are looked at. One may be that of another damaged one.
const confirming = 2

// place tells whether a batch that begins behind a hole was written there, or somewhere in the hole: no checksum covers its base
// offset. The headers behind it do, even if some of those are damaged, too: where one begins there must be room before it for the batch
// and all those between. Compaction leaves batches the room that they had.
type place struct {
	least      int64 // the first offset of the hole
	base, last int64 // as the batch's header has them
	roomBefore int64 // which it and those behind it take
	next       int64 // behind the last of them
}

func placeOf(base, last, least int64) place {
	return place{least: least, base: base, last: last, roomBefore: last - base + 1, next: last + 1}
}

// ask takes the next header behind the batch: moved says that it is in the wrong place, over that no more need be asked.
func (p *place) ask(header record.Batch) (moved, over bool) {
	base, delta := header.BaseOffset(), header.LastOffsetDelta()
	if start := base - p.roomBefore; start >= p.least && start < p.base {
		return true, true
	}
	isNext := base == p.next
	p.roomBefore, p.next = p.roomBefore+int64(delta)+1, header.LastOffset()+1
	return false, isNext || delta < 0
}

// isMoved reports whether a sound batch is behind a hole that begins at least, but was written in the hole.
func isMoved(h *Handle, at BatchPosition, limit, least int64) (bool, error) {
	if at.BaseOffset <= least {
		return false, nil
	}
	p, position := placeOf(at.BaseOffset, at.LastOffset, least), at.End()
	for range confirming {
		header, err := headerAt(h, position, limit)
		if header == nil || err != nil {
			return false, err
		}
		if moved, over := p.ask(header); over {
			return moved, nil
		}
		size, cause := record.SizeOf(header)
		if cause != nil {
			return false, nil // there is no batch to learn from
		}
		position += int64(size)
	}
	return false, nil
}

// isDoubtful reports whether the sound batch right behind a damaged one begins where that one must have had its offsets, by what is left
// of its header, and nothing behind confirms it.
func (c *soundScanner) isDoubtful(at, damaged BatchPosition) (bool, error) {
	if at.Position != damaged.End() || at.BaseOffset > c.least+damaged.LastOffset-damaged.BaseOffset {
		return false, nil
	}
	header, err := headerAt(c.handle, at.End(), c.limit)
	return header != nil && header.BaseOffset() != at.LastOffset+1, err
}

// behindDamage returns the next sound batch behind the damaged one at the scanner's position, which had one offset at least.
func (c *soundScanner) behindDamage() (at BatchPosition, found bool, err error) {
	damaged := BatchPosition{}
	header, err := headerAt(c.handle, c.position, c.limit)
	if err != nil {
		return at, false, err
	}
	if header != nil {
		if claims, err := checkHeader(header, c.position, c.limit, 0); err == nil {
			damaged = claims
		}
	}
	for position := c.position; ; position = at.Position {
		if at, found, err = c.segment.soundAfter(c.handle, position, c.limit, c.least+1); err != nil || !found {
			return at, false, err
		}
		moved, err := isMoved(c.handle, at, c.limit, c.least+1)
		if err == nil && !moved {
			moved, err = c.isDoubtful(at, damaged)
		}
		if err != nil || !moved {
			return at, err == nil, err
		}
	}
}

// headerAt returns the header at position, nil where none is before the limit.
func headerAt(h *Handle, position, limit int64) (record.Batch, error) {
	if limit-position < record.BatchOverhead {
		return nil, nil
	}
	header := make(record.Batch, record.BatchOverhead)
	if err := readFull(h.File(), header, position); err != nil {
		return nil, fmt.Errorf("%s: %w", h.path, err)
	}
	return header, nil
}

// checkNeighbours is called with the batch that a lookup has found by headers alone, the one before it in the walk, if known, and the least
// base offset that it may have. suspicious says that one of them, or of those behind, is not what it claims to be.
func (c *headerScanner) checkNeighbours(offset int64, at, previous BatchPosition, least int64) (suspicious bool, err error) {
	if at.BaseOffset > offset { // a hole, as compaction leaves them, or not
		if early, err := c.endsTooEarly(previous); early || err != nil {
			return early, err
		}
	}
	p := placeOf(at.BaseOffset, at.LastOffset, least)
	for i := range confirming {
		if c.position >= c.limit {
			return false, nil
		}
		header, err := c.header()
		if err != nil {
			if isCorruption(err) {
				return false, nil // a torn end
			}
			return false, err
		}
		if i == 0 && header.BaseOffset() <= at.LastOffset {
			return true, nil
		}
		if moved, over := p.ask(header); over || at.BaseOffset <= least {
			return moved, nil
		}
		size, cause := record.SizeOf(header)
		if cause != nil {
			return false, nil // a torn end
		}
		c.position += int64(size)
		c.nextRead = sparseReadBytes
	}
	return false, nil
}

// isConfirmed reports whether the headers at hand behind a batch, which begins behind a hole, say that it is in its place.
func isConfirmed(b record.Batch, behind []byte, least int64) bool {
	p := placeOf(b.BaseOffset(), b.LastOffset(), least)
	for i := range confirming {
		if len(behind) < record.BatchOverhead {
			return false
		}
		header := record.Batch(behind)
		if i == 0 && header.BaseOffset() <= b.LastOffset() {
			return false
		}
		if moved, over := p.ask(header); over {
			return !moved
		}
		size, cause := record.SizeOf(header)
		if cause != nil {
			return true
		}
		behind = behind[min(size, len(behind)):]
	}
	return true
}
