package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/shard"
)

// Between attempts to load a shard whose log could not be read.
const (
	firstLoadRetry = time.Second
	maxLoadRetry   = time.Minute
)

// loading is how far a load has come. A load takes one chunk per turn, so that shards that are
// loaded already are served meanwhile.
type loading struct {
	startedAt  time.Time
	nextOffset int64
	records    int64
}

var errNoProgress = errors.New("the log has no batch at an offset below its end")

// continueLoading reads and replays the next chunk; at the end of the log the shard becomes
// active. It returns true while there is more to do.
func (h *host[S]) continueLoading() (more bool) {
	done, err := h.loadChunk()
	if err != nil {
		h.failLoad(err)
		return false
	}
	if !done {
		return true
	}
	r := h.runtime
	l := h.load
	h.load = nil
	h.endOffset = l.nextOffset
	elapsed := r.o.Clock.Now().Sub(l.startedAt)
	r.metrics.loads.Inc()
	r.metrics.loadSeconds.Observe(elapsed.Seconds())
	r.metrics.loadedRecords.Add(l.records)
	h.retry = firstLoadRetry
	h.setState(stateActive)
	slog.Debug("Coordinator shard loaded", "partition", h.tp.String(), "leaderEpoch", h.leaderEpoch, "records", l.records, "elapsed", elapsed)
	h.apply(h.shard.Activate(h.nowMs))
	h.flush()
	return h.state != stateFailed // for what has been queued meanwhile, and for the deadline
}

func (h *host[S]) loadChunk() (done bool, err error) {
	r := h.runtime
	startOffset, endOffset, err := r.o.Log.Bounds(h.tp, h.leaderEpoch)
	if err != nil {
		return false, err
	}
	if h.load == nil {
		h.shard = r.newShard()
		h.load = &loading{startedAt: r.o.Clock.Now(), nextOffset: startOffset}
	}
	if h.load.nextOffset >= endOffset {
		return true, nil
	}
	data, err := r.o.Log.Read(h.tp, h.leaderEpoch, h.load.nextOffset, loadChunkBytes)
	if err != nil {
		return false, err
	}
	if len(data) == 0 {
		return false, fmt.Errorf("offset %d of %d: %w", h.load.nextOffset, endOffset, errNoProgress)
	}
	for len(data) > 0 {
		var b record.Batch
		if b, data, err = record.Next(data); err != nil {
			return false, err
		}
		if err := b.CheckCRC(); err != nil {
			return false, err
		}
		if err := h.replay(b); err != nil {
			return false, err
		}
		if b.NextOffset() <= h.load.nextOffset {
			return false, fmt.Errorf("offset %d of %d: %w", h.load.nextOffset, endOffset, errNoProgress)
		}
		h.load.nextOffset = b.NextOffset()
	}
	return false, nil
}

// replay applies one batch to the shard.
func (h *host[S]) replay(b record.Batch) error {
	producerID := kafka.NoProducerID
	if b.IsTransactional() {
		producerID = b.ProducerID()
	}
	for rec, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
		if err != nil {
			return err
		}
		offset := b.BaseOffset() + int64(rec.OffsetDelta)
		if offset < h.load.nextOffset {
			continue // below the log start offset, in the batch that contains it
		}
		h.load.records++
		if b.IsControl() {
			h.replayMarker(producerID, rec.Key)
			continue
		}
		position := shard.Position{Offset: offset, ProducerID: producerID}
		if err := h.shard.Replay(position, shard.Record{Key: rec.Key, Value: rec.Value}); err != nil {
			return err
		}
	}
	return nil
}

func (h *host[S]) replayMarker(producerID int64, key []byte) {
	switch kind, err := record.ParseControlKey(key); {
	case err != nil: // a control record of no meaning here
	case kind == record.ControlCommit:
		h.shard.ReplayEndTransaction(producerID, true)
	case kind == record.ControlAbort:
		h.shard.ReplayEndTransaction(producerID, false)
	}
}

// failLoad gives up for now. If the broker no longer leads the partition, only an election helps;
// other errors are tried again later.
func (h *host[S]) failLoad(err error) {
	r := h.runtime
	r.metrics.loadFailures.Inc()
	h.setRefusal(kafka.ErrNotCoordinator) // before anybody can ask for it
	h.drop(stateFailed, coordinatorCode(err))
	if isNotLeader(err) {
		h.retryAtMs = shard.NoDeadline
		slog.Info("Coordinator shard not loaded: the partition is led elsewhere", "partition", h.tp.String(), "leaderEpoch", h.leaderEpoch, "error", err)
		return
	}
	h.retryAtMs = h.steadyMs + h.retry.Milliseconds()
	slog.Error("Coordinator shard not loaded: what this partition owns is not served until it is; the load will be tried again",
		"partition", h.tp.String(), "leaderEpoch", h.leaderEpoch, "retryIn", h.retry, "error", err)
	h.retry = min(2*h.retry, maxLoadRetry)
	r.setDeadline(h, h.retryAtMs)
}

func (h *host[S]) retryLoad() (more bool) {
	if h.steadyMs < h.retryAtMs {
		return false
	}
	h.setState(stateLoading)
	return true
}
