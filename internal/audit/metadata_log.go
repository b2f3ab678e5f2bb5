package audit

import (
	"path/filepath"
	"strings"

	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// snapshotSuffix ends the names of metadata snapshots, <offset>-<epoch>.checkpoint.
const snapshotSuffix = ".checkpoint"

// metadataLog verifies the log of the metadata quorum and its snapshots, every record of them.
func (a *auditor) metadataLog(folder string) {
	names := a.names(folder)
	w := &walk{epoch: -1, torn: -1}
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
		err := a.file(path, w, a.decodes(path))
		switch {
		case err == nil:
		case w.torn >= 0 && i == len(logs)-1 && !a.clean:
			a.note(path, "ends in a torn batch at position %d: the next start cuts off an incomplete last write and refuses anything else (%v)", w.torn, w.tornWhy)
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
		path, snapshot := filepath.Join(folder, name), &walk{epoch: -1, torn: -1}
		if err := a.file(path, snapshot, a.decodes(path)); err != nil {
			a.problem(path, snapshot.torn, "bad snapshot: %v %v", err, snapshot.tornWhy)
		}
	}
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
