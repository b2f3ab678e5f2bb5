package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/storage/cleaner"
	"github.com/moldau/moldau/internal/storage/segment"
)

// cleanRetryMs is how long a log is left alone whose compaction failed, so that the others get their turn.
const cleanRetryMs = 60_000

// errCleanOvertaken says that a truncation, retention or deletion changed the log during its compaction, whose result is therefore thrown away.
var errCleanOvertaken = errors.New("the log was changed during its compaction")

// cleanState is what a log remembers of its compaction; mu guards it.
type cleanState struct {
	running     bool
	retryAtMs   int64
	uncleanable bool // its data is damaged; until a truncation or retention removes some
	truncations int  // counts TruncateTo and StartAt
}

// cleanPlan is what a log could have compacted.
type cleanPlan struct {
	log              *Log
	all              []*segment.Segment // of the log
	segments         []*segment.Segment // to compact: the first ones
	firstDirty, upTo int64
	cleanBytes       int64
	dirtyBytes       int64
	overdueMs        int64 // past max.compaction.lag.ms, 0 if it is not
	truncations      int
	producers        map[int64]cleaner.LastRecord
}

func (p *cleanPlan) ratio() float64 {
	if p.dirtyBytes == 0 {
		return 0
	}
	return float64(p.dirtyBytes) / float64(p.cleanBytes+p.dirtyBytes)
}

// CleanedOffset is where the next compaction begins: below it no key has a record twice.
func (l *Log) CleanedOffset() int64 { return l.cleanedOffset.Load() }

// planClean says what there is to compact, nil for nothing. As in Kafka it ends at the active segment, at the last stable offset and at the first segment that
// min.compaction.lag.ms protects; here also at the recovery point, so that a hole in the offsets above it always means that power loss took something.
func (l *Log) planClean(nowMs int64) (*cleanPlan, error) {
	config := l.Config()
	if !config.Compact || l.usable() != nil {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clean.running || nowMs < l.clean.retryAtMs {
		return nil, nil
	}
	list, start, end := l.segments.Load(), l.startOffset.Load(), l.endOffset.Load()
	if len(list.all) == 1 {
		return nil, nil
	}
	p := &cleanPlan{log: l, all: list.all, firstDirty: l.cleanedOffset.Load(), truncations: l.clean.truncations}
	if p.firstDirty < start || p.firstDirty > end {
		p.firstDirty = start // retention or a truncation by hand went past it
	}
	limit := min(l.LastStableOffset(), l.recoveryPoint.Load())
	p.upTo = list.all[0].BaseOffset()
	for i, s := range list.all[:len(list.all)-1] {
		next := list.all[i+1].BaseOffset()
		if next > limit {
			break
		}
		isDirty := next > p.firstDirty
		if isDirty && config.MinCompactionLagMs > 0 {
			newest, err := newestMs(s)
			if err != nil {
				return nil, l.readError(err)
			}
			if newest > nowMs-config.MinCompactionLagMs {
				break
			}
		}
		if isDirty {
			p.dirtyBytes += s.SizeBytes()
			if err := p.noteFirstTimestamp(s, config, nowMs); err != nil {
				return nil, l.readError(err)
			}
		} else {
			p.cleanBytes += s.SizeBytes()
		}
		p.segments, p.upTo = append(p.segments, s), next
	}
	if p.dirtyBytes == 0 || p.upTo <= p.firstDirty {
		return nil, nil
	}
	return p, nil
}

func (p *cleanPlan) noteFirstTimestamp(s *segment.Segment, config *LogConfig, nowMs int64) error {
	if config.MaxCompactionLagMs == math.MaxInt64 {
		return nil
	}
	first, err := s.FirstTimestamp()
	if err == nil && first > 0 {
		p.overdueMs = max(p.overdueMs, nowMs-config.MaxCompactionLagMs-first)
	}
	return err
}

func (l *Log) isUncleanable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clean.uncleanable
}

// CleanOptions are the limits of a compaction.
type CleanOptions struct {
	NowMs         int64
	MapBytes      int64   // log.cleaner.dedupe.buffer.size
	MapLoadFactor float64 // log.cleaner.io.buffer.load.factor
	BufferBytes   int     // log.cleaner.io.buffer.size
	// Throttle is told of all bytes read and written; its error ends the compaction.
	Throttle func(sizeBytes int) error
}

