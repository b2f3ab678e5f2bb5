package segment

import "slices"

// What this process has written itself, or has read and found right, a short time ago is believed to
// be so still: it is in the page cache, and the disk is not asked. Only that may be sent without
// being read. It is kept as few runs of whole batches, whatever number of batches they have.

const (
	// SoundMs is how long bytes are believed that were appended or checked.
	SoundMs = 60_000
	// soundRunMs is for how long a run grows. All of it counts as old as its first bytes.
	soundRunMs = 10_000
	// maxSoundRuns are those that a writer needs in SoundMs, and some for readers.
	maxSoundRuns = 16
	// maxClockStepMs is how far a clock may be set back without runs of its future being disbelieved.
	maxClockStepMs = 1_000
)

// soundRun is a run of whole batches that were right at sinceMs or later.
type soundRun struct {
	from, to int64 // positions
	next     int64 // the offset after them
	sinceMs  int64
}

// known is what this process knows of a .log file.
type known struct {
	sound  []soundRun // which bytes are right, since it was last cut
	sentTo int64      // the position after the last byte that was sent to consumers out of the file, ever
	// replicatedTo is sentTo of followers, whose records need not be committed, so that cuts below it are common. They check what they get.
	replicatedTo int64
}

func (r *soundRun) isBelieved(nowMs int64) bool {
	age := nowMs - r.sinceMs
	return age >= -maxClockStepMs && age <= SoundMs
}

// NoteSound says that sizeBytes bytes from position on are whole batches that end before the offset
// next, and were seen to be right. cuts is what Cuts returned before.
func (s *Segment) NoteSound(position int64, sizeBytes int, next, nowMs int64, cuts uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir.cuts.Count() != cuts {
		return
	}
	if s.known == nil {
		s.known = new(known)
	}
	k, to := s.known, position+int64(sizeBytes)
	for i := range k.sound {
		if r := &k.sound[i]; r.to == position && r.isBelieved(nowMs) && nowMs-r.sinceMs <= soundRunMs {
			r.to, r.next = to, next
			return
		}
	}
	k.sound = slices.DeleteFunc(k.sound, func(r soundRun) bool { return !r.isBelieved(nowMs) })
	if len(k.sound) == maxSoundRuns {
		k.sound = slices.Delete(k.sound, 0, 1)
	}
	k.sound = append(k.sound, soundRun{from: position, to: to, next: next, sinceMs: nowMs})
}

// soundTo returns how far the batches from position, the start of one, on are believed to be right, and
// the offset after them.
func (s *Segment) soundTo(position, nowMs int64) (end, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end = position
	for found := s.known != nil; found; {
		found = false
		for i := range s.known.sound {
			if r := &s.known.sound[i]; r.from <= end && end < r.to && r.isBelieved(nowMs) {
				end, next, found = r.to, r.next, true
			}
		}
	}
	return end, next
}

// Cuts is how often files of the segment's log were cut; see NoteSound.
func (s *Segment) Cuts() uint64 { return s.dir.cuts.Count() }

// noteSent remembers that a range that ends at end may be sent, to a follower or a consumer. One from before a cut will not be.
func (s *Segment) noteSent(end int64, cuts uint64, isReplica bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.dir.cuts.Count() != cuts || s.known == nil:
	case isReplica:
		s.known.replicatedTo = max(s.known.replicatedTo, end)
	default:
		s.known.sentTo = max(s.known.sentTo, end)
	}
}
