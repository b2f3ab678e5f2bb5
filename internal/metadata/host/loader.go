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

// Batch is a run of committed metadata records, or a whole snapshot. The records must not be
// changed after it was submitted.
type Batch struct {
	// Replaces says that the records are a whole snapshot that takes the place of what was loaded
	// before: this node lagged behind what others still have as a log. The publishers get what differs.
	Replaces   bool
	BaseOffset int64 // one past the last offset loaded before; 0 where it replaces them
	LastOffset int64 // may lie past the last record: control records have offsets too
	Epoch      int32
	Records    [][]byte
}

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
	publishers []Publisher // fixed before Start
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
	base := l.Current()
	r := replay{base: base, delta: metadata.NewDelta(base), offset: base.Offset, epoch: base.Epoch}
	if err := r.add(b); err != nil {
		return err
	}
	for range len(l.queue) { // this goroutine is the only receiver
		if err := r.add(<-l.queue); err != nil {
			return err
		}
	}
	l.queued.Set(int64(len(l.queue)))
	l.publish(r.end())
	return nil
}

// replay is a delta that grows batch by batch.
type replay struct {
	base   *metadata.Image // the current image
	delta  *metadata.Delta // from base, or after a snapshot from nothing
	offset int64
	epoch  int32
}

// end returns the new image and what it changes about the current one.
func (r *replay) end() (*metadata.Image, *metadata.Delta) {
	image := r.delta.Apply(r.offset, r.epoch)
	if r.delta.Base() == r.base {
		return image, r.delta
	}
	// The image shares what has not changed with the current one.
	difference := metadata.Difference(r.base, image)
	return difference.Apply(r.offset, r.epoch), difference
}

func (r *replay) add(b Batch) error {
	if b.Replaces {
		if b.LastOffset < r.offset || b.Epoch < r.epoch {
			return fmt.Errorf("metadata snapshot up to offset %d in epoch %d is older than offset %d in epoch %d, which is loaded", b.LastOffset, b.Epoch, r.offset, r.epoch)
		}
		r.delta = metadata.NewDelta(metadata.EmptyImage())
	} else if b.BaseOffset != r.offset+1 || b.LastOffset < b.BaseOffset+int64(len(b.Records))-1 || b.Epoch < r.epoch {
		return fmt.Errorf("metadata batch of offsets %d to %d in epoch %d with %d records does not follow offset %d in epoch %d",
			b.BaseOffset, b.LastOffset, b.Epoch, len(b.Records), r.offset, r.epoch)
	}
	for i, data := range b.Records {
		record, err := metadata.Decode(data)
		if err == nil {
			err = r.delta.Replay(record)
		}
		if err != nil {
			return fmt.Errorf("metadata record %d of the batch at offset %d: %w", i, b.BaseOffset, err)
		}
	}
	r.offset, r.epoch = b.LastOffset, b.Epoch
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
}
