package host

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/storage"
)

// CleanerLimits are the dynamic configs of compaction.
type CleanerLimits struct {
	Threads           int           // log.cleaner.threads
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
	// maxIdleStep and maxRest are how long a change of the configs may have to wait.
	maxIdleStep = time.Second
	maxRest     = 5 * time.Second
)

// cleaners are the goroutines that compact.
type cleaners struct {
	host   *Host
	limits func() CleanerLimits

	mu      sync.Mutex
	running []bool // by number
}

// StartCleaners begins the compaction: limits().Threads goroutines, each with its part of the limits,
// which are asked for again and again, also in the middle of a round. The logs must have their
// topics' configs by now. Stop ends them.
func (h *Host) StartCleaners(limits func() CleanerLimits) {
	c := &cleaners{host: h, limits: limits}
	c.adjust(limits())
}

// adjust starts the goroutines that are missing. Those that are too many end after their round.
func (c *cleaners) adjust(limits CleanerLimits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range max(limits.Threads, 1) { // the last one watches the limits
		if i == len(c.running) {
			c.running = append(c.running, false)
		}
		if c.running[i] || c.host.ctx.Err() != nil {
			continue
		}
		c.running[i] = true
		c.host.done.Add(1)
		c.host.o.Spawner.Go("storage-cleaner-"+strconv.Itoa(i), func(context.Context) {
			defer c.host.done.Done()
			c.run(i)
		})
	}
}

func (c *cleaners) run(i int) {
	ctx := c.host.ctx
	var idleSince time.Time
	for ctx.Err() == nil {
		limits := c.limits()
		if c.ends(i, limits) {
			return
		}
		c.adjust(limits)
		now := c.host.o.Clock.Now()
		if now.Sub(idleSince) >= max(limits.Backoff, minBackoff) {
			if c.cleanOnce(ctx, limits) {
				continue
			}
			idleSince = now
		}
		// In small steps, since the backoff may be changed, too.
		if left := max(limits.Backoff, minBackoff) - now.Sub(idleSince); !sleep(ctx, max(min(left, maxIdleStep), minBackoff)) {
			return
		}
	}
}

// ends reports whether goroutine i is one too many.
func (c *cleaners) ends(i int, limits CleanerLimits) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[i] = i < max(limits.Threads, 1)
	return !c.running[i]
}

// cleanOnce compacts the dirtiest log and reports whether there was one.
func (c *cleaners) cleanOnce(ctx context.Context, limits CleanerLimits) bool {
	if limits.Threads < 1 {
		return false
	}
	h := c.host
	pace := &pace{ctx: ctx, cleaners: c, host: h}
	pace.begin(limits)
	found, err := h.o.Manager.CleanDirtiest(storage.CleanOptions{
		NowMs: h.o.Clock.Now().UnixMilli(), MapBytes: limits.MapBytes / int64(limits.Threads), MapLoadFactor: limits.MapLoadFactor,
		BufferBytes: max(1, limits.BufferBytes/limits.Threads/2), Throttle: pace.spend,
	})
	if err != nil && ctx.Err() == nil {
		slog.Error("compaction failed; it is tried again later, unless the data is damaged: then the partition is set aside until that data is gone", "error", err)
	}
	return found && err == nil
}

// pace slows a compaction down: to its bytes a second, and to a part of its time while clients
// are served.
type pace struct {
	ctx            context.Context
	cleaners       *cleaners
	host           *Host
	bytesPerSecond float64
	startedAt      time.Time
	spent          float64
	sinceLook      int
	lookedAt       time.Time
	load           int64
}

func (p *pace) begin(limits CleanerLimits) {
	p.startedAt = p.host.o.Clock.Now()
	p.lookedAt, p.load = p.startedAt, p.host.o.Manager.ForegroundLoad()
	p.bytesPerSecond = limits.MaxBytesPerSecond / float64(limits.Threads)
}

// follow takes changed limits over.
func (p *pace) follow(now time.Time) {
	limits := p.cleaners.limits()
	p.cleaners.adjust(limits)
	if rate := limits.MaxBytesPerSecond / float64(max(limits.Threads, 1)); rate != p.bytesPerSecond {
		p.bytesPerSecond, p.startedAt, p.spent = rate, now, 0
	}
}

func (p *pace) spend(sizeBytes int) error {
	p.spent += float64(sizeBytes)
	if p.sinceLook += sizeBytes; p.sinceLook < min(yieldEveryBytes, max(1, int(min(p.bytesPerSecond/10, yieldEveryBytes)))) {
		return nil
	}
	p.sinceLook = 0
	now := p.host.o.Clock.Now()
	p.follow(now)
	var rest time.Duration
	if load := p.host.o.Manager.ForegroundLoad(); load != p.load {
		p.load = load
		rest = min(yieldShare*now.Sub(p.lookedAt), maxYield)
	}
	if ahead := p.spent/p.bytesPerSecond - now.Sub(p.startedAt).Seconds(); ahead > rest.Seconds() {
		rest = time.Duration(min(ahead, maxRest.Seconds()) * float64(time.Second))
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
