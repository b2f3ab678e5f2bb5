package segment

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"github.com/moldau/moldau/internal/record"
)

// Damage is a place in a segment where no sound batch is. Other replicas have what was there.
type Damage struct {
	// Offset is the one behind the sound batch before the place, below which nothing is missing, and Next that of the
	// sound batch behind, or where the segment's offsets end.
	Offset, Next int64
	Cause        *CorruptionError

	segment       *Segment
	position, end int64 // the bytes of the place
	cuts          uint64
}

// SizeBytes is how many bytes are damaged, as far as batches go.
func (d *Damage) SizeBytes() int64 { return d.end - d.position }

// IsIn reports whether s is the segment.
func (d *Damage) IsIn(s *Segment) bool { return d.segment == s }

// Bounds are what of a segment is looked through, and the offsets that it has.
type Bounds struct {
	SizeBytes int64
	// Above is the log start offset: damage that ends there or below is none. EndOffset is where the segment's offsets end.
	Above, EndOffset int64
}

// FirstDamage reads the segment and returns the first damaged place in it, from the place on where it was found the last time:
// a segment with many is not read as often. The caller holds the segment.
func (s *Suspects) FirstDamage(of *Segment, in Bounds) (d Damage, found bool, err error) {
	s.mu.Lock()
	from := s.reached
	s.mu.Unlock()
	if from.segment != of || from.cuts != of.Cuts() {
		from = Damage{Offset: of.baseOffset}
	}
	if d, found, err = of.firstDamage(from, in); err != nil {
		return d, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if from.segment == nil || s.reached.segment != nil { // else damage was met before meanwhile
		s.reached = d
	}
	return d, found, nil
}

func (s *Segment) firstDamage(from Damage, in Bounds) (d Damage, found bool, err error) {
	cuts := s.Cuts()
	c, err := s.scanSound(from.position)
	if err != nil {
		return d, false, err
	}
	defer c.close()
	c.limit, c.least = in.SizeBytes, from.Offset
	for {
		d = Damage{Offset: c.least, Next: in.EndOffset, segment: s, position: c.position, end: c.limit, cuts: cuts}
		at, damage, err := c.next()
		isEnd := errors.Is(err, io.EOF)
		if err != nil && !isEnd {
			return d, false, err
		}
		switch {
		case isEnd:
		case at.LastOffset < in.EndOffset:
			d.Next, d.end = at.BaseOffset, at.Position
		default: // no checksum covers its base offset
			d.end = at.End()
			damage = &CorruptionError{Path: s.Path(), Position: at.Position, Cause: &record.CorruptError{Field: "last offset", Expected: in.EndOffset - 1, Got: at.LastOffset}}
		}
		if damage != nil && d.Next > in.Above {
			d.Cause = damage
			return d, true, nil
		}
		if isEnd {
			return Damage{}, false, nil
		}
	}
}

// Patch writes batches of another replica over a damaged place, from the first of them that has records at or above its Offset
// on, if some fill it exactly: replicas have the same bytes, unless one of them was compacted. It reports whether it did.
// Nothing may be appended, cut or replaced meanwhile.
func (d *Damage) Patch(records []byte) (bool, error) {
	whole, ok := d.fitting(records)
	if !ok || d.segment.Cuts() != d.cuts {
		return false, nil
	}
	s := d.segment
	s.mu.Lock()
	if s.known != nil {
		s.known.sound = nil // of which some was wrong; what was sent may still be on its way
	}
	s.mu.Unlock()
	err := s.with(LogSuffix, true, func(h *Handle) error {
		if _, err := h.File().WriteAt(whole, d.position); err != nil {
			return err
		}
		return h.File().Sync()
	})
	return err == nil, err
}

func (d *Damage) fitting(records []byte) (whole []byte, ok bool) {
	next := d.Offset
	for rest := records; len(rest) > 0; {
		b, behind, err := record.Next(rest)
		if err != nil || b.CheckCRC() != nil || b.LastOffsetDelta() < 0 {
			return nil, false
		}
		if whole == nil && b.LastOffset() < next {
			rest, records = behind, behind
			continue
		}
		if b.BaseOffset() < next || b.LastOffset() >= d.Next {
			return nil, false
		}
		next, rest = b.NextOffset(), behind
		whole = records[:len(records)-len(rest)]
		if size := int64(len(whole)); size >= d.SizeBytes() {
			return whole, size == d.SizeBytes()
		}
	}
	return nil, false
}

// Suspects are the segments of a log in which damage was met, until it is mended.
type Suspects struct {
	mu    sync.Mutex
	bases []int64 // ascending
	told  func()
	// reached is the place that FirstDamage found last: before it there was none.
	reached Damage
}

// Note remembers the segment that an error about damage names, if it does, and tells who watches.
func (s *Suspects) Note(err error) {
	damage, ok := errors.AsType[*CorruptionError](err)
	if !ok {
		return
	}
	base, _, ok := ParseFileName(filepath.Base(damage.Path))
	if !ok {
		return
	}
	s.mu.Lock()
	if i, found := slices.BinarySearch(s.bases, base); !found {
		s.bases = slices.Insert(s.bases, i, base)
	}
	if at := s.reached.segment; at != nil && at.baseOffset == base && damage.Position < s.reached.position {
		s.reached = Damage{}
	}
	told := s.told
	s.mu.Unlock()
	if told != nil {
		told()
	}
}

// Watch has told called, without locks, when damage is met; at once if it was.
func (s *Suspects) Watch(told func()) {
	s.mu.Lock()
	s.told = told
	some := len(s.bases) > 0
	s.mu.Unlock()
	if some {
		told()
	}
}

// First returns the base offset of the first segment, ok is false if there is none.
func (s *Suspects) First() (base int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bases) == 0 {
		return 0, false
	}
	return s.bases[0], true
}

// Clear forgets a segment that has no damage, or is gone.
func (s *Suspects) Clear(base int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bases = slices.DeleteFunc(s.bases, func(b int64) bool { return b == base })
	s.reached = Damage{}
}
