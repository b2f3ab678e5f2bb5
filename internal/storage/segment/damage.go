package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/record"
)

// The offsets in a header are believed while they fit those around them; a length, an offset or a
// CRC that does not fit sends a lookup to the walk in this file, which believes nothing but a
// CRC. So a damaged batch neither hides those behind it nor is it passed over in silence.

// soundScanner walks the batches that are whole and right, past those that are not.
type soundScanner struct {
	segment  *Segment
	handle   *Handle
	limit    int64
	position int64
	least    int64 // the least base offset that the next batch may have
	previous int64 // position of the last sound batch; -1 before the first
}

// scanSound returns a walk from position, the start of a batch, on. Close it.
func (s *Segment) scanSound(position int64) (*soundScanner, error) {
	h, err := s.acquire(LogSuffix, false)
	if err != nil {
		return nil, err
	}
	c := &soundScanner{segment: s, handle: h, limit: s.SizeBytes(), position: position, least: s.baseOffset, previous: -1}
	if position > 0 { // the index has it there
		header, err := headerAt(h, position, c.limit)
		if err != nil {
			h.Release()
			return nil, err
		}
		if header != nil {
			c.least = max(c.least, header.BaseOffset())
		}
	}
	return c, nil
}

func (c *soundScanner) close() { c.handle.Release() }

// next returns the next sound batch, and what is wrong before it. io.EOF comes with what is wrong
// at the end.
func (c *soundScanner) next() (at BatchPosition, damage *CorruptionError, err error) {
	if c.position >= c.limit {
		return at, nil, io.EOF
	}
	at, cause := c.check(c.position)
	if damage, err = corruptionAt(c.handle, c.position, cause); err != nil {
		return at, nil, err
	}
	if damage != nil {
		var found bool
		if at, found, err = c.behindDamage(); err != nil {
			return at, nil, err
		}
		if !found {
			c.position = c.limit
			return at, damage, io.EOF
		}
	}
	c.previous, c.position, c.least = at.Position, at.End(), at.LastOffset+1
	return at, damage, nil
}

// ScanSound calls visit for every batch that is whole and right. It reads the whole segment.
func (s *Segment) ScanSound(visit func(at BatchPosition)) error {
	c, err := s.scanSound(0)
	if err != nil {
		return err
	}
	defer c.close()
	for {
		at, _, err := c.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		visit(at)
	}
}

// check returns the batch at position, or why none is there. A base offset is outside of the CRC:
// one that was moved up leaves no room before those behind.
func (c *soundScanner) check(position int64) (BatchPosition, error) {
	at, err := soundAt(c.handle, position, c.limit, c.least)
	if err != nil || at.BaseOffset == c.least {
		return at, err
	}
	if !c.segment.FitsOffset(at.LastOffset) {
		return at, &record.CorruptError{Field: "base offset", Expected: c.least, Got: at.BaseOffset}
	}
	if moved, err := isMoved(c.handle, at, c.limit, c.least); err != nil || !moved {
		return at, err
	}
	return at, &record.CorruptError{Field: "base offset", Expected: c.least, Got: at.BaseOffset}
}

// corruptionAt tells damage from a failure to read.
func corruptionAt(h *Handle, position int64, cause error) (*CorruptionError, error) {
	if cause == nil {
		return nil, nil
	}
	if damage, ok := errors.AsType[*CorruptionError](cause); ok {
		return damage, nil
	}
	_, corrupt := errors.AsType[*record.CorruptError](cause)
	if corrupt || errors.Is(cause, record.ErrIncomplete) {
		return &CorruptionError{Path: h.path, Position: position, Cause: cause}, nil
	}
	return nil, cause
}

// soundAt returns the batch at position if its CRC is right and it can be there.
func soundAt(h *Handle, position, limit, least int64) (BatchPosition, error) {
	if limit-position < record.BatchOverhead {
		return BatchPosition{}, record.ErrIncomplete
	}
	var header [record.BatchOverhead]byte
	if err := readFull(h.File(), header[:], position); err != nil {
		return BatchPosition{}, fmt.Errorf("%s: %w", h.path, err)
	}
	at, err := checkHeader(header[:], position, limit, least)
	if err != nil {
		return at, err
	}
	return at, checkStoredCRC(h, at)
}

