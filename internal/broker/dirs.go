package broker

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/quorum"
)

// lockFileName is Kafka's name of the file that keeps a second process out of a log dir.
const lockFileName = ".lock"

// logDirs are the node's folders, locked for this process. Those that cannot be used are in
// Identity.Failed.
type logDirs struct {
	quorum.Identity
	locks []io.Closer
}

// openLogDirs creates the folders, locks them, and settles whose they are. The node starts without
// the log dirs whose disk has failed, as Kafka does, but not without the metadata log.
func openLogDirs(fsys vfs.FS, c *config.Broker, random env.Random) (*logDirs, error) {
	d := &logDirs{}
	failed := map[string]error{}
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(c.LogDirs), c.MetadataLogDir)))) {
		err := d.lock(fsys, dir)
		if err == nil {
			continue
		}
		if errors.Is(err, vfs.ErrLocked) || dir == c.MetadataLogDir {
			d.close()
			return nil, err
		}
		failed[dir] = err
	}
	identity, err := quorum.EnsureIdentity(quorum.IdentityOptions{
		FS: fsys, LogDirs: without(c.LogDirs, failed), MetadataDir: c.MetadataLogDir, NodeID: c.NodeID, ClusterID: c.ClusterID, Random: random,
		Undecided: c.IsClustered(),
	})
	if err != nil {
		d.close()
		return nil, err
	}
	maps.Copy(identity.Failed, failed)
	d.Identity = identity
	if len(without(c.LogDirs, identity.Failed)) == 0 {
		d.close()
		return nil, fmt.Errorf("no log dir can be used: %w", identity.Failed[c.LogDirs[0]])
	}
	return d, nil
}

// decide writes into the folders which cluster they are of, once a node that is one of several knows.
func (d *logDirs) decide(fsys vfs.FS, c *config.Broker, random env.Random, clusterID string) error {
	identity, err := quorum.EnsureIdentity(quorum.IdentityOptions{
		FS: fsys, LogDirs: without(c.LogDirs, d.Failed), MetadataDir: c.MetadataLogDir, NodeID: c.NodeID, ClusterID: clusterID, Random: random,
		Joined: true,
	})
	if err != nil {
		return err
	}
	maps.Copy(identity.Failed, d.Failed)
	d.Identity = identity
	return nil
}

func without(dirs []string, failed map[string]error) []string {
	return slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool { return failed[dir] != nil })
}

func (d *logDirs) lock(fsys vfs.FS, dir string) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return fmt.Errorf("cannot create the log dir %s (log.dirs): %w", dir, err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockFileName))
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("the log dir %s is in use by another broker: stop that one, or give this one another folder (log.dirs): %w", dir, err)
	}
	if err != nil {
		return fmt.Errorf("cannot lock the log dir %s; is it writable by this user? %w", dir, err)
	}
	d.locks = append(d.locks, lock)
	return nil
}

// close releases the locks.
func (d *logDirs) close() {
	for _, l := range d.locks {
		_ = l.Close()
	}
	d.locks = nil
}
