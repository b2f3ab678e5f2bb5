package quorum

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
)

var rewriteGolden = flag.Bool("rewrite-golden", false, "write testdata/golden anew")

// TestFlippedBits flips each bit of each file in turn: the voter refuses to start, or (term and
// vote are stored twice) has lost nothing.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	v := mustOpen(t, mem)
	if err := v.propose("a", "b"); err != nil {
		t.Fatal(err)
	}
	if err := takeSnapshot(v); err != nil {
		t.Fatal(err)
	}
	if err := v.propose("c"); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("/data", MetadataFolder)
	entries, err := mem.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := vfs.ReadFile(mem, filepath.Join(dir, e.Name()), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for bit := range 8 * len(data) {
			if data[bit/8] == 0 && len(data) == stateFileBytes {
				continue // the holes between its slots
			}
			damaged := mem.KillClone()
			flipped := slices.Clone(data)
			flipped[bit/8] ^= 1 << (bit % 8)
			if err := vfs.WriteFileAtomic(damaged, filepath.Join(dir, e.Name()), flipped); err != nil {
				t.Fatal(err)
			}
			v, err := openVoter(damaged)
			if err != nil {
				if corrupt := (*CorruptLogError)(nil); !errors.As(err, &corrupt) {
					t.Errorf("%s bit %d: %v is no CorruptLogError", e.Name(), bit, err)
				}
				refused++
				continue
			}
			if got := fmt.Sprint(v.values()); got != "[a b c]" {
				t.Errorf("%s bit %d: starts with %s", e.Name(), bit, got)
			}
		}
		if filepath.Ext(e.Name()) == ".log" && refused != 8*len(data) {
			t.Errorf("%s: %d of %d flips were noticed", e.Name(), refused, 8*len(data))
		}
	}
}

// TestConflictIsCutOff appends, as a follower's Raft does, entries of a new leader in place of
// uncommitted ones, across a roll of the log file.
func TestConflictIsCutOff(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	o := testOptions(mem)
	o.SegmentBytes = 200
	log, err := openLog(o)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(index, term uint64, value string) *raftpb.Entry {
		e := &raftpb.Entry{Index: new(index), Term: new(term)}
		if value != "" {
			b := record.NewBuilder(record.NoProducer(record.CodecNone))
			b.Append(testNowMs, nil, []byte(value), nil)
			if e.Data, err = b.Build(); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	for _, term := range []uint64{1, 2} {
		if err := log.state.save(term, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	old := []*raftpb.Entry{entry(1, 1, "")}
	for index := range uint64(9) {
		old = append(old, entry(index+2, 1, fmt.Sprintf("old%d", index+2)))
	}
	if err := log.append(old); err != nil {
		t.Fatal(err)
	}
	if len(log.segments) < 3 {
		t.Fatalf("%d log files, expected a roll", len(log.segments))
	}
	if err := log.append([]*raftpb.Entry{entry(4, 2, ""), entry(5, 2, "new5")}); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		entries, err := log.Entries(1, log.lastIndex()+1, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			if len(e.GetData()) == 0 {
				got = append(got, fmt.Sprintf("%d/%d", e.GetIndex(), e.GetTerm()))
				continue
			}
			for r, err := range record.Batch(e.GetData()).Records(1 << 20) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%d/%d:%s", e.GetIndex(), e.GetTerm(), r.Value))
			}
		}
		if want := []string{"1/1", "2/1:old2", "3/1:old3", "4/2", "5/2:new5"}; !slices.Equal(got, want) {
			t.Fatalf("the log holds %q", got)
		}
	}
	check()
	if err := log.close(); err != nil {
		t.Fatal(err)
	}
	if log, err = openLog(o); err != nil {
		t.Fatal(err)
	}
	check()
}

// TestGoldenFiles compares a log and a snapshot with bytes that Apache Kafka 4.3's dump-log was
// seen to read in full (kafka-dump-log --cluster-metadata-decoder).
func TestGoldenFiles(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	v := mustOpen(t, mem)
	id, policy := kafka.UUID{1, 2, 3}, "compact"
	for _, records := range [][]metadata.Record{
		{&metadata.FeatureLevelRecord{Name: metadata.MetadataVersionFeature, FeatureLevel: 30}},
		{&metadata.TopicRecord{Name: "t", TopicID: id},
			&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceTopic, ResourceName: "t", Name: "cleanup.policy", Value: &policy},
			&metadata.PartitionRecord{TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []kafka.UUID{{5}}}},
	} {
		var encoded [][]byte
		for _, r := range records {
			encoded = append(encoded, metadata.Encode(r))
		}
		if _, err := v.Propose(encoded, testNowMs); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.process(); err != nil {
		t.Fatal(err)
	}
	if err := takeSnapshot(v); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00000000000000000000.log", "00000000000000000006-0000000001.checkpoint"} {
		got, err := vfs.ReadFile(mem, filepath.Join("/data", MetadataFolder, name), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "golden", name)
		if *rewriteGolden {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is\n%x\nexpected\n%x", name, got, want)
		}
	}
}

func TestStrangerIsRefused(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	if err := mustOpen(t, mem).Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions(mem)
	o.Self.DirectoryID[3]++
	if _, err := Open(o); err == nil {
		t.Fatal("a node with another directory id opened the log")
	}
}

// FuzzRecovery gives recovery arbitrary log, snapshot and state files.
func FuzzRecovery(f *testing.F) {
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		f.Fatal(err)
	}
	v, err := openVoter(mem)
	if err == nil {
		err = v.propose("a", "b")
	}
	if err == nil {
		err = v.Close()
	}
	if err != nil {
		f.Fatal(err)
	}
	names := []string{"00000000000000000000.log", SnapshotID{}.FileName(), stateFileName}
	var seeds [][]byte
	for _, name := range names {
		data, err := vfs.ReadFile(mem, filepath.Join("/data", MetadataFolder, name), 1<<20)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, data)
	}
	f.Add(seeds[0], seeds[1], seeds[2])
	f.Add(seeds[0][:len(seeds[0])-5], seeds[1], seeds[2])
	f.Add(seeds[1], seeds[0], seeds[2][:40])
	f.Fuzz(func(t *testing.T, log, snapshot, state []byte) {
		mem := vfs.NewMem()
		dir := filepath.Join("/data", MetadataFolder)
		if err := mem.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		for i, data := range [][]byte{log, snapshot, state} {
			if err := vfs.WriteFileAtomic(mem, filepath.Join(dir, names[i]), data); err != nil {
				t.Fatal(err)
			}
		}
		if v, err := openVoter(mem); err == nil {
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
