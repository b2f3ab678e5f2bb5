package segment

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sort"
	"sync"

	"github.com/moldau/moldau/internal/env/vfs"
)

// The index files are arrays of big-endian entries. An offset entry says: the batch at this
// position has no offset above the target's, so a search may begin there. A time entry
// says: up to this offset no timestamp is larger. Entries ascend; only in the time index may an offset repeat.
const (
	offsetEntryBytes = 8  // relative offset int32, position int32
	timeEntryBytes   = 12 // timestamp int64, relative offset int32
)

// offsetEntry is an entry of the .index file.
type offsetEntry struct {
	relative int32
	position int32
}

func appendOffsetEntry(data []byte, e offsetEntry) []byte {
	data = binary.BigEndian.AppendUint32(data, uint32(e.relative))
	return binary.BigEndian.AppendUint32(data, uint32(e.position))
}

func parseOffsetEntry(data []byte) offsetEntry {
	return offsetEntry{int32(binary.BigEndian.Uint32(data)), int32(binary.BigEndian.Uint32(data[4:]))}
}

// timeEntry is an entry of the .timeindex file.
type timeEntry struct {
	timestamp int64
	relative  int32
}

func appendTimeEntry(data []byte, e timeEntry) []byte {
	data = binary.BigEndian.AppendUint64(data, uint64(e.timestamp))
	return binary.BigEndian.AppendUint32(data, uint32(e.relative))
}

func parseTimeEntry(data []byte) timeEntry {
	return timeEntry{int64(binary.BigEndian.Uint64(data)), int32(binary.BigEndian.Uint32(data[8:]))}
}

// indexChecker checks the entries of an index file one after the other.
type indexChecker interface {
	entryBytes() int
	// accept returns an error if entry cannot follow those before it.
	accept(entry []byte) error
}

// offsetChecker checks an .index file of a log with sizeBytes bytes.
type offsetChecker struct {
	sizeBytes int64
	any       bool
	last      offsetEntry
}

func (*offsetChecker) entryBytes() int { return offsetEntryBytes }

func (c *offsetChecker) accept(data []byte) error {
	e := parseOffsetEntry(data)
	switch {
	case e.relative < 0 || e.position < 0:
		return fmt.Errorf("entry (%d, %d) is negative", e.relative, e.position)
	case int64(e.position) >= c.sizeBytes:
		return fmt.Errorf("entry (%d, %d) points beyond the %d bytes of the log", e.relative, e.position, c.sizeBytes)
	case c.any && (e.relative <= c.last.relative || e.position <= c.last.position):
		return fmt.Errorf("entry (%d, %d) does not ascend from (%d, %d)", e.relative, e.position, c.last.relative, c.last.position)
	}
	c.any, c.last = true, e
	return nil
}

// timeChecker checks a .timeindex file.
type timeChecker struct {
	any  bool
	last timeEntry
}

func (*timeChecker) entryBytes() int { return timeEntryBytes }

func (c *timeChecker) accept(data []byte) error {
	e := parseTimeEntry(data)
	switch {
	case e.relative < 0 || e.timestamp < 0:
		return fmt.Errorf("entry (%d, %d) is negative", e.timestamp, e.relative)
	case c.any && (e.timestamp <= c.last.timestamp || e.relative < c.last.relative):
		return fmt.Errorf("entry (%d, %d) does not ascend from (%d, %d)", e.timestamp, e.relative, c.last.timestamp, c.last.relative)
	}
	c.any, c.last = true, e
	return nil
}

const indexChunkBytes = 48 << 10 // a multiple of both entry sizes

var indexChunks = sync.Pool{New: func() any { return new([indexChunkBytes]byte) }}

// checkedIndex is what checkIndex found.
type checkedIndex struct {
	entries int  // good ones at the start of the file
	padded  bool // zeros follow them
	fault   error
}

// checkIndex reads a whole index file. Zero padding after the entries is what Kafka leaves in
// the index of an active segment; neither Kafka nor we write an entry that is all zero.
func checkIndex(f vfs.File, checker indexChecker) (c checkedIndex, err error) {
	size, err := f.Size()
	if err != nil {
		return c, err
	}
	width := int64(checker.entryBytes())
	if rest := size % width; rest != 0 {
		c.fault = fmt.Errorf("the file has %d bytes, not a multiple of %d", size, width)
		size -= rest
	}
	if size > math.MaxInt32 {
		c.fault = fmt.Errorf("the file has %d bytes, more than an index can have", size)
		return c, nil
	}
	chunk := indexChunks.Get().(*[indexChunkBytes]byte)
	defer indexChunks.Put(chunk)
	for position := int64(0); position < size; {
		data := chunk[:min(int64(len(chunk)), size-position)]
		if err := readFull(f, data, position); err != nil {
			return c, err
		}
		position += int64(len(data))
		for ; len(data) > 0; data = data[width:] {
			entry := data[:width]
			if allZero(entry) {
				c.padded = true
				continue
			}
			err := checker.accept(entry)
			if c.padded {
				err = fmt.Errorf("entries follow %d entries and zeros", c.entries)
			}
			if err != nil {
				c.fault = err
				return c, nil
			}
			c.entries++
		}
	}
	return c, nil
}

func allZero(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}

// searchIndex returns the last of the first entries in f for which atMost reports true; atMost
// is true for a prefix of them. found is false if it is true for none. The end of the
// index is tried first, because most readers are near the end of the log.
func searchIndex(f io.ReaderAt, entries, width int, atMost func(entry []byte) bool) (entry [timeEntryBytes]byte, found bool, err error) {
	if entries == 0 {
		return entry, false, nil
	}
	const searchBytes = 4080 // a multiple of both entry sizes
	buffer := indexChunks.Get().(*[indexChunkBytes]byte)
	defer indexChunks.Put(buffer)
	perChunk := searchBytes / width
	chunks := (entries + perChunk - 1) / perChunk
	chunk := chunks - 1
	if err := readFull(f, buffer[:width], int64(chunk*perChunk*width)); err != nil {
		return entry, false, err
	}
	if !atMost(buffer[:width]) {
		// The last chunk whose first entry is at most the target.
		var readErr error
		chunk = sort.Search(chunk, func(i int) bool {
			if readErr == nil {
				readErr = readFull(f, buffer[:width], int64(i*perChunk*width))
			}
			return readErr != nil || !atMost(buffer[:width])
		}) - 1
		if readErr != nil || chunk < 0 {
			return entry, false, readErr
		}
	}
	first := chunk * perChunk
	n := min(perChunk, entries-first)
	data := buffer[:n*width]
	if err := readFull(f, data, int64(first*width)); err != nil {
		return entry, false, err
	}
	at := searchEntries(data, width, atMost)
	if at < 0 {
		return entry, false, nil
	}
	copy(entry[:], data[at*width:][:width])
	return entry, true, nil
}

// searchEntries returns the number of the last entry in data for which atMost is true, or -1.
func searchEntries(data []byte, width int, atMost func(entry []byte) bool) int {
	return sort.Search(len(data)/width, func(i int) bool { return !atMost(data[i*width:][:width]) }) - 1
}

// readFull fills p or returns an error that is never io.EOF alone.
func readFull(f io.ReaderAt, p []byte, position int64) error {
	n, err := f.ReadAt(p, position)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %d bytes at position %d: %w", len(p), position, err)
}
