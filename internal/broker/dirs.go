package broker

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/quorum"
)

// lockFileName is Kafka's name of the file that keeps a second process out of a log dir.
const lockFileName = ".lock"

// logDirs are the node's folders, locked for this process.
type logDirs struct {
	quorum.Identity
	locks []io.Closer
}

// openLogDirs creates the folders, locks them, and settles whose they are.
func openLogDirs(fsys vfs.FS, c *config.Broker, random env.Random) (*logDirs, error) {
	d := &logDirs{}
	if err := d.lock(fsys, slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(c.LogDirs), c.MetadataLogDir))))); err != nil {
		d.close()
		return nil, err
	}
	identity, err := quorum.EnsureIdentity(quorum.IdentityOptions{
		FS: fsys, LogDirs: c.LogDirs, MetadataDir: c.MetadataLogDir, NodeID: c.NodeID, ClusterID: c.ClusterID, Random: random,
	})
	if err != nil {
		d.close()
		return nil, err
	}
	d.Identity = identity
	return d, nil
}

func (d *logDirs) lock(fsys vfs.FS, dirs []string) error {
	for _, dir := range dirs {
		if err := fsys.MkdirAll(dir); err != nil {
			return fmt.Errorf("cannot create the log dir %s (log.dirs): %w", dir, err)
		}
		lock, err := fsys.Lock(filepath.Join(dir, lockFileName))
		if errors.Is(err, vfs.ErrLocked) {
			return fmt.Errorf("the log dir %s is in use by another broker: stop that one, or give this one another folder (log.dirs)", dir)
		}
		if err != nil {
			return fmt.Errorf("cannot lock the log dir %s; is it writable by this user? %w", dir, err)
		}
		d.locks = append(d.locks, lock)
	}
	return nil
}

// close releases the locks.
func (d *logDirs) close() {
	for _, l := range d.locks {
		_ = l.Close()
	}
	d.locks = nil
}
