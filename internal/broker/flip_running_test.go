package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBitFlippedWhileTheNodeRuns damages a batch under a running node: it is refused, those before and
// behind it are read, the partition takes records, and the log says where the damage is.
func TestBitFlippedWhileTheNodeRuns(t *testing.T) {
	dir := t.TempDir()
	n := run(t, dir, freePort(t), nil)
	c := n.client(t, kgo.ProducerLinger(0))
	defer c.Close()
	produce := func(i int) {
		t.Helper()
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: fmt.Appendf(nil, "record %d", i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 9 {
		produce(i)
	}
	path := filepath.Join(dir, "t-0", "00000000000000000000.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(data), "record 4")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{data[at] ^ 4}, int64(at)); err != nil {
		t.Fatal(err)
	}
	produce(9)
	got, refused, err := readTopic(t, n, "t")
	if err != nil || refused != 1 || len(got) != 9 {
		t.Fatalf("%d offsets refused, read %q: %v", refused, got, err)
	}
	for i, r := range got {
		offset := i
		if i >= 4 {
			offset++
		}
		if want := fmt.Sprintf("%d  record %d", offset, offset); r != want {
			t.Errorf("read %q, want %q", r, want)
		}
	}
	if log := n.stderr.String(); !strings.Contains(log, path) || !strings.Contains(log, "corrupt at position") || !strings.Contains(log, "moldau audit") {
		t.Errorf("the log does not tell what is where, and what to do:\n%s", log)
	}
	if err := n.end(t); err != nil {
		t.Fatal(err)
	}
}
