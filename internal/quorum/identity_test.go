package quorum

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

func TestEnsureIdentity(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	for _, dir := range []string{"/a", "/b", "/meta"} {
		if err := mem.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	o := IdentityOptions{FS: mem, LogDirs: []string{"/a"}, MetadataDir: "/meta", NodeID: 1, Random: env.NewSeededRandom(1)}
	first, err := EnsureIdentity(o)
	if err != nil || len(first.ClusterID) != 22 || len(first.DirectoryIDs) != 2 {
		t.Fatalf("first start: %+v, %v", first, err)
	}
	o.LogDirs = []string{"/a", "/b"} // a disk was added
	second, err := EnsureIdentity(o)
	if err != nil || second.ClusterID != first.ClusterID || len(second.DirectoryIDs) != 3 {
		t.Fatalf("second start: %+v, %v", second, err)
	}
	third, err := EnsureIdentity(o)
	if err != nil || !maps.Equal(third.DirectoryIDs, second.DirectoryIDs) {
		t.Fatalf("third start: %+v, %v", third, err)
	}

	refused := func(o IdentityOptions, want string) {
		t.Helper()
		_, err := EnsureIdentity(o)
		var identity *IdentityError
		if !errors.As(err, &identity) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, expected one about %q", err, want)
		}
	}
	other := o
	other.NodeID = 2
	refused(other, "belongs to node 1")
	other = o
	other.ClusterID = "AAAAAAAAAAAAAAAAAAAAAA"
	refused(other, "belongs to cluster "+first.ClusterID)
	other = o
	other.MetadataDir = "/new"
	refused(other, "metadata.log.dir")

	early := IdentityOptions{FS: mem, LogDirs: []string{"/early"}, MetadataDir: "/early", NodeID: 3, Undecided: true, Random: env.NewSeededRandom(2)}
	if err := mem.MkdirAll("/early"); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureIdentity(early); err != nil {
		t.Fatal(err)
	}
	early.NodeID = 4 // as after a refusal because node.id 3 is taken
	refused(early, "node 3 began with the folder, and was of no cluster yet, but node.id is 4: choose or empty a folder")

	copied := checkpoint.MetaProperties{ClusterID: first.ClusterID, NodeID: 1, DirectoryID: first.DirectoryIDs["/a"]}
	if err := checkpoint.WriteMetaProperties(mem, "/b/meta.properties", copied); err != nil {
		t.Fatal(err)
	}
	refused(o, "same directory.id")
	if err := vfs.WriteFileAtomic(mem, "/b/meta.properties", []byte("version=9\n")); err != nil {
		t.Fatal(err)
	}
	var version *checkpoint.VersionError
	if _, err := EnsureIdentity(o); !errors.As(err, &version) {
		t.Errorf("an unknown version gives %v", err)
	}
	newer := "version=1\nnode.id=1\ncluster.id=" + first.ClusterID + "\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\nmoldau.format=2\nmoldau.future=x\n"
	if err := vfs.WriteFileAtomic(mem, "/b/meta.properties", []byte(newer)); err != nil {
		t.Fatal(err)
	}
	var format *checkpoint.NewerFolderError
	if _, err := EnsureIdentity(o); !errors.As(err, &format) || format.Found != 2 {
		t.Errorf("a folder of a newer release gives %v", err)
	}
	if data, err := vfs.ReadFile(mem, "/b/meta.properties", 1<<20); err != nil || string(data) != newer {
		t.Errorf("the file of a newer release is now %q, %v", data, err)
	}
}
