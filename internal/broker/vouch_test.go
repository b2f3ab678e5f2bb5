package broker

import (
	"path/filepath"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// A broker that is killed while its machine runs on vouches for its last epoch, and its replicas stay eligible; after a
// reboot it does not; a clean stop vouches whatever the boot, and once (docs/design/replicas.md).
func TestWhatABrokerVouchesFor(t *testing.T) {
	t.Parallel()
	if bootID() == "" {
		t.Skip("this system does not name its boots: only a clean stop vouches")
	}
	c := newClusterNodes(t)
	c.start(0, 1)
	dirs, epoch := []string{c.folder(0)}, c.running[0].epoch()
	// What kill -9 would leave now.
	clean := filepath.Join(c.folder(0), checkpoint.CleanShutdownFileName)
	if _, found := checkpoint.ReadCleanShutdown(vfs.OS{}, clean); found {
		t.Error("a broker that runs has stopped cleanly")
	}
	if got := checkpoint.KeptBrokerEpoch(vfs.OS{}, dirs, bootID()); got != epoch {
		t.Errorf("killed, it vouches for epoch %d, and has %d", got, epoch)
	}
	if got := checkpoint.KeptBrokerEpoch(vfs.OS{}, dirs, "another boot"); got >= 0 {
		t.Errorf("after a reboot it vouches for epoch %d", got)
	}
	c.stop(0, 1)
	if got, found := checkpoint.ReadCleanShutdown(vfs.OS{}, clean); !found || got != epoch {
		t.Errorf("after a clean stop it vouches for epoch %d, and had %d", got, epoch)
	}
	c.start(0, 1)
	if got := c.running[0].storage.CleanShutdownBrokerEpoch(); got != epoch {
		t.Errorf("it has registered after epoch %d, and had %d", got, epoch)
	}
	if _, found := checkpoint.ReadCleanShutdown(vfs.OS{}, clean); found {
		t.Error("the clean stop counts twice")
	}
	if now := c.running[0].epoch(); now <= epoch || checkpoint.KeptBrokerEpoch(vfs.OS{}, dirs, bootID()) != now {
		t.Errorf("epoch %d after %d, noted: %d", now, epoch, checkpoint.KeptBrokerEpoch(vfs.OS{}, dirs, bootID()))
	}
}
