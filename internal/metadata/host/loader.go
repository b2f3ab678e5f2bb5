package host

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
)

// queueLength bounds the batches that wait for the loader; a full queue holds the quorum's
// goroutine back.
const queueLength = 256

// Batch is what the loader takes.
type Batch = metadata.Batch

// Publisher takes a new image and the delta that led to it. It runs on the loader's goroutine.
type Publisher func(image *metadata.Image, delta *metadata.Delta)

// Options are what a Loader needs.
type Options struct {
	Spawner *env.Spawner
	Metrics *metrics.Registry
	// OnFault is told once, on the loader's goroutine, when the metadata log cannot be
	// replayed; the loader has stopped then, and the node must too.
	OnFault func(err error)
}

// Loader turns committed records into published images.
type Loader struct {
	options    Options
	queue      chan Batch
	publishers []Publisher // fixed before Start, as are the followers
	followers  []Publisher
	current    atomic.Pointer[metadata.Image]
	stopped    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every publication

	queued     *metrics.Gauge
	lastOffset *metrics.Gauge
	faults     *metrics.Counter
}

// NewLoader returns a loader whose current image is empty.
func NewLoader(o Options) *Loader {
	l := &Loader{
		options:    o,
		queue:      make(chan Batch, queueLength),
		stopped:    make(chan struct{}),
		changed:    make(chan struct{}),
		queued:     o.Metrics.Gauge("kafka_server_metadata_loader_queue_size", "Committed metadata batches that wait for the loader."),
		lastOffset: o.Metrics.Gauge("kafka_server_broker_metadata_last_applied_record_offset", "Offset of the last metadata record in the published image."),
		faults:     o.Metrics.Counter("kafka_server_broker_metadata_metadata_load_error_count", "Metadata records that could not be replayed."),
	}
	l.current.Store(metadata.EmptyImage())
	l.lastOffset.Set(-1)
	return l
}

// Register adds a publisher. Publishers are called in the order of their registration, all
// of them before the image becomes current. It must not be called after Start.
func (l *Loader) Register(p Publisher) { l.publishers = append(l.publishers, p) }

// Follow adds what is called when an image has become current: whoever wakes a goroutine that reads Current must
// not do it as a publisher, since that goroutine could still find the image before. It must not be called after Start.
func (l *Loader) Follow(p Publisher) { l.followers = append(l.followers, p) }

// Start begins to load what is submitted. The goroutine ends with the Spawner.
func (l *Loader) Start() { l.options.Spawner.Go("metadata-loader", l.run) }

// Submit hands over committed records in the order of their offsets. It blocks while the
// queue is full.
func (l *Loader) Submit(ctx context.Context, b Batch) error {
	select {
	case l.queue <- b:
		l.queued.Set(int64(len(l.queue)))
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stopped:
		return fmt.Errorf("the metadata loader has stopped")
	}
}

// Current returns the last image that all publishers have seen.
func (l *Loader) Current() *metadata.Image { return l.current.Load() }

// WaitFor returns once the current image includes offset, or ctx ends, or the loader stops.
func (l *Loader) WaitFor(ctx context.Context, offset int64) error {
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if l.Current().Offset >= offset {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.stopped:
			if l.Current().Offset >= offset {
				return nil
			}
			return fmt.Errorf("the metadata loader has stopped at offset %d, before offset %d", l.Current().Offset, offset)
		}
	}
}

func (l *Loader) run(ctx context.Context) {
	defer close(l.stopped)
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-l.queue:
			if err := l.load(b); err != nil {
				l.faults.Inc()
				if l.options.OnFault != nil {
					l.options.OnFault(err)
				}
				return
			}
		}
	}
}

// load replays b and what is queued behind it (boundedly), so that the publishers of a node
// that starts on a long log are not called once per batch.
func (l *Loader) load(b Batch) error {
	r := metadata.NewReplay(l.Current())
	if err := r.Add(b); err != nil {
		return err
	}
	for range len(l.queue) { // this goroutine is the only receiver
		if err := r.Add(<-l.queue); err != nil {
			return err
		}
	}
	l.queued.Set(int64(len(l.queue)))
	l.publish(r.End())
	return nil
}

func (l *Loader) publish(image *metadata.Image, delta *metadata.Delta) {
	for _, p := range l.publishers {
		p(image, delta)
	}
	l.current.Store(image)
	l.lastOffset.Set(image.Offset)
	l.mu.Lock()
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	for _, f := range l.followers {
		f(image, delta)
	}
}
