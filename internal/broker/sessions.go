package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/broker/lifecycle"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/wire"
)

// sessions holds this broker's session with every voter: each of them knows that the broker is alive, so
// that a new active controller does, and sees its connection end when the process dies.
type sessions struct {
	spawner     *env.Spawner
	connections *peer.Keeper // one to each voter
	nodeID      int32
	epoch       func() int64 // of the registration, -1 before it
	// touch is the session with this node's own controller; nil where it has none.
	touch func(broker int32, epoch int64)
	// offset is how far this node knows the metadata log, which the leader shows.
	offset func() int64
	// logEnd is where this node's own metadata log ends, applied up to where the metadata is applied.
	logEnd  func() int64
	applied func() int64
	contact *contact // who has answered

	mu     sync.Mutex
	voters map[peer.Address]context.CancelFunc
}

// isIsolated reports whether others may have decided what this broker has not heard: see lifecycle.Contact. Any goroutine
// may call it.
func (s *sessions) isIsolated() bool { return s.contact.isIsolated(s.applied) }

func (s *sessions) answered(voter int32, sentMs, endOffset int64) {
	s.contact.tell(func(core *lifecycle.Contact, nowMs int64) { core.Answered(voter, sentMs, nowMs, endOffset) })
}

// setVoters begins and ends sessions. It does not block.
func (s *sessions) setVoters(voters []quorum.VoterSpec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := s.voters
	s.voters = map[peer.Address]context.CancelFunc{}
	s.note(voters)
	for _, v := range voters {
		address, ok := peer.ControllerAddress(v)
		if !ok {
			continue
		}
		if cancel := gone[address]; cancel != nil {
			s.voters[address] = cancel
			delete(gone, address)
			continue
		}
		ctx, cancel := context.WithCancel(s.spawner.Context())
		s.voters[address] = cancel
		s.spawner.Go("session "+address.String(), func(context.Context) { s.run(ctx, address) })
	}
	for _, cancel := range gone {
		cancel()
	}
}

// note tells contact who the voters are.
func (s *sessions) note(voters []quorum.VoterSpec) {
	var ids []int32
	for _, v := range voters {
		if _, ok := peer.ControllerAddress(v); ok || v.NodeID == s.nodeID {
			ids = append(ids, v.NodeID)
		}
	}
	s.contact.tell(func(core *lifecycle.Contact, nowMs int64) { core.SetVoters(ids, nowMs) })
}

// sessionTimeout is how long a voter may take to answer a heartbeat before its connection is given up.
const sessionTimeout = time.Second

// maxSessionRest is how many heartbeats are left out at most where a voter cannot be reached: about a second's.
const maxSessionRest = 9

// run is the goroutine of the session with one voter.
func (s *sessions) run(ctx context.Context, address peer.Address) {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	defer s.connections.Forget(address)
	failures, rest := 0, 0 // heartbeats in a row that failed, and those that are left out for it
	for {
		if epoch := s.epoch(); epoch >= 0 {
			switch {
			case address.NodeID == s.nodeID:
				s.touchOwn(epoch)
			case rest > 0:
				rest--
			case s.heartbeat(ctx, address, epoch):
				failures = 0
			default:
				rest = min(1<<min(failures, 8)-1, maxSessionRest) // the first failure leaves none out
				failures++
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// touchOwn is the heartbeat to this node's own controller.
func (s *sessions) touchOwn(epoch int64) {
	if s.touch != nil {
		s.touch(s.nodeID, epoch)
	}
	s.answered(s.nodeID, s.contact.nowMs(), s.logEnd())
}

// heartbeat sends one to another node. Where it fails the next one goes over a new connection.
func (s *sessions) heartbeat(ctx context.Context, address peer.Address, epoch int64) (sent bool) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = s.nodeID, epoch, s.offset()
	sentMs := s.contact.nowMs()
	resp, err := s.connections.Call(ctx, address, req) // the voter knows best what it has not heard
	if err != nil {
		return false
	}
	s.answered(address.NodeID, sentMs, wire.LogEnd(resp.(*kmsg.BrokerHeartbeatResponse)))
	return true
}
