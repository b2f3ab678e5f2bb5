package storage

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

const compactionGolden = "testdata/compaction"

// TestCompactionDoesWhatKafkasDoes compacts what Apache Kafka 4.3 has compacted: plain,
// idempotent and transactional batches, tombstones, records without a key, aborted and empty
// transactions; then the result with more of it. Every byte of .log and .txnindex is Kafka's.
func TestCompactionDoesWhatKafkasDoes(t *testing.T) {
	t.Parallel()
	for round, cleaned := range map[string]int64{"1": 0, "2": 107} {
		mem := newMem(t)
		tp := kafka.TopicPartition{Topic: "gold"}
		folder := filepath.Join(testDir, tp.String())
		if err := mem.MkdirAll(folder); err != nil {
			t.Fatal(err)
		}
		for name, data := range goldenFiles(t, "before"+round) {
			if err := vfs.WriteFileAtomic(mem, filepath.Join(folder, name), data); err != nil {
				t.Fatal(err)
			}
		}
		if cleaned > 0 {
			path := filepath.Join(testDir, checkpoint.CleanerOffsetFileName)
			if err := checkpoint.WriteOffsets(mem, path, map[kafka.TopicPartition]int64{tp: cleaned}); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkpoint.WriteCleanShutdown(mem, filepath.Join(testDir, checkpoint.CleanShutdownFileName), 1); err != nil {
			t.Fatal(err)
		}
		want := goldenFiles(t, "after"+round)
		nowMs := goldenHorizon(t, want) - 1 // delete.retention.ms was 1
		config := testConfig()
		config.Compact, config.Delete, config.SegmentBytes, config.DeleteRetentionMs, config.MinCleanableRatio = true, false, 1200, 1, 0.001
		m, err := OpenManager(testOptions(mem, config))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Load(LoadOptions{NowMs: nowMs}); err != nil {
			t.Fatal(err)
		}
		l := m.Log(tp)
		l.AdvanceHighWatermark(l.LogEndOffset())
		if found, err := m.CleanDirtiest(CleanOptions{NowMs: nowMs, MapBytes: 1 << 20, MapLoadFactor: 0.9, BufferBytes: 1 << 20, Throttle: func(int) error { return nil }}); err != nil || !found {
			t.Fatalf("round %s: found %v: %v", round, found, err)
		}
		entries, err := mem.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			suffix := filepath.Ext(e.Name())
			if suffix != ".log" && suffix != ".txnindex" {
				continue
			}
			got, err := vfs.ReadFile(mem, filepath.Join(folder, e.Name()), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if suffix == ".txnindex" {
				got = got[:len(got)-len(got)%34] // without the seal
			}
			if kafkas, there := want[e.Name()]; !there || !bytes.Equal(got, kafkas) {
				t.Errorf("round %s: %s differs from Kafka's (there: %v):\n%s\nwant\n%s", round, e.Name(), there, hex.Dump(got), hex.Dump(kafkas))
			}
			delete(want, e.Name())
		}
		for name := range want {
			t.Errorf("round %s: %s is missing", round, name)
		}
	}
}

func goldenFiles(t *testing.T, name string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(compactionGolden, name))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(compactionGolden, name, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 || !strings.HasSuffix(e.Name(), ".txnindex") {
			files[e.Name()] = data
		}
	}
	return files
}

// goldenHorizon is the largest delete horizon, which the round has set.
func goldenHorizon(t *testing.T, files map[string][]byte) int64 {
	t.Helper()
	largest := int64(0)
	for name, data := range files {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		for len(data) > 0 {
			b, rest, err := record.Next(data)
			if err != nil {
				t.Fatal(err)
			}
			if ms, ok := b.DeleteHorizonMs(); ok {
				largest = max(largest, ms)
			}
			data = rest
		}
	}
	if largest == 0 {
		t.Fatal("no batch has a delete horizon")
	}
	return largest
}
