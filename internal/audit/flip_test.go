package audit

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

// appendTransactions writes transactions of two producers, every other one aborted.
func appendTransactions(t *testing.T, l *storage.Log) {
	t.Helper()
	add := func(o record.BuilderOptions, origin storage.Origin, kind record.ControlKind) {
		t.Helper()
		o.LeaderEpoch, o.Transactional = -1, true
		var batch record.Batch
		var err error
		if origin == storage.OriginInternal {
			batch, err = record.BuildControl(o, startMs, kind, record.EndTxnMarker{}.Encode())
		} else {
			b := record.NewBuilder(o)
			b.Append(startMs, []byte("k"), []byte("in a transaction"), nil)
			batch, err = b.Build()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(storage.AppendRequest{Records: batch, LeaderEpoch: 3, Origin: storage.OriginInternal, NowMs: startMs}); err != nil {
			t.Fatal(err)
		}
		l.AdvanceHighWatermark(math.MaxInt64)
	}
	for i := range int32(6) {
		for _, producer := range []int64{100, 101} {
			add(record.BuilderOptions{ProducerID: producer, BaseSequence: 2 * i}, storage.OriginClient, 0)
			add(record.BuilderOptions{ProducerID: producer, BaseSequence: 2*i + 1}, storage.OriginClient, 0)
		}
		for j, producer := range []int64{101, 100} {
			add(record.BuilderOptions{ProducerID: producer, BaseSequence: -1}, storage.OriginInternal, record.ControlKind((int(i)+j)%2))
		}
	}
}

// metadataFolder adds a metadata log with a snapshot.
func metadataFolder(t *testing.T, mem *vfs.Mem) {
	t.Helper()
	if err := mem.MkdirAll("/metadata"); err != nil {
		t.Fatal(err)
	}
	self := quorum.VoterSpec{NodeID: 1, DirectoryID: kafka.UUID{9}}
	v, err := quorum.Open(quorum.Options{FS: mem, LogDir: "/metadata", Self: self, Form: []quorum.VoterSpec{self}, HeartbeatTicks: 1, ElectionTicks: 10,
		SegmentBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler), NowMs: startMs})
	if err != nil {
		t.Fatal(err)
	}
	step := func(err error) {
		t.Helper()
		if err == nil {
			_, err = v.Process(startMs)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	step(v.Campaign())
	propose := func(level int16) {
		t.Helper()
		_, err := v.Propose([][]byte{metadata.Encode(&metadata.FeatureLevelRecord{Name: "metadata.version", FeatureLevel: level})}, startMs)
		step(err)
	}
	propose(29)
	job, err := v.BeginSnapshot(v.LogEndOffset() - 1)
	if err == nil {
		err = job.Write(startMs, func(emit func([]byte) error) error {
			return emit(metadata.Encode(&metadata.FeatureLevelRecord{Name: "metadata.version", FeatureLevel: 29}))
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	step(v.FinishSnapshot(job))
	propose(30)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mem.Rename("/metadata/"+quorum.MetadataFolder, "/data/"+quorum.MetadataFolder); err != nil {
		t.Fatal(err)
	}
}

// uncovered says where a flipped bit cannot be told from what could have been written, and why.
func uncovered(path string, data []byte, position int) string {
	switch name := filepath.Base(path); {
	case name == "meta.properties", name == "partition.metadata":
		return "ids may be any; the broker compares them with the cluster's"
	case name == ".kafka_cleanshutdown":
		return "a damaged one means recovery, which is always right"
	case name == "raft-state" && data[position] == 0 && position%4096 >= 32, name == "raft-state" && position < 4096:
		return "unused"
	}
	return ""
}

// TestEveryKindOfFile flips bits in every file of a data folder. The report names the file, and
// the exit code tells; flipped back, all is good again.
func TestEveryKindOfFile(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	mem := dataFolder(t, false, true)
	metadataFolder(t, mem)
	if report, problems := audited(t, mem); problems {
		t.Fatalf("good data:\n%s", report)
	}
	tried := map[string]int{}
	for _, path := range files(t, mem, "/data") {
		data, err := vfs.ReadFile(mem, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, len(data)/60)
		if filepath.Base(path) == quorum.StateFileName {
			step = 3 // most of it is unused
		}
		for position := random.IntN(step); position < len(data); position += 1 + random.IntN(2*step) {
			if uncovered(path, data, position) != "" {
				continue
			}
			bit := byte(1) << random.IntN(8)
			write(t, mem, path, position, data[position]^bit)
			report, problems := audited(t, mem)
			write(t, mem, path, position, data[position])
			tried[kindOf(path)]++
			named := "PROBLEM " + path
			if strings.HasSuffix(path, ".log") { // an offset or epoch may be noticed at the next batch only, in the next file
				named = "PROBLEM " + filepath.Dir(path)
			}
			if !problems || !strings.Contains(report, named) {
				t.Errorf("%s at position %d, bit %d, seed %d is not found:\n%s", path, position, bit, seed, report)
			}
		}
	}
	for _, kind := range []string{".log", ".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint", "recovery-point-offset-checkpoint",
		"replication-offset-checkpoint", "raft-state", ".checkpoint"} {
		if tried[kind] == 0 {
			t.Errorf("no bit was flipped in a %s file: %v", kind, tried)
		}
	}
	if report, problems := audited(t, mem); problems {
		t.Fatalf("after all was mended:\n%s", report)
	}
	t.Log(tried)
}

// TestApacheKafkasFilesAreGood audits logs that Apache Kafka has written and compacted.
func TestApacheKafkasFilesAreGood(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"../storage/testdata/compaction/before1", "../storage/testdata/compaction/after1", "../storage/testdata/compaction/before2",
		"../storage/testdata/compaction/after2", "../storage/segment/testdata/kafka/stopped", "../storage/segment/testdata/kafka/active"} {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/data/t-0"); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err == nil {
				err = vfs.WriteFileAtomic(mem, "/data/t-0/"+e.Name(), data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if report, problems := audited(t, mem); problems {
			t.Errorf("%s:\n%s", folder, report)
		}
	}
}

func kindOf(path string) string {
	if ext := filepath.Ext(path); ext != "" {
		return ext
	}
	return filepath.Base(path)
}

func write(t *testing.T, mem *vfs.Mem, path string, position int, b byte) {
	t.Helper()
	f, err := mem.Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{b}, int64(position)); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, mem *vfs.Mem, dir string) (paths []string) {
	t.Helper()
	entries, err := mem.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := fmt.Sprintf("%s/%s", dir, e.Name())
		if e.IsDir() {
			paths = append(paths, files(t, mem, path)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}
