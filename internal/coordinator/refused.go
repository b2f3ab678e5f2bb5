package coordinator

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
)

// What a host does while its log refuses appends. Where that is foreseen, as with too few in-sync replicas, the shard is
// held: its state stays as it is, what only reads is answered, the rest is told to come back, as Kafka's coordinators
// do. Where nobody is heard of who could confirm an append, everybody is told to look for another coordinator, also who
// waits already. Where an append fails after the shard's state has run ahead of the log, the shard is loaded again: at
// once the first time, then after pauses that grow.

// Between looks at whether a held shard's log takes appends again (requests look as well), and between loads of a shard
// whose appends fail.
const (
	firstRefusedPause = 100 * time.Millisecond
	maxRefusedPause   = 5 * time.Second
	// maxHoldGrace is how long, after a hold, deadlines wait at most: for members that have been told to come back.
	maxHoldGrace = 10 * time.Second
	// maxHeldWait is how long a shard is held before those are told to come back who wait for others, as for the rest of their group: they cannot
	// come, and clients give a request up after 30 s.
	maxHeldWait = 10 * time.Second
	// defaultCommitTimeout is how long what was appended may take to be committed before those are told to come back who wait for it.
	defaultCommitTimeout = 5 * time.Second
)

// hold is how a shard is held.
type hold struct {
	active      bool
	abandoned   bool // another broker may be the coordinator by now
	sinceMs     int64
	pause       time.Duration
	checkAtMs   int64
	ticksFromMs int64 // no deadline counts before
}

// failedAppends is a spell of appends that fail, each of which has the shard loaded again.
type failedAppends struct {
	count int64
	pause time.Duration
}

// checkAppend asks the log whether it would take an append, where there is something to do or the shard is held. The
// error says that the shard is held now. Where the broker does not lead any more or cannot use the log the append itself
// shall say so.
func (h *host[S]) checkAppend(wanted bool) error {
	if !wanted && !h.hold.active {
		return nil
	}
	err := h.runtime.o.Log.CheckAppend(h.tp, h.leaderEpoch)
	abandoned := errors.Is(err, replica.ErrAbandoned)
	switch {
	case err == nil || !abandoned && (isNotLeader(err) || coordinatorCode(err) == kafka.ErrNotCoordinator):
		h.endHold()
		return nil
	case !h.hold.active:
		h.hold = hold{active: true, sinceMs: h.steadyMs, pause: firstRefusedPause, checkAtMs: h.steadyMs + firstRefusedPause.Milliseconds()}
		slog.Warn("A coordinator's partition takes no records: requests that would write some are told to come back until it does",
			"partition", h.tp.String(), "leaderEpoch", h.leaderEpoch, "error", err)
	case h.hold.checkAtMs <= h.steadyMs:
		h.hold.pause = min(2*h.hold.pause, maxRefusedPause)
		h.hold.checkAtMs = h.steadyMs + h.hold.pause.Milliseconds()
	}
	if h.hold.abandoned = abandoned; abandoned || h.steadyMs-h.hold.sinceMs >= maxHeldWait.Milliseconds() {
		h.sendAway(coordinatorCode(err), abandoned)
	}
	return err
}

// answerLate answers those who have waited for a commit for too long, and leaves the shard as it is: what they wait for may still be committed.
func (h *host[S]) answerLate() {
	end := h.late
	kept := h.pending[:end:end]
	for ; end < len(h.pending) && h.pending[end].dueMs <= h.steadyMs; end++ {
		late := h.pending[end]
		late.responses = slices.DeleteFunc(late.responses, func(response shard.Response) bool {
			if h.waiting[response.Token].isPatient {
				return false
			}
			h.sendOneAway(response.Token, kafka.ErrCoordinatorNotAvailable)
			delete(h.waiting, response.Token)
			return true
		})
		if len(late.responses) > 0 || len(late.notices) > 0 {
			kept = append(kept, late)
		}
	}
	if end > h.late {
		h.late, h.pending = len(kept), append(kept, h.pending[end:]...)
	}
}

