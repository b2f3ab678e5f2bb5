package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
)

// AbortedTransaction is one entry of a transaction index: a consumer that reads committed
// records skips those of the producer from FirstOffset on, up to the marker at LastOffset.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64
	// LastStableOffset is the one that the marker led to: a transaction that this segment or a
	// later one lists after this entry begins at or above it.
	LastStableOffset int64
}

const (
	txnEntryBytes   = 2 + 4*8
	txnEntryVersion = 0
	txnReadEntries  = 128 // read at once

	unknownEntries = -1
)

// ErrTxnIndex says that a transaction index is not what was written; it can be built again
// from the log.
var ErrTxnIndex = errors.New("damaged transaction index")

func appendTxnEntry(data []byte, e AbortedTransaction) []byte {
	data = binary.BigEndian.AppendUint16(data, txnEntryVersion)
	for _, v := range [...]int64{e.ProducerID, e.FirstOffset, e.LastOffset, e.LastStableOffset} {
		data = binary.BigEndian.AppendUint64(data, uint64(v))
	}
	return data
}

// parseTxnEntry reads an entry of a segment that begins at baseOffset; after is the last offset
// of the entry before it.
func parseTxnEntry(data []byte, baseOffset, after int64) (AbortedTransaction, error) {
	e := txnEntryOf(data)
	switch version := int16(binary.BigEndian.Uint16(data)); {
	case version != txnEntryVersion:
		return e, fmt.Errorf("%w: version is %d, expected %d", ErrTxnIndex, version, txnEntryVersion)
	case e.ProducerID < 0 || e.FirstOffset < 0 || e.FirstOffset >= e.LastOffset: // all zeros, too, as power loss leaves them
		return e, fmt.Errorf("%w: producer %d from offset %d to %d", ErrTxnIndex, e.ProducerID, e.FirstOffset, e.LastOffset)
	case e.LastOffset < baseOffset || e.LastOffset <= after:
		return e, fmt.Errorf("%w: last offset is %d, expected more than %d", ErrTxnIndex, e.LastOffset, max(after, baseOffset-1))
	case e.LastStableOffset > e.LastOffset+1: // a reader would stop too early
		return e, fmt.Errorf("%w: last stable offset is %d, expected at most %d", ErrTxnIndex, e.LastStableOffset, e.LastOffset+1)
	}
	return e, nil
}

func txnEntryOf(data []byte) AbortedTransaction {
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(data[2+8*i:])) }
	return AbortedTransaction{ProducerID: at(0), FirstOffset: at(1), LastOffset: at(2), LastStableOffset: at(3)}
}

// loadTxnIndexLocked finds out what the file has, under mu.
func (s *Segment) loadTxnIndexLocked() error {
	if s.txnEntries.Load() != unknownEntries {
		return nil
	}
	s.dir.mu.RLock()
	info, err := s.dir.fs.Stat(s.pathLocked(TxnIndexSuffix))
	s.dir.mu.RUnlock()
	if errors.Is(err, fs.ErrNotExist) {
		s.setTxnIndexLocked(txnState{last: -1})
		return nil
	}
	if err != nil {
		return err
	}
	w, err := s.walkWholeLocked(info.Size(), math.MaxInt64)
	if err != nil {
		return err
	}
	s.setTxnIndexLocked(w)
	return nil
}

// txnState is what a transaction index holds.
type txnState struct {
	entries int64
	last    int64  // last offset of the newest entry, -1 without any
	sum     uint32 // checksum of the entries
}

func (s *Segment) setTxnIndexLocked(t txnState) {
	s.txnSum = t.sum
	s.txnLast.Store(t.last)
	s.txnEntries.Store(t.entries)
}

// walkWholeLocked checks an index of sizeBytes and returns what it holds below offset, or up to the
// first damaged entry. A seal that is wrong does not tell which entry is.
func (s *Segment) walkWholeLocked(sizeBytes, offset int64) (t txnState, err error) {
	t.last = -1
	count, sum, last := sizeBytes/txnEntryBytes, uint32(0), int64(-1)
	_, err = s.walkTxnIndex(0, count, -1, func(e AbortedTransaction) bool {
		if sum, last = txnSum(sum, e), e.LastOffset; last < offset {
			t = txnState{t.entries + 1, last, sum}
		}
		return true
	})
	if err != nil {
		return t, err
	}
	rest := make([]byte, sizeBytes%txnEntryBytes)
	if len(rest) > 0 {
		err = s.with(TxnIndexSuffix, false, func(h *Handle) error {
			if err := readFull(h.File(), rest, count*txnEntryBytes); err != nil {
				return fmt.Errorf("%s: %w", h.path, err)
			}
			return nil
		})
	}
	if err == nil {
		if err = checkTxnSeal(sum, rest); err != nil {
			err = fmt.Errorf("%s: %w", s.path(TxnIndexSuffix), err)
		}
	}
	return t, err
}

