package host

import (
	"context"
	"log/slog"
	"time"

	"github.com/moldau/moldau/internal/storage"
)

// MoverOptions are what the moves between log dirs need.
type MoverOptions struct {
	// Finish has Move.Finish called while nothing is appended to the replica.
	Finish func(v *storage.Move) error
	// MaxBytesPerSecond returns replica.alter.log.dirs.io.max.bytes.per.second.
	MaxBytesPerSecond func() float64
}

const (
	moveInterval = 100 * time.Millisecond
	// finishLag is how many offsets may be left to copy while appends are held up.
	finishLag = 1000
)

// StartMover begins to move logs to other log dirs, one after the other. Stop ends it; the next
// start of the node begins a move again that is under way.
func (h *Host) StartMover(o MoverOptions) {
	ctx := h.ctx
	h.done.Add(1)
	h.o.Spawner.Go("storage-mover", func(context.Context) {
		defer h.done.Done()
		for ctx.Err() == nil {
			v := h.o.Manager.NextMove()
			if v == nil || !v.Pause() {
				if !sleep(ctx, moveInterval) {
					return
				}
				continue
			}
			if err := h.move(ctx, o, v); err != nil && ctx.Err() == nil {
				v.Abort(err)
			}
		}
	})
}

// move copies a log until little is left, then finishes the move.
func (h *Host) move(ctx context.Context, o MoverOptions, v *storage.Move) error {
	slog.Debug("copying a log to another log dir", "partition", v.Log().TopicPartition().String())
	for {
		n, err := v.Copy(h.o.Clock.Now().UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 || v.Lag() <= finishLag {
			return o.Finish(v)
		}
		if pause := time.Duration(float64(n) / max(1, o.MaxBytesPerSecond()) * float64(time.Second)); pause > time.Millisecond && !sleep(ctx, min(pause, time.Minute)) {
			return ctx.Err()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
