package apptest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
)

// interrupted is the exit code of Kafka's tools after Ctrl-C.
const interrupted = 130

// TestTwoTerminals types into a producer while a consumer in another terminal prints, and ends
// both with Ctrl-C.
func TestTwoTerminals(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	b := s.start(t.TempDir(), "--override", "num.partitions=1", "--override", "group.initial.rebalance.delay.ms=0")
	at := []string{"--topic", "chat", "--bootstrap-server", b.bootstrap}

	producer := s.launch("kafka-console-producer.sh", at...)
	producer.typeIn("first\n") // creates the topic
	alone := s.launch("kafka-console-consumer.sh", append(at, "--from-beginning")...)
	member := s.launch("kafka-console-consumer.sh", append(at, "--from-beginning", "--group", "g")...)
	for _, consumer := range []*process{alone, member} {
		consumer.awaitOutput(`^first\n`)
	}
	producer.typeIn("second\nthird\n")
	for _, consumer := range []*process{alone, member} {
		consumer.awaitOutput(`^first\nsecond\nthird\n`)
	}
	if code := member.interrupt(syscall.SIGINT); code != interrupted {
		t.Errorf("the group's consumer: exit code %d", code)
	}
	requireMatch(t, "stderr", member.errs.String(), `Processed a total of 3 messages\n$`)
	producer.typeIn("fourth\n")
	alone.awaitOutput(`third\nfourth\n$`)
	if code := producer.interrupt(syscall.SIGINT); code != interrupted {
		t.Errorf("the producer: exit code %d", code)
	}
	if code := alone.interrupt(syscall.SIGTERM); code != interrupted && code != 143 {
		t.Errorf("the consumer: exit code %d", code)
	}
	// What Ctrl-C stopped had committed what it printed: the group goes on with the fourth.
	if got := s.must("", "kafka-console-consumer.sh", append(at, "--group", "g", "--max-messages", "1")...); got != "fourth\n" {
		t.Errorf("the group goes on with %q", got)
	}
	if got := s.must("", "kafka-get-offsets.sh", at...); got != "chat:0:4\n" {
		t.Errorf("the topic ends at %q", got)
	}
}

// TestConsumerIsThereFirst starts a consumer on a topic that does not exist yet; its own question
// creates it, and a producer in another terminal fills it.
func TestConsumerIsThereFirst(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	b := s.start(t.TempDir(), "--override", "num.partitions=2")
	at := []string{"--topic", "new", "--bootstrap-server", b.bootstrap}
	consumer := s.launch("kafka-console-consumer.sh", append(at, "--from-beginning")...)
	waitFor(t, "the topic", func() bool {
		return s.must("", "kafka-topics.sh", "--list", "--bootstrap-server", b.bootstrap) == "new\n"
	})
	requireMatch(t, "description", s.must("", "kafka-topics.sh", "--describe", "--topic", "new", "--bootstrap-server", b.bootstrap), `PartitionCount: 2\t`)
	s.must("a:hello\n", "kafka-console-producer.sh", append(at, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")...)
	consumer.awaitOutput(`^hello\n$`)
}

// TestNoAutoCreation turns the creation on first use off.
func TestNoAutoCreation(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	b := s.start(t.TempDir(), "--override", "auto.create.topics.enable=false")
	_, _, errs := s.run("x\n", "kafka-console-producer.sh", "--topic", "absent", "--bootstrap-server", b.bootstrap, "--max-block-ms", "500")
	requireMatch(t, "stderr", errs, `absent not present in metadata after 500 ms`)
	if got := s.must("", "kafka-topics.sh", "--list", "--bootstrap-server", b.bootstrap); got != "\n" { // as Kafka's prints for none
		t.Errorf("there are topics: %q", got)
	}
}

// TestInstallTools checks what install-tools leaves: every tool with and without .sh, again on a
// second run, and never over a file of somebody else.
func TestInstallTools(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	names := []string{"kafka-storage", "kafka-server-start", "kafka-server-stop", "kafka-topics", "kafka-console-producer", "kafka-console-consumer",
		"kafka-consumer-groups", "kafka-configs", "kafka-get-offsets", "kafka-broker-api-versions", "kafka-cluster"}
	out := s.must("", "moldau", "install-tools", s.tools)
	requireMatch(t, "output", out, `^Wrote \d+ tools to `+regexp.QuoteMeta(s.tools))
	for _, name := range names {
		// The tools that Kafka has no --version of refuse it, the same way under each name.
		_, want, wantErrs := s.run("", "moldau", strings.TrimPrefix(name, "kafka-"), "--version")
		if !strings.HasPrefix(want, "4.") && wantErrs == "" {
			t.Errorf("moldau and %s print %q", name, want)
		}
		for _, link := range []string{name, name + ".sh"} {
			if _, got, errs := s.run("", link, "--version"); got != want || errs != wantErrs {
				t.Errorf("%s prints %q %q, as a sub-command %q %q", link, got, errs, want, wantErrs)
			}
		}
	}
	relative := s.must("", "moldau", "install-tools", "bin")
	requireMatch(t, "output", relative, `export PATH=/.*/bin:\$PATH`)
	taken := t.TempDir()
	write(t, filepath.Join(taken, "kafka-topics.sh"), "#!/bin/sh\n")
	code, _, errs := s.run("", "moldau", "install-tools", taken)
	if code == 0 || !regexp.MustCompile(`^.*kafka-topics\.sh exists and is no link; .*\n$`).MatchString(errs) {
		t.Errorf("exit code %d, %q", code, errs)
	}
	if got := read(t, filepath.Join(taken, "kafka-topics.sh")); got != "#!/bin/sh\n" {
		t.Errorf("the file is now %q", got)
	}
}

// TestDaemon starts a broker in the background, as kafka-server-start.sh -daemon does, and stops it.
func TestDaemon(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	dir := t.TempDir()
	config := write(t, filepath.Join(t.TempDir(), "server.properties"), stock(t, kafkatest.FreePort(t), dir))
	out := s.must("", "kafka-server-start.sh", "-daemon", config, "--override", "http.listen=", "--override", "node.id=4713")
	defer s.run("", "kafka-server-stop.sh", "--node-id=4713") // in case of a failure
	log := regexp.MustCompile(`Started in the background as process \d+; its output goes to (.*)\n`).FindStringSubmatch(out)
	if log == nil {
		t.Fatalf("it printed %q", out)
	}
	waitFor(t, "the start", func() bool {
		text, _ := os.ReadFile(log[1])
		return regexp.MustCompile(ready).Match(text)
	})
	s.must("", "kafka-server-stop.sh", "--node-id=4713")
	waitFor(t, "the stop", func() bool {
		_, err := os.Stat(filepath.Join(dir, ".kafka_cleanshutdown"))
		return err == nil
	})
}
