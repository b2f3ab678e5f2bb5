package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// FolderFiles are the names in a log's folder that matter.
type FolderFiles struct {
	Segments  []int64 // base offsets, ascending
	Snapshots []int64 // offsets, ascending
}

// Tidy removes what interrupted operations left and returns the rest. Files to delete
// and files that were to replace others go; files that a compaction was still writing (.cleaned) go; finished ones (.swap) take the
// place of the segments they were made from, unless a .cleaned file below says that the
// operation was not finished; index files without a log go.
func Tidy(fsys vfs.FS, folder string) (FolderFiles, error) {
	names, err := FileNames(fsys, folder)
	if err != nil {
		return FolderFiles{}, err
	}
	if slices.ContainsFunc(names, isLeftover) {
		if err := finishInterrupted(fsys, folder, names); err != nil {
			return FolderFiles{}, err
		}
		if names, err = FileNames(fsys, folder); err != nil {
			return FolderFiles{}, err
		}
	}
	var files FolderFiles
	for _, name := range names {
		switch base, suffix, ok := ParseFileName(name); {
		case !ok:
		case suffix == LogSuffix:
			files.Segments = append(files.Segments, base)
		case suffix == SnapshotSuffix:
			files.Snapshots = append(files.Snapshots, base)
		case !contains(names, FileName(base, LogSuffix)):
			slog.Warn("removed an index file without its log", "path", filepath.Join(folder, name))
			if err := remove(fsys, folder, name); err != nil {
				return FolderFiles{}, err
			}
		}
	}
	return files, nil
}

func isLeftover(name string) bool {
	return strings.HasSuffix(name, DeletedSuffix) || strings.HasSuffix(name, CleanedSuffix) || strings.HasSuffix(name, SwapSuffix) ||
		strings.HasSuffix(name, vfs.TemporarySuffix)
}

// contains looks for name in sorted names: a log may have thousands of segments.
func contains(names []string, name string) bool {
	_, found := slices.BinarySearch(names, name)
	return found
}

// FileNames lists the files in folder, sorted.
func FileNames(fsys vfs.FS, folder string) ([]string, error) {
	entries, err := fsys.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func remove(fsys vfs.FS, folder, name string) error {
	if err := fsys.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func finishInterrupted(fsys vfs.FS, folder string, names []string) error {
	firstUnfinished, finished := int64(-1), false
	for _, name := range names {
		if base, ok := leftoverBase(name, CleanedSuffix); ok && (firstUnfinished < 0 || base < firstUnfinished) {
			firstUnfinished = base
		}
	}
	var swaps []string
	for _, name := range names {
		base, isSwap := leftoverBase(name, SwapSuffix)
		switch {
		case isSwap && (firstUnfinished < 0 || base < firstUnfinished):
			swaps = append(swaps, name)
			finished = finished || strings.HasSuffix(name, LogSuffix+SwapSuffix)
		case isLeftover(name):
			if err := remove(fsys, folder, name); err != nil {
				return err
			}
		}
	}
	if finished {
		if err := removeReplaced(fsys, folder, names, swaps); err != nil {
			return err
		}
		if err := fsys.SyncDir(folder); err != nil {
			return err
		}
	}
	for _, name := range swaps {
		from := filepath.Join(folder, name)
		if err := fsys.Rename(from, strings.TrimSuffix(from, SwapSuffix)); err != nil {
			return err
		}
	}
	return fsys.SyncDir(folder)
}

func leftoverBase(name, suffix string) (int64, bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false
	}
	base, _, ok := ParseFileName(stem)
	return base, ok
}

// removeReplaced removes the segments whose offsets the finished .swap logs cover.
func removeReplaced(fsys vfs.FS, folder string, names, swaps []string) error {
	first, end := int64(-1), int64(-1)
	for _, name := range swaps {
		if base, ok := leftoverBase(name, SwapSuffix); ok && strings.HasSuffix(name, LogSuffix+SwapSuffix) {
			next, err := endOfLogFile(fsys, filepath.Join(folder, name), base)
			if err != nil {
				return err
			}
			if first < 0 || base < first {
				first = base
			}
			end = max(end, next)
		}
	}
	for _, name := range names {
		base, suffix, ok := ParseFileName(name)
		if ok && base >= first && base < end && !strings.HasSuffix(suffix, DeletedSuffix) {
			if err := remove(fsys, folder, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// endOfLogFile walks the batch headers of a log file that is not a segment yet and returns
// the offset after the last whole batch.
func endOfLogFile(fsys vfs.FS, path string, base int64) (int64, error) {
	f, err := fsys.Open(path, false)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	header, end := make([]byte, record.BatchOverhead), base
	for position := int64(0); position+record.BatchOverhead <= size; {
		if n, err := f.ReadAt(header, position); err != nil && !(errors.Is(err, io.EOF) && n == len(header)) {
			return 0, fmt.Errorf("read %s at %d: %w", path, position, err)
		}
		batchSize, err := record.SizeOf(header)
		if err != nil || position+int64(batchSize) > size {
			break // recovery deals with it once the file is a segment
		}
		end = max(end, record.Batch(header).NextOffset())
		position += int64(batchSize)
	}
	return end, nil
}
