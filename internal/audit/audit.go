package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/folders"
)

// ErrProblems says that something is wrong with the data; what, was reported.
var ErrProblems = errors.New("the audit found problems")

// lockFileName is Kafka's name of the file that a running broker holds locked.
const lockFileName = ".lock"

// Report is told of what an audit finds, one line each.
type Report func(line string)

// auditor goes through one log dir.
type auditor struct {
	ctx    context.Context
	fs     vfs.FS
	report Report

	clean    bool // the last shutdown was: nothing may be torn
	problems int
	mended   int // by the next start
	notes    int
	logs     int
	segments int
	batches  int64
	records  int64
	bytes    int64
}

// problem reports damage: what a broker would refuse to serve, or would have to rebuild.
func (a *auditor) problem(path string, position int64, format string, args ...any) {
	a.problems++
	at := path
	if position >= 0 {
		at = fmt.Sprintf("%s at position %d", path, position)
	}
	a.report("PROBLEM " + at + ": " + fmt.Sprintf(format, args...))
}

// recoverable reports what a kill or power loss leaves behind and the next start mends.
func (a *auditor) recoverable(path, format string, args ...any) {
	a.mended++
	a.report("RECOVERABLE " + path + ": " + fmt.Sprintf(format, args...))
}

// note reports what is unusual and no damage.
func (a *auditor) note(path, format string, args ...any) {
	a.notes++
	a.report("note " + path + ": " + fmt.Sprintf(format, args...))
}

// Advance is told how many of a dir's entries have been looked at.
type Advance func(done, total int)

// Run verifies a log dir. The error is ErrProblems if it is damaged, another one if it could not
// be looked at.
func Run(ctx context.Context, fsys vfs.FS, dir string, report Report, advance Advance) error {
	a := &auditor{ctx: ctx, fs: fsys, report: report}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read the data folder %s: %w", dir, err)
	}
	release, err := a.lock(dir)
	if err != nil {
		return err
	}
	defer release()
	a.properties(dir)
	_, a.clean = checkpoint.ReadCleanShutdown(fsys, filepath.Join(dir, checkpoint.CleanShutdownFileName))
	if !a.clean {
		a.recoverable(dir, "the last shutdown was not clean: the next start recovers what lies past the recovery points")
	}
	offsets := a.offsets(dir)
	for i, e := range entries {
		advance(i, len(entries))
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(dir, e.Name())
		if tp, ok := folders.Parse(e.Name()); ok && e.IsDir() {
			a.partition(path, offsets.of(tp))
		} else if e.IsDir() && e.Name() == kafka.ClusterMetadataTopic+"-0" {
			a.metadataLog(path)
		} else if e.IsDir() {
			a.note(path, "not a live partition; not looked at")
		}
	}
	report(fmt.Sprintf("%s: %d partitions, %d segments, %d batches, %d records, %d bytes; %d problems, %d recoverable, %d notes",
		dir, a.logs, a.segments, a.batches, a.records, a.bytes, a.problems, a.mended, a.notes))
	if a.problems > 0 {
		return ErrProblems
	}
	return nil
}

// lock keeps a broker from starting meanwhile, and refuses the data of one that runs.
func (a *auditor) lock(dir string) (release func(), err error) {
	path := filepath.Join(dir, lockFileName)
	if _, err := a.fs.Stat(path); err != nil {
		return func() {}, nil // never used by a broker, or a copy
	}
	lock, err := a.fs.Lock(path)
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("the data folder %s is in use by a running broker: stop it first, or audit a copy", dir)
	}
	if err != nil {
		return func() {}, nil // a volume that is mounted read-only has no running broker
	}
	return func() { _ = lock.Close() }, nil
}

func (a *auditor) properties(dir string) {
	path := filepath.Join(dir, checkpoint.MetaPropertiesFileName)
	if _, err := checkpoint.ReadMetaProperties(a.fs, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.problem(path, -1, "%v", err)
	} else if err != nil {
		a.note(dir, "no %s: the folder is not of a node, or a copy", checkpoint.MetaPropertiesFileName)
	}
}

// dirOffsets is what the checkpoint files of a log dir say.
type dirOffsets struct {
	recovery, highWatermark, start, cleaned map[kafka.TopicPartition]int64
}

// logOffsets is what they say of one log; -1 stands for nothing.
type logOffsets struct{ recovery, highWatermark, start, cleaned int64 }

func (o dirOffsets) of(tp kafka.TopicPartition) logOffsets {
	get := func(m map[kafka.TopicPartition]int64) int64 {
		if offset, ok := m[tp]; ok {
			return offset
		}
		return -1
	}
	return logOffsets{get(o.recovery), get(o.highWatermark), get(o.start), get(o.cleaned)}
}

func (a *auditor) offsets(dir string) dirOffsets {
	read := func(name string) map[kafka.TopicPartition]int64 {
		path := filepath.Join(dir, name)
		offsets, err := checkpoint.ReadOffsets(a.fs, path)
		if err != nil {
			a.problem(path, -1, "%v", err)
		}
		return offsets
	}
	return dirOffsets{
		recovery: read(checkpoint.RecoveryPointFileName), highWatermark: read(checkpoint.HighWatermarkFileName),
		start: read(checkpoint.LogStartOffsetFileName), cleaned: read(checkpoint.CleanerOffsetFileName),
	}
}

// names lists the files of a folder, sorted.
func (a *auditor) names(folder string) []string {
	entries, err := a.fs.ReadDir(folder)
	if err != nil {
		a.problem(folder, -1, "cannot be read: %v", err)
		return nil
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// withSuffix leaves the names that end in suffix.
func withSuffix(names []string, suffix string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasSuffix(name, suffix) })
}

// readFull reads all of p; less is an error.
func readFull(f vfs.File, p []byte, position int64) error {
	n, err := f.ReadAt(p, position)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