func (s *Segment) loadTxnIndex() error {
	if s.txnEntries.Load() != unknownEntries {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loadTxnIndexLocked()
}

func (s *Segment) txnEntry(i, after int64) (e AbortedTransaction, err error) {
	var data [txnEntryBytes]byte
	err = s.with(TxnIndexSuffix, false, func(h *Handle) error {
		if err := readTxnEntries(h, data[:], i); err != nil {
			return err
		}
		if e, err = parseTxnEntry(data[:], s.baseOffset, after); err != nil {
			return fmt.Errorf("%s at %d: %w", h.path, i*txnEntryBytes, err)
		}
		return nil
	})
	return e, err
}

// readTxnEntries reads from entry i on. A file that is shorter than it was is damaged, or being
// replaced.
func readTxnEntries(h *Handle, data []byte, i int64) error {
	err := readFull(h.File(), data, i*txnEntryBytes)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: %w: it ends before entry %d", h.path, ErrTxnIndex, i+int64(len(data)/txnEntryBytes))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", h.path, err)
	}
	return nil
}

// AppendAborted adds an entry to the transaction index, which comes into being with the first
// one. An entry that does not end above the newest one is there already (a replay) and left out.
// It belongs to the one appender.
func (s *Segment) AppendAborted(e AbortedTransaction) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadTxnIndexLocked(); err != nil {
		return err
	}
	if e.LastOffset <= s.txnLast.Load() {
		return nil
	}
	entries := s.txnEntries.Load()
	if entries == 0 {
		if err := s.createFile(TxnIndexSuffix); err != nil {
			return err
		}
	}
	err := s.with(TxnIndexSuffix, true, func(h *Handle) error {
		_, err := h.File().WriteAt(appendTxnSeal(appendTxnEntry(nil, e), txnSum(s.txnSum, e)), entries*txnEntryBytes)
		return err
	})
	if err != nil {
		return s.fail(err)
	}
	s.unsyncedTxnIndex.Store(true)                                                // after the write: a flush in between has not synced it
	s.setTxnIndexLocked(txnState{entries + 1, e.LastOffset, txnSum(s.txnSum, e)}) // readers see the entry from here on
	return nil
}

// ReserveAborted takes the space of the next entry, before the marker is written that it is about:
// on a full disk that is the last moment to refuse it. Zeros at the end of the file, if it ends
// there, are damage, and the index is built again. It belongs to the one appender.
func (s *Segment) ReserveAborted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadTxnIndexLocked(); err != nil {
		return err
	}
	entries := s.txnEntries.Load()
	if entries == 0 {
		if err := s.createFile(TxnIndexSuffix); err != nil {
			return err
		}
	}
	err := s.with(TxnIndexSuffix, true, func(h *Handle) error {
		end := txnFileBytes(entries) // behind the seal
		_, err := h.File().WriteAt(make([]byte, txnFileBytes(entries+1)-end), end)
		return err
	})
	if err != nil {
		return errors.Join(err, s.truncateTxnIndexLocked(txnState{entries, s.txnLast.Load(), s.txnSum}))
	}
	return nil
}

// UnreserveAborted gives back what ReserveAborted took.
func (s *Segment) UnreserveAborted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.truncateTxnIndexLocked(txnState{s.txnEntries.Load(), s.txnLast.Load(), s.txnSum})
}

// CutAborted removes the entries that end at offset or above, and reports the first damaged
// entry below it with ErrTxnIndex. It belongs to the one appender.
func (s *Segment) CutAborted(offset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, sizeBytes, err := s.goodAbortedLocked(offset)
	if err != nil {
		return err // a damaged one is not sealed again, but replaced
	}
	if sizeBytes >= 0 && sizeBytes != txnFileBytes(t.entries) && sizeBytes != t.entries*txnEntryBytes {
		if err := s.truncateTxnIndexLocked(t); err != nil {
			return err
		}
	}
	if sizeBytes >= 0 {
		// An earlier recovery may have cut it and died: power loss would bring back what it cut.
		s.unsyncedTxnIndex.Store(true)
	}
	s.setTxnIndexLocked(t)
	return nil
}

// CheckAborted reports the first damaged entry with ErrTxnIndex.
func (s *Segment) CheckAborted() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, _, err := s.goodAbortedLocked(math.MaxInt64)
	if known := s.txnEntries.Load(); err == nil && t.entries < known {
		err = fmt.Errorf("%s: %w: it has %d entries, expected %d", s.path(TxnIndexSuffix), ErrTxnIndex, t.entries, known)
	}
	return err
}

