package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

const (
	// refuteMs is for how long after the report of a broker's death its heartbeats may still come out
	// of buffers. Later ones show that it is alive.
	refuteMs = 100
	// maxDead and maxHeard bound how many dead brokers are remembered, and how many of whom something was heard while
	// the controller is not active.
	maxDead, maxHeard = 10_000, 10_000
	// graceShare is the part of a session that every broker has when another controller becomes active: it may just have been
	// out of reach itself.
	graceShare = 3
)

// Sessions decides when a broker counts as gone: nothing was heard of it for the session time-out, or it
// is known to be dead. It is a core of its own beside the image, since it goes with the active controller and
// not with the cluster. A nil Sessions never gives anybody up.
type Sessions struct {
	timeoutMs int64
	maxStepMs int64
	active    bool
	// clockMs is the sessions' own time: a long gap between two ticks moves it by maxStepMs only, since
	// who has slept has not heard anybody.
	clockMs  int64
	tickedMs int64
	brokers  map[int32]*session
	dead     map[int32]death
	fenced   map[int32]int64 // those fenced for their silence in the last session time-out, and when
	// suspectMs is since when half of the brokers are silent at once, -1 while they are not: then the
	// controller's own network is the likelier fault, and it waits for one session.
	suspectMs int64
}

type session struct {
	epoch      int64
	touchedMs  int64
	applied    int64 // offset of the metadata that the broker has reported
	shutdownAt int64 // offset that all have to know before it may go, -1 while it is not leaving
}

type death struct {
	incarnation kafka.UUID
	reportedMs  int64
}

// NewSessions returns sessions that end after timeoutMs; the host ticks every tickMs.
func NewSessions(timeoutMs, tickMs int64) *Sessions {
	return &Sessions{timeoutMs: timeoutMs, maxStepMs: 2 * tickMs, brokers: map[int32]*session{}, dead: map[int32]death{}, suspectMs: -1}
}

// now turns the host's monotonic time into the sessions'.
func (s *Sessions) now(nowMs int64) int64 {
	return s.clockMs + max(0, min(nowMs-s.tickedMs, s.maxStepMs))
}

// Activate begins with what was heard so far: every broker tells every voter that it is alive, so one that has gone
// silent with the controller before does not get another whole session. Who was not heard of gets a full one, the others
// at least a part of it, and those known to be dead none.
func (s *Sessions) Activate(nowMs int64) {
	s.clockMs, s.tickedMs = s.now(nowMs), nowMs
	s.active, s.suspectMs, s.fenced = true, -1, map[int32]int64{}
	for _, known := range s.brokers {
		known.touchedMs = max(known.touchedMs, s.clockMs-s.timeoutMs+s.timeoutMs/graceShare)
		known.applied, known.shutdownAt = -1, -1
	}
}

// Deactivate has nobody fenced any more; who was heard of, and who is dead, stays known.
func (s *Sessions) Deactivate() { s.active, s.fenced = false, nil }

// Touch notes that something was heard of a broker's incarnation.
func (s *Sessions) Touch(broker int32, epoch, nowMs int64) {
	if d, ok := s.dead[broker]; ok && nowMs-d.reportedMs >= refuteMs {
		delete(s.dead, broker)
	}
	if session := s.session(broker, epoch, nowMs); session != nil {
		session.touchedMs = s.now(nowMs)
	}
}

// Applied notes up to where a broker has applied the metadata.
func (s *Sessions) Applied(broker int32, epoch, offset, nowMs int64) {
	if session := s.session(broker, epoch, nowMs); session != nil {
		session.applied = max(session.applied, offset)
	}
}

// session returns the session of a broker's incarnation, which begins now if it is a later one; nil where
// it is over.
func (s *Sessions) session(broker int32, epoch, nowMs int64) *session {
	found := s.brokers[broker]
	if found == nil && !s.active && len(s.brokers) >= maxHeard {
		return nil
	}
	if found == nil || found.epoch < epoch {
		found = &session{epoch: epoch, touchedMs: s.now(nowMs), applied: -1, shutdownAt: -1}
		s.brokers[broker] = found
	}
	if found.epoch != epoch {
		return nil
	}
	return found
}

// Dead notes that a process is gone: its connection broke and nobody listens where it did.
func (s *Sessions) Dead(broker int32, incarnation kafka.UUID, nowMs int64) {
	if _, known := s.dead[broker]; known || len(s.dead) < maxDead {
		s.dead[broker] = death{incarnation, nowMs}
	}
}

