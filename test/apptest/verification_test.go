package apptest

import (
	"strings"
	"syscall"
	"testing"
)

// TestReplicaVerification lets kafka-replica-verification go over a topic that grows meanwhile.
func TestReplicaVerification(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	b := s.start(t.TempDir(), "--override", "num.partitions=1")
	produce := func(lines int) {
		s.must(strings.Repeat("an order\n", lines), "kafka-console-producer.sh", "--topic", "orders", "--bootstrap-server", b.bootstrap)
	}
	produce(3)
	p := s.launch("kafka-replica-verification.sh", "--broker-list", b.bootstrap, "--topics-include", "orders", "--time", "-2", "--report-interval-ms", "10", "--max-wait-ms", "20")
	const stamp = `(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: `
	p.awaitOutput(stamp + `verification process is started$`)
	p.awaitOutput(stamp + `max lag is 0 for partition orders-0 at offset 3 among 1 partitions$`)
	produce(4)
	p.awaitOutput(stamp + `max lag is 0 for partition orders-0 at offset 7 among 1 partitions$`)
	if code := p.interrupt(syscall.SIGINT); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if code, out, errs := s.run("", "kafka-replica-verification.sh", "--broker-list", b.bootstrap, "--topics-include", "none"); code != 1 || out != "" || !strings.Contains(errs, "ERROR No topics found. ") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}
