//go:build unix

package programs

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
)

// settings make groups and coordinators quick, alike for both brokers.
var settings = []string{
	"offsets.topic.num.partitions=4", "transaction.state.log.num.partitions=4",
	"group.initial.rebalance.delay.ms=100", "group.min.session.timeout.ms=1000",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
}

// Broker is what the programs work against: Moldau, or Apache Kafka to prove the programs.
type Broker interface {
	Addr() string
	Pid() int
	// Kill ends it with SIGKILL; Start brings it back on its data and waits until it serves.
	Kill()
	Start()
	// Stop ends it cleanly and has its data folder verified.
	Stop()
}

// AgainstKafka reports whether Apache Kafka is the broker: a suite is to be proven there first.
func AgainstKafka() bool { return os.Getenv("COMPAT_KAFKA") != "" }

// StartBroker starts the broker that the run is about, and ends it with the test.
func StartBroker(t *testing.T) Broker {
	t.Helper()
	return StartBrokerWith(t)
}

// StartBrokerWith is StartBroker with more settings, in which PORT is the port for clients.
func StartBrokerWith(t *testing.T, more ...string) Broker {
	t.Helper()
	if AgainstKafka() {
		return startApacheKafka(t, more)
	}
	b := kafkatest.NewBroker(t)
	b.Overrides = withPort(more, b.Port)
	b.Start()
	return &moldau{b, t}
}

// withPort adds settings to those of every broker.
func withPort(more []string, port int) []string {
	all := slices.Clone(settings)
	for _, setting := range more {
		all = append(all, strings.ReplaceAll(setting, "PORT", strconv.Itoa(port)))
	}
	return all
}

// StartApacheKafka starts a node of Apache Kafka, and ends it with the test.
func StartApacheKafka(t *testing.T) Broker {
	t.Helper()
	return startApacheKafka(t, nil)
}

func startApacheKafka(t *testing.T, more []string) Broker {
	t.Helper()
	k := &apacheKafka{t: t, dir: t.TempDir(), port: kafkatest.FreePort(t)}
	k.settings = withPort(more, k.port)
	t.Cleanup(k.Kill)
	k.Start()
	return k
}

// Replicas is how many a topic gets: three where test/compat/run restarts brokers while the suite runs.
func Replicas() int16 {
	if os.Getenv("COMPAT_THREE") != "" {
		return 3
	}
	return 1
}

// Bootstrap is the addresses of the brokers that test/compat/run has started for the suite. Without
// one the test is skipped, as it needs what that script installs.
func Bootstrap(t *testing.T) string {
	t.Helper()
	address := os.Getenv("COMPAT_BOOTSTRAP")
	if address == "" {
		t.Skip("needs Java and a broker: test/compat/run")
	}
	return address
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
	t        *testing.T
	dir      string
	port     int
	pid      int
	settings []string
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
	args := append([]string{"start", "--port", strconv.Itoa(k.port), "--dir", k.dir}, k.settings...)
	var err error
	if k.pid, err = strconv.Atoi(k.script(args...)); err != nil {
		k.t.Fatal(err)
	}
}

func (k *apacheKafka) Kill() { k.script("stop", "--dir", k.dir, "--kill") }
func (k *apacheKafka) Stop() { k.script("stop", "--dir", k.dir) }
