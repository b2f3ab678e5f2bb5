package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// TestNobodyVouchesForWhatIsLost: without .moldau_running the next process does not say that nothing is lost. It is gone as soon as something is,
// since a process may end before it has told the controller.
func TestNobodyVouchesForWhatIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// harm changes the log's file after a kill.
		harm      func(f vfs.File, size int64) error
		failsSync bool // of the stop that follows
		isGone    bool
	}{
		{"nothing", func(vfs.File, int64) error { return nil }, false, false},
		{"damage that the start cuts off", func(f vfs.File, size int64) error { _, err := f.WriteAt([]byte{0xff}, size-3); return err }, false, true},
		{"a flush that fails at the end", func(vfs.File, int64) error { return nil }, true, true},
	} {
		mem := vfs.NewMem()
		var fails atomic.Bool
		start := func() *broker {
			t.Helper()
			if err := errors.Join(mem.MkdirAll("/data"), mem.MkdirAll("/metadata"), mem.SyncDir("/")); err != nil {
				t.Fatal(err)
			}
			properties, _, err := config.NewBroker(map[string]string{"log.dirs": "/data", "metadata.log.dir": "/metadata", "listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": ""})
			if err != nil {
				t.Fatal(err)
			}
			b := newBroker(context.Background(), properties)
			b.fs = vfs.NewFault(mem, func(op vfs.Op, name string) error {
				if fails.Load() && op == vfs.OpSync && strings.HasPrefix(name, "/data") {
					return fmt.Errorf("%s %s: %w", op, name, errBrokenDisk)
				}
				return nil
			})
			if err := b.start(); err != nil {
				t.Fatal(errors.Join(err, b.stop()))
			}
			return b
		}
		produce := func(b *broker) {
			t.Helper()
			client, err := kgo.NewClient(kgo.SeedBrokers(b.server.Addr("PLAINTEXT").String()), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(20))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("value")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		b := start()
		produce(b)
		killed := mem.KillClone()
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
		mem = killed
		f, err := mem.Open("/data/t-0/00000000000000000000.log", true)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err := errors.Join(err, c.harm(f, size), f.Close(), checkpoint.WriteRunning(mem, []string{"/data"}, 7, "boot")); err != nil {
			t.Fatal(err)
		}
		b = start()
		produce(b)
		fails.Store(c.failsSync)
		if err := b.stop(); (err != nil) != c.failsSync {
			t.Errorf("%s: stop: %v", c.name, err)
		}
		if _, err := mem.Stat(filepath.Join("/data", checkpoint.RunningFileName)); errors.Is(err, fs.ErrNotExist) != c.isGone {
			t.Errorf("%s: the file is gone: %v", c.name, err)
		}
	}
}
