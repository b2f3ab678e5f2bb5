package peer

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/wire"
)

const (
	// raftQueueCount and raftQueueBytes bound what waits for one voter; beyond them the oldest is
	// dropped. Raft sends again what still matters.
	raftQueueCount = 1024
	raftQueueBytes = 2 * quorum.MaxMessageBytes
	// raftRequestBytes is about how much goes into one request.
	raftRequestBytes = 1 << 20
	// raftInFlight bounds the requests that one voter has not confirmed.
	raftInFlight = 16
	// raftTimeout is when a voter that confirms nothing gets a new connection.
	raftTimeout = 5 * time.Second
	// maxRaftPause is the longest pause between attempts to reach a voter: one that is back must hear of its leader before it
	// is of any use.
	maxRaftPause = 250 * time.Millisecond
	// warnAfter is for how long a voter is not reached before the operator hears of it, once: a restart takes less.
	warnAfter = 10 * time.Second
)

// RaftOptions is what a Raft needs; Network and OnLost may be nil.
type RaftOptions struct {
	Self    Self
	Spawner *env.Spawner
	Metrics *metrics.Registry
	Logger  *slog.Logger
	Network Network
	// OnLost is as in Options.
	OnLost func(nodeID int32, incarnationID kafka.UUID, address Address)
	// Listed are other addresses at which a voter may be that is not where the log says: it has moved, and
	// could not tell the leader yet. May be nil.
	Listed func(nodeID int32) []Address
}

// Raft sends messages to the other voters, in order and without any promise that they arrive.
type Raft struct {
	o       RaftOptions
	queued  *metrics.Gauge
	dropped *metrics.Counter

	mu      sync.Mutex
	senders map[kafka.UUID]*raftSender // by directory id
}

// NewRaft returns a Raft that knows no voters yet.
func NewRaft(o RaftOptions) *Raft {
	return &Raft{
		o: o, senders: map[kafka.UUID]*raftSender{},
		queued:  o.Metrics.Gauge("moldau_raft_queued_messages", "Messages that wait to be sent to other voters of the metadata quorum."),
		dropped: o.Metrics.Counter("moldau_raft_dropped_messages_total", "Messages to voters of the metadata quorum that were dropped, because the voter cannot be reached or is slow."),
	}
}

// SetVoters says who votes, this node left out or not: others are not sent anything any more.
func (r *Raft) SetVoters(voters []quorum.VoterSpec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := r.senders
	r.senders = map[kafka.UUID]*raftSender{}
	for _, v := range voters {
		address, ok := ControllerAddress(v)
		if !ok || v.DirectoryID == r.o.Self.DirectoryID {
			continue
		}
		if s := gone[v.DirectoryID]; s != nil && s.address == address {
			r.senders[v.DirectoryID] = s
			delete(gone, v.DirectoryID)
			continue
		}
		s := &raftSender{raft: r, address: address, wake: make(chan struct{}, 1), heard: make(chan struct{}, 1)}
		s.ctx, s.cancel = context.WithCancel(r.o.Spawner.Context())
		r.senders[v.DirectoryID] = s
		r.o.Spawner.Go("raft-sender "+address.hostPort(), s.run)
	}
	for _, s := range gone {
		s.cancel()
	}
}

// Send queues a message for a voter; it does not block. What is for somebody else is dropped.
func (r *Raft) Send(to quorum.VoterSpec, data []byte) {
	r.mu.Lock()
	s := r.senders[to.DirectoryID]
	r.mu.Unlock()
	if s == nil {
		r.dropped.Inc()
		return
	}
	s.enqueue(data)
}

// Heard says that a voter has sent something, so that it can be reached again, most likely. It does not block.
func (r *Raft) Heard(directoryID kafka.UUID) {
	r.mu.Lock()
	s := r.senders[directoryID]
	r.mu.Unlock()
	if s == nil {
		return
	}
	select {
	case s.heard <- struct{}{}:
	default:
	}
}

// raftSender sends to one voter.
type raftSender struct {
	raft    *Raft
	address Address
	ctx     context.Context // ends when the voter votes no more, or has moved
	cancel  context.CancelFunc
	wake    chan struct{} // something is in the queue
	heard   chan struct{} // the voter has sent something
	works   atomic.Bool   // the voter has confirmed something

	mu         sync.Mutex
	queue      [][]byte // guarded by mu
	queueBytes int      // guarded by mu
	ended      bool     // guarded by mu
}

