package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// Segment is one segment of a log. Append, Truncate, Recover, Activate and Seal belong to the
// one appender; the other methods may be called concurrently, beside it too.
type Segment struct {
	dir        *Dir
	baseOffset int64
	sizeBytes  atomic.Int64

	// logHandle leads to the open .log file, if it is open.
	logHandle atomic.Pointer[Handle]

	// readEnds is nil until somebody reads.
	readEnds atomic.Pointer[readEnds]

	// uses counts Acquire; removed marks a segment whose files are gone.
	uses   atomic.Int32
	failed atomic.Bool // no more appends
	// isClosed: the last page of the .log may be on its way to a follower, with more in it than the file has now. What is cut off
	// becomes zeros there, which no follower takes. Nothing is appended, which one might take.
	isClosed atomic.Bool
	extra    uint8 // which of extras is appended to the files' names; guarded by dir.mu
	// What awaits a sync: writes to the .log, to the indexes, the files' entries in the folder.
	unsyncedLog, unsyncedIndexes, unsyncedEntries, unsyncedTxnIndex atomic.Bool

	// txnEntries is how many entries of the transaction index are complete, unknownEntries until
	// somebody asks; txnLast the last offset of the newest, -1 without any. Most logs have none.
	txnEntries, txnLast atomic.Int64
	txnSum              uint32 // checksum of the entries; mu guards it

	// mu guards what follows. It is held for index lookups in memory, for writes of index
	// entries to the page cache, and while the indexes are loaded or rebuilt.
	mu sync.Mutex
	// loaded is set when the indexes have been checked; the next fields are unknown before.
	loaded bool
	// largestChecked says that largest was compared with the log, not only taken from an index.
	largestChecked bool
	offsetEntries  int32            // in the .index file
	timeEntries    int32            // in the .timeindex file
	largest        largestTimestamp // of a segment that is not active
	// firstTimestamp is the largest timestamp of the first batch; unknownTimestamp until read.
	firstTimestamp int64
	// tail is what appending needs; nil unless the segment is active. The appender sets it and
	// alone uses tail.nextOffset without mu.
	tail *tail
	// known is what this process knows of the bytes of the .log, nil as long as that is nothing.
	known *known
	// flushMu makes a Flush wait for one that is under way and may cover its appends.
	flushMu sync.Mutex
}

// extras are what the files' names may end with.
var extras = [...]string{noExtra: "", extraDeleted: DeletedSuffix, extraCleaned: CleanedSuffix, extraSwap: SwapSuffix}

const (
	noExtra = iota
	extraDeleted
	extraCleaned
	extraSwap
)

const (
	removed          = -1
	unknownTimestamp = math.MinInt64
)

// largestTimestamp is the largest timestamp of a run of batches, with the last offset of the
// first batch that has it.
type largestTimestamp struct {
	timestampMs int64
	offset      int64
}

func (l *largestTimestamp) note(at BatchPosition) {
	if at.MaxTimestampMs > l.timestampMs {
		l.timestampMs, l.offset = at.MaxTimestampMs, at.LastOffset
	}
}

// BatchPosition says where a batch is and what its header says of offsets and time.
type BatchPosition struct {
	Position       int64
	SizeBytes      int
	BaseOffset     int64
	LastOffset     int64
	LeaderEpoch    int32
	MaxTimestampMs int64
}

// End is the position after the batch.
func (at BatchPosition) End() int64 { return at.Position + int64(at.SizeBytes) }

func positionOf(header record.Batch, position int64, sizeBytes int) BatchPosition {
	return BatchPosition{
		Position: position, SizeBytes: sizeBytes,
		BaseOffset: header.BaseOffset(), LastOffset: header.LastOffset(),
		LeaderEpoch: header.PartitionLeaderEpoch(), MaxTimestampMs: header.MaxTimestamp(),
	}
}

func newSegment(d *Dir, baseOffset int64) *Segment {
	s := &Segment{
		dir: d, baseOffset: baseOffset, firstTimestamp: unknownTimestamp,
		largest: largestTimestamp{kafka.NoTimestamp, baseOffset},
	}
	s.txnEntries.Store(unknownEntries)
	return s
}

