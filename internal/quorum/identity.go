package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/segment"
)

// IdentityOptions is what EnsureIdentity needs.
type IdentityOptions struct {
	FS vfs.FS
	// LogDirs are all log dirs; they exist and are locked. MetadataDir is the one with the metadata
	// log, in LogDirs or not.
	LogDirs     []string
	MetadataDir string
	NodeID      int32
	// ClusterID is the id that the operator gave, or that Discover found; "" to take the one that is
	// there or a new one.
	ClusterID string
	// Undecided says that which cluster the node is of has to be found out (Discover): none is made up, and
	// none is written where none is.
	Undecided bool
	// Joined says that the node is one of several and has its metadata log, which is noted.
	Joined bool
	Random env.Random
}

// Identity is whose the log dirs are.
type Identity struct {
	// ClusterID is "" as long as it is not decided.
	ClusterID string
	// Member says that the folders are in use by a node of the cluster that they name, which
	// then has, or had, its metadata log. Those that were only formatted name a cluster, too.
	Member bool
	// DirectoryIDs has the id of each log dir that can be used, by its path.
	DirectoryIDs map[string]kafka.UUID
	// Failed are the other log dirs, and why: their disk does not let itself be read or written.
	Failed map[string]error
}

// IdentityError says that a log dir is another cluster's or node's, or lost its metadata.
type IdentityError struct {
	Path    string
	Problem string
}

func (e *IdentityError) Error() string { return e.Path + ": " + e.Problem }

