package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
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
	// timeoutMs is broker.session.timeout.ms, and contact who has answered; its time begins with started.
	timeoutMs int64
	started   time.Time
	contact   contact

	mu     sync.Mutex
	voters map[peer.Address]context.CancelFunc
}

func (s *sessions) nowMs() int64 { return time.Since(s.started).Milliseconds() }

// isIsolated reports whether no majority of the voters has answered for as long as a session lasts. Any goroutine may
// call it.
func (s *sessions) isIsolated() bool { return s.contact.isLost(s.nowMs()) }

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
	self, others := false, []peer.Address(nil)
	for _, v := range voters {
		if address, ok := peer.ControllerAddress(v); v.NodeID == s.nodeID {
			self = true
		} else if ok {
			others = append(others, address)
		}
	}
	s.contact.setVoters(self, others, s.nowMs(), s.timeoutMs)
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
				if s.touch != nil {
					s.touch(s.nodeID, epoch)
				}
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

// heartbeat sends one to another node. Where it fails the next one goes over a new connection.
func (s *sessions) heartbeat(ctx context.Context, address peer.Address, epoch int64) (sent bool) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = s.nodeID, epoch, s.offset()
	_, err := s.connections.Call(ctx, address, req) // the voter knows best what it has not heard
	if err == nil {
		s.contact.answered(address, s.nowMs(), s.timeoutMs)
	}
	return err == nil
}
