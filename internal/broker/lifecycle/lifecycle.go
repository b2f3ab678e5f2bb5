package lifecycle

import (
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// State is how far a broker's life has got.
type State int8

// The states.
const (
	// StateRegistering: the controller has not taken this incarnation of the broker yet.
	StateRegistering State = iota
	// StateFenced: registered, but nobody may use the broker: it gets ready, or the controller has not
	// heard of it for too long.
	StateFenced
	// StateRunning: clients and other brokers use it.
	StateRunning
	// StateLeaving: it stops on purpose and waits for the controller to move its leaderships away.
	StateLeaving
	// StateUnregistered: somebody has removed its registration. As in Kafka it serves again after a
	// restart.
	StateUnregistered
	// StateStopped: the controller has let it go, or was not to be waited for.
	StateStopped
	// StateFailed: it cannot be a broker of this cluster; Err says why.
	StateFailed
)

var stateNames = [...]string{"registering", "fenced", "running", "leaving", "unregistered", "stopped", "failed"}

func (s State) String() string { return stateNames[s] }

const (
	// firstRetryMs and the interval of heartbeats are the bounds of pauses after failures.
	firstRetryMs = 10
	// leavingIntervalMs is the time between questions whether the controller lets the broker go.
	leavingIntervalMs = 20
	never             = int64(math.MaxInt64)
)

// Options say who the broker is and how patient.
type Options struct {
	// Registration is what the broker tells of itself. It is not changed.
	Registration *kmsg.BrokerRegistrationRequest
	// HeartbeatMs is the time between heartbeats.
	HeartbeatMs int64
	// RegistrationTimeoutMs is how long a broker id that another process seems to use is asked for
	// again: the other one may be this broker's former incarnation, whose session has not ended.
	RegistrationTimeoutMs int64
	// LeaveTimeoutMs is how long the controller may take to move leaderships away.
	LeaveTimeoutMs int64
	// LeaveSilenceMs is how long a broker that leaves waits without any answer: the controllers may have
	// been stopped with it.
	LeaveSilenceMs int64
}

// Facts are what the broker knows besides the controller's answers.
type Facts struct {
	// Ready says that the broker hosts its partitions as its metadata had them after the
	// registration: it may be used.
	Ready bool
	// MetadataOffset is the offset of the latest metadata that the broker has applied.
	MetadataOffset int64
	// Incarnation is that of the registration under the broker's id in that metadata, zero for none.
	Incarnation kafka.UUID
	// SharesDirs says that this registration is for log dirs that this process has: then it is of a former process,
	// since they are locked.
	SharesDirs bool
	// OfflineDirs are the log dirs that have failed.
	OfflineDirs []kafka.UUID
	// CordonedDirs are the log dirs that get no new replicas.
	CordonedDirs []kafka.UUID
}

// Lifecycle is a broker's life. It has one owner and no locks.
type Lifecycle struct {
	o         Options
	state     State
	epoch     int64
	err       error
	leaveMs   int64 // when it is not waited for the controller any longer, unless that answers
	lastMs    int64 // when it is not waited for the controller any longer
	nextMs    int64 // when the next request is due
	sentMs    int64
	retryMs   int64
	waiting   bool  // for an answer
	refused   bool  // the id seems to be in use
	refusedMs int64 // since when
	gaveUp    bool
	// What the latest heartbeat said, and how many failed log dirs the controller knows of.
	told      Facts
	knownDirs int
	asked     bool // the latest heartbeat asked to be let go
}

// New returns the life of a broker that starts now.
func New(o Options, nowMs int64) *Lifecycle {
	return &Lifecycle{o: o, epoch: -1, nextMs: nowMs, leaveMs: never}
}

// State returns how far the broker's life has got.
func (l *Lifecycle) State() State { return l.state }

// Epoch returns the broker epoch of the registration, -1 before it.
func (l *Lifecycle) Epoch() int64 { return l.epoch }

// Err returns why the broker cannot go on, in StateFailed.
func (l *Lifecycle) Err() error { return l.err }

// IDInUse reports whether the controller has refused the broker's id so far because another
// process has registered with it.
func (l *Lifecycle) IDInUse() bool { return l.refused }

// GaveUp reports whether the broker has stopped without the controller's leave.
func (l *Lifecycle) GaveUp() bool { return l.gaveUp }

// isOver reports whether there is nothing more to say.
func (l *Lifecycle) isOver() bool {
	return l.state == StateUnregistered || l.state == StateStopped || l.state == StateFailed
}

// Leave begins the controlled shutdown.
func (l *Lifecycle) Leave(nowMs int64) {
	switch l.state {
	case StateRegistering, StateUnregistered:
		l.state = StateStopped // nobody counts on it
	case StateFenced, StateRunning:
		l.state, l.lastMs, l.nextMs = StateLeaving, nowMs+l.o.LeaveTimeoutMs, nowMs
		l.waitOn(nowMs)
	}
}

// GiveUp ends the wait of a broker that leaves: there is nobody who could let it go.
func (l *Lifecycle) GiveUp() {
	if l.state == StateLeaving {
		l.state, l.gaveUp = StateStopped, true
	}
}

// waitOn bounds the wait of a broker that leaves for the controller's next answer.
func (l *Lifecycle) waitOn(nowMs int64) { l.leaveMs = min(l.lastMs, nowMs+l.o.LeaveSilenceMs) }

// Next returns the request that is due, nil if there is none. Its answer is to be given to
// Answered, and no other request is due before.
func (l *Lifecycle) Next(nowMs int64, f Facts) kmsg.Request {
	if l.state == StateLeaving && nowMs >= l.leaveMs {
		l.GiveUp()
	}
	if l.waiting || l.isOver() || nowMs < l.nextMs && !l.hasNews(f) {
		return nil
	}
	l.waiting, l.sentMs = true, nowMs
	if l.state == StateRegistering {
		return l.o.Registration
	}
	l.told = f
	l.told.OfflineDirs, l.told.CordonedDirs = slices.Clone(f.OfflineDirs), slices.Clone(f.CordonedDirs)
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = l.o.Registration.BrokerID, l.epoch, f.MetadataOffset
	l.asked = l.state == StateLeaving
	req.WantShutdown, req.WantFence = l.asked, !l.asked && !f.Ready
	for _, id := range l.told.OfflineDirs {
		req.OfflineLogDirs = append(req.OfflineLogDirs, id)
	}
	req.CordonedLogDirs = [][16]byte{} // none, as nil would say nothing
	for _, id := range l.told.CordonedDirs {
		req.CordonedLogDirs = append(req.CordonedLogDirs, id)
	}
	return req
}

// hasNews reports whether the controller should know at once what has happened: a log dir has
// failed, or a fenced broker is ready. After a failure the pause is kept.
func (l *Lifecycle) hasNews(f Facts) bool {
	if l.retryMs > 0 || l.state == StateRegistering {
		return false
	}
	return l.state == StateFenced && l.mayRun(f) && !l.mayRun(l.told) || len(f.OfflineDirs) > l.knownDirs
}

func (l *Lifecycle) mayRun(f Facts) bool { return f.Ready && f.MetadataOffset >= l.epoch }

// NextDeadlineMs is when Next may have something, even where no facts change.
func (l *Lifecycle) NextDeadlineMs() int64 {
	switch {
	case l.isOver():
		return never
	case l.waiting:
		return l.leaveMs
	}
	return min(l.nextMs, l.leaveMs)
}

// Answered takes the answer to the latest request, or why there is none. f is what the broker
// knows now: at least the metadata that the answer rests on.
func (l *Lifecycle) Answered(nowMs int64, f Facts, resp kmsg.Response, err error) {
	l.waiting = false
	if l.isOver() {
		return
	}
	switch r := resp.(type) {
	case *kmsg.BrokerRegistrationResponse:
		if err == nil {
			l.registered(nowMs, kafka.ErrorCode(r.ErrorCode), r.BrokerEpoch)
			return
		}
	case *kmsg.BrokerHeartbeatResponse:
		if err == nil {
			l.heard(nowMs, f, r)
			return
		}
	}
	l.retry(nowMs)
}

// retry has the request sent again after a pause that grows.
func (l *Lifecycle) retry(nowMs int64) {
	l.retryMs = min(max(2*l.retryMs, firstRetryMs), l.o.HeartbeatMs)
	l.nextMs = nowMs + l.retryMs
}

func (l *Lifecycle) registered(nowMs int64, code kafka.ErrorCode, epoch int64) {
	id := l.o.Registration.BrokerID
	switch code {
	case kafka.ErrNone:
		l.retryMs, l.refused = 0, false
		if l.state == StateRegistering { // else told to leave meanwhile
			l.state, l.epoch, l.nextMs = StateFenced, epoch, nowMs+l.o.HeartbeatMs
		}
	case kafka.ErrDuplicateBrokerRegistration:
		if !l.refused { // a node may have waited for the others to form a quorum before
			l.refused, l.refusedMs = true, nowMs
		}
		if nowMs-l.refusedMs >= l.o.RegistrationTimeoutMs {
			l.fail("another process is registered as broker %d and still heard of: give each broker a node.id of its own, or stop the other one", id)
			return
		}
		l.retry(nowMs)
	case kafka.ErrNotController, kafka.ErrRequestTimedOut, kafka.ErrNetworkException, kafka.ErrNotLeaderOrFollower:
		l.retry(nowMs)
	case kafka.ErrInconsistentClusterID:
		l.fail("the controller belongs to another cluster than this broker's folders, which are of cluster %s: set controller.quorum.voters to the controllers of that cluster, or choose other log.dirs",
			l.o.Registration.ClusterID)
	case kafka.ErrUnsupportedVersion:
		l.fail("the cluster uses features that this version of the broker does not have: start a version that has them as broker %d", id)
	default:
		l.fail("the controller refuses to register broker %d: %w", id, code)
	}
}

func (l *Lifecycle) fail(format string, args ...any) {
	l.state, l.err = StateFailed, fmt.Errorf(format, args...)
}

// heard takes the answer to a heartbeat.
func (l *Lifecycle) heard(nowMs int64, f Facts, r *kmsg.BrokerHeartbeatResponse) {
	switch code := kafka.ErrorCode(r.ErrorCode); code {
	case kafka.ErrNone:
	case kafka.ErrStaleBrokerEpoch, kafka.ErrBrokerIDNotRegistered:
		l.replaced(nowMs, f)
		return
	default:
		l.retry(nowMs)
		return
	}
	l.retryMs, l.knownDirs = 0, len(l.told.OfflineDirs)
	if l.state == StateLeaving {
		l.waitOn(nowMs)
	}
	switch {
	case l.state == StateLeaving && r.ShouldShutdown:
		l.state = StateStopped
	case l.state == StateLeaving && l.asked:
		l.nextMs = nowMs + leavingIntervalMs
	case l.state == StateLeaving:
		l.nextMs = nowMs
	case r.IsFenced:
		l.state, l.nextMs = StateFenced, max(l.sentMs+l.o.HeartbeatMs, nowMs)
	default:
		l.state, l.nextMs = StateRunning, max(l.sentMs+l.o.HeartbeatMs, nowMs)
	}
}

// replaced is called when the controller does not know the broker under its epoch: the metadata
// says why.
func (l *Lifecycle) replaced(nowMs int64, f Facts) {
	switch {
	case l.state == StateLeaving:
		l.state = StateStopped // there is nothing to leave
	case f.Incarnation.IsZero():
		l.state = StateUnregistered
	case f.Incarnation != kafka.UUID(l.o.Registration.IncarnationID) && f.SharesDirs:
		// A registration that a killed process had sent came later than that of this one.
		l.state, l.nextMs = StateRegistering, nowMs
	case f.Incarnation != kafka.UUID(l.o.Registration.IncarnationID):
		l.fail("another process has registered as broker %d, so that this one serves nobody any more: give each broker a node.id of its own", l.o.Registration.BrokerID)
	default: // the answer and the metadata contradict each other: ask again
		l.retry(nowMs)
	}
}
