package segment

import (
	"os"
	"path/filepath"
	"testing"

	"bytes"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// The folders in testdata/kafka are one partition of Apache Kafka 4.3 with
// index.interval.bytes=512: "active" copied from the running broker, its indexes padded
// with zeros to segment.index.bytes=4096, and "stopped" after two rolls and a clean stop.
const goldenInterval = 512

func goldenFS(t testing.TB, folder string) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	check(t, mem.MkdirAll(logFolder))
	entries, err := os.ReadDir(filepath.Join("testdata", "kafka", folder))
	check(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join("testdata", "kafka", folder, e.Name()))
		check(t, err)
		check(t, vfs.WriteFileAtomic(mem, logFolder+"/"+e.Name(), data))
	}
	return mem
}

// TestWeWriteWhatKafkaWrites appends Kafka's batches and compares all three files.
func TestWeWriteWhatKafkaWrites(t *testing.T) {
	t.Parallel()
	golden := goldenFS(t, "stopped")
	for _, base := range []int64{0, 800, 900} {
		mem := vfs.NewMem()
		s := create(t, memDir(t, mem, goldenInterval), base)
		for rest := readFile(t, golden, base, LogSuffix); len(rest) > 0; {
			b, left, err := record.Next(rest)
			check(t, err)
			check(t, s.Append(b))
			rest = left
		}
		check(t, s.Seal())
		for _, suffix := range []string{LogSuffix, IndexSuffix, TimeIndexSuffix} {
			if got, want := readFile(t, mem, base, suffix), readFile(t, golden, base, suffix); !bytes.Equal(got, want) {
				t.Errorf("%s\n got %x\nwant %x", FileName(base, suffix), got, want)
			}
		}
	}
}

func TestWeReadWhatKafkaWrites(t *testing.T) {
	t.Parallel()
	for folder, bases := range map[string][]int64{"active": {0}, "stopped": {0, 800, 900}} {
		mem := goldenFS(t, folder)
		for _, base := range bases {
			d := openDir(mem, goldenInterval)
			s := open(t, d, base)
			checkGoldenLookups(t, s)
			check(t, s.Activate())
			if d.cache.rebuilds.Value() != 0 {
				t.Errorf("%s/%d: Kafka's indexes were rebuilt", folder, base)
			}
			if size := len(readFile(t, mem, base, IndexSuffix)); size > 200 {
				t.Errorf("%s/%d: the index keeps its padding: %d bytes", folder, base, size)
			}
			checkIndexFiles(t, mem, base, goldenInterval)
			next, _, err := s.NextOffset()
			check(t, err)
			check(t, s.Append(makeBatch(t, next, []int64{1 << 45}, 10).bytes))
		}
		s := open(t, openDir(goldenFS(t, folder), goldenInterval), 0)
		if r, err := s.Recover(RecoverOptions{FromOffset: 700}); err != nil || r.Damage != nil || r.NextOffset != 800 || r.IndexesRebuilt {
			t.Errorf("%s: recovery: %+v, %v", folder, r, err)
		}
		checkGoldenLookups(t, s)
	}
}

// checkGoldenLookups looks every offset and every record's timestamp up.
func checkGoldenLookups(t *testing.T, s *Segment) {
	t.Helper()
	records := 0
	largest := int64(-1)
	check(t, s.ScanBatches(0, func(at BatchPosition, b record.Batch) error {
		for offset := at.BaseOffset; offset <= at.LastOffset; offset++ {
			if got, found, err := s.Lookup(offset); err != nil || !found || got != at {
				t.Fatalf("offset %d: %+v, %v, %v, want %+v", offset, got, found, err, at)
			}
		}
		for r, err := range b.Records(1 << 20) {
			check(t, err)
			records++
			if r.Timestamp <= largest {
				continue
			}
			largest = r.Timestamp
			want := TimestampOffset{r.Timestamp, at.BaseOffset + int64(r.OffsetDelta), at.LeaderEpoch}
			if got, found, err := s.FindByTimestamp(r.Timestamp, 0); err != nil || !found || got != want {
				t.Fatalf("timestamp %d: %+v, %v, %v, want %+v", r.Timestamp, got, found, err, want)
			}
		}
		return nil
	}))
	if records < 100 {
		t.Errorf("%d records", records)
	}
}
