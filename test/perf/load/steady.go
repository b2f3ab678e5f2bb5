package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Steady produces at a fixed rate until it is stopped, with a consumer at the end of the topic. What the two wait for can be
// looked at meanwhile.
type Steady struct {
	pacer    *pacer
	follower *follower
	stop     context.CancelFunc
	ended    chan struct{} // closed when the producer has ended, for the reason err
	err      error
}

// StartSteady begins to produce to a topic that is empty.
func StartSteady(ctx context.Context, o Order) (*Steady, error) {
	p, err := o.newPacer(o.Topic)
	if err != nil {
		return nil, err
	}
	f, err := o.follow(ctx)
	if err != nil {
		p.client.Close()
		return nil, err
	}
	pacing, stop := context.WithCancel(ctx)
	s := &Steady{pacer: p, follower: f, stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.err = p.run(ctx, pacing.Done())
	}()
	return s, nil
}

// Take returns the latencies since the last time: until records were acknowledged, and until the consumer had them.
func (s *Steady) Take() (acknowledged, endToEnd Samples, err error) {
	select {
	case <-s.ended:
		return nil, nil, errors.Join(errors.New("the producer has ended"), s.err)
	case <-s.follower.ended:
		return nil, nil, fmt.Errorf("the consumer has ended: %w", s.follower.err)
	default:
	}
	if err := s.pacer.failed.Load(); err != nil {
		return nil, nil, *err
	}
	return take(&s.pacer.mu, &s.pacer.acknowledged), take(&s.follower.mu, &s.follower.endToEnd), nil
}

// Stop ends both, when everything is acknowledged and read.
func (s *Steady) Stop(ctx context.Context) error {
	defer s.pacer.client.Close()
	defer s.follower.client.Close()
	s.stop()
	<-s.ended
	return errors.Join(s.err, s.follower.until(ctx, s.pacer.sent))
}

func take(mu *sync.Mutex, from *Samples) Samples {
	mu.Lock()
	defer mu.Unlock()
	all := *from
	*from = nil
	return all
}
