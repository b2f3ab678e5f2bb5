package broker

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env/vfs"
)

// TestFailedDisksEndTheNode breaks the folders below one path while the node runs. A node that can
// store nothing any more must end, so that somebody notices; one that has lost one of several log
// dirs goes on with the others.
func TestFailedDisksEndTheNode(t *testing.T) {
	for _, test := range []struct {
		name          string
		broken        []string
		ends          bool
		ownMetadataIn string
	}{
		{"the only log dir besides the metadata's", []string{"a"}, true, "m"},
		{"one of two log dirs", []string{"a"}, false, "m"},
		{"the metadata log", []string{"m"}, true, "m"},
		{"the log dir that also has the metadata log", []string{"a"}, true, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			dirs := []string{filepath.Join(root, "a")}
			if !test.ends || test.ownMetadataIn == "a" {
				dirs = append(dirs, filepath.Join(root, "b"))
			}
			c, _, err := config.NewBroker(map[string]string{
				"log.dirs": strings.Join(dirs, ","), "metadata.log.dir": filepath.Join(root, test.ownMetadataIn),
				"listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": "", "num.partitions": "4",
			})
			if err != nil {
				t.Fatal(err)
			}
			var fails atomic.Bool
			b := newBroker(t.Context(), c)
			b.fs = vfs.NewFault(vfs.OS{}, func(op vfs.Op, name string) error {
				for _, dir := range test.broken {
					if fails.Load() && op.Changes() && strings.HasPrefix(name, filepath.Join(root, dir)) {
						return fmt.Errorf("%s %s: %w", op, name, errBrokenDisk)
					}
				}
				return nil
			})
			if err := b.start(); err != nil {
				t.Fatal(errors.Join(err, b.stop()))
			}
			client, err := kgo.NewClient(kgo.SeedBrokers(b.server.Addr("PLAINTEXT").String()), kgo.AllowAutoTopicCreation(),
				kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(2), kgo.MetadataMinAge(10*time.Millisecond), kgo.UnknownTopicRetries(10))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			produce := func(topic string) (failed int) {
				for partition := range int32(4) {
					if client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte("v")}).FirstErr() != nil {
						failed++
					}
				}
				return failed
			}
			if failed := produce("before"); failed > 0 {
				t.Fatalf("%d partitions cannot be written on good disks", failed)
			}
			fails.Store(true)
			go produce("before")
			if test.broken[0] == "m" {
				go produce("after") // which has to be created
			}
			if !test.ends {
				for len(b.storage.OfflineDirs()) == 0 {
					select {
					case err := <-b.faults:
						t.Fatal(err)
					case <-t.Context().Done():
						t.Fatal("the broken dir is not noticed")
					case <-time.After(time.Millisecond):
					}
				}
				if failed := produce("before"); failed == 0 || failed == 4 {
					t.Errorf("%d of 4 partitions cannot be written with one of two dirs broken", failed)
				}
				select {
				case err := <-b.faults:
					t.Errorf("the node ends although a log dir is left: %v", err)
				default:
				}
			} else if err := <-b.faults; !errors.Is(err, errBrokenDisk) {
				t.Errorf("the node ends with %v", err)
			}
			began := time.Now()
			_ = b.stop()
			if took := time.Since(began); took > stopTimeout/2 {
				t.Errorf("the stop took %s", took)
			}
		})
	}
}

var errBrokenDisk = errors.New("the disk is broken")
