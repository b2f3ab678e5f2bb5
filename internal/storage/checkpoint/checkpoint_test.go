package checkpoint

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// golden is a file that Apache Kafka 4.3 wrote.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "kafka", name))
	check(t, err)
	return data
}

// with returns a file system that has one file.
func with(t testing.TB, data []byte) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	check(t, vfs.WriteFileAtomic(mem, "f", data))
	return mem
}

func content(t testing.TB, fsys vfs.FS) string {
	t.Helper()
	data, err := vfs.ReadFile(fsys, "f", 1<<20)
	check(t, err)
	return string(data)
}

// unsealed is the content as Apache Kafka writes it, without the checksum that it passes over.
func unsealed(t testing.TB, fsys vfs.FS) string {
	t.Helper()
	lines := strings.Split(content(t, fsys), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t")
		if n := len(line) - len(lines[i]); n != 0 && (n != sealBytes || i != len(lines)-2) {
			t.Errorf("line %d ends with %d blanks", i+1, n)
		}
	}
	return strings.Join(lines, "\n")
}

// TestOneFlippedBit flips every bit of sealed files: each is noticed.
func TestOneFlippedBit(t *testing.T) {
	t.Parallel()
	epochs := []LeaderEpoch{{0, 0}, {3, 0}, {7, 1 << 40}}
	mem := vfs.NewMem()
	check(t, WriteOffsets(mem, "f", someOffsets))
	offsets := []byte(content(t, mem))
	check(t, WriteLeaderEpochs(mem, "f", epochs))
	for i, data := range [][]byte{offsets, []byte(content(t, mem))} {
		for bit := range 8 * len(data) {
			data[bit/8] ^= 1 << (bit % 8)
			if i == 0 {
				if got, err := ReadOffsets(with(t, data), "f"); err == nil {
					t.Errorf("bit %d: read %v of %q", bit, got, data)
				}
			} else if got, err := ReadLeaderEpochs(with(t, data), "f"); err == nil {
				t.Errorf("bit %d: read %v of %q", bit, got, data)
			}
			data[bit/8] ^= 1 << (bit % 8)
		}
	}
}

var someOffsets = map[kafka.TopicPartition]int64{{Topic: "b", Partition: 10}: 5, {Topic: "b", Partition: 9}: 1 << 40, {Topic: "a.b_c-1", Partition: 0}: 0}

func TestOffsets(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[kafka.TopicPartition]int64{
		RecoveryPointFileName:  {{Topic: "golden"}: 1000},
		HighWatermarkFileName:  {{Topic: "golden"}: 1000},
		LogStartOffsetFileName: {},
	} {
		mem := with(t, golden(t, name))
		got, err := ReadOffsets(mem, "f")
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		check(t, WriteOffsets(mem, "f", got))
		if text := unsealed(t, mem); text != string(golden(t, name)) {
			t.Errorf("%s: wrote %q", name, text)
		}
	}
	mem := vfs.NewMem()
	check(t, WriteOffsets(mem, "f", someOffsets))
	if text := unsealed(t, mem); text != "0\n3\na.b_c-1 0 0\nb 9 1099511627776\nb 10 5\n" {
		t.Errorf("wrote %q", text)
	}
	if got, err := ReadOffsets(mem, "f"); err != nil || !maps.Equal(got, someOffsets) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ReadOffsets(mem, "missing"); err != nil || got == nil || len(got) != 0 {
		t.Errorf("missing file: %v, %v", got, err)
	}
	if got, err := ReadOffsets(with(t, nil), "f"); err != nil || len(got) != 0 {
		t.Errorf("empty file: %v, %v", got, err)
	}
}