func (s *raftSender) enqueue(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		s.raft.dropped.Inc()
		return
	}
	s.queue = append(s.queue, data)
	s.queueBytes += len(data)
	drop := 0
	for len(s.queue)-drop > raftQueueCount || s.queueBytes > raftQueueBytes {
		s.queueBytes -= len(s.queue[drop])
		drop++
	}
	clear(s.queue[:drop])
	s.queue = s.queue[drop:]
	s.raft.queued.Add(int64(1 - drop))
	s.raft.dropped.Add(int64(drop))
	s.wakeUp()
}

// take removes what goes into one request.
func (s *raftSender) take() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, size := 0, 0
	for n < len(s.queue) && (n == 0 || size+len(s.queue[n]) <= raftRequestBytes) {
		size += len(s.queue[n])
		n++
	}
	taken := s.queue[:n:n]
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.queueBytes -= size
	s.raft.queued.Add(int64(-n))
	return taken
}

// run is the sender's goroutine.
func (s *raftSender) run(context.Context) {
	defer s.forget()
	var since time.Time // the first of the failures
	said := false
	var unreached error // why it is not reached where it should be
	// attempts are the failures since the voter has confirmed or sent something.
	for failures, attempts := 0, 0; ; failures, attempts = failures+1, attempts+1 {
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
		at := s.placeFor(attempts)
		if err := s.connectAndServe(at); at == s.address {
			unreached = err
		}
		if s.ctx.Err() != nil {
			return
		}
		if s.worked() {
			failures, attempts, said = 0, 0, false
		}
		if failures == 0 {
			since = time.Now()
		}
		if !said && time.Since(since) >= warnAfter {
			said = true
			s.raft.o.Logger.Warn("a voter of the metadata quorum cannot be reached: check that it runs, and controller.quorum.voters", "voter", s.address.String(), "error", unreached)
		}
		timer := time.NewTimer(backoff(attempts, maxRaftPause))
		select {
		case <-timer.C:
		case <-s.heard:
			timer.Stop()
			attempts = -1 // it is there again, and where it should be
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
		s.wakeUp() // for what is in the queue already
	}
}

// placeFor returns where to look for the voter after so many failures: in turn where it should be, and elsewhere.
func (s *raftSender) placeFor(failures int) Address {
	if s.raft.o.Listed == nil || failures%2 == 0 {
		return s.address
	}
	listed := s.raft.o.Listed(s.address.NodeID)
	if len(listed) == 0 {
		return s.address
	}
	return listed[failures/2%len(listed)]
}

// connectAndServe sends over one connection until that ends, and returns why.
func (s *raftSender) connectAndServe(at Address) error {
	o := &s.raft.o
	conn, err := Dial(s.ctx, Options{Self: o.Self, Address: at, Purpose: wire.PurposeRaft, Spawner: o.Spawner,
		RequestTimeout: raftTimeout, MaxInFlight: raftInFlight, Network: o.Network, OnLost: o.OnLost})
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		messages := s.take()
		if len(messages) == 0 {
			select {
			case <-s.wake:
				continue
			case <-conn.Done():
				return conn.Err()
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
		}
		err := conn.Start(s.ctx, &wire.PeerRaftRequest{FromPeerID: quorum.PeerID(o.Self.DirectoryID), Messages: messages}, s.confirmed)
		if err != nil {
			s.raft.dropped.Add(int64(len(messages)))
			return err
		}
	}
}

// confirmed hears of the answer to one request.
func (s *raftSender) confirmed(response kmsg.Response, err error) {
	if err == nil && response.(*wire.PeerRaftResponse).ErrorCode == 0 {
		s.works.Store(true)
	}
}

// worked reports, once, whether the voter has confirmed anything.
func (s *raftSender) worked() bool { return s.works.Swap(false) }

func (s *raftSender) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// forget drops what waits for a voter that votes no more.
func (s *raftSender) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raft.queued.Add(int64(-len(s.queue)))
	s.raft.dropped.Add(int64(len(s.queue)))
	s.queue, s.queueBytes, s.ended = nil, 0, true
}
