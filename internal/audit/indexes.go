package audit

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

const (
	offsetEntryBytes = 8
	timeEntryBytes   = 12
	txnEntryBytes    = 34
	// maxIndexBytes bounds what is read from an index: far above segment.index.bytes of any log.
	maxIndexBytes = 1 << 30
)

// indexes compares a segment's index files with its batches as they go by.
type indexes struct {
	a                   *auditor
	base                int64
	offsetPath, timPath string
	offsets, times      []byte
	nextOffset, nextTim int // entries checked so far
	largest             int64
	largestOffset       int64 // of the first batch with it, its last
	next                int64
	bad                 bool
}

func (a *auditor) openIndexes(folder string, base int64) *indexes {
	x := &indexes{a: a, base: base, largest: kafka.NoTimestamp, next: base}
	x.offsetPath = filepath.Join(folder, segment.FileName(base, segment.IndexSuffix))
	x.timPath = filepath.Join(folder, segment.FileName(base, segment.TimeIndexSuffix))
	x.offsets = trimmed(a.index(x.offsetPath, offsetEntryBytes), offsetEntryBytes)
	x.times = trimmed(a.index(x.timPath, timeEntryBytes), timeEntryBytes)
	return x
}

// index reads a file of entries; a missing one is rebuilt by the broker.
func (a *auditor) index(path string, entryBytes int) []byte {
	data, err := vfs.ReadFile(a.fs, path, maxIndexBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if entryBytes != txnEntryBytes {
			a.note(path, "is missing: the broker makes it anew")
		}
		return nil
	case err != nil:
		a.problem(path, -1, "cannot be read: %v", err)
		return nil
	}
	if entryBytes == txnEntryBytes {
		return a.unsealed(path, data)
	}
	if rest := len(data) % entryBytes; rest != 0 {
		if !allZero(data[len(data)-rest:]) {
			a.problem(path, int64(len(data)-rest), "expected entries of %d bytes, got %d bytes at the end", entryBytes, rest)
		}
		data = data[:len(data)-rest]
	}
	return data
}

// unsealed checks the seal of a transaction index and returns its entries. A start builds one again
// whose seal is wrong; after an unclean stop its end may be what was reserved and not written.
func (a *auditor) unsealed(path string, data []byte) []byte {
	end := len(data) - len(data)%txnEntryBytes
	err := segment.CheckTxnSeal(data[:end], data[end:])
	switch {
	case err == nil:
	case !a.clean && len(data)-end <= 8 && allZero(data[max(0, end-txnEntryBytes+8):]):
		a.recoverable(path, "ends in an entry that was reserved and not written: the next start builds the index again")
		end = max(0, end-txnEntryBytes)
	default:
		a.problem(path, int64(end), "%v", err)
	}
	return data[:end]
}

// trimmed leaves out the zeros that Apache Kafka fills the files of an active segment with.
func trimmed(data []byte, entryBytes int) []byte {
	for len(data) >= entryBytes && allZero(data[len(data)-entryBytes:]) {
		data = data[:len(data)-entryBytes]
	}
	return data
}

func allZero(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}

// see takes a batch: an offset entry for its position must exist as it says, and a time entry
// up to it must be the largest timestamp so far.
func (x *indexes) see(position int64, b record.Batch) {
	if b.MaxTimestamp() > x.largest {
		x.largest, x.largestOffset = b.MaxTimestamp(), b.LastOffset()
	}
	x.next = b.NextOffset()
	for ; !x.bad && x.nextOffset < len(x.offsets)/offsetEntryBytes; x.nextOffset++ {
		e := x.offsets[x.nextOffset*offsetEntryBytes:]
		offset, at := x.base+int64(int32(binary.BigEndian.Uint32(e))), int64(int32(binary.BigEndian.Uint32(e[4:])))
		if at > position {
			break
		}
		if at < position || offset != b.LastOffset() {
			x.wrong(x.offsetPath, int64(x.nextOffset*offsetEntryBytes), "expected an entry of a batch's position and last offset, such as %d and %d, got %d and %d", position, b.LastOffset(), at, offset)
		}
	}
	for ; !x.bad && x.nextTim < len(x.times)/timeEntryBytes; x.nextTim++ {
		e := x.times[x.nextTim*timeEntryBytes:]
		timestamp, offset := int64(binary.BigEndian.Uint64(e)), x.base+int64(int32(binary.BigEndian.Uint32(e[8:])))
		if offset > b.LastOffset() {
			break
		}
		if timestamp != x.largest || offset != x.largestOffset {
			x.wrong(x.timPath, int64(x.nextTim*timeEntryBytes), "the largest timestamp up to offset %d: expected %d, of the batch that ends at offset %d, got %d and %d", offset, x.largest, x.largestOffset, timestamp, offset)
		}
	}
}

func (x *indexes) wrong(path string, position int64, format string, args ...any) {
	x.bad = true // one wrong entry tends to be followed by many
	x.a.problem(path, position, format, args...)
}

// finish complains about entries behind the end of the log.
func (x *indexes) finish() {
	if left := len(x.offsets)/offsetEntryBytes - x.nextOffset; left > 0 && !x.bad {
		x.wrong(x.offsetPath, int64(x.nextOffset*offsetEntryBytes), "%d entries point behind the end of the log, offset %d", left, x.next)
	}
	if left := len(x.times)/timeEntryBytes - x.nextTim; left > 0 && !x.bad {
		x.wrong(x.timPath, int64(x.nextTim*timeEntryBytes), "%d entries point behind the end of the log, offset %d", left, x.next)
	}
}
