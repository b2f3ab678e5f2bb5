package segment

import (
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
)

// FileCache keeps a bounded number of files open for the logs of one log dir.
type FileCache struct{ _ int }

// FileCacheOptions configure a FileCache.
type FileCacheOptions struct {
	FS      vfs.FS
	MaxOpen int               // files kept open; more only while more are in use at once
	Metrics *metrics.Registry // may be nil
	LogDir  string            // label of the metrics
}

// NewFileCache returns an empty cache.
func NewFileCache(o FileCacheOptions) *FileCache { panic("BUG: not written yet") }

// Handle is a use of an open file.
type Handle struct{ _ int }

// File returns the open file; it stays open until Release.
func (h *Handle) File() vfs.File { panic("BUG: not written yet") }

// Release ends the use.
func (h *Handle) Release() { panic("BUG: not written yet") }

// Acquire returns the existing file at path, opening it if needed. A writable handle serves
// readers too.
func (c *FileCache) Acquire(path string, writable bool) (*Handle, error) {
	panic("BUG: not written yet")
}

// Forget closes the file at path as soon as nobody uses it; call it before renaming or
// removing a file.
func (c *FileCache) Forget(path string) { panic("BUG: not written yet") }

// Close forgets every file.
func (c *FileCache) Close() { panic("BUG: not written yet") }

// Dir is a log's folder as its segments share it.
type Dir struct{ _ int }

// DirOptions configure a Dir.
type DirOptions struct {
	FS    vfs.FS
	Cache *FileCache
	// IndexIntervalBytes is index.interval.bytes, MaxIndexBytes segment.index.bytes; zero
	// means Kafka's default of 4096 and 10 MiB.
	IndexIntervalBytes int
	MaxIndexBytes      int
}

// NewDir returns the existing folder at path.
func NewDir(path string, o DirOptions) *Dir { panic("BUG: not written yet") }

// Path is the folder's present path.
func (d *Dir) Path() string { panic("BUG: not written yet") }

// SetIndexLimits changes the two limits for what is appended from now on.
func (d *Dir) SetIndexLimits(intervalBytes, maxBytes int) { panic("BUG: not written yet") }

// Rename moves the folder (its parent is not synced). segments are all segments of the folder
// that may have open files; reads of them go on under the new path.
func (d *Dir) Rename(newPath string, segments []*Segment) error { panic("BUG: not written yet") }

// Segment is one segment of a log.
type Segment struct{ _ int }

// Create makes the files of an empty segment for appends. Existing files of that base offset are
// emptied. The folder is synced at the segment's first Flush.
func Create(d *Dir, baseOffset int64) (*Segment, error) { panic("BUG: not written yet") }

// Open opens an existing segment, reading only the size of its .log. Missing indexes are rebuilt
// when they are first needed. A log above MaxSizeBytes is refused.
func Open(d *Dir, baseOffset int64) (*Segment, error) { panic("BUG: not written yet") }

// Activate prepares a segment from Open for appends: it loads both indexes and finds the next offset.
// Recover does the same.
func (s *Segment) Activate() error { panic("BUG: not written yet") }

// BaseOffset is the offset that names the files; no record has a smaller one.
func (s *Segment) BaseOffset() int64 { panic("BUG: not written yet") }

// SizeBytes is the size of the records that readers may see. It is an atomic.
func (s *Segment) SizeBytes() int64 { panic("BUG: not written yet") }

// Append writes whole batches at the end with one write, then adds index entries as they come due.
// Offsets must ascend. Last offsets and timestamps are taken from the batch headers.
// After an error nothing of batches is visible; an error that wraps ErrFailed (the tail could
// not be cut back, or an earlier write or sync failed) ends all appends to the segment.
func (s *Segment) Append(batches []byte) error { panic("BUG: not written yet") }

// FitsBytes reports whether sizeBytes more stay within MaxSizeBytes, FitsOffset whether
// lastOffset can be indexed relative to the base offset. Roll if not.
func (s *Segment) FitsBytes(sizeBytes int) bool { panic("BUG: not written yet") }

// FitsOffset is documented at FitsBytes.
func (s *Segment) FitsOffset(lastOffset int64) bool { panic("BUG: not written yet") }

// IndexesFull reports that the indexes have reached segment.index.bytes. Roll then.
func (s *Segment) IndexesFull() bool { panic("BUG: not written yet") }

// ReadAt fills p from position on, as far as SizeBytes reaches; at or beyond it returns io.EOF.
func (s *Segment) ReadAt(p []byte, position int64) (int, error) { panic("BUG: not written yet") }

// BatchPosition says where a batch is and which offsets it has.
type BatchPosition struct {
	Position       int64
	SizeBytes      int
	BaseOffset     int64
	LastOffset     int64
	LeaderEpoch    int32
	MaxTimestampMs int64
}

