package segment

import (
	"math"
	"sync/atomic"
)

// readEnds are places in a segment where reads have ended a short time ago. Most consumers read on from where they were,
// and then need no lookup: it costs several small reads, which are a quarter of what it costs to read small pieces of many
// partitions, and on cold data break the disk's reading ahead.
type readEnds struct {
	// places are offset (relative to the segment's, 32 bits) and position (32 bits); 0 for none.
	places [8]atomic.Uint64
	next   atomic.Uint32
}

// NoteReadEnd remembers that the batch which begins with offset, if there is one, is at position: the one before it, which
// ends there, was read and is sound.
func (s *Segment) NoteReadEnd(offset, position int64) {
	relative := offset - s.baseOffset
	if relative <= 0 || relative > math.MaxInt32 || position <= 0 || position > math.MaxInt32 {
		return
	}
	ends := s.readEnds.Load()
	if ends == nil {
		ends = new(readEnds)
		if !s.readEnds.CompareAndSwap(nil, ends) {
			ends = s.readEnds.Load()
		}
	}
	place := uint64(relative)<<32 | uint64(position)
	for i := range ends.places {
		if ends.places[i].Load() == place {
			return
		}
	}
	ends.places[ends.next.Add(1)%uint32(len(ends.places))].Store(place)
}

// ReadEnd returns the position that NoteReadEnd was told for offset. It may be out of date, after a truncation: whoever
// reads there has to see for himself whether a batch begins there with that offset.
func (s *Segment) ReadEnd(offset int64) (position int64, known bool) {
	ends := s.readEnds.Load()
	if ends == nil {
		return 0, false
	}
	for i := range ends.places {
		if place := ends.places[i].Load(); place>>32 == uint64(offset-s.baseOffset) {
			return int64(place & math.MaxUint32), place != 0
		}
	}
	return 0, false
}
