package host

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/moldau/moldau/internal/storage"
)

// CleanerLimits are the dynamic configs of compaction.
type CleanerLimits struct {
	MapBytes          int64         // log.cleaner.dedupe.buffer.size, of all threads
	MapLoadFactor     float64       // log.cleaner.io.buffer.load.factor
	BufferBytes       int           // log.cleaner.io.buffer.size, of all threads
	MaxBytesPerSecond float64       // log.cleaner.io.max.bytes.per.second, of all threads
	Backoff           time.Duration // log.cleaner.backoff.ms
}

const (
	// yieldEveryBytes is how much compaction does between two looks at the clients' load.
	yieldEveryBytes = 1 << 20
	// yieldShare: while clients append and read, compaction rests this many times as long as it works.
	yieldShare = 3
	maxYield   = time.Second
	minBackoff = 100 * time.Millisecond
)

// StartCleaners begins the compaction: threads goroutines, each with its part of the limits, which
// are asked for again and again. The logs must have their topics' configs by now. Stop ends them.
func (h *Host) StartCleaners(threads int, limits func() CleanerLimits) {
	ctx := h.ctx
	for i := range threads {
		h.done.Add(1)
		h.o.Spawner.Go("storage-cleaner-"+strconv.Itoa(i), func(context.Context) {
			defer h.done.Done()
			for ctx.Err() == nil {
				limits := limits()
				if !h.cleanOnce(ctx, threads, limits) && !sleep(ctx, max(limits.Backoff, minBackoff)) {
					return
				}
			}
		})
	}
}

// cleanOnce compacts the dirtiest log and reports whether there was one.
func (h *Host) cleanOnce(ctx context.Context, threads int, limits CleanerLimits) bool {
	pace := &pace{ctx: ctx, host: h, bytesPerSecond: limits.MaxBytesPerSecond / float64(threads)}
	pace.begin()
	found, err := h.o.Manager.CleanDirtiest(storage.CleanOptions{
		NowMs: h.o.Clock.Now().UnixMilli(), MapBytes: limits.MapBytes / int64(threads), MapLoadFactor: limits.MapLoadFactor,
		BufferBytes: max(1, limits.BufferBytes/threads/2), Throttle: pace.spend,
	})
	if err != nil && ctx.Err() == nil {
		slog.Error("compaction failed; it is tried again later, unless the data is damaged", "error", err)
	}
	return found && err == nil
}

// pace slows a compaction down: to its bytes a second, and to a part of its time while clients
// are served.
type pace struct {
	ctx            context.Context
	host           *Host
	bytesPerSecond float64
	startedAt      time.Time
	spent          float64
	sinceLook      int
	lookedAt       time.Time
	load           int64
}

func (p *pace) begin() {
	p.startedAt = p.host.o.Clock.Now()
	p.lookedAt, p.load = p.startedAt, p.host.o.Manager.ForegroundLoad()
}

func (p *pace) spend(sizeBytes int) error {
	p.spent += float64(sizeBytes)
	if p.sinceLook += sizeBytes; p.sinceLook < min(yieldEveryBytes, max(1, int(min(p.bytesPerSecond/10, yieldEveryBytes)))) {
		return nil
	}
	p.sinceLook = 0
	now := p.host.o.Clock.Now()
	var rest time.Duration
	if load := p.host.o.Manager.ForegroundLoad(); load != p.load {
		p.load = load
		rest = min(yieldShare*now.Sub(p.lookedAt), maxYield)
	}
	if ahead := p.spent/p.bytesPerSecond - now.Sub(p.startedAt).Seconds(); ahead > rest.Seconds() {
		rest = time.Duration(min(ahead, 60) * float64(time.Second))
	}
	if rest > 0 && !sleep(p.ctx, rest) {
		return p.ctx.Err()
	}
	p.lookedAt = p.host.o.Clock.Now()
	return p.ctx.Err()
}

// sleep reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
