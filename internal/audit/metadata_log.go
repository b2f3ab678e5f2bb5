package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// snapshotSuffix ends the names of metadata snapshots, <offset>-<epoch>.checkpoint.
const snapshotSuffix = ".checkpoint"

// metadataLog verifies the log of the metadata quorum and its snapshots, every record of them.
func (a *auditor) metadataLog(folder string) {
	names := a.names(folder)
	term, termKnown := a.raftState(folder)
	a.topicID(folder)
	w := &walk{epoch: -1, torn: -1, dense: true}
	logs := withSuffix(names, segment.LogSuffix)
	for i, name := range logs {
		base, _, ok := segment.ParseFileName(name)
		if !ok {
			continue
		}
		a.segments++
		path := filepath.Join(folder, name)
		if i > 0 && base != w.nextOffset {
			a.problem(path, -1, "expected the segment to begin at offset %d, got %d", w.nextOffset, base)
		}
		w.nextOffset = max(w.nextOffset, base)
		indexes, decode := a.openIndexes(folder, base), a.decodes(path)
		err := a.file(path, w, func(position int64, b record.Batch) error {
			indexes.see(position, b)
			switch epoch := b.PartitionLeaderEpoch(); { // which no checksum covers
			case epoch < 1:
				a.problem(path, position, "expected an epoch of at least 1, as every election raises it, got %d", epoch)
			case termKnown && epoch > term:
				a.problem(path, position, "expected an epoch of at most %d, the voter's term, got %d", term, epoch)
			}
			return decode(position, b)
		})
		if err == nil {
			indexes.finish()
		}
		switch {
		case err == nil:
		case w.torn >= 0 && i == len(logs)-1 && !a.clean:
			a.recoverable(path, "ends in a torn batch at position %d: the next start cuts off an incomplete last write and refuses anything else (%v)", w.torn, w.tornWhy)
		case w.torn >= 0:
			a.problem(path, w.torn, "bad batch after offset %d: %v", w.endOffset-1, w.tornWhy)
		default:
			a.problem(path, -1, "cannot be read: %v", err)
		}
	}
	for _, name := range names {
		if !strings.HasSuffix(name, snapshotSuffix) || len(name) < len("00000000000000000000-0000000000.checkpoint") {
			continue
		}
		a.snapshot(filepath.Join(folder, name))
	}
}

// snapshot verifies a metadata snapshot, whose batches are all of the epoch in its name.
func (a *auditor) snapshot(path string) {
	var end int64
	w := &walk{torn: -1, dense: true, oneEpoch: true}
	if _, err := fmt.Sscanf(filepath.Base(path), "%d-%d", &end, &w.epoch); err != nil {
		a.note(path, "is no snapshot")
		return
	}
	decode, closed := a.decodes(path), false
	err := a.file(path, w, func(position int64, b record.Batch) error {
		if closed = false; b.IsControl() {
			for r, err := range b.Records(int64(len(b))) {
				kind, parseErr := record.ParseControlKey(r.Key)
				closed = err == nil && parseErr == nil && kind == record.ControlSnapshotFooter
			}
		}
		return decode(position, b)
	})
	switch {
	case err != nil && w.torn >= 0:
		a.problem(path, w.torn, "bad snapshot: %v", w.tornWhy)
	case err != nil:
		a.problem(path, -1, "cannot be read: %v", err)
	case !closed:
		a.problem(path, -1, "bad snapshot: expected a footer at the end, got none")
	}
}

// raftState verifies the slots of the voter's term, vote and durable end, and returns the term.
func (a *auditor) raftState(folder string) (term int32, known bool) {
	path := filepath.Join(folder, quorum.StateFileName)
	damaged, newest, err := quorum.CheckState(a.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		a.note(path, "is missing: the metadata log is Apache Kafka's, or a copy")
		return 0, false
	}
	if err != nil {
		a.problem(path, -1, "cannot be read: %v", err)
		return 0, false
	}
	for _, d := range damaged {
		a.problem(path, d.Position, "%s", d.Problem)
	}
	return int32(newest), len(damaged) == 0
}

// decodes parses every record that is not a control record.
func (a *auditor) decodes(path string) func(position int64, b record.Batch) error {
	return func(position int64, b record.Batch) error {
		if b.IsControl() {
			return nil
		}
		for r, err := range b.Records(record.UncompressedLimit(len(b))) {
			if err == nil {
				_, err = metadata.Decode(r.Value)
			}
			if err != nil {
				a.problem(path, position, "metadata record at offset %d: %v", b.BaseOffset()+int64(r.OffsetDelta), err)
				return nil
			}
		}
		return nil
	}
}