// soundAfter finds the first sound batch with offsets from least on that begins after position.
func (s *Segment) soundAfter(h *Handle, position, limit, least int64) (at BatchPosition, found bool, err error) {
	const window = 256 << 10
	data := make([]byte, min(window, limit-position))
	for from := position + 1; from+record.BatchOverhead <= limit; {
		chunk := data[:min(int64(len(data)), limit-from)]
		if err := readFull(h.File(), chunk, from); err != nil {
			return at, false, fmt.Errorf("%s: %w", h.path, err)
		}
		starts := len(chunk) - record.BatchOverhead + 1
		for i := 0; i < starts; i++ {
			// The next byte that can be a magic byte.
			skip := bytes.IndexByte(chunk[i+magicAt:starts+magicAt], record.Magic)
			if skip < 0 {
				break
			}
			i += skip
			at, err := checkHeader(record.Batch(chunk[i:i+record.BatchOverhead]), from+int64(i), limit, least)
			if err != nil || !s.FitsOffset(at.LastOffset) {
				continue
			}
			if err := checkStoredCRC(h, at); err == nil {
				return at, true, nil
			} else if !isCorruption(err) {
				return at, false, err
			}
		}
		from += int64(starts)
	}
	return at, false, nil
}

// magicAt is where a batch's magic byte is.
const magicAt = 16

// ScanPastDamage calls visit for every sound batch from position, the start of one, on. What a
// damaged one said is lost: neither its producer's state nor its epoch is known.
func (s *Segment) ScanPastDamage(position int64, visit func(at BatchPosition, b record.Batch) error) error {
	least := s.baseOffset
	for {
		err := s.ScanBatches(position, func(at BatchPosition, b record.Batch) error {
			position, least = at.Position, at.LastOffset+1
			return visit(at, b)
		})
		damage, isDamage := errors.AsType[*CorruptionError](err)
		if !isDamage {
			return err
		}
		var found bool
		err = s.with(LogSuffix, false, func(h *Handle) error {
			at, ok, err := s.soundAfter(h, max(position, damage.Position), s.SizeBytes(), least)
			position, found = at.Position, ok
			return err
		})
		if err != nil || !found {
			return err
		}
	}
}

// LookupSound is Lookup that checks every CRC on its way. Where the batch with offset is damaged
// the error is a *CorruptionError.
func (s *Segment) LookupSound(offset int64) (at BatchPosition, found bool, err error) {
	start, err := s.soundStart(offset)
	if err != nil {
		return at, false, err
	}
	c, err := s.scanSound(start)
	if err != nil {
		return at, false, err
	}
	defer c.close()
	for {
		at, damage, err := c.next()
		switch {
		case err == io.EOF && damage != nil:
			return BatchPosition{}, false, damage
		case err == io.EOF:
			return BatchPosition{}, false, nil
		case err != nil:
			return BatchPosition{}, false, err
		case at.LastOffset < offset:
		case damage != nil && at.BaseOffset > offset:
			return BatchPosition{}, false, damage
		default:
			return at, true, nil
		}
	}
}

// soundStart returns the position of the index entry before the one that a lookup of offset begins
// at: that one's batch may be the damaged one.
func (s *Segment) soundStart(offset int64) (int64, error) {
	v, err := s.view()
	if err != nil {
		return 0, err
	}
	entry, err := s.offsetStart(v, offset)
	if err == nil && entry.position > 0 {
		entry, err = s.offsetStart(v, s.baseOffset+int64(entry.relative)-1)
	}
	if err != nil || entry.position == 0 {
		return 0, err
	}
	var sound bool
	err = s.with(LogSuffix, false, func(h *Handle) error {
		at, cause := soundAt(h, int64(entry.position), s.SizeBytes(), s.baseOffset)
		damage, err := corruptionAt(h, int64(entry.position), cause)
		sound = damage == nil && at.LastOffset == s.baseOffset+int64(entry.relative)
		return err
	})
	if err != nil || !sound {
		return 0, err
	}
	return int64(entry.position), nil
}

// endsTooEarly reports whether a batch behind which nothing was found up to an offset is damaged:
// its header may say that it ends before the offset.
func (c *headerScanner) endsTooEarly(at BatchPosition) (bool, error) {
	if at.SizeBytes == 0 {
		return false, nil
	}
	err := checkStoredCRC(c.handle, at)
	if isCorruption(err) {
		return true, nil
	}
	return false, err
}
