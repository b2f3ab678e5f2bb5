package segment

import (
	"math"
	"sync/atomic"
)

// readEnds are places in a segment where reads have ended a short time ago. Most consumers read on from where they were,
// and then need no lookup: it costs several small reads, which are a quarter of what it costs to read small pieces of many
// partitions, and on cold data break the disk's reading ahead.
type readEnds struct {
	cuts uint64 // what Cuts returned before the reads
	// places are offset (relative to the segment's, 32 bits) and position (32 bits); 0 for none.
	places [8]atomic.Uint64
	next   atomic.Uint32
}

// NoteReadEnd remembers that the batch which begins with offset, if there is one, is at position: the one before it, which
// ends there, was read and is sound. cuts is what Cuts returned before.
func (s *Segment) NoteReadEnd(offset, position int64, cuts uint64) {
	relative := offset - s.baseOffset
	if relative <= 0 || relative > math.MaxInt32 || position <= 0 || position > math.MaxInt32 {
		return
	}
	ends := s.readEnds.Load()
	if ends == nil || ends.cuts < cuts {
		fresh := &readEnds{cuts: cuts}
		if !s.readEnds.CompareAndSwap(ends, fresh) {
			return // another reader was faster; the next read notes its end
		}
		ends = fresh
	}
	if ends.cuts != cuts {
		return
	}
	place := uint64(relative)<<32 | uint64(position)
	for i := range ends.places {
		if ends.places[i].Load() == place {
			return
		}
	}
	ends.places[ends.next.Add(1)%uint32(len(ends.places))].Store(place)
}

// ReadEnd returns the position that NoteReadEnd was told for offset since the log was last cut: what lies there after
// that may be a part of a value, which a producer can make look like any batch.
func (s *Segment) ReadEnd(offset int64) (position int64, known bool) {
	ends := s.readEnds.Load()
	if ends == nil || ends.cuts != s.Cuts() {
		return 0, false
	}
	for i := range ends.places {
		if place := ends.places[i].Load(); place>>32 == uint64(offset-s.baseOffset) {
			return int64(place & math.MaxUint32), place != 0
		}
	}
	return 0, false
}
