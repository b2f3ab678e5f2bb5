package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// A start that is killed, wherever, takes nothing from what the one before it had to vouch with, a clean stop before the machine was started anew or
// being killed since; but where it has found a loss the next one does not vouch, although that may find nothing wrong any more.
func TestAStartThatIsKilledVouchesForNoMoreAndNoLess(t *testing.T) {
	t.Parallel()
	needsBootID(t)
	dirs := []string{"/a", "/b"}
	on := func(fsys vfs.FS) *broker {
		b := brokerOn(t, fsys)
		b.cluster = &cluster{}
		return b
	}
	left := leftCleanly(t, dirs)
	for _, isClean := range []bool{true, false} {
		for _, harm := range []string{"", "cut", "damage"} {
			if isClean && harm == "damage" {
				continue // nobody looks for that after a clean stop
			}
			mem := left.KillClone()
			err := error(nil)
			if isClean {
				err = checkpoint.WriteRunning(mem, dirs, 7, "another boot")
			} else {
				for _, dir := range dirs {
					err = errors.Join(err, mem.Remove(filepath.Join(dir, checkpoint.CleanShutdownFileName)))
				}
				err = errors.Join(err, checkpoint.WriteRunning(mem, dirs, 7, bootID()))
			}
			if err := errors.Join(err, harmLog(mem, harm)); err != nil {
				t.Fatal(err)
			}
			want := int64(7)
			if harm != "" {
				want = -1
			}
			for at, killed := int64(0), true; killed; at++ {
				disk := mem.KillClone()
				var changes atomic.Int64
				b := on(vfs.NewFault(disk, func(op vfs.Op, name string) error {
					if op.Changes() && changes.Add(1) > at || changes.Load() > at {
						return fmt.Errorf("%s %s: %w", op, name, errBrokenDisk)
					}
					return nil
				}))
				if b.openDirs() == nil {
					_ = b.openStorage()
				}
				killed = changes.Load() > at
				next := disk.KillClone()
				_ = b.stop() // of what is dead
				if !killed {
					break
				}
				b = on(next)
				if err := errors.Join(b.openDirs(), b.openStorage()); err != nil {
					t.Fatal(err)
				}
				if got := b.previousEpoch(); got != want {
					t.Errorf("clean stop %v, %q, killed after %d changes: it vouches for epoch %d, want %d", isClean, harm, at, got, want)
				}
				if err := b.stop(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func brokerOn(t *testing.T, fsys vfs.FS) *broker {
	t.Helper()
	properties, _, err := config.NewBroker(map[string]string{"log.dirs": "/a,/b", "metadata.log.dir": "/metadata", "listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": ""})
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(t.Context(), properties)
	b.fs = fsys
	return b
}

// leftCleanly returns a disk on which a broker with one record has stopped, in epoch 7.
func leftCleanly(t *testing.T, dirs []string) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	if err := errors.Join(mem.MkdirAll("/a"), mem.MkdirAll("/b"), mem.MkdirAll("/metadata"), mem.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	b := brokerOn(t, mem)
	if err := b.start(); err != nil {
		t.Fatal(errors.Join(err, b.stop()))
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.server.Addr("PLAINTEXT").String()), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(20))
	if err != nil {
		t.Fatal(err)
	}
	err = client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("value")}).FirstErr()
	client.Close()
	err = errors.Join(err, b.stop())
	for _, dir := range dirs {
		err = errors.Join(err, checkpoint.WriteCleanShutdown(mem, filepath.Join(dir, checkpoint.CleanShutdownFileName), 7))
	}
	if err != nil {
		t.Fatal(err)
	}
	return mem
}

// harmLog takes the log's records, or damages what nothing says was flushed.
func harmLog(mem *vfs.Mem, harm string) error {
	if harm == "" {
		return nil
	}
	for _, dir := range []string{"/a", "/b"} {
		f, err := mem.Open(dir+"/t-0/00000000000000000000.log", true)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer f.Close()
		size, err := f.Size()
		if err != nil {
			return err
		}
		if harm == "cut" {
			return f.Truncate(0)
		}
		_, err = f.WriteAt([]byte{0xff}, size-3)
		return errors.Join(err, mem.Remove(filepath.Join(dir, checkpoint.RecoveryPointFileName)))
	}
	return fs.ErrNotExist
}
