package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

func needsBootID(t *testing.T) {
	t.Helper()
	if bootID() == "" {
		t.Skip("SKIPPED: this system does not name its boots: only a clean stop vouches")
	}
}

// A broker that is killed while its machine runs on vouches for its last epoch, and its replicas stay eligible; after a
// reboot it does not; a clean stop vouches whatever the boot, and once (docs/design/replicas.md).
func TestWhatABrokerVouchesFor(t *testing.T) {
	t.Parallel()
	needsBootID(t)
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

// A broker that has registered again, after the registration of a killed predecessor had come late, is judged by the new epoch if it is killed.
func TestABrokerVouchesForItsLastRegistration(t *testing.T) {
	t.Parallel()
	needsBootID(t)
	c := newClusterNodes(t)
	c.start(0, 1)
	b := c.running[1]
	before := b.epoch()
	late, err := b.registration()
	if err != nil {
		t.Fatal(err)
	}
	late.IncarnationID = kafka.UUID{7}
	resp, err := b.channel.Send(t.Context(), self, late)
	if err != nil || resp.(*kmsg.BrokerRegistrationResponse).ErrorCode != 0 {
		t.Fatal(resp, err)
	}
	c.awaitMetadata(0, "the broker has registered again", func(image *metadata.Image) bool {
		registered := image.Broker(2)
		return registered != nil && registered.IncarnationID == b.incarnation && registered.Epoch > before && !registered.Fenced
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil && (b.epoch() == before || checkpoint.KeptBrokerEpoch(vfs.OS{}, []string{c.folder(1)}, bootID()) != b.epoch()) {
		<-ticker.C
	}
	if kept, now := checkpoint.KeptBrokerEpoch(vfs.OS{}, []string{c.folder(1)}, bootID()), b.epoch(); now == before || kept != now {
		t.Errorf("killed, it vouches for epoch %d, and has %d", kept, now)
	}
}

// A broker does not vouch for what is in a log dir that it cannot use, as in Kafka.
func TestNobodyVouchesForALogDirThatIsOffline(t *testing.T) {
	t.Parallel()
	needsBootID(t)
	for name, writes := range map[string]func(fsys vfs.FS, dir string) error{
		"killed": func(fsys vfs.FS, dir string) error { return checkpoint.WriteRunning(fsys, []string{dir}, 7, bootID()) },
		"stopped": func(fsys vfs.FS, dir string) error {
			return checkpoint.WriteCleanShutdown(fsys, filepath.Join(dir, checkpoint.CleanShutdownFileName), 7)
		},
	} {
		for _, fails := range []bool{false, true} {
			mem := vfs.NewMem()
			if err := errors.Join(mem.MkdirAll("/a"), mem.MkdirAll("/b"), mem.MkdirAll("/metadata"), writes(mem, "/a"), writes(mem, "/b")); err != nil {
				t.Fatal(err)
			}
			properties, _, err := config.NewBroker(map[string]string{"log.dirs": "/a,/b", "metadata.log.dir": "/metadata", "listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": ""})
			if err != nil {
				t.Fatal(err)
			}
			b := newBroker(t.Context(), properties)
			b.cluster = &cluster{}
			b.fs = vfs.NewFault(mem, func(op vfs.Op, name string) error {
				if fails && op == vfs.OpReadDir && name == "/b" {
					return fmt.Errorf("%s %s: %w", op, name, errBrokenDisk)
				}
				return nil
			})
			if err := errors.Join(b.openDirs(), b.openStorage()); err != nil {
				t.Fatal(err)
			}
			if epoch := b.previousEpoch(); (epoch == 7) == fails {
				t.Errorf("%s, a log dir is offline: %v: it vouches for epoch %d", name, fails, epoch)
			}
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		}
	}
}
