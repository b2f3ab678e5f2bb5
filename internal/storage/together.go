package storage

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// Some ten files and folders of a log are synced in a flush; of thousands of logs, one file after
// the other, that takes minutes. Where the system can sync a volume as a whole, a group of logs
// writes everything first, and the volume is synced twice: before the new files get their names,
// and after.

const (
	// togetherFrom is how many logs make a group. Fewer are synced file by file: the volume may
	// hold much that is not ours.
	togetherFrom = 16
	// togetherMost bounds how many logs wait for each other. A group commit that wants one of them
	// waits too; see apart.
	togetherMost = 500
)

// flushesTogether says whether so many logs are flushed in groups.
func (d *logDir) flushesTogether(logs int) bool {
	return d.volume != nil && logs >= d.shared.togetherFrom
}

// flushTogether flushes logs in groups. With ending set it is their last flush, after which they
// are closed.
func (d *logDir) flushTogether(logs []*Log, ending bool) error {
	d.together.Lock() // no two groups may wait for each other's logs
	defer d.together.Unlock()
	var failures error
	for group := range slices.Chunk(logs, togetherMost) {
		if err := d.flushGroup(group, ending); err != nil {
			failures = errors.Join(failures, err)
			if d.offline.Load() {
				break
			}
		}
	}
	return failures
}

func (d *logDir) flushGroup(logs []*Log, ending bool) error {
	started := d.shared.clock.Now()
	var members []*member
	var failures error
	defer func() {
		for _, m := range members {
			m.l.flushMu.Unlock()
			m.l.tellCounted(m.counted)
		}
		d.metrics.flushSeconds.Observe(d.shared.clock.Now().Sub(started).Seconds())
	}()
	for _, l := range logs {
		m := &member{l: l, files: deferredFS{FS: vfs.Unsynced{FS: d.shared.fs}}}
		l.flushMu.Lock()
		if err := m.write(ending); err != nil {
			failures = errors.Join(failures, err)
		}
		members = append(members, m)
	}
	// Also if writing has failed: what the segments take for synced must be.
	if d.offline.Load() {
		return failures
	}
	if err := d.syncVolume(); err != nil {
		return errors.Join(failures, err)
	}
	named := false
	for _, m := range members {
		if !m.done {
			failures = errors.Join(failures, m.name())
			named = named || len(m.files.renames) > 0
		}
	}
	if named {
		if err := d.syncVolume(); err != nil {
			return errors.Join(failures, err)
		}
	}
	for _, m := range members {
		if !m.done {
			failures = errors.Join(failures, m.settle())
		}
	}
	return failures
}

// syncVolume takes the dir offline whatever the error is: also where the disk is full (of a thin
// volume the kernel learns that only now) what was not written is lost, and the next sync would
// not say so.
func (d *logDir) syncVolume() error {
	err := d.volume.Sync()
	if err != nil {
		d.fail(err)
	}
	return err
}

// member is a log whose flush is under way in a group. The group holds its flushMu.
type member struct {
	l     *Log
	plan  flushPlan
	files deferredFS
	// appendedBytes belongs to plan.end; counted is what somebody is to be told when flushMu is free.
	appendedBytes int64
	counted       counted
	ending        bool
	done          bool // nothing to do, or it has failed
}

// write writes everything that the flush has to write.
func (m *member) write(ending bool) error {
	l := m.l
	m.ending, m.done = ending, true
	if err := l.usable(); err != nil {
		if l.closed.Load() != nil && !ending {
			return nil // deleted meanwhile
		}
		return err
	}
	if ending {
		if err := l.seal(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	plan, needless := l.planFlush(ending)
	m.plan, m.appendedBytes = plan, l.appendedBytes
	needless = needless && !plan.recovered && !ending
	if !needless {
		l.unsyncedFolder = false
	}
	l.mu.Unlock()
	if needless {
		return nil
	}
	if doing, err := m.writeFiles(); err != nil {
		return l.flushFailed(plan, doing, err)
	}
	m.done = false
	return nil
}

func (m *member) writeFiles() (doing string, err error) {
	l, p := m.l, m.plan
	// A segment that ends at the recovery point got its last index entries afterwards.
	for _, s := range p.list.all[p.list.indexOf(max(p.point-1, 0)):] {
		if !s.Acquire() {
			continue // retention has removed it
		}
		err := s.WriteForVolumeSync()
		s.Release()
		if err != nil {
			return "flushing", err
		}
	}
	if p.epochsChanged {
		path := filepath.Join(l.folder.Path(), checkpoint.LeaderEpochFileName)
		if err := checkpoint.WriteLeaderEpochs(&m.files, path, p.epochs.WithoutEnd(p.end).All()); err != nil {
			return "writing the leader epochs of", err
		}
	}
	for _, s := range p.pending {
		if err := vfs.WriteFileAtomic(&m.files, snapshotPath(l.folder.Path(), s.offset), s.data); err != nil {
			return "writing the producer snapshot of", err
		}
	}
	return "", nil
}

// name gives the new files, whose content is durable now, their names.
func (m *member) name() error {
	for _, r := range m.files.renames {
		if err := m.l.dir.shared.fs.Rename(r.from, r.to); err != nil {
			m.done = true
			return m.l.flushFailed(m.plan, "flushing", err)
		}
	}
	return nil
}

// settle draws the conclusions once everything is durable.
func (m *member) settle() error {
	l := m.l
	if err := l.settleSnapshots(m.plan.pending); err != nil {
		m.done = true
		return l.flushFailed(m.plan, "removing old producer snapshots of", err)
	}
	l.mu.Lock()
	m.counted = l.noteFlushed(m.plan.end, m.appendedBytes)
	l.mu.Unlock()
	l.recoveryPoint.Store(m.plan.end)
	l.dir.recoveryPoints.markChanged()
	if m.ending {
		l.closed.Store(closedByShutdown)
	}
	return nil
}

// deferredFS puts off the renames of a file system.
type deferredFS struct {
	vfs.FS
	renames []rename
}

type rename struct{ from, to string }

// Rename notes what is to be renamed.
func (d *deferredFS) Rename(from, to string) error {
	d.renames = append(d.renames, rename{from, to})
	return nil
}