// EnsureIdentity checks meta.properties in every log dir and creates it where it is missing: there is
// no format step. The metadata log's dir is written first, so that a start that was
// interrupted is completed by the next. Only a log dir without the metadata log may fail.
//
// One of several nodes calls it twice: Undecided, which settles the directory ids by which the others
// will know it, and with the cluster's id once it has the metadata log of that cluster.
func EnsureIdentity(o IdentityOptions) (Identity, error) {
	dirs := []string{o.MetadataDir}
	for _, dir := range o.LogDirs {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	identity := Identity{DirectoryIDs: map[string]kafka.UUID{}, Failed: map[string]error{}}
	found, named := map[string]checkpoint.MetaProperties{}, false
	for _, dir := range dirs {
		path := filepath.Join(dir, checkpoint.MetaPropertiesFileName)
		p, err := checkpoint.ReadMetaProperties(o.FS, path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			if dir == o.MetadataDir || checkpoint.IsMalformed(err) {
				return Identity{}, err
			}
			identity.Failed[dir] = err
			continue
		}
		if p.NodeID != o.NodeID {
			if p.ClusterID == "" { // a start that did not get so far as to form or join a cluster; it has no data
				return Identity{}, &IdentityError{path, fmt.Sprintf("node %d began with the folder, and was of no cluster yet, but node.id is %d: choose or empty a folder for this one, or set node.id=%d",
					p.NodeID, o.NodeID, p.NodeID)}
			}
			return Identity{}, &IdentityError{path, fmt.Sprintf("the folder belongs to node %d of cluster %s, but node.id is %d: set node.id=%d, or choose another folder",
				p.NodeID, p.ClusterID, o.NodeID, p.NodeID)}
		}
		if o.ClusterID == "" {
			o.ClusterID = p.ClusterID
		}
		named = named || p.ClusterID != ""
		if p.ClusterID != o.ClusterID && p.ClusterID != "" {
			return Identity{}, &IdentityError{path, fmt.Sprintf("the folder belongs to cluster %s, but this node is of cluster %s: choose another folder",
				p.ClusterID, o.ClusterID)}
		}
		found[dir] = p
	}
	if named && found[o.MetadataDir].ClusterID == "" {
		return Identity{}, &IdentityError{o.MetadataDir, fmt.Sprintf("the folder for the metadata log has no meta.properties with a cluster.id, but other log dirs belong to cluster %s: "+
			"without its metadata log their topics would be lost; mount or restore it, or set metadata.log.dir to where it is", o.ClusterID)}
	}
	identity.Member = found[o.MetadataDir].Joined
	if named && o.Undecided {
		var err error
		if identity.Member, err = inUse(o.FS, o.MetadataDir, found); err != nil {
			return Identity{}, err
		}
	}
	identity.ClusterID = o.ClusterID
	if o.ClusterID == "" && !o.Undecided {
		if err := refuseNameless(o, found[o.MetadataDir]); err != nil {
			return Identity{}, err
		}
		identity.ClusterID = kafka.NewUUID(o.Random).String()
	}
	written := identity.ClusterID
	if o.Undecided && !identity.Member {
		written = ""
	}
	if err := identity.write(o, dirs, found, written); err != nil {
		return Identity{}, err
	}
	return identity, nil
}

// write completes the files, with the cluster's id or without it, and settles the directory ids.
func (identity *Identity) write(o IdentityOptions, dirs []string, found map[string]checkpoint.MetaProperties, clusterID string) error {
	owner := map[kafka.UUID]string{}
	for _, dir := range dirs {
		if identity.Failed[dir] != nil {
			continue
		}
		p := found[dir]
		joins, learns := o.Joined && dir == o.MetadataDir && !p.Joined, clusterID != "" && p.ClusterID != clusterID
		if p.DirectoryID.IsZero() || learns || joins { // a new folder, one from before directory ids (KIP-858), or now it is decided
			p.NodeID, p.Joined = o.NodeID, p.Joined || joins
			if learns {
				p.ClusterID = clusterID
			}
			if p.DirectoryID.IsZero() {
				p.DirectoryID = kafka.NewUUID(o.Random)
			}
			if err := checkpoint.WriteMetaProperties(o.FS, filepath.Join(dir, checkpoint.MetaPropertiesFileName), p); err != nil {
				if dir == o.MetadataDir {
					return err
				}
				identity.Failed[dir] = err
				continue
			}
		}
		if other, taken := owner[p.DirectoryID]; taken {
			return &IdentityError{dir, fmt.Sprintf("the folder has the same directory.id as %s: one is a copy of the other; remove the copy from log.dirs", other)}
		}
		owner[p.DirectoryID] = dir
		identity.DirectoryIDs[dir] = p.DirectoryID
	}
	return nil
}

// inUse reports whether folders that name a cluster are more than formatted: one has the metadata log, or
// had it, or there are partitions, also those of a node that was alone.
func inUse(fsys vfs.FS, metadataDir string, found map[string]checkpoint.MetaProperties) (bool, error) {
	if found[metadataDir].Joined {
		return true, nil
	}
	if has, err := HasLog(fsys, metadataDir); has || err != nil {
		return has, err
	}
	for dir := range found {
		entries, err := fsys.ReadDir(dir)
		if err != nil && dir == metadataDir {
			return false, err
		}
		if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
			return e.IsDir() && e.Name() != MetadataFolder && e.Name() != "lost+found"
		}) {
			return true, nil
		}
	}
	return false, nil
}

// refuseNameless keeps a node from giving another cluster id to a metadata log that belongs to a cluster.
func refuseNameless(o IdentityOptions, p checkpoint.MetaProperties) error {
	if p.DirectoryID.IsZero() {
		return nil
	}
	has, err := HasLog(o.FS, o.MetadataDir)
	if err == nil && has {
		err = &IdentityError{o.MetadataDir, "there is a metadata log, but meta.properties has no cluster.id: restore it, or set controller.quorum.voters so that the node can ask the others"}
	}
	return err
}

// HasLog reports whether there is a metadata log in a log dir, or what it would begin with.
func HasLog(fsys vfs.FS, logDir string) (bool, error) {
	dir := filepath.Join(logDir, MetadataFolder)
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		_, isSnapshot := parseSnapshotName(strings.TrimSuffix(e.Name(), installSuffix))
		if _, _, isSegment := segment.ParseFileName(e.Name()); isSnapshot || isSegment {
			return true, nil
		}
	}
	return false, err
}
