package audit

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

// maxSnapshotBytes bounds what is read from a producer snapshot.
const maxSnapshotBytes = 256 << 20

// partition verifies the folder of a log.
func (a *auditor) partition(folder string, known logOffsets) {
	a.logs++
	names := a.names(folder)
	a.leftovers(folder, names)
	a.smallFiles(folder, names)
	epochs, err := checkpoint.ReadLeaderEpochs(a.fs, filepath.Join(folder, checkpoint.LeaderEpochFileName))
	if err != nil {
		a.problem(filepath.Join(folder, checkpoint.LeaderEpochFileName), -1, "%v", err)
	}
	logs := withSuffix(names, segment.LogSuffix)
	w := &walk{epoch: -1, torn: -1}
	txns := newTransactions(known.cleaned <= 0)
	for i, name := range logs {
		base, _, ok := segment.ParseFileName(name)
		if !ok {
			continue
		}
		a.segments++
		path := filepath.Join(folder, name)
		if base < w.nextOffset {
			a.problem(path, -1, "the segment begins at %d, the one before it ends at %d", base, w.nextOffset)
		}
		w.nextOffset, w.endOffset = max(w.nextOffset, base), max(w.endOffset, base)
		indexes := a.openIndexes(folder, base)
		err := a.file(path, w, func(position int64, b record.Batch) error {
			indexes.see(position, b)
			txns.see(b)
			if b.BaseOffset() < known.recovery {
				a.epochOf(path, position, b, epochs)
			}
			return nil
		})
		a.closeSegment(path, w, err, known, i == len(logs)-1)
		if err == nil {
			indexes.finish()
			txns.compare(a, folder, base, w.endOffset, known)
		}
	}
	a.compare(folder, w.endOffset, known)
}

// closeSegment judges how a file ended. What is torn behind the recovery point after an unclean
// shutdown is no damage: recovery cuts it off.
func (a *auditor) closeSegment(path string, w *walk, err error, known logOffsets, isLast bool) {
	switch {
	case err == nil:
	case !errors.Is(err, errBadBatch):
		a.problem(path, -1, "cannot be read: %v", err)
	case isLast && !a.clean && w.endOffset >= known.recovery:
		a.recoverable(path, "ends in a torn batch at position %d, past the recovery point %d: the next start cuts it off (%v)", w.torn, known.recovery, w.tornWhy)
	default:
		a.problem(path, w.torn, "bad batch after offset %d: %v; what follows in this file was not looked at", w.endOffset-1, w.tornWhy)
	}
}

func (a *auditor) leftovers(folder string, names []string) {
	for _, suffix := range []string{segment.CleanedSuffix, segment.SwapSuffix, segment.DeletedSuffix} {
		if n := len(withSuffix(names, suffix)); n > 0 {
			a.recoverable(folder, "%d files end in %s: the next start tidies them up", n, suffix)
		}
	}
}

func (a *auditor) topicID(folder string) {
	path := filepath.Join(folder, checkpoint.PartitionMetadataFileName)
	if _, err := checkpoint.ReadPartitionMetadata(a.fs, path); errors.Is(err, fs.ErrNotExist) {
		a.note(folder, "no %s: the log has no topic id", checkpoint.PartitionMetadataFileName)
	} else if err != nil {
		a.problem(path, -1, "%v", err)
	}
}

func (a *auditor) smallFiles(folder string, names []string) {
	a.topicID(folder)
	for _, name := range withSuffix(names, segment.SnapshotSuffix) {
		path := filepath.Join(folder, name)
		data, err := vfs.ReadFile(a.fs, path, maxSnapshotBytes)
		if err == nil {
			_, err = producerstate.DecodeSnapshot(data)
		}
		if err != nil {
			a.problem(path, -1, "%v", err)
		}
	}
	for _, suffix := range []string{segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix} {
		for _, name := range withSuffix(names, suffix) {
			if log := strings.TrimSuffix(name, suffix) + segment.LogSuffix; !contains(names, log) {
				a.recoverable(filepath.Join(folder, name), "has no log: the next start removes it")
			}
		}
	}
}

func contains(sorted []string, name string) bool {
	i := sort.SearchStrings(sorted, name)
	return i < len(sorted) && sorted[i] == name
}

// epochOf compares a batch's leader epoch with what the checkpoint says of its offset.
func (a *auditor) epochOf(path string, position int64, b record.Batch, epochs []checkpoint.LeaderEpoch) {
	i := sort.Search(len(epochs), func(i int) bool { return epochs[i].StartOffset > b.BaseOffset() })
	if i == 0 || b.PartitionLeaderEpoch() < 0 {
		return // below what is remembered, or written without epochs
	}
	if want := epochs[i-1].Epoch; b.PartitionLeaderEpoch() != want {
		a.problem(path, position, "leader epoch of offset %d: expected %d as in %s, got %d", b.BaseOffset(), want, checkpoint.LeaderEpochFileName, b.PartitionLeaderEpoch())
	}
}

// compare holds the checkpoints against where the log ends.
func (a *auditor) compare(folder string, end int64, known logOffsets) {
	if a.clean && known.recovery >= 0 && end > known.recovery {
		a.problem(folder, -1, "the log ends at %d: expected %d, as %s says after a clean stop; the base offset of its last batch may be damaged", end, known.recovery, checkpoint.RecoveryPointFileName)
	}
	for _, c := range []struct {
		file   string
		offset int64
	}{
		{checkpoint.RecoveryPointFileName, known.recovery}, {checkpoint.HighWatermarkFileName, known.highWatermark},
		{checkpoint.LogStartOffsetFileName, known.start}, {checkpoint.CleanerOffsetFileName, known.cleaned},
	} {
		if c.offset > end && (a.clean || c.file != checkpoint.HighWatermarkFileName) {
			a.problem(folder, -1, "the log ends at %d, and %s says %d: flushed records are missing", end, c.file, c.offset)
		}
	}
}
