package host

import (
	"context"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/record"
)

const (
	// divideRecords is where a divisible answer is cut into batches.
	divideRecords = 10_000
	// recordFramingBytes is at least what a record in a batch needs besides its value.
	recordFramingBytes = 24
)

// run is the goroutine that owns the speculative image.
func (h *Host) run(ctx context.Context) {
	defer close(h.stopped)
	defer h.deactivate()
	var tick <-chan time.Time
	if h.sessions != nil {
		ticker := time.NewTicker(h.tick())
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		// A change of leadership goes before requests that wait.
		select {
		case <-h.wake:
			h.changeLeadership(ctx)
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
			h.changeLeadership(ctx)
		case <-tick:
			h.watch(ctx)
		case <-h.died:
			h.watch(ctx)
		case r := <-h.queue:
			h.queued.Add(-1)
			began := h.o.Clock.Now()
			h.handle(ctx, r)
			h.handleSeconds.Observe(h.o.Clock.Now().Sub(began).Seconds())
		}
	}
}

// changeLeadership makes the controller active in a new epoch of its own, and passive otherwise.
func (h *Host) changeLeadership(ctx context.Context) {
	h.mu.Lock()
	l := h.leadership
	h.mu.Unlock()
	if l == h.serving {
		return
	}
	h.deactivate()
	if !l.IsSelf {
		return
	}
	// Everything up to the quorum's LeaderChange is with the loader already; the controller acts
	// only on an image that includes it.
	if err := h.o.WaitFor(ctx, l.StartOffset-1); err != nil {
		if ctx.Err() == nil {
			h.o.OnFault(fmt.Errorf("the controller cannot load the metadata: %w", err))
		}
		return
	}
	h.serving, h.image, h.nextOffset = l, h.o.Image(), l.StartOffset
	if err := h.o.Controller.CheckFeatures(h.image); err != nil {
		h.serving = quorum.Leadership{}
		h.o.OnFault(err)
		return
	}
	if records := h.o.Controller.Bootstrap(h.input()); len(records) > 0 {
		if err := h.propose(ctx, records, func(int64, error) {}); err != nil {
			if ctx.Err() == nil { // else the node is stopping
				h.o.Logger.Error("cannot write the first metadata records", "error", err)
			}
			return
		}
	}
	h.o.Logger.Debug("this node is the active controller", "epoch", l.Epoch, "offset", l.StartOffset)
	h.activeCount.Set(1)
	h.beginWatch()
	h.mu.Lock()
	close(h.active)
	h.mu.Unlock()
}

// deactivate drops the speculative image. Requests in flight are answered by the quorum.
func (h *Host) deactivate() {
	h.activeCount.Set(0)
	h.serving, h.image = quorum.Leadership{}, nil
	h.endWatch()
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.active:
		h.active = make(chan struct{})
	default:
	}
}

func (h *Host) handle(ctx context.Context, r request) {
	if !h.serving.IsSelf {
		r.reply <- reply{err: notActive()}
		return
	}
	result, err := h.decide(r)
	if err != nil {
		r.reply <- reply{err: err}
		return
	}
	if len(result.Records) > 0 {
		h.o.Logger.Debug("metadata change", "request", fmt.Sprintf("%T", r.req), "records", len(result.Records),
			"principal", r.origin.Principal, "client", r.origin.ClientID, "host", r.origin.Host)
	}
	done := func(lastOffset int64, err error) {
		if err != nil {
			r.reply <- reply{err: err}
			return
		}
		r.reply <- reply{resp: result.Response, offset: lastOffset}
	}
	if result.Divisible {
		err = h.proposeInPieces(ctx, result.Records, done)
	} else {
		err = h.propose(ctx, result.Records, done)
	}
	if err != nil {
		r.reply <- reply{err: err}
	}
}

func (h *Host) proposeInPieces(ctx context.Context, records []metadata.Record, done func(lastOffset int64, err error)) error {
	for len(records) > divideRecords {
		if err := h.propose(ctx, records[:divideRecords], func(int64, error) {}); err != nil {
			return err
		}
		records = records[divideRecords:]
	}
	return h.propose(ctx, records, done)
}

// propose applies records to the speculative image and queues them for the quorum. Without records
// done is called when everything before is committed: an answer must not show what may yet be lost.
func (h *Host) propose(ctx context.Context, records []metadata.Record, done func(lastOffset int64, err error)) error {
	encoded := make([][]byte, len(records))
	delta := metadata.NewDelta(h.image)
	size := record.BatchOverhead
	for i, r := range records {
		encoded[i] = metadata.EncodeAt(r, delta.MetadataVersion())
		size += len(encoded[i]) + recordFramingBytes
		if err := delta.Replay(r); err != nil {
			return fmt.Errorf("BUG: the controller made a record that does not apply: %s: %w", r.Type(), err)
		}
	}
	if size > quorum.MaxBatchBytes {
		return kafka.Errorf(kafka.ErrPolicyViolation,
			"The request makes %d bytes of metadata; at most %d fit into one change: split the request.", size, quorum.MaxBatchBytes)
	}
	if err := h.o.ProposeAsync(ctx, h.serving.Office, encoded, done); err != nil {
		return err
	}
	if len(records) > 0 {
		h.nextOffset += int64(len(records))
		h.image = delta.Apply(h.nextOffset-1, h.serving.Epoch)
	}
	return nil
}
