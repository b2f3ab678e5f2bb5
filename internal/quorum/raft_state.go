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

// stateFileName holds term, vote and commit index, and how far the log is known to be durable.
const stateFileName = StateFileName

// StateFileName is the name of that file.
const StateFileName = "raft-state"

// The file has three slots, each alone in its disk page so that writing one cannot tear
// another. Slots 0 and 1 hold term, vote and commit index in turn: the valid one with the higher
// sequence counts. Slot 2 holds the durable end of the log.
//
// A slot is: magic (4 bytes), sequence or zero (8), term or durable end offset (8), vote or
// zero (8), commit index or zero (8), CRC-32C of what precedes (4). Before a quorum could have several
// voters there was no commit index, and the magic was another.
const (
	stateSlotSpacing  = 4096
	stateSlotBytes    = 40
	stateFileBytes    = 2*stateSlotSpacing + stateSlotBytes
	durableSlot       = 2
	stateMagic        = 0x4d525332 // "MRS2"
	oldStateSlotBytes = 32
	oldStateFileBytes = 2*stateSlotSpacing + oldStateSlotBytes
	oldStateMagic     = 0x4d525331 // "MRS1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stateFile is the open raft-state file.
type stateFile struct {
	path     string
	file     vfs.File
	sequence uint64
	term     uint64
	vote     uint64
	// commit is an entry that was committed, not always the last one. It is written with term and
	// vote, and before a change of the voters is appended or applied: whoever restarts must not
	// count votes as two changes ago.
	commit uint64
	// durableEnd is an offset below which every batch was fsynced. It is written after each
	// fsync of the log but not itself synced: after a kill it is exact, after a power loss it
	// may be older than the truth, never newer.
	durableEnd int64
}

// stateSlot is what a slot holds; in slot 2, term is the durable end offset.
type stateSlot struct{ sequence, term, vote, commit uint64 }

func (s stateSlot) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, stateMagic)
	for _, field := range []uint64{s.sequence, s.term, s.vote, s.commit} {
		b = binary.BigEndian.AppendUint64(b, field)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeStateSlot reads a slot of either form from the beginning of its page.
func decodeStateSlot(page []byte) (s stateSlot, ok bool) {
	size := stateSlotBytes
	if len(page) >= 4 && binary.BigEndian.Uint32(page) == oldStateMagic {
		size = oldStateSlotBytes
	} else if len(page) < 4 || binary.BigEndian.Uint32(page) != stateMagic {
		return stateSlot{}, false
	}
	if len(page) < size || binary.BigEndian.Uint32(page[size-4:]) != crc32.Checksum(page[:size-4], castagnoli) {
		return stateSlot{}, false
	}
	s = stateSlot{sequence: binary.BigEndian.Uint64(page[4:]), term: binary.BigEndian.Uint64(page[12:]), vote: binary.BigEndian.Uint64(page[20:])}
	if size == stateSlotBytes {
		s.commit = binary.BigEndian.Uint64(page[28:])
	}
	return s, true
}

// createStateFile writes the file of a voter that has not voted yet.
func createStateFile(fsys vfs.FS, dir string) error {
	content := make([]byte, stateFileBytes)
	copy(content[stateSlotSpacing:], stateSlot{sequence: 1}.encode()) // sequence n lies in slot n%2
	copy(content[durableSlot*stateSlotSpacing:], stateSlot{}.encode())
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
		if found, ok := decodeStateSlot(content[slot*stateSlotSpacing:]); ok && found.sequence > s.sequence {
			s.sequence, s.term, s.vote, s.commit = found.sequence, found.term, found.vote, found.commit
		}
	}
	if s.sequence == 0 {
		file.Close()
		return nil, &CorruptLogError{Path: s.path, Problem: "both slots with the voter's term and vote are damaged"}
	}
	// A killed process may have left a vote in the page cache only. Now that it is known it counts,
	// and must not be forgotten.
	if err := s.sync(); err != nil {
		file.Close()
		return nil, err
	}
	if found, ok := decodeStateSlot(content[durableSlot*stateSlotSpacing:]); ok {
		s.durableEnd = int64(found.term)
	}
	return s, nil
}

// save makes term and vote durable, if they have changed, and the commit index with them.
func (s *stateFile) save(term, vote, commit uint64) error {
	if term == s.term && vote == s.vote {
		return nil
	}
	return s.write(term, vote, max(commit, s.commit))
}

// saveCommit makes the commit index durable.
func (s *stateFile) saveCommit(commit uint64) error {
	if commit <= s.commit {
		return nil
	}
	return s.write(s.term, s.vote, commit)
}

func (s *stateFile) write(term, vote, commit uint64) error {
	slot := stateSlot{s.sequence + 1, term, vote, commit}.encode()
	if _, err := s.file.WriteAt(slot, int64((s.sequence+1)%2)*stateSlotSpacing); err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	if err := s.sync(); err != nil {
		return err
	}
	s.sequence, s.term, s.vote, s.commit = s.sequence+1, term, vote, commit
	return nil
}

// noteDurable remembers that everything below end is fsynced. See durableEnd.
func (s *stateFile) noteDurable(end int64) error {
	if _, err := s.file.WriteAt(stateSlot{term: uint64(end)}.encode(), durableSlot*stateSlotSpacing); err != nil {
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
	if len(content) != stateFileBytes && len(content) != oldStateFileBytes {
		damaged = append(damaged, StateDamage{0, fmt.Sprintf("expected %d bytes, got %d", stateFileBytes, len(content))})
	}
	for slot := range 3 {
		at := slot * stateSlotSpacing
		if at+oldStateSlotBytes > len(content) {
			break
		}
		page := content[at:min(len(content), at+stateSlotSpacing)]
		found, ok := decodeStateSlot(page)
		if ok && slot != durableSlot {
			newestTerm = max(newestTerm, found.term)
		}
		if ok || slot == 0 && allZero(page) { // slot 0 is written second
			continue
		}
		damaged = append(damaged, StateDamage{int64(at), fmt.Sprintf("slot %d: its checksum does not fit: % x", slot, page[:min(len(page), stateSlotBytes)])})
	}
	return damaged, newestTerm, nil
}
