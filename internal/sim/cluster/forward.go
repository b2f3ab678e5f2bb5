package cluster

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer/forward"
)

// forwarder is the way of a node's requests to the active controller, wherever it is: peer.Controllers, whose rules it asks.
type forwarder struct {
	p *process
	// reign are called, once each, when the leader changes.
	reign []func()
}

// forwardAnswer is what the controller has answered another node.
type forwardAnswer struct {
	response kmsg.Response
	offset   int64
	err      error
}

func (f *forwarder) leaderChanged() {
	waiting := f.reign
	f.reign = nil
	for _, run := range waiting {
		f.p.after(0, run)
	}
}

// send has the active controller handle req; done is called once, when this node's metadata shows what the answer
// rests on, or with an error, after timeoutMs at the latest.
func (f *forwarder) send(req kmsg.Request, timeoutMs int64, done func(kmsg.Response, error)) {
	p, over := f.p, false
	finish := func(resp kmsg.Response, err error) {
		if !over {
			over = true
			done(resp, err)
		}
	}
	p.after(timeoutMs, func() { finish(nil, kafka.ErrRequestTimedOut) })
	failures := 0
	var try func()
	try = func() {
		if over {
			return
		}
		f.attempt(req, func(resp kmsg.Response, offset int64, err error, lost bool) {
			if over {
				return
			}
			if err == nil {
				p.whenImage(offset, func() { finish(resp, nil) })
				return
			}
			again, answer := forward.Failed(req.Key(), err, lost)
			if !again {
				finish(nil, answer)
				return
			}
			tried := false
			retry := func() {
				if !tried {
					tried = true
					try()
				}
			}
			f.reign = append(f.reign, retry)
			p.after(forward.Pause(failures).Milliseconds(), retry)
			failures++
		})
	}
	try()
}

// attempt asks who is the active controller at the moment.
func (f *forwarder) attempt(req kmsg.Request, done func(resp kmsg.Response, offset int64, err error, lost bool)) {
	p := f.p
	leader := p.quorum.voter.Leadership()
	switch {
	case leader.LeaderID == kafka.NoLeader:
		done(nil, 0, fmt.Errorf("%w: no leader", forward.ErrUnsent), false)
		return
	case leader.LeaderID == p.node.id && !p.controller.isActive():
		done(nil, 0, fmt.Errorf("%w: about to become active", forward.ErrUnsent), false)
		return
	case leader.LeaderID == p.node.id:
		p.controller.handle(req, func(resp kmsg.Response, offset int64, err error) { done(resp, offset, err, false) })
		return
	}
	over := false
	link := p.w.dial("forward", p.node.id, p, leader.LeaderID)
	link.onBroken = func() { p.lost(link) }
	finish := func(resp kmsg.Response, offset int64, err error, lost bool) {
		if !over {
			over = true
			link.onBroken = nil
			link.close()
			done(resp, offset, err, lost)
		}
	}
	var grace func()
	grace = func() {
		if now := p.quorum.voter.Leadership(); over || now.LeaderID == leader.LeaderID && now.Epoch == leader.Epoch {
			if !over {
				f.reign = append(f.reign, grace)
			}
			return
		}
		p.after(forward.Grace.Milliseconds(), func() { finish(nil, 0, errLost, true) })
	}
	f.reign = append(f.reign, grace)
	link.call(0, func(at *process, answer func(any)) {
		at.controller.handle(req, func(resp kmsg.Response, offset int64, err error) { answer(forwardAnswer{resp, offset, err}) })
	}, func(answer any, err error) {
		switch {
		case err == errRefused:
			finish(nil, 0, fmt.Errorf("%w: %w", forward.ErrUnsent, err), false)
		case err != nil:
			finish(nil, 0, err, true)
		default:
			a := answer.(forwardAnswer)
			finish(a.response, a.offset, a.err, false)
		}
	})
}
