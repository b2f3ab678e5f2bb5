package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

const (
	scanBufferBytes = 64 << 10
	// firstReadBytes covers what usually lies between two index entries.
	firstReadBytes = 8 << 10
	// sparseReadBytes is read at a time where batches are larger than is worth reading along.
	sparseReadBytes  = 512
	sparseBatchBytes = 16 << 10
)

var scanBuffers = sync.Pool{New: func() any { return new([scanBufferBytes]byte) }}

// headerScanner walks the batch headers of a log with a read-ahead buffer.
type headerScanner struct {
	handle   *Handle
	buffer   *[scanBufferBytes]byte
	start    int64 // position of the buffer's first byte
	filled   int
	nextRead int
	position int64 // of the next batch
	limit    int64
	least    int64 // the least base offset that the next batch may have
}

// scan returns a scanner from position, the start of a batch, to limit. Close it.
func (s *Segment) scan(position, limit int64) (*headerScanner, error) {
	h, err := s.acquire(LogSuffix, false)
	if err != nil {
		return nil, err
	}
	return &headerScanner{
		handle: h, buffer: scanBuffers.Get().(*[scanBufferBytes]byte), nextRead: firstReadBytes,
		position: position, limit: limit, least: s.baseOffset,
	}, nil
}

func (c *headerScanner) close() {
	c.handle.Release()
	scanBuffers.Put(c.buffer)
	c.buffer = nil
}

// next returns the next batch and its header, valid until the next call; io.EOF at the
// limit, a *CorruptionError where there is no batch.
func (c *headerScanner) next() (at BatchPosition, header record.Batch, err error) {
	if c.position >= c.limit {
		return at, nil, io.EOF
	}
	header, err = c.header()
	if err != nil {
		return at, nil, err
	}
	at, err = checkHeader(header, c.position, c.limit, c.least)
	if err != nil {
		return at, nil, c.corrupt(err)
	}
	c.position, c.least = at.End(), at.LastOffset+1
	c.nextRead = scanBufferBytes
	if at.SizeBytes >= sparseBatchBytes {
		c.nextRead = sparseReadBytes
	}
	return at, header, nil
}

func (c *headerScanner) header() (record.Batch, error) {
	if left := c.limit - c.position; left < record.BatchOverhead {
		return nil, c.corrupt(record.ErrIncomplete)
	}
	if c.position < c.start || c.position+record.BatchOverhead > c.start+int64(c.filled) {
		n := int(min(int64(c.nextRead), c.limit-c.position))
		if err := readFull(c.handle.File(), c.buffer[:n], c.position); err != nil {
			return nil, fmt.Errorf("%s: %w", c.handle.path, err)
		}
		c.start, c.filled = c.position, n
	}
	from := int(c.position - c.start)
	return record.Batch(c.buffer[from : from+record.BatchOverhead]), nil
}

func (c *headerScanner) corrupt(cause error) *CorruptionError {
	return &CorruptionError{Path: c.handle.path, Position: c.position, Cause: cause}
}

// checkHeader returns what a header says, or why it cannot be that of a batch at position in
// a log that ends at limit, with no offset below least.
func checkHeader(header record.Batch, position, limit, least int64) (BatchPosition, error) {
	size, err := record.SizeOf(header)
	if err != nil {
		return BatchPosition{}, err
	}
	if magic := header.Magic(); magic != record.Magic {
		return BatchPosition{}, &record.CorruptError{Field: "magic", Expected: record.Magic, Got: int64(magic)}
	}
	if base := header.BaseOffset(); base < least {
		return BatchPosition{}, &record.CorruptError{Field: "base offset", Expected: least, Got: base}
	}
	if delta := header.LastOffsetDelta(); delta < 0 || header.LastOffset() < 0 || header.LastOffset() == math.MaxInt64 {
		return BatchPosition{}, &record.CorruptError{Field: "last offset delta", Expected: 0, Got: int64(delta)}
	}
	if position+int64(size) > limit {
		return BatchPosition{}, record.ErrIncomplete
	}
	return positionOf(header, position, size), nil
}

// ScanHeaders calls visit for every batch from position, the start of one, on, reading headers
// only: of header just the 61 header bytes are there, and the batch's size is at.SizeBytes. It
// ends with visit's first error, or a *CorruptionError.
func (s *Segment) ScanHeaders(position int64, visit func(at BatchPosition, header record.Batch) error) error {
	c, err := s.scan(position, s.SizeBytes())
	if err != nil {
		return err
	}
	defer c.close()
	for {
		at, header, err := c.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(at, header); err != nil {
			return err
		}
	}
}

// ScanBatches calls visit for every whole batch from position, the start of one, on, with checked
// CRC. The batch is valid during the call only. It ends with visit's first error, or a
// *CorruptionError.
func (s *Segment) ScanBatches(position int64, visit func(at BatchPosition, b record.Batch) error) error {
	c, err := s.scan(position, s.SizeBytes())
	if err != nil {
		return err
	}
	defer c.close()
	reader := batchReader{handle: c.handle, limit: c.limit}
	defer reader.release()
	for {
		at, _, err := c.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := reader.read(at)
		if err != nil {
			return err
		}
		if err := visit(at, b); err != nil {
			return err
		}
	}
}

