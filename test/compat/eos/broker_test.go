//go:build unix

package eos

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
)

// brokerSettings make groups and coordinators quick, alike for both brokers.
var brokerSettings = []string{
	"offsets.topic.num.partitions=4", "transaction.state.log.num.partitions=4",
	"group.initial.rebalance.delay.ms=100", "group.min.session.timeout.ms=1000",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
}

// broker is what the programs work against: Moldau, or Apache Kafka to prove the programs.
type broker interface {
	Addr() string
	Pid() int
	// Kill ends it with SIGKILL; Start brings it back on its data and waits until it serves.
	Kill()
	Start()
	// Stop ends it cleanly and has its data folder verified.
	Stop()
}

func startBroker(t *testing.T) broker {
	t.Helper()
	if againstKafka() {
		k := &apacheKafka{t: t, dir: t.TempDir(), port: kafkatest.FreePort(t)}
		t.Cleanup(k.Kill)
		k.Start()
		return k
	}
	return &moldau{kafkatest.StartBroker(t, brokerSettings...), t}
}

type moldau struct {
	*kafkatest.Broker
	t *testing.T
}

func (m *moldau) Stop() {
	m.t.Helper()
	m.Broker.Stop()
	if out, err := exec.Command(kafkatest.Binary(m.t), "audit", m.DataDir).CombinedOutput(); err != nil {
		m.t.Errorf("moldau audit: %v\n%s", err, out)
	}
}

// apacheKafka is the one that test/kafka/kafka starts.
type apacheKafka struct {
	t    *testing.T
	dir  string
	port int
	pid  int
}

func (k *apacheKafka) Addr() string { return fmt.Sprintf("localhost:%d", k.port) }
func (k *apacheKafka) Pid() int     { return k.pid }

func (k *apacheKafka) script(args ...string) string {
	k.t.Helper()
	out, err := exec.Command("../../kafka/kafka", args...).CombinedOutput()
	if err != nil {
		k.t.Fatalf("test/kafka/kafka %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (k *apacheKafka) Start() {
	k.t.Helper()
	args := append([]string{"start", "--port", strconv.Itoa(k.port), "--dir", k.dir}, brokerSettings...)
	var err error
	if k.pid, err = strconv.Atoi(k.script(args...)); err != nil {
		k.t.Fatal(err)
	}
}

func (k *apacheKafka) Kill() { k.script("stop", "--dir", k.dir, "--kill") }
func (k *apacheKafka) Stop() { k.script("stop", "--dir", k.dir) }

// send sends s to a process that is expected to run.
func send(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Errorf("signal %v to %d: %v", s, pid, err)
	}
}