func TestLeaderEpochs(t *testing.T) {
	t.Parallel()
	mem := with(t, golden(t, "golden-0/leader-epoch-checkpoint"))
	got, err := ReadLeaderEpochs(mem, "f")
	if err != nil || !slices.Equal(got, []LeaderEpoch{{0, 0}}) {
		t.Errorf("%v, %v", got, err)
	}
	epochs := []LeaderEpoch{{0, 0}, {3, 0}, {7, 1 << 40}}
	check(t, WriteLeaderEpochs(mem, "f", epochs))
	if text := unsealed(t, mem); text != "0\n3\n0 0\n3 0\n7 1099511627776\n" {
		t.Errorf("wrote %q", text)
	}
	if got, err := ReadLeaderEpochs(mem, "f"); err != nil || !slices.Equal(got, epochs) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPartitionMetadata(t *testing.T) {
	t.Parallel()
	text := golden(t, "golden-0/partition.metadata")
	mem := with(t, text)
	id, err := ReadPartitionMetadata(mem, "f")
	if err != nil || id.String() != "ojxL3MTDQ8maVdRp28-xYg" {
		t.Errorf("%v, %v", id, err)
	}
	check(t, WritePartitionMetadata(mem, "f", id))
	if got := content(t, mem); got != string(text) {
		t.Errorf("wrote %q", got)
	}
	if _, err := ReadPartitionMetadata(mem, "missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestMetaProperties(t *testing.T) {
	t.Parallel()
	mem := with(t, golden(t, MetaPropertiesFileName))
	p, err := ReadMetaProperties(mem, "f")
	if err != nil || p.ClusterID != "wdt4whTYRHChiii9RorSow" || p.NodeID != 1 || p.DirectoryID.String() != "BrWfqf2OQFSpYExB3DpNbQ" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, p := range []MetaProperties{p, {ClusterID: " odd\\id=:#é\t", NodeID: 0}, {NodeID: 2, DirectoryID: p.DirectoryID}} {
		check(t, WriteMetaProperties(mem, "f", p))
		if got, err := ReadMetaProperties(mem, "f"); err != nil || got != p {
			t.Errorf("wrote %q, read %+v, %v", content(t, mem), got, err)
		}
	}
	text := "! old\r\n\tversion : 1\r\ncluster.id\\u003A=x\r\ncluster.id  \\u0061b\r\nnode.id:7\r\n"
	if got, err := ReadMetaProperties(with(t, []byte(text)), "f"); err != nil || got != (MetaProperties{ClusterID: "ab", NodeID: 7}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ReadMetaProperties(mem, "missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestMalformedFilesAreNamed(t *testing.T) {
	t.Parallel()
	readOffsets := func(m vfs.FS) error { _, err := ReadOffsets(m, "f"); return err }
	readEpochs := func(m vfs.FS) error { _, err := ReadLeaderEpochs(m, "f"); return err }
	readID := func(m vfs.FS) error { _, err := ReadPartitionMetadata(m, "f"); return err }
	readMeta := func(m vfs.FS) error { _, err := ReadMetaProperties(m, "f"); return err }
	for _, c := range []struct {
		text string
		read func(vfs.FS) error
		want string
	}{
		{"0\n2\na 0 1\n", readOffsets, "expected 2 entries, got 1"},
		{"0\n1\na 0 1\nb 0 1\n", readOffsets, "expected 1 entries, got 2"},
		{"0\nx\n", readOffsets, "line 2"},
		{"0\n-1\n", readOffsets, "line 2"},
		{"0\n1\na 0\n", readOffsets, "line 3"},
		{"0\n1\na x 1\n", readOffsets, "partition number"},
		{"0\n1\na 0 9223372036854775808\n", readOffsets, "offset"},
		{"0\n1\na 0 -1\n", readOffsets, "offset"},
		{"0\n2\n5 10\n5 20\n", readEpochs, "line 4: expected an epoch after 5"},
		{"0\n2\n5 10\n6 9\n", readEpochs, "line 4"},
		{"version: 0\n", readID, "line 2: expected topic_id"},
		{"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", readID, "a topic id"},
		{"version: 0\ntopic_id: x", readID, "a topic id"},
		{"", readID, "line 1"},
		{"version=1\nnode.id=1\n", readMeta, "cluster.id"},
		{"version=1\nnode.id=1\ncluster.id=\ndirectory.id=BrWfqf2OQFSpYExB3DpNbQ\n", readMeta, "cluster.id"},
		{"version=1\ncluster.id=x\n", readMeta, "node.id"},
		{"version=1\ncluster.id=x\nnode.id=-3\n", readMeta, `node.id to be a number from 0 on, got "-3"`},
		{"version=1\ncluster.id=x\nnode.id=1\ndirectory.id=y\n", readMeta, "directory.id"},
		{"version=1\ncluster.id=x\\\n", readMeta, "line 2"},
		{"version=\\u00\n", readMeta, "line 1"},
		{"version=\xff\n", readMeta, "UTF-8"},
	} {
		err := c.read(with(t, []byte(c.text)))
		if _, ok := errors.AsType[*ParseError](err); !ok || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "f") {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	for text, read := range map[string]func(vfs.FS) error{
		"1\n0\n": readOffsets, "x": readEpochs, "version: 1\ntopic_id: ojxL3MTDQ8maVdRp28-xYg": readID,
		"cluster.id=x\nbroker.id=1\n": readMeta, "version=2\n": readMeta,
	} {
		err := read(with(t, []byte(text)))
		if v, ok := errors.AsType[*VersionError](err); !ok || v.Path != "f" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCleanShutdown(t *testing.T) {
	t.Parallel()
	mem := with(t, golden(t, "cleanshutdown"))
	if epoch, found := ReadCleanShutdown(mem, "f"); epoch != 15 || !found {
		t.Errorf("Kafka's file: %d, %v", epoch, found)
	}
	check(t, WriteCleanShutdown(mem, "f", 15))
	if text := content(t, mem); text != string(golden(t, "cleanshutdown")) {
		t.Errorf("wrote %q", text)
	}
	check(t, RemoveCleanShutdown(mem, "f"))
	check(t, RemoveCleanShutdown(mem, "f"))
	if _, found := ReadCleanShutdown(mem.CrashClone(env.NewSeededRandom(1)), "f"); found {
		t.Error("the file is back after a crash")
	}
	for text, want := range map[string]bool{"": true, "{\"version\":0}": true, "{\"version\":1}": false, "x": false} {
		if epoch, found := ReadCleanShutdown(with(t, []byte(text)), "f"); found != want || epoch != -1 {
			t.Errorf("%q: %d, %v", text, epoch, found)
		}
	}
}

func TestKeptBrokerEpoch(t *testing.T) {
	t.Parallel()
	const boot = "0b3a9a1e-6a2f-4a07-9c3e-0d0f3f1f2a11"
	mem, dirs := vfs.NewMem(), []string{"/a", "/b"}
	for _, dir := range dirs {
		check(t, mem.MkdirAll(dir))
	}
	want := func(what string, epoch int64, bootID string) {
		t.Helper()
		if got := KeptBrokerEpoch(mem, dirs, bootID); got != epoch {
			t.Errorf("%s: %d, want %d", what, got, epoch)
		}
	}
	want("never used", -1, boot)
	check(t, WriteRunning(mem, dirs, 7, boot))
	want("killed", 7, boot)
	want("the machine was started anew", -1, "another")
	want("the system does not tell", -1, "")
	check(t, WriteRunning(mem, dirs[:1], 8, boot))
	want("the log dirs disagree", -1, boot)
	check(t, WriteRunning(mem, dirs, 8, boot))
	want("again", 8, boot)
	check(t, RemoveRunning(mem, dirs[1:]))
	check(t, RemoveRunning(mem, dirs[1:]))
	want("another disk is in the place of one", -1, boot)
	check(t, RemoveRunning(mem, dirs))
	for _, text := range []string{"", "x", `{"version":1,"brokerEpoch":7,"bootId":"b"}`, `{"version":0,"bootId":"b"}`, `{"version":0,"brokerEpoch":7}`} {
		check(t, vfs.WriteFileAtomic(mem, "/a/"+RunningFileName, []byte(text)))
		if got := KeptBrokerEpoch(mem, dirs[:1], "b"); got != -1 {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// TestEveryDiskCallMayFail fails the Nth disk call of every write; a crash after it finds the
// old content or the new one, and the new one if the write succeeded.
func TestEveryDiskCallMayFail(t *testing.T) {
	t.Parallel()
	before, after := map[kafka.TopicPartition]int64{{Topic: "a"}: 1}, someOffsets
	for n := int64(1); ; n++ {
		mem := vfs.NewMem()
		check(t, WriteOffsets(mem, "/f", before))
		fail := &vfs.FailAt{N: n, Torn: true}
		err := WriteOffsets(vfs.NewFault(mem, fail.Decide), "/f", after)
		for seed := range uint64(30) {
			got, readErr := ReadOffsets(mem.CrashClone(env.NewSeededRandom(seed)), "/f")
			if readErr != nil || !maps.Equal(got, after) && (err == nil || !maps.Equal(got, before)) {
				t.Fatalf("fault at call %d (%v), seed %d: %v, %v", n, err, seed, got, readErr)
			}
		}
		if !fail.Failed() {
			break
		}
	}
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte("0\n2\na 0 1\nb-c 5 99\n"))
	f.Add([]byte("0\n2\n0 0\n5 12\n"))
	f.Add([]byte("0\n2147483647\n"))
	f.Add([]byte("0\r\n1\r\na 0 1\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		mem := with(t, data)
		if offsets, err := ReadOffsets(mem, "f"); err == nil {
			check(t, WriteOffsets(mem, "f", offsets))
			if again, err := ReadOffsets(mem, "f"); err != nil || !maps.Equal(again, offsets) {
				t.Fatalf("%v became %v, %v", offsets, again, err)
			}
		}
		mem = with(t, data)
		if epochs, err := ReadLeaderEpochs(mem, "f"); err == nil {
			check(t, WriteLeaderEpochs(mem, "f", epochs))
			if again, err := ReadLeaderEpochs(mem, "f"); err != nil || !slices.Equal(again, epochs) {
				t.Fatalf("%v became %v, %v", epochs, again, err)
			}
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add(golden(f, MetaPropertiesFileName))
	f.Add([]byte("version: 1\ncluster.id \\u0061\\\\\\t=\nnode.id=2"))
	f.Add([]byte("version=1\ncluster.id=x\\"))
	f.Add(golden(f, "golden-0/partition.metadata"))
	f.Add(golden(f, "cleanshutdown"))
	f.Fuzz(func(t *testing.T, data []byte) {
		mem := with(t, data)
		if p, err := ReadMetaProperties(mem, "f"); err == nil {
			check(t, WriteMetaProperties(mem, "f", p))
			if again, err := ReadMetaProperties(mem, "f"); err != nil || again != p {
				t.Fatalf("%+v became %+v, %v", p, again, err)
			}
		}
		mem = with(t, data)
		if id, err := ReadPartitionMetadata(mem, "f"); err == nil {
			check(t, WritePartitionMetadata(mem, "f", id))
			if again, err := ReadPartitionMetadata(mem, "f"); err != nil || again != id {
				t.Fatalf("%v became %v, %v", id, again, err)
			}
		}
		ReadCleanShutdown(with(t, data), "f")
		parseRunning(data, "b")
	})
}