// CleanDirtiest compacts the log with the largest share of dirty bytes above its min.cleanable.dirty.ratio, or one whose max.compaction.lag.ms is over, and reports
// whether there was one. Several goroutines may call it.
func (m *Manager) CleanDirtiest(o CleanOptions) (found bool, err error) {
	plan := m.dirtiest(o.NowMs)
	if plan == nil {
		return false, nil
	}
	l := plan.log
	if err = l.runClean(plan, o); err == nil {
		return true, nil
	}
	if errors.Is(err, errCleanOvertaken) || l.usable() != nil || l.isTruncatedSince(plan.truncations) {
		return true, nil
	}
	l.cleanFailed(o.NowMs, err)
	return true, fmt.Errorf("compact %s: %w", l.tp, err)
}

// isTruncatedSince reports whether anything was cut off since there were so many truncations: a compaction may
// have found its data gone, and a move have copied what is none any more.
func (l *Log) isTruncatedSince(truncations int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clean.truncations != truncations
}

// cleanFailed leaves the log alone for a while, or until its damaged data is gone.
func (l *Log) cleanFailed(nowMs int64, err error) {
	_, damaged := errors.AsType[*segment.CorruptionError](err)
	l.suspects.Note(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clean.retryAtMs = nowMs + cleanRetryMs
	l.clean.uncleanable = l.clean.uncleanable || damaged || errors.Is(err, segment.ErrTxnIndex)
}

// dirtiest claims the log to compact next.
func (m *Manager) dirtiest(nowMs int64) *cleanPlan {
	var best *cleanPlan
	dirtiestRatio, overdueMs, uncleanable := 0.0, int64(0), int64(0)
	for _, l := range m.Logs() {
		if !l.Config().Compact {
			continue
		}
		if l.isUncleanable() {
			uncleanable++
			continue
		}
		p, err := l.planClean(nowMs)
		if err != nil {
			slog.Error("cannot tell what to compact of a log; it is looked at again later, unless its data is damaged", "partition", l.tp.String(), "error", err)
			l.cleanFailed(nowMs, err)
			continue
		}
		if p == nil {
			continue
		}
		dirtiestRatio, overdueMs = max(dirtiestRatio, p.ratio()), max(overdueMs, p.overdueMs)
		if (p.overdueMs > 0 || p.ratio() > l.Config().MinCleanableRatio) && (best == nil || p.ratio() > best.ratio()) {
			best = p
		}
	}
	g := &m.shared.cleaning
	g.maxDirtyPercent.Store(int64(100 * dirtiestRatio))
	g.maxDelaySeconds.Store(overdueMs / 1000)
	g.uncleanable.Store(uncleanable)
	if best == nil {
		return nil
	}
	l := best.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clean.running {
		return nil // somebody was faster; the next pass looks again
	}
	l.clean.running = true
	best.producers = map[int64]cleaner.LastRecord{}
	for _, e := range l.producers.Entries() {
		best.producers[e.ProducerID] = cleaner.LastRecord{LastDataOffset: e.LastOffset(), Epoch: e.Epoch}
	}
	return best
}

func (l *Log) runClean(p *cleanPlan, o CleanOptions) error {
	defer func() {
		l.mu.Lock()
		l.clean.running = false
		l.mu.Unlock()
	}()
	started := l.dir.shared.clock.Now()
	// What the round relies on may lie above the recovery point: the marker of a transaction whose
	// records replace others, a producer's later batch. Power loss must not take that alone.
	if err := l.Flush(); err != nil {
		return err
	}
	for i, s := range p.all {
		if !s.Acquire() {
			for _, held := range p.all[:i] {
				held.Release()
			}
			return errCleanOvertaken
		}
	}
	defer func() {
		for _, s := range p.all {
			s.Release()
		}
	}()
	err := l.cleanSegments(p, o, started)
	if errors.Is(err, segment.ErrTxnIndex) {
		// Readers would be told the wrong thing, too. What is left of the log says what is right.
		if err = l.renewTxnIndexes(err); err == nil {
			if all := l.segments.Load().all; all[0] != p.all[0] { // some were replaced before it showed
				return errCleanOvertaken
			}
			err = l.cleanSegments(p, o, started)
		}
	}
	return err
}

// cleanSegments is the round, with all segments of the plan held.
func (l *Log) cleanSegments(p *cleanPlan, o CleanOptions, started time.Time) error {
	// The plan ends below the last stable offset, so the index knows the ends of all its transactions.
	aborted, err := abortedIn(&segmentList{p.all}, p.segments[0].BaseOffset(), p.upTo)
	if err != nil {
		return err
	}
	config := l.Config()
	r := &cleaner.Round{
		Segments: p.segments, Rest: p.all[len(p.segments):], FirstDirty: p.firstDirty, UpTo: p.upTo, StartOffset: l.startOffset.Load(), NowMs: o.NowMs, DeleteRetentionMs: config.DeleteRetentionMs,
		MaxSegmentBytes: min(config.SegmentBytes, segment.MaxSizeBytes), MaxMapBytes: o.MapBytes, MapLoadFactor: o.MapLoadFactor, BufferBytes: o.BufferBytes,
		Aborted: aborted, Producers: p.producers, Throttle: o.Throttle,
	}
	cleanedTo, err := r.BuildMap()
	if err != nil {
		return err
	}
	// After a crash, what lies below the recovery point is not searched for losses.
	if err := l.dir.checked(l.dir.checkpointRecoveryPoints()); err != nil {
		return err
	}
	for _, group := range r.Groups(cleanedTo) {
		if err := l.cleanGroup(r, group, p.truncations, o.NowMs); err != nil {
			return err
		}
	}
	l.mu.Lock()
	if l.clean.truncations == p.truncations {
		l.cleanedOffset.Store(cleanedTo)
	}
	l.mu.Unlock()
	l.dir.cleanedOffsets.markChanged()
	if err := l.dir.checked(l.dir.cleanedOffsets.write(l.dir)); err != nil {
		return err
	}
	l.dir.metrics.noteClean(&r.Stats, l.dir.shared.clock.Now().Sub(started).Seconds())
	slog.Info("compacted a log", "partition", l.tp.String(), "from", p.firstDirty, "to", cleanedTo, "bytes_read", r.Stats.BytesRead,
		"bytes_written", r.Stats.BytesWritten, "records_read", r.Stats.RecordsRead, "records_kept", r.Stats.RecordsKept)
	return nil
}

// cleanGroup writes the replacement of a group of segments and puts it in their place.
func (l *Log) cleanGroup(r *cleaner.Round, group []*segment.Segment, truncations int, nowMs int64) error {
	var sizeBytes int64
	for _, s := range group {
		sizeBytes += s.SizeBytes()
	}
	if err := l.dir.hasSpace(sizeBytes); err != nil {
		return err
	}
	target, err := segment.CreateCleaned(l.folder, group[0].BaseOffset())
	if err != nil {
		return err
	}
	swapping := false
	if err = r.Compact(group, target); err == nil {
		swapping, err = l.replaceSegments(group, target, truncations, nowMs)
	}
	if err != nil && !swapping {
		return errors.Join(err, target.Remove())
	}
	return err
}

// replaceSegments puts target in the place of old, so that a crash at any moment leaves the one or the other: a complete target becomes .swap, then the old segments
// are deleted, oldest first, then target gets its name. swapping says that this has begun; a failure then is the dir's.
func (l *Log) replaceSegments(old []*segment.Segment, target *segment.Segment, truncations int, nowMs int64) (swapping bool, err error) {
	l.flushMu.Lock() // against flush, truncation, retention and deletion
	defer l.flushMu.Unlock()
	l.mu.Lock()
	err = l.checkReplace(old, truncations)
	l.mu.Unlock()
	if err != nil {
		return false, err
	}
	syncDir := func() error { return l.dir.shared.fs.SyncDir(l.folder.Path()) }
	if err := errors.Join(target.MarkSwap(), syncDir()); err != nil {
		return true, l.failed("replacing segments of", err)
	}
	l.mu.Lock()
	list := l.segments.Load() // a roll may have added one
	at := slices.Index(list.all, old[0])
	all := make([]*segment.Segment, 0, len(list.all))
	all = append(append(append(all, list.all[:at]...), target), list.all[at+len(old):]...)
	l.segments.Store(&segmentList{all})
	l.mu.Unlock()
	// One after the other and oldest first, also through power loss: else a tombstone's segment could be gone and the record that it deletes come back.
	for _, s := range old {
		if err := errors.Join(s.MarkDeleted(), syncDir()); err != nil {
			return true, l.failed("replacing segments of", err)
		}
		l.removeLater(s, nowMs)
	}
	if err := errors.Join(target.MarkFinal(), syncDir()); err != nil {
		return true, l.failed("replacing segments of", err)
	}
	return true, nil
}

// checkReplace is called under mu.
func (l *Log) checkReplace(old []*segment.Segment, truncations int) error {
	if err := l.usable(); err != nil {
		return err
	}
	list := l.segments.Load()
	at := slices.Index(list.all, old[0])
	if at < 0 || at+len(old) >= len(list.all) || !slices.Equal(list.all[at:at+len(old)], old) || l.clean.truncations != truncations {
		return errCleanOvertaken
	}
	return nil
}