// goodAbortedLocked returns what the file holds below offset and up to the first damaged entry;
// sizeBytes is -1 if there is no file.
func (s *Segment) goodAbortedLocked(offset int64) (t txnState, sizeBytes int64, err error) {
	s.dir.mu.RLock()
	info, err := s.dir.fs.Stat(s.pathLocked(TxnIndexSuffix))
	s.dir.mu.RUnlock()
	t.last = -1
	if errors.Is(err, fs.ErrNotExist) {
		return t, -1, nil
	}
	if err != nil {
		return t, -1, err
	}
	t, err = s.walkWholeLocked(info.Size(), offset)
	return t, info.Size(), err
}

// truncateTxnIndexLocked leaves what t says, sealed.
func (s *Segment) truncateTxnIndexLocked(t txnState) error {
	defer s.unsyncedTxnIndex.Store(true) // after the write, as in AppendAborted
	err := s.with(TxnIndexSuffix, true, func(h *Handle) error {
		if t.entries > 0 {
			if _, err := h.File().WriteAt(appendTxnSeal(nil, t.sum), t.entries*txnEntryBytes); err != nil {
				return err
			}
		}
		return h.File().Truncate(txnFileBytes(t.entries))
	})
	if err != nil {
		return s.fail(err)
	}
	return nil
}

// ReplaceAborted makes the transaction index what entries say. A reader beside it may see the
// old entries for the last time, but never fewer than there are. It belongs to the one appender.
func (s *Segment) ReplaceAborted(entries []AbortedTransaction) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir.mu.RLock()
	_, err := s.dir.fs.Stat(s.pathLocked(TxnIndexSuffix))
	s.dir.mu.RUnlock()
	if errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
		err = s.createFile(TxnIndexSuffix)
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.setTxnIndexLocked(txnState{last: -1})
		return nil
	}
	if err != nil {
		return err
	}
	var data []byte
	t := txnState{entries: int64(len(entries)), last: -1}
	for _, e := range entries {
		data, t.last, t.sum = appendTxnEntry(data, e), e.LastOffset, txnSum(t.sum, e)
	}
	defer s.unsyncedTxnIndex.Store(true)
	err = s.with(TxnIndexSuffix, true, func(h *Handle) error {
		_, err := h.File().WriteAt(data, 0)
		return err
	})
	if err != nil {
		return s.fail(err)
	}
	if err := s.truncateTxnIndexLocked(t); err != nil {
		return err
	}
	s.setTxnIndexLocked(t)
	return nil
}

// Aborted appends to found the transactions that end at from or above and begin below upTo. It
// reports complete if no later segment has another one. It may run beside AppendAborted.
func (s *Segment) Aborted(found []AbortedTransaction, from, upTo int64) (all []AbortedTransaction, complete bool, err error) {
	if err := s.loadTxnIndex(); err != nil {
		return found, false, err
	}
	entries := s.txnEntries.Load()
	if entries <= 0 || s.txnLast.Load() < from {
		return found, false, nil
	}
	low, high := int64(0), entries
	for low < high { // the first entry that ends at from or above
		middle := (low + high) / 2
		e, err := s.txnEntry(middle, -1)
		if err != nil {
			return found, false, err
		}
		if e.LastOffset < from {
			low = middle + 1
		} else {
			high = middle
		}
	}
	complete, err = s.walkTxnIndex(low, entries, -1, func(e AbortedTransaction) bool {
		if e.LastOffset >= from && e.FirstOffset < upTo {
			found = append(found, e)
		}
		return e.LastStableOffset < upTo
	})
	return found, complete, err
}

// walkTxnIndex visits entries until visit returns false, which it reports.
func (s *Segment) walkTxnIndex(first, end, after int64, visit func(e AbortedTransaction) bool) (stopped bool, err error) {
	if first >= end {
		return false, nil
	}
	err = s.with(TxnIndexSuffix, false, func(h *Handle) error {
		data := make([]byte, min(end-first, txnReadEntries)*txnEntryBytes)
		for i := first; i < end; {
			chunk := data[:min(end-i, txnReadEntries)*txnEntryBytes]
			if err := readTxnEntries(h, chunk, i); err != nil {
				return err
			}
			for ; len(chunk) > 0; chunk, i = chunk[txnEntryBytes:], i+1 {
				e, err := parseTxnEntry(chunk, s.baseOffset, after)
				if err != nil {
					return fmt.Errorf("%s at %d: %w", h.path, i*txnEntryBytes, err)
				}
				after = e.LastOffset
				if stopped = !visit(e); stopped {
					return nil
				}
			}
		}
		return nil
	})
	return stopped, err
}
