package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// IdentityOptions is what EnsureIdentity needs.
type IdentityOptions struct {
	FS vfs.FS
	// LogDirs are all log dirs; they exist and are locked. MetadataDir is the one with the metadata
	// log, in LogDirs or not.
	LogDirs     []string
	MetadataDir string
	NodeID      int32
	// ClusterID is the id that the operator gave, "" to take the one that is there or a new one.
	ClusterID string
	Random    env.Random
}

// Identity is whose the log dirs are.
type Identity struct {
	ClusterID string
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
func EnsureIdentity(o IdentityOptions) (Identity, error) {
	dirs := []string{o.MetadataDir}
	for _, dir := range o.LogDirs {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	identity := Identity{DirectoryIDs: map[string]kafka.UUID{}, Failed: map[string]error{}}
	found := map[string]checkpoint.MetaProperties{}
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
			return Identity{}, &IdentityError{path, fmt.Sprintf("the folder belongs to node %d of cluster %s, but node.id is %d: set node.id=%d, or choose another folder",
				p.NodeID, p.ClusterID, o.NodeID, p.NodeID)}
		}
		if o.ClusterID == "" {
			o.ClusterID = p.ClusterID
		}
		if p.ClusterID != o.ClusterID {
			return Identity{}, &IdentityError{path, fmt.Sprintf("the folder belongs to cluster %s, but this node is of cluster %s: choose another folder",
				p.ClusterID, o.ClusterID)}
		}
		found[dir] = p
	}
	if _, ok := found[o.MetadataDir]; !ok && len(found) > 0 {
		return Identity{}, &IdentityError{o.MetadataDir, fmt.Sprintf("the folder for the metadata log has no meta.properties, but other log dirs belong to cluster %s: "+
			"without its metadata log their topics would be lost; mount or restore it, or set metadata.log.dir to where it is", o.ClusterID)}
	}
	if o.ClusterID == "" {
		o.ClusterID = kafka.NewUUID(o.Random).String()
	}
	identity.ClusterID = o.ClusterID
	owner := map[kafka.UUID]string{}
	for _, dir := range dirs {
		if identity.Failed[dir] != nil {
			continue
		}
		p := found[dir]
		if p.DirectoryID.IsZero() { // a new folder, or one from before directory ids (KIP-858)
			p = checkpoint.MetaProperties{ClusterID: o.ClusterID, NodeID: o.NodeID, DirectoryID: kafka.NewUUID(o.Random)}
			if err := checkpoint.WriteMetaProperties(o.FS, filepath.Join(dir, checkpoint.MetaPropertiesFileName), p); err != nil {
				if dir == o.MetadataDir {
					return Identity{}, err
				}
				identity.Failed[dir] = err
				continue
			}
		}
		if other, taken := owner[p.DirectoryID]; taken {
			return Identity{}, &IdentityError{dir, fmt.Sprintf("the folder has the same directory.id as %s: one is a copy of the other; remove the copy from log.dirs", other)}
		}
		owner[p.DirectoryID] = dir
		identity.DirectoryIDs[dir] = p.DirectoryID
	}
	return identity, nil
}