// maxMarkerBytes bounds what ReadMarker reads; a real marker has under 100.
const maxMarkerBytes = 64 << 10

// ReadMarker returns the control batch at a position that ScanHeaders has told, without checking its
// CRC; nil if it is too large for one.
func (s *Segment) ReadMarker(at BatchPosition) (record.Batch, error) {
	if at.SizeBytes > maxMarkerBytes {
		return nil, nil
	}
	b := make(record.Batch, at.SizeBytes)
	if n, err := s.ReadAt(b, at.Position); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return nil, err
	}
	if err := b.CheckCRC(); err != nil { // an abort must not pass for a commit
		return nil, &CorruptionError{Path: s.Path(), Position: at.Position, Cause: err}
	}
	return b, nil
}

// batchReader reads whole batches in ascending positions, many with one read.
type batchReader struct {
	handle *Handle
	limit  int64
	pooled *[]byte
	data   []byte // bytes of the file from start on
	start  int64
}

const (
	batchBufferBytes = 256 << 10
	// maxTrustedBytes is what is allocated on the word of a length field whose CRC has not
	// been checked.
	maxTrustedBytes = 4 << 20
)

var batchBuffers = sync.Pool{New: func() any { b := make([]byte, batchBufferBytes); return &b }}

// read returns the batch that at describes, with checked CRC, valid until the next call.
func (r *batchReader) read(at BatchPosition) (record.Batch, error) {
	if at.Position < r.start || at.End() > r.start+int64(len(r.data)) {
		if err := r.fill(at); err != nil {
			return nil, err
		}
	}
	from := at.Position - r.start
	b := record.Batch(r.data[from : from+int64(at.SizeBytes)])
	if err := b.CheckCRC(); err != nil {
		return nil, &CorruptionError{Path: r.handle.path, Position: at.Position, Cause: err}
	}
	return b, nil
}

func (r *batchReader) fill(at BatchPosition) error {
	if err := checkLarge(r.handle, at); err != nil {
		return err
	}
	if r.pooled == nil {
		r.pooled = batchBuffers.Get().(*[]byte)
	}
	if at.SizeBytes > len(*r.pooled) {
		*r.pooled = make([]byte, at.SizeBytes)
	}
	r.data = (*r.pooled)[:min(int64(len(*r.pooled)), r.limit-at.Position)]
	r.start = at.Position
	if err := readFull(r.handle.File(), r.data, r.start); err != nil {
		r.data = nil
		return fmt.Errorf("%s: %w", r.handle.path, err)
	}
	return nil
}

func (r *batchReader) release() {
	if r.pooled != nil && len(*r.pooled) <= maxTrustedBytes {
		batchBuffers.Put(r.pooled)
	}
	r.pooled, r.data = nil, nil
}

// CheckLarge checks the CRC of a batch that is too large to allocate its size on the word of
// its length field. A smaller one it leaves to the caller.
func (s *Segment) CheckLarge(at BatchPosition) error {
	if at.SizeBytes <= maxTrustedBytes {
		return nil
	}
	return s.with(LogSuffix, false, func(h *Handle) error { return checkLarge(h, at) })
}

func checkLarge(h *Handle, at BatchPosition) error {
	if at.SizeBytes <= maxTrustedBytes {
		return nil
	}
	return checkStoredCRC(h, at)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcFrom is where the bytes that a batch's CRC covers begin: behind the CRC.
const crcFrom = 21

// checkStoredCRC checks the CRC of a batch in the file without holding it in memory.
func checkStoredCRC(h *Handle, at BatchPosition) error {
	buffer := scanBuffers.Get().(*[scanBufferBytes]byte)
	defer scanBuffers.Put(buffer)
	var want, got uint32
	for position := at.Position; position < at.End(); {
		data := buffer[:min(scanBufferBytes, at.End()-position)]
		if err := readFull(h.File(), data, position); err != nil {
			return fmt.Errorf("%s: %w", h.path, err)
		}
		skip := 0
		if position == at.Position {
			want, skip = binary.BigEndian.Uint32(data[crcFrom-4:]), crcFrom
		}
		got = crc32.Update(got, castagnoli, data[skip:])
		position += int64(len(data))
	}
	if got != want {
		cause := &record.CorruptError{Field: "crc", Expected: int64(want), Got: int64(got)}
		return &CorruptionError{Path: h.path, Position: at.Position, Cause: cause}
	}
	return nil
}

// isCorruption reports whether err says that the file's bytes are wrong, rather than that
// they could not be read.
func isCorruption(err error) bool {
	_, ok := errors.AsType[*CorruptionError](err)
	return ok
}

// FirstTimestamp is the largest timestamp of the first batch, from which segment.ms counts;
// -1 while there is none.
func (s *Segment) FirstTimestamp() (int64, error) {
	s.mu.Lock()
	known := s.firstTimestamp
	s.mu.Unlock()
	if known != unknownTimestamp {
		return known, nil
	}
	c, err := s.scan(0, s.SizeBytes())
	if err != nil {
		return 0, err
	}
	defer c.close()
	at, _, err := c.next()
	if err == io.EOF {
		return kafka.NoTimestamp, nil
	}
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.firstTimestamp = at.MaxTimestampMs
	return at.MaxTimestampMs, nil
}
