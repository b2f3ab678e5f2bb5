package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
)

// stateFileName holds term and vote, and how far the log is known to be durable.
const stateFileName = StateFileName

// StateFileName is the name of that file.
const StateFileName = "raft-state"

// The file has three slots, each alone in its disk page so that writing one cannot tear
// another. Slots 0 and 1 hold term and vote in turn: the valid one with the higher sequence
// counts. Slot 2 holds the durable end of the log.
//
// A slot is: magic (4 bytes), sequence or zero (8), term or durable end offset (8), vote or
// zero (8), CRC-32C of what precedes (4).
const (
	stateSlotSpacing = 4096
	stateSlotBytes   = 32
	stateFileBytes   = 2*stateSlotSpacing + stateSlotBytes
	durableSlot      = 2
	stateMagic       = 0x4d525331 // "MRS1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stateFile is the open raft-state file.
type stateFile struct {
	path     string
	file     vfs.File
	sequence uint64
	term     uint64
	vote     uint64
	// durableEnd is an offset below which every batch was fsynced. It is written after each
	// fsync of the log but not itself synced: after a kill it is exact, after a power loss it
	// may be older than the truth, never newer.
	durableEnd int64
}

func encodeStateSlot(sequence, term, vote uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, stateMagic)
	b = binary.BigEndian.AppendUint64(b, sequence)
	b = binary.BigEndian.AppendUint64(b, term)
	b = binary.BigEndian.AppendUint64(b, vote)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeStateSlot(b []byte) (sequence, term, vote uint64, ok bool) {
	if len(b) != stateSlotBytes || binary.BigEndian.Uint32(b) != stateMagic ||
		binary.BigEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return 0, 0, 0, false
	}
	return binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:]), binary.BigEndian.Uint64(b[20:]), true
}

// createStateFile writes the file of a voter that has not voted yet.
func createStateFile(fsys vfs.FS, dir string) error {
	content := make([]byte, stateFileBytes)
	copy(content[stateSlotSpacing:], encodeStateSlot(1, 0, 0)) // sequence n lies in slot n%2
	copy(content[durableSlot*stateSlotSpacing:], encodeStateSlot(0, 0, 0))
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, stateFileName), content)
}

func openStateFile(fsys vfs.FS, dir string) (*stateFile, error) {
	s := &stateFile{path: filepath.Join(dir, stateFileName)}
	file, err := fsys.Open(s.path, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &CorruptLogError{Path: s.path, Problem: "the file with the voter's term and vote is missing although the log exists"}
	}
	if err != nil {
		return nil, err
	}
	s.file = file
	content := make([]byte, stateFileBytes)
	if n, err := file.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		file.Close()
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	} else if n < len(content) {
		clear(content[n:])
	}
	for slot := range 2 {
		at := slot * stateSlotSpacing
		if sequence, term, vote, ok := decodeStateSlot(content[at : at+stateSlotBytes]); ok && sequence > s.sequence {
			s.sequence, s.term, s.vote = sequence, term, vote
		}
	}
	if s.sequence == 0 {
		file.Close()
		return nil, &CorruptLogError{Path: s.path, Problem: "both slots with the voter's term and vote are damaged"}
	}
	if _, end, _, ok := decodeStateSlot(content[durableSlot*stateSlotSpacing:]); ok {
		s.durableEnd = int64(end)
	}
	return s, nil
}

// save makes term and vote durable.
func (s *stateFile) save(term, vote uint64) error {
	if term == s.term && vote == s.vote {
		return nil
	}
	slot := encodeStateSlot(s.sequence+1, term, vote)
	if _, err := s.file.WriteAt(slot, int64((s.sequence+1)%2)*stateSlotSpacing); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	if err := s.sync(); err != nil {
		return err
	}
	s.sequence, s.term, s.vote = s.sequence+1, term, vote
	return nil
}

// noteDurable remembers that everything below end is fsynced. See durableEnd.
func (s *stateFile) noteDurable(end int64) error {
	if _, err := s.file.WriteAt(encodeStateSlot(0, uint64(end), 0), durableSlot*stateSlotSpacing); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	s.durableEnd = end
	return nil
}

func (s *stateFile) sync() error {
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.path, err)
	}
	return nil
}

func (s *stateFile) close() error { return s.file.Close() }

// StateDamage is a slot of a raft-state file that is not what was written.
type StateDamage struct {
	Position int64
	Problem  string
}

// CheckState looks for damaged slots in the raft-state file of a metadata log's folder. A voter
// starts with one slot for term and vote; the audit tells before the second one goes.
// No batch of the log is of a later epoch than the term that is returned.
func CheckState(fsys vfs.FS, path string) (damaged []StateDamage, newestTerm uint64, err error) {
	content, err := vfs.ReadFile(fsys, path, 2*stateFileBytes)
	if err != nil {
		return nil, 0, err
	}
	if len(content) != stateFileBytes {
		damaged = append(damaged, StateDamage{0, fmt.Sprintf("expected %d bytes, got %d", stateFileBytes, len(content))})
	}
	for slot := range 3 {
		at := slot * stateSlotSpacing
		if at+stateSlotBytes > len(content) {
			break
		}
		b := content[at : at+stateSlotBytes]
		_, term, _, ok := decodeStateSlot(b)
		if ok && slot != durableSlot {
			newestTerm = max(newestTerm, term)
		}
		if ok || slot == 0 && allZero(b) { // slot 0 is written second
			continue
		}
		damaged = append(damaged, StateDamage{int64(at), fmt.Sprintf("slot %d: expected magic %08x and CRC %08x, got %08x and %08x", slot, uint32(stateMagic),
			crc32.Checksum(b[:28], castagnoli), binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[28:]))})
	}
	return damaged, newestTerm, nil
}
