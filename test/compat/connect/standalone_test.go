//go:build unix

package connect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/compat/programs"
)

// TestStandalone runs one worker that keeps its source offsets in a file, kills it, and runs it again.
func TestStandalone(t *testing.T) {
	bootstrap := programs.Bootstrap(t)
	folder := t.TempDir()
	in, out := filepath.Join(folder, "in.txt"), filepath.Join(folder, "out.txt")
	offsets := filepath.Join(folder, "offsets")
	const topic = "connect-standalone"
	write := func(name string, lines ...string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	worker := write("worker.properties", "bootstrap.servers="+bootstrap, "key.converter=org.apache.kafka.connect.storage.StringConverter",
		"value.converter=org.apache.kafka.connect.storage.StringConverter", "offset.storage.file.filename="+offsets, "offset.flush.interval.ms=300",
		"plugin.discovery=service_load", fmt.Sprintf("listeners=http://127.0.0.1:%d", kafkatest.FreePort(t)), "consumer.auto.offset.reset=earliest", "consumer.session.timeout.ms=6000", "consumer.heartbeat.interval.ms=1000")
	source := write("source.properties", "name=standalone-source", "connector.class="+sourceClass, "tasks.max=1", "file="+in, "topic="+topic)
	sink := write("sink.properties", "name=standalone-sink", "connector.class="+sinkClass, "tasks.max=1", "file="+out, "topics="+topic)

	start := func(name string) *programs.Process {
		return programs.Start(t, name, programs.Java("org.apache.kafka.connect.cli.ConnectStandalone", worker, source, sink))
	}
	want := appendLines(t, in, "first", lines())
	first := start("standalone-1")
	awaitFile(t, first, out, want)
	// Both sides have noted how far they are, so that after the kill each line still comes once.
	programs.Await(t, "the worker has noted how far it is", func() error {
		noted, err := os.ReadFile(offsets)
		if err != nil {
			return err
		}
		if position := fmt.Sprintf(`{"position":%d}`, size(t, in)); !strings.Contains(string(noted), position) {
			return fmt.Errorf("no %s in the file of offsets", position)
		}
		return committed(t, bootstrap, "connect-standalone-sink", topic, len(want))
	})
	first.Kill()
	want = append(want, appendLines(t, in, "second", lines())...)
	second := start("standalone-2")
	awaitFile(t, second, out, want)
	inTopic, err := programs.Values(t, bootstrap, topic)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the topic", inTopic, want)
	second.Stop()
	if err := committed(t, bootstrap, "connect-standalone-sink", topic, len(want)); err != nil {
		t.Errorf("after a clean end: %v", err)
	}
}

// committed returns an error unless the group has committed so many records of partition 0.
func committed(t *testing.T, bootstrap, group, topic string, want int) error {
	admin := kadm.NewClient(programs.Client(t, bootstrap))
	defer admin.Close()
	offsets, err := admin.FetchOffsets(t.Context(), group)
	if err != nil {
		return err
	}
	if offset, _ := offsets.Lookup(topic, 0); offset.At != int64(want) {
		return fmt.Errorf("group %s has committed %d, not %d", group, offset.At, want)
	}
	return nil
}