// Lookup finds the batch that contains offset, or else the first one after it. found is
// false if every batch of the segment is before offset.
func (s *Segment) Lookup(offset int64) (at BatchPosition, found bool, err error) {
	panic("BUG: not written yet")
}

// TimestampOffset is a record found by timestamp.
type TimestampOffset struct {
	TimestampMs int64
	Offset      int64
	LeaderEpoch int32
}

// FindByTimestamp finds the first record with a timestamp of at least timestampMs and an
// offset of at least startOffset.
func (s *Segment) FindByTimestamp(timestampMs, startOffset int64) (r TimestampOffset, found bool, err error) {
	panic("BUG: not written yet")
}

// LargestTimestamp returns the largest timestamp and the last offset of the first batch that
// has it; -1 and the base offset if no batch has a timestamp.
func (s *Segment) LargestTimestamp() (timestampMs, offset int64, err error) {
	panic("BUG: not written yet")
}

// FirstTimestamp is the largest timestamp of the first batch, from which segment.ms counts;
// -1 without any.
func (s *Segment) FirstTimestamp() (int64, error) { panic("BUG: not written yet") }

// ModifiedMs is when the .log file was last written, Unix milliseconds.
func (s *Segment) ModifiedMs() (int64, error) { panic("BUG: not written yet") }

// NextOffset is the offset after the last record, the base offset if there is none. On a
// segment that is not active it reads the end of the log.
func (s *Segment) NextOffset() (int64, error) { panic("BUG: not written yet") }

// ScanHeaders calls visit for every batch from position on, reading headers only: of header
// just the 61 header bytes are there and SizeBytes is at.SizeBytes. It ends with visit's first error.
func (s *Segment) ScanHeaders(position int64, visit func(at BatchPosition, header record.Batch) error) error {
	panic("BUG: not written yet")
}

// ScanBatches calls visit for every whole batch from position on, with checked CRC. The batch
// is valid during the call only. It ends with visit's first error, or a *CorruptionError.
func (s *Segment) ScanBatches(position int64, visit func(at BatchPosition, b record.Batch) error) error {
	panic("BUG: not written yet")
}

// RecoverOptions tell Recover what to trust.
type RecoverOptions struct {
	// FromOffset is the recovery point: batches wholly below it were flushed, so only their headers
	// are walked, and index entries below it are kept. The base offset or less checks everything.
	FromOffset int64
	// Visit is called for every good batch that ends at or above FromOffset, may be nil. The
	// batch is valid during the call only. Its error ends the recovery without a truncation.
	Visit func(b record.Batch) error
	// RefuseDamageBeforeData makes Recover fail with a *CorruptionError and change nothing
	// when a good batch follows the first bad byte, which a torn write cannot explain.
	RefuseDamageBeforeData bool
}

// RecoverResult says what Recover found and did.
type RecoverResult struct {
	ValidBytes     int64
	TruncatedBytes int64
	NextOffset     int64
	// Damage describes the first bad byte, nil if there was none. An incomplete last batch wraps
	// record.ErrIncomplete.
	Damage *CorruptionError
	// IndexesRebuilt is set when the indexes below FromOffset could not be trusted.
	IndexesRebuilt bool
}

// Recover checks the batches from the recovery point on (length, magic, CRC, ascending offsets),
// cuts the segment at the first bad one, completes both indexes and activates the segment.
func (s *Segment) Recover(o RecoverOptions) (RecoverResult, error) { panic("BUG: not written yet") }

// Truncate removes every batch with records at offset or above and returns how many bytes
// went. The segment is active afterwards.
func (s *Segment) Truncate(offset int64) (int64, error) { panic("BUG: not written yet") }

// Flush makes what was appended before the call durable: log, indexes and, the first time, the
// folder's entries. It may run beside appends. Its failure ends all appends.
func (s *Segment) Flush() error { panic("BUG: not written yet") }

// Seal ends the appends on a roll: the largest timestamp gets its index entry, buffered entries
// reach the files and the appender's memory is given back. Flush is still due.
func (s *Segment) Seal() error { panic("BUG: not written yet") }

// Acquire keeps the segment's files from Remove until Release; false if it is removed already.
func (s *Segment) Acquire() bool { panic("BUG: not written yet") }

// Release ends the use that Acquire began.
func (s *Segment) Release() { panic("BUG: not written yet") }

// MarkDeleted renames the files to .deleted; reads go on.
func (s *Segment) MarkDeleted() error { panic("BUG: not written yet") }

// Remove removes the files. It fails with ErrInUse while somebody holds the segment: try
// again later. Missing files are no error.
func (s *Segment) Remove() error { panic("BUG: not written yet") }

// ReleaseFiles closes the segment's cached files when nobody uses them.
func (s *Segment) ReleaseFiles() { panic("BUG: not written yet") }
