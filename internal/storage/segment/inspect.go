package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What follows reads index files as they are, for tools: it judges no entry and repairs nothing.

// IndexEntry is an entry of an .index file: the batch that ends at Offset begins at Position.
type IndexEntry struct {
	Offset   int64
	Position int32
}

// Entry sizes of the index files.
const (
	IndexEntryBytes     = offsetEntryBytes
	TimeIndexEntryBytes = timeEntryBytes
)

// ReadIndex visits the entries of an .index file until visit returns an error, which it returns.
// Bytes after the last whole entry are left out.
func ReadIndex(r io.Reader, baseOffset int64, visit func(e IndexEntry) error) error {
	return readEntries(r, offsetEntryBytes, func(data []byte) error {
		e := parseOffsetEntry(data)
		return visit(IndexEntry{Offset: baseOffset + int64(e.relative), Position: e.position})
	})
}

// ReadTimeIndex is ReadIndex of a .timeindex file.
func ReadTimeIndex(r io.Reader, baseOffset int64, visit func(e TimestampOffset) error) error {
	return readEntries(r, timeEntryBytes, func(data []byte) error {
		e := parseTimeEntry(data)
		return visit(TimestampOffset{TimestampMs: e.timestamp, Offset: baseOffset + int64(e.relative)})
	})
}

// ReadTxnIndex is ReadIndex of a .txnindex file. An entry of an unknown version is an error with
// ErrTxnIndex.
func ReadTxnIndex(r io.Reader, visit func(version int16, e AbortedTransaction) error) error {
	return readEntries(r, txnEntryBytes, func(data []byte) error {
		version := int16(binary.BigEndian.Uint16(data))
		if version > txnEntryVersion {
			return fmt.Errorf("%w: version is %d, expected %d", ErrTxnIndex, version, txnEntryVersion)
		}
		return visit(version, txnEntryOf(data))
	})
}

func readEntries(r io.Reader, entryBytes int, visit func(entry []byte) error) error {
	entry := make([]byte, entryBytes)
	for {
		switch _, err := io.ReadFull(r, entry); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		if err := visit(entry); err != nil {
			return err
		}
	}
}

// SearchIndex returns the last of the first entries of an .index file whose offset is at most target.
func SearchIndex(r io.ReaderAt, entries int, baseOffset, target int64) (e IndexEntry, found bool, err error) {
	data, found, err := searchIndex(r, entries, offsetEntryBytes, func(entry []byte) bool {
		return baseOffset+int64(parseOffsetEntry(entry).relative) <= target
	})
	at := parseOffsetEntry(data[:])
	return IndexEntry{Offset: baseOffset + int64(at.relative), Position: at.position}, found, err
}
