package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/replica/follower"
)

// Connection is an open connection to a broker's inter-broker listener. It carries one request at a time, and an answer is
// used before the next request only.
type Connection struct {
	Call  func(ctx context.Context, r kmsg.Request) (kmsg.Response, error)
	Close func()
}

// Options configure Fetchers.
type Options struct {
	NodeID int32
	// Dial connects to another broker, which knows by then who asks.
	Dial func(ctx context.Context, broker int32) (Connection, error)
	// BrokerEpoch is the one in which this broker is registered.
	BrokerEpoch func() int64
	// Timeout is how long an answer may take beyond the wait that was asked for (replica.socket.timeout.ms).
	Timeout time.Duration
	Limits  follower.Limits
	// Throttles are those of all sources together.
	Throttles []*quota.Replication
	Clock     env.Clock
	Spawner   *env.Spawner
	Metrics   *metrics.Registry
	Logger    *slog.Logger
}

// Fetchers follow the leaders of partitions.
type Fetchers struct {
	options Options
	metrics *follower.Metrics

	mu      sync.Mutex
	stopped bool
	sources map[int32]*source
	of      map[follower.Key]int32 // where each partition is fetched from
}

// New returns Fetchers without partitions.
func New(o Options) *Fetchers {
	f := &Fetchers{options: o, metrics: follower.NewMetrics(o.Metrics), sources: map[int32]*source{}, of: map[follower.Key]int32{}}
	o.Metrics.GaugeFunc("kafka_server_replicafetchermanager_sources", "Brokers that partitions are fetched from.", func() float64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return float64(len(f.sources))
	})
	return f
}

// source is a broker that is fetched from. Fetchers.mu guards all of it but the channel.
type source struct {
	id      int32
	wake    chan struct{}      // holds one
	count   int                // partitions that are fetched from it
	changes []change           // since the goroutine looked last
	cancel  context.CancelFunc // of the call that is going on, or nil
}

// change is news of a partition: follow it, or, without one, do not any more.
type change struct {
	key         follower.Key
	partition   *partition.Partition
	leaderEpoch int32
}

// Follow has p fetched from leader, and from nobody else.
func (f *Fetchers) Follow(p *partition.Partition, leader, leaderEpoch int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	key := follower.KeyOf(p)
	if was, ok := f.of[key]; !ok || was != leader {
		f.unfollow(key)
		f.of[key] = leader
		s := f.sources[leader]
		if s == nil {
			s = &source{id: leader, wake: make(chan struct{}, 1)}
			f.sources[leader] = s
			f.options.Spawner.Go(fmt.Sprintf("fetcher-%d", leader), func(ctx context.Context) { f.run(ctx, s) })
		}
		s.count++
	}
	f.sources[leader].tell(change{key, p, leaderEpoch})
}

// Unfollow has a partition fetched from nobody.
func (f *Fetchers) Unfollow(p *partition.Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unfollow(follower.KeyOf(p))
}

func (f *Fetchers) unfollow(key follower.Key) {
	leader, ok := f.of[key]
	if !ok {
		return
	}
	delete(f.of, key)
	s := f.sources[leader]
	s.count--
	s.tell(change{key: key})
	if s.count == 0 && s.cancel != nil {
		s.cancel() // it may be dead, and the answer would be for nobody
	}
}

func (s *source) tell(c change) {
	s.changes = append(s.changes, c)
	s.notify()
}

func (s *source) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Flushed says that partitions led by a broker may be fetched on, since what they have is flushed.
func (f *Fetchers) Flushed(leader int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sources[leader]; s != nil {
		s.notify()
	}
}

// Stop ends all fetching. What was called for before may still arrive, and is refused by the
// partitions once they are closed.
func (f *Fetchers) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	for key := range f.of {
		f.unfollow(key)
	}
}

// run fetches from one broker until nothing is fetched from it any more.
func (f *Fetchers) run(ctx context.Context, s *source) {
	r := fetching{f: f, source: s, core: follower.New(follower.Options{NodeID: f.options.NodeID, Source: s.id, Limits: f.options.Limits, Throttles: f.options.Throttles, Metrics: f.metrics})}
	defer r.disconnect()
	for f.takeChanges(s, r.core) && ctx.Err() == nil {
		request, againMs := r.core.Next(r.nowMs(), f.options.BrokerEpoch())
		if request != nil {
			r.fetch(ctx, request)
		} else if !r.sleep(ctx, againMs) {
			return
		}
	}
}

// takeChanges brings the core the news, and reports whether there is still something to fetch; if not, the
// goroutine is over.
func (f *Fetchers) takeChanges(s *source, core *follower.Fetcher) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.cancel = nil
	if s.count == 0 {
		delete(f.sources, s.id)
		return false
	}
	for _, c := range s.changes {
		if c.partition != nil {
			core.Follow(c.partition, c.leaderEpoch)
		} else {
			core.Unfollow(c.key)
		}
	}
	clear(s.changes)
	s.changes = s.changes[:0]
	return true
}

// fetching is what the goroutine of one source has.
type fetching struct {
	f          *Fetchers
	source     *source
	core       *follower.Fetcher
	connection *Connection
	isDown     bool // has been said
}

func (r *fetching) nowMs() int64 { return r.f.options.Clock.Now().UnixMilli() }

// sleep waits until there is news or it is againMs; false says that the node stops.
func (r *fetching) sleep(ctx context.Context, againMs int64) bool {
	wait := time.Hour
	if left := againMs - r.nowMs(); left < wait.Milliseconds() {
		wait = time.Duration(left) * time.Millisecond
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-r.source.wake:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// fetch sends a request and takes its answer.
func (r *fetching) fetch(ctx context.Context, request *kmsg.FetchRequest) {
	ctx, cancel := context.WithTimeout(ctx, r.f.options.Timeout+time.Duration(request.MaxWaitMillis)*time.Millisecond)
	defer cancel()
	if !r.f.mayCall(r.source, cancel) {
		r.core.Failed(r.nowMs())
		return
	}
	response, err := r.call(ctx, request)
	if err != nil {
		r.disconnect()
		r.core.Failed(r.nowMs())
		if errors.Is(ctx.Err(), context.Canceled) {
			return // the answer would be for nobody
		}
		if !r.isDown {
			r.f.options.Logger.Warn("cannot fetch from a broker; trying again", "broker", r.source.id, "error", err)
		}
		r.isDown = true
		return
	}
	if r.isDown {
		r.f.options.Logger.Info("a broker can be fetched from again", "broker", r.source.id)
	}
	r.isDown = false
	r.core.Take(response, r.nowMs())
}

// mayCall notes how the call that follows is ended, and reports whether anybody wants it.
func (f *Fetchers) mayCall(s *source, cancel context.CancelFunc) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.cancel = cancel
	return s.count > 0
}

func (r *fetching) call(ctx context.Context, request *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	if r.connection == nil {
		c, err := r.f.options.Dial(ctx, r.source.id)
		if err != nil {
			return nil, fmt.Errorf("connecting: %w", err)
		}
		r.connection = &c
	}
	response, err := r.connection.Call(ctx, request)
	if err != nil {
		return nil, err
	}
	fetched, ok := response.(*kmsg.FetchResponse)
	if !ok {
		return nil, fmt.Errorf("the answer to a fetch is of API key %d", response.Key())
	}
	return fetched, nil
}

func (r *fetching) disconnect() {
	if r.connection != nil {
		r.connection.Close()
		r.connection = nil
	}
}