// sendAway answers those who wait, also the patient ones where there is nothing to hope for here, and leaves the shard as it is: what they wait for may still be committed.
func (h *host[S]) sendAway(code kafka.ErrorCode, patient bool) {
	for _, token := range slices.Sorted(maps.Keys(h.waiting)) {
		if patient || !h.waiting[token].isPatient {
			h.sendOneAway(token, code)
		}
	}
}

func (h *host[S]) sendOneAway(token shard.Token, code kafka.ErrorCode) {
	if w := h.waiting[token]; w.exists() {
		h.waiting[token] = waiter{} // the shard may answer it yet, to nobody
		h.runtime.metrics.parked.Add(-1)
		w.send(shard.Response{Token: token, Err: code})
	}
}

func (h *host[S]) endHold() {
	if !h.hold.active {
		return
	}
	heldMs := h.steadyMs - h.hold.sinceMs
	h.hold = hold{ticksFromMs: h.steadyMs + min(heldMs, maxHoldGrace.Milliseconds())}
	slog.Info("A coordinator's partition takes records again", "partition", h.tp.String(), "leaderEpoch", h.leaderEpoch, "afterMs", heldMs)
}

// handleHeld handles what only reads, unless another broker may know more. What nobody waits for, and nobody would ask
// for again, is kept.
func (h *host[S]) handleHeld(queue []request[S], code kafka.ErrorCode) {
	for i := range queue {
		switch q := &queue[i]; {
		case q.reads && !h.hold.abandoned || h.state != stateActive:
			h.handle(q)
		case q.done.exists():
			q.done.send(shard.Response{Err: code})
		default:
			h.postpone(q)
		}
	}
}

// fail gives up the state that the log does not confirm, and has the shard loaded again.
func (h *host[S]) fail(err error) {
	code := coordinatorCode(err)
	if _, _, unusable := h.runtime.o.Log.Bounds(h.tp, h.leaderEpoch); code == kafka.ErrNotCoordinator && !isNotLeader(err) && unusable == nil {
		code = kafka.ErrCoordinatorNotAvailable // a log dir that is nearly full; there is no other coordinator to look for
	}
	h.spell.count++
	if h.spell.count == 1 || isNotLeader(err) {
		slog.Warn("Coordinator shard dropped: its log refused an append; loading it again", "partition", h.tp.String(), "leaderEpoch", h.leaderEpoch, "error", err)
		h.spell.pause = firstRefusedPause
		h.drop(stateLoading, code)
		return
	}
	slog.Debug("Coordinator shard dropped: its log refuses appends", "partition", h.tp.String(), "leaderEpoch", h.leaderEpoch, "retryIn", h.spell.pause, "error", err)
	h.setRefusal(code) // before anybody can ask for it
	h.drop(stateFailed, code)
	h.retryAtMs = h.steadyMs + h.spell.pause.Milliseconds()
	h.spell.pause = min(2*h.spell.pause, maxRefusedPause)
	h.runtime.setDeadline(h, h.retryAtMs)
}

// endSpell notes an append that went well.
func (h *host[S]) endSpell() {
	if h.spell.count > 1 {
		slog.Info("A coordinator's log takes appends again", "partition", h.tp.String(), "leaderEpoch", h.leaderEpoch, "failedAppends", h.spell.count)
	}
	h.spell = failedAppends{}
}

func (h *host[S]) setRefusal(code kafka.ErrorCode) {
	h.runtime.mu.Lock()
	defer h.runtime.mu.Unlock()
	h.refusal = code
}

// refusalNow is what is answered while the shard is not active.
func (h *host[S]) refusalNow() kafka.ErrorCode {
	h.runtime.mu.Lock()
	defer h.runtime.mu.Unlock()
	if h.state == stateFailed {
		return h.refusal
	}
	return kafka.ErrCoordinatorLoadInProgress
}