// Tick returns the brokers that are to be fenced, by id. Those known to be dead are not silent: their machines
// have answered, whatever became of others. A controller whose own network is at fault has no quorum
// behind it, and nobody is fenced before that has committed it. While the controller is not active, which may have no
// image then, the time of the sessions passes and nobody is fenced.
func (s *Sessions) Tick(image *metadata.Image, nowMs int64) []int32 {
	s.clockMs, s.tickedMs = s.now(nowMs), nowMs
	if !s.active {
		return nil
	}
	for id, at := range s.fenced {
		if s.clockMs-at >= s.timeoutMs {
			delete(s.fenced, id)
		}
	}
	var dead, silent []int32
	alive := 0
	for b := range image.Brokers() {
		if b.Fenced {
			delete(s.brokers, b.ID)
			continue
		}
		delete(s.fenced, b.ID)
		if found := s.brokers[b.ID]; found != nil && found.epoch > b.Epoch {
			delete(s.brokers, b.ID) // no such incarnation is registered
		}
		if s.isDead(b) {
			dead = append(dead, b.ID)
			continue
		}
		alive++
		if session := s.session(b.ID, b.Epoch, nowMs); s.clockMs-session.touchedMs >= s.timeoutMs {
			silent = append(silent, b.ID)
		}
	}
	for id := range s.brokers {
		if image.Broker(id) == nil {
			delete(s.brokers, id)
		}
	}
	switch {
	case len(silent) == 0:
		s.suspectMs = -1
		return dead
	case s.suspectsItself(len(silent)+len(s.fenced), alive+len(s.fenced)):
		return dead
	}
	for _, id := range silent {
		s.fenced[id] = s.clockMs
	}
	gone := append(dead, silent...)
	slices.Sort(gone)
	return gone
}

// isDead reports whether a broker's present incarnation is known to be dead. What is known of another one
// is of no use any more.
func (s *Sessions) isDead(b *metadata.Broker) bool {
	d, ok := s.dead[b.ID]
	if ok && d.incarnation != b.IncarnationID {
		delete(s.dead, b.ID)
		return false
	}
	return ok
}

func (s *Sessions) suspectsItself(silent, all int) bool {
	if silent < 2 || 2*silent < all {
		return false
	}
	if s.suspectMs < 0 {
		s.suspectMs = s.clockMs
	}
	return s.clockMs-s.suspectMs < s.timeoutMs
}

// isValid reports whether a registered broker is known to be alive.
func (s *Sessions) isValid(b *metadata.Broker) bool {
	if s == nil || b.Fenced {
		return false
	}
	session := s.brokers[b.ID]
	return session != nil && session.epoch == b.Epoch && s.clockMs-session.touchedMs < s.timeoutMs && !s.isDead(b)
}

// beginShutdown notes the offset at which a leaving broker has nothing left to do.
func (s *Sessions) beginShutdown(b *metadata.Broker, offset int64) {
	if s != nil {
		if session := s.session(b.ID, b.Epoch, s.tickedMs); session != nil {
			session.shutdownAt = offset
		}
	}
}

// movesLeaders reports whether this controller has still to move a leaving broker's leaderships away: once it has,
// and the image shows that it leaves, nothing gives it another.
func (s *Sessions) movesLeaders(b *metadata.Broker) bool {
	if s == nil || !b.InControlledShutdown {
		return true
	}
	session := s.session(b.ID, b.Epoch, s.tickedMs)
	return session == nil || session.shutdownAt < 0
}

// shutdownOffset is that offset; if another controller began the shutdown, it is the latest one.
func (s *Sessions) shutdownOffset(b *metadata.Broker, latest int64) int64 {
	if s == nil {
		return latest
	}
	session := s.session(b.ID, b.Epoch, s.tickedMs)
	if session == nil {
		return latest
	}
	if session.shutdownAt < 0 {
		session.shutdownAt = latest
	}
	return session.shutdownAt
}

// lowestApplied returns the offset up to which all active brokers have applied the metadata.
func (s *Sessions) lowestApplied(image *metadata.Image) int64 {
	lowest := noOffset
	if s == nil {
		return lowest
	}
	for b := range image.Brokers() {
		if !b.Active() {
			continue
		}
		applied := int64(-1)
		if session := s.brokers[b.ID]; session != nil && session.epoch == b.Epoch {
			applied = session.applied
		}
		lowest = min(lowest, applied)
	}
	return lowest
}