// Create makes the files of an empty, active segment. Existing files of that base offset are
// emptied. The folder is synced at the segment's first Flush. If it fails, no file is left: the
// log may go on without rolling here, and an empty segment in the middle of it would look like
// a hole to recovery. The error wraps ErrFailed where a file may be left all the same.
func Create(d *Dir, baseOffset int64) (*Segment, error) {
	if baseOffset < 0 {
		return nil, fmt.Errorf("a segment cannot begin at the negative offset %d", baseOffset)
	}
	s := newSegment(d, baseOffset)
	for _, suffix := range []string{LogSuffix, IndexSuffix, TimeIndexSuffix} {
		path := s.path(suffix)
		d.cache.Forget(path)
		f, err := d.fs.Create(path)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return nil, s.uncreate(err)
		}
	}
	if err := d.fs.Remove(s.path(TxnIndexSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.setTxnIndexLocked(txnState{last: -1})
	s.unsyncedEntries.Store(true)
	s.loaded = true
	s.tail = newTail(baseOffset)
	return s, nil
}

// uncreate removes the files of a segment that could not be created because of cause.
func (s *Segment) uncreate(cause error) error {
	for _, suffix := range []string{LogSuffix, IndexSuffix, TimeIndexSuffix} {
		if err := s.dir.fs.Remove(s.path(suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w; then: %w", ErrFailed, cause, err)
		}
	}
	return cause
}

// Open opens an existing segment, reading only the size of its .log. The indexes are checked when
// they are first needed, and rebuilt if they are missing or wrong. A log above MaxSizeBytes
// is refused. The segment is not active.
func Open(d *Dir, baseOffset int64) (*Segment, error) {
	s := newSegment(d, baseOffset)
	path := s.path(LogSuffix)
	info, err := d.fs.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxSizeBytes {
		return nil, &CorruptionError{Path: path, Position: MaxSizeBytes, Cause: fmt.Errorf("the file has %d bytes; a segment has at most %d", info.Size(), MaxSizeBytes)}
	}
	s.sizeBytes.Store(info.Size())
	return s, nil
}

// BaseOffset is the offset that names the files; no record has a smaller one.
func (s *Segment) BaseOffset() int64 { return s.baseOffset }

// SizeBytes is the size of the records that readers may see. It is an atomic.
func (s *Segment) SizeBytes() int64 { return s.sizeBytes.Load() }

// FitsBytes reports whether sizeBytes more stay within MaxSizeBytes, FitsOffset whether
// lastOffset can be indexed relative to the base offset. Roll if not.
func (s *Segment) FitsBytes(sizeBytes int) bool {
	return !s.isClosed.Load() && s.SizeBytes()+int64(sizeBytes) <= MaxSizeBytes
}

// FitsOffset is documented at FitsBytes.
func (s *Segment) FitsOffset(lastOffset int64) bool {
	return lastOffset >= s.baseOffset && lastOffset-s.baseOffset <= math.MaxInt32
}

// IndexesFull reports that an index of the active segment has reached segment.index.bytes;
// a slot is kept for the time entry that Seal adds. Roll then.
func (s *Segment) IndexesFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tail == nil {
		return false
	}
	limit := s.dir.maxIndexBytes.Load()
	offsets := int64(s.offsetEntries) + int64(len(s.tail.offsets)/offsetEntryBytes)
	times := int64(s.timeEntries) + int64(len(s.tail.times)/timeEntryBytes)
	return offsets >= limit/offsetEntryBytes || times >= limit/timeEntryBytes-1
}

// Path returns the present path of the .log file, for messages.
func (s *Segment) Path() string { return s.path(LogSuffix) }

func (s *Segment) path(suffix string) string {
	s.dir.mu.RLock()
	defer s.dir.mu.RUnlock()
	return s.pathLocked(suffix)
}

func (s *Segment) pathLocked(suffix string) string {
	return s.dir.join(FileName(s.baseOffset, suffix+extras[s.extra]))
}

func (s *Segment) acquire(suffix string, writable bool) (*Handle, error) {
	if suffix != LogSuffix {
		s.dir.mu.RLock()
		defer s.dir.mu.RUnlock()
		return s.dir.cache.Acquire(s.pathLocked(suffix), writable)
	}
	if h := s.dir.cache.acquireBy(&s.logHandle, writable); h != nil {
		return h, nil
	}
	s.dir.mu.RLock()
	defer s.dir.mu.RUnlock()
	h, err := s.dir.cache.Acquire(s.pathLocked(suffix), writable)
	if err == nil {
		s.dir.cache.shorten(h, &s.logHandle)
	}
	return h, err
}

// with calls use with the open file.
func (s *Segment) with(suffix string, writable bool, use func(h *Handle) error) error {
	h, err := s.acquire(suffix, writable)
	if err != nil {
		return err
	}
	defer h.Release()
	return use(h)
}

// ReadAt fills p from position on, as far as SizeBytes reaches; at or beyond it returns io.EOF.
// A read of fewer bytes than p has without an error ended at SizeBytes.
func (s *Segment) ReadAt(p []byte, position int64) (int, error) {
	left := s.SizeBytes() - position
	if left <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), left)]
	h, err := s.acquire(LogSuffix, false)
	if err != nil {
		return 0, err
	}
	defer h.Release()
	if err := readFull(h.File(), p, position); err != nil {
		return 0, fmt.Errorf("%s: %w", h.path, err)
	}
	return len(p), nil
}

// Acquire keeps the segment's files from Remove until Release; false if it is removed already.
func (s *Segment) Acquire() bool {
	for {
		n := s.uses.Load()
		if n == removed {
			return false
		}
		if s.uses.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release ends the use that Acquire began.
func (s *Segment) Release() {
	if s.uses.Add(-1) < 0 {
		panic("BUG: a segment was released twice")
	}
}

// Remove removes the files. It fails with ErrInUse while somebody holds the segment: try
// again later. Missing files are no error.
func (s *Segment) Remove() error {
	if !s.uses.CompareAndSwap(0, removed) && s.uses.Load() != removed {
		return ErrInUse
	}
	s.dir.mu.Lock()
	defer s.dir.mu.Unlock()
	s.forgetFiles()
	for _, suffix := range []string{LogSuffix, IndexSuffix, TimeIndexSuffix, TxnIndexSuffix} {
		if err := s.dir.fs.Remove(s.pathLocked(suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ReleaseFiles closes the segment's files as soon as nobody uses them.
func (s *Segment) ReleaseFiles() {
	s.dir.mu.RLock()
	defer s.dir.mu.RUnlock()
	s.forgetFiles()
}

// forgetFiles is called under dir.mu.
func (s *Segment) forgetFiles() {
	for _, suffix := range []string{LogSuffix, IndexSuffix, TimeIndexSuffix, TxnIndexSuffix} {
		s.dir.cache.Forget(s.pathLocked(suffix))
	}
}

// ModifiedMs is when the .log file was last written, Unix milliseconds.
func (s *Segment) ModifiedMs() (int64, error) {
	s.dir.mu.RLock()
	defer s.dir.mu.RUnlock()
	info, err := s.dir.fs.Stat(s.pathLocked(LogSuffix))
	if err != nil {
		return 0, err
	}
	return info.ModTime().UnixMilli(), nil
}
