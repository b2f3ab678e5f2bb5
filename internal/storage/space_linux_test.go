package storage

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
)

// TestFullDiskOnARealVolume is TestFullDisk on a small file system of its own.
func TestFullDiskOnARealVolume(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small file system; the full disk is tried in memory alone")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("SKIPPED: no small file system can be mounted here; the full disk is tried in memory alone: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	checkFullDisk(t, vfs.OS{}, data, 1<<20, 20_000)
}
