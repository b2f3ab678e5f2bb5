package storage

import (
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/ballast"
)

// space is a log dir's guard against a full disk. Between two looks at the volume it counts what
// is appended, so that not even a fast producer gets past the reserve.
type space struct {
	// left is how many bytes clients may append before the reserve begins.
	left atomic.Int64
	// reserve is how many bytes of the volume clients may not fill.
	reserve atomic.Int64
	low     atomic.Bool
}

// The reserve is at most this part of a volume, so that small ones can be used at all, and
// appends resume when a quarter more than the reserve is free.
const (
	maxReserveShare = 10
	resumeShare     = 4
)

// CheckSpace looks at the free space of every log dir. Below the reserve appends of clients are
// refused; fetches, deletions and, for half of the reserve, coordinators and compaction go on.
func (m *Manager) CheckSpace() error {
	for _, d := range m.dirs {
		if d.offlineError() == nil {
			d.checkSpace()
		}
	}
	return nil
}

func (d *logDir) checkSpace() {
	wanted := d.shared.reserveBytes
	if wanted <= 0 {
		d.space.left.Store(math.MaxInt64)
		return
	}
	total, free, err := d.shared.fs.Usage(d.path)
	if err != nil {
		slog.Warn("cannot look at the free space of a log dir", "dir", d.path, "error", err)
		return // the last look counts on
	}
	reserve := min(wanted, total/maxReserveShare)
	d.space.reserve.Store(reserve)
	switch low := d.space.low.Load(); {
	case !low && free <= reserve:
		d.enterLow(free)
	case low && free > reserve+reserve/resumeShare:
		d.space.low.Store(false)
		d.metrics.lowDirs.Add(-1)
		slog.Warn("a log dir has space again: clients may append", "dir", d.path, "free_bytes", free)
	}
	kept, err := ballast.Keep(d.shared.fs, d.path, free-reserve-reserve/resumeShare, reserve)
	if err != nil {
		slog.Warn("cannot write the ballast file of a log dir", "dir", d.path, "error", err)
	}
	left := free - kept - reserve
	if d.space.low.Load() {
		left = min(left, 0)
	}
	d.space.left.Store(left)
}

// LowDirs returns the log dirs that refuse appends of clients because they are nearly full.
func (m *Manager) LowDirs() (low []string) {
	for _, d := range m.dirs {
		if d.space.low.Load() {
			low = append(low, d.path)
		}
	}
	return low
}

func (d *logDir) enterLow(free int64) {
	if d.space.low.Swap(true) {
		return
	}
	d.metrics.lowDirs.Add(1)
	slog.Error("a log dir is nearly full: appends of clients are refused until there is space; delete topics or records, shorten retention, or enlarge the volume",
		"dir", d.path, "free_bytes", free, "reserve_bytes", d.space.reserve.Load())
}

// takeSpace counts an append, or refuses it. The error is a retriable one: producers try again
// until delivery.timeout.ms, so that a short lack of space costs no record.
func (d *logDir) takeSpace(sizeBytes int, origin Origin) error {
	limit := int64(0)
	if origin != OriginClient { // coordinators go on with half of the reserve, or groups would stop
		limit = -d.space.reserve.Load() / 2
	}
	left := d.space.left.Add(-int64(sizeBytes))
	if left >= limit {
		return nil
	}
	d.space.left.Add(int64(sizeBytes))
	d.metrics.refusedAppends.Inc()
	if origin == OriginClient {
		d.enterLow(max(0, left+int64(sizeBytes)+d.space.reserve.Load()))
	}
	return kafka.Errorf(kafka.ErrKafkaStorageError, "log dir %s is nearly full: no more than the reserve of %d bytes is free", d.path, d.space.reserve.Load())
}

// hasSpace reports whether compaction may write sizeBytes more.
func (d *logDir) hasSpace(sizeBytes int64) error {
	if reserve := d.space.reserve.Load(); d.space.left.Load()+reserve/2 < sizeBytes {
		return fmt.Errorf("log dir %s is nearly full: there is no room for %d bytes beside half of the reserve of %d", d.path, sizeBytes, reserve)
	}
	return nil
}

// releaseBallast makes a little room before anything is opened if the volume has none.
func (d *logDir) releaseBallast() error {
	if d.shared.reserveBytes <= 0 {
		return nil
	}
	total, free, err := d.shared.fs.Usage(d.path)
	if err != nil {
		return err
	}
	return ballast.Release(d.shared.fs, d.path, free, min(d.shared.reserveBytes, total/maxReserveShare))
}
