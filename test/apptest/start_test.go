package apptest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
)

// stockProperties is a server.properties with the settings of the one that Kafka comes with.
const stockProperties = `# The role of this server
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:$CONTROLLER_PORT
listeners=PLAINTEXT://localhost:$PORT,CONTROLLER://localhost:$CONTROLLER_PORT
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:$PORT,CONTROLLER://localhost:$CONTROLLER_PORT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=$DIR
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
#log.flush.interval.messages=10000
#log.flush.interval.ms=1000
log.retention.hours=168
#log.retention.bytes=1073741824
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`

// stock fills in stockProperties.
func stock(t *testing.T, port int, dir string) string {
	t.Helper()
	return strings.NewReplacer("$CONTROLLER_PORT", fmt.Sprint(kafkatest.FreePort(t)), "$PORT", fmt.Sprint(port), "$DIR", dir).Replace(stockProperties)
}

// TestStart runs a broker as the README says and does what it says one could do next.
func TestStart(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	port, httpPort, dir := kafkatest.FreePort(t), kafkatest.FreePort(t), filepath.Join(t.TempDir(), "new", "data")
	p := s.launch("moldau", "start", "--data-dir", dir, "--port", fmt.Sprint(port), "--override", fmt.Sprintf("http.listen=localhost:%d", httpPort))
	p.awaitOutput(ready)
	took := time.Since(p.launchedAt)
	t.Logf("ready after %v", took)
	if took > 5*time.Second {
		t.Errorf("ready after %v", took)
	}
	out := p.out.String()
	requireMatch(t, "output", out, fmt.Sprintf(`(?m)^  Kafka clients +localhost:%d$`, port))
	requireMatch(t, "output", out, fmt.Sprintf(`(?m)^  HTTP +http://127\.0\.0\.1:%d/healthz and /metrics$`, httpPort))
	requireMatch(t, "output", out, `(?m)^  data +`+regexp.QuoteMeta(dir)+`$`)

	// What it says to try works as it stands there.
	tries := regexp.MustCompile(`(?m)^  moldau (.*)$`).FindAllStringSubmatch(out, -1)
	if len(tries) != 2 {
		t.Fatalf("it does not say what to try:\n%s", out)
	}
	s.must("hello, world\n", "moldau", strings.Fields(tries[0][1])...)
	if got := s.must("", "moldau", append(strings.Fields(tries[1][1]), "--max-messages", "1")...); got != "hello, world\n" {
		t.Errorf("the consumer printed %q", got)
	}

	var health struct {
		Ready             bool
		Status, ClusterID string
		NodeID            int
	}
	base := fmt.Sprintf("http://127.0.0.1:%d", httpPort)
	if err := json.Unmarshal([]byte(get(t, base+"/healthz")), &health); err != nil || !health.Ready || health.Status != "ok" || health.NodeID != 1 {
		t.Errorf("/healthz: %+v, %v", health, err)
	}
	requireMatch(t, "output", out, regexp.QuoteMeta("node 1 of cluster "+health.ClusterID))
	metrics := get(t, base+"/metrics")
	requireMatch(t, "/metrics", metrics, `(?m)^# HELP kafka_controller_active_controller_count `)
	requireMatch(t, "/metrics", metrics, `(?m)^kafka_controller_active_controller_count 1$`)

	requireCleanStop(t, &server{p, dir, fmt.Sprintf("localhost:%d", port)}, syscall.SIGINT)
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", httpPort)); err == nil {
		conn.Close()
		t.Error("the HTTP port is still open")
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", url, response.Status, err, body)
	}
	return string(body)
}

// requireCleanStop signals a broker and checks that it leaves as it should.
func requireCleanStop(t *testing.T, b *server, signal syscall.Signal) {
	t.Helper()
	if code := b.interrupt(signal); code != 0 {
		t.Errorf("exit code %d after %v\n%s", code, signal, b.errs.String())
	}
	for line := range strings.Lines(b.errs.String()) {
		if !strings.HasPrefix(line, "warning: accepted without use here: ") {
			t.Errorf("on stderr: %s", line)
		}
	}
	requireMatch(t, ".kafka_cleanshutdown", read(t, filepath.Join(b.dir, ".kafka_cleanshutdown")), `"version":0`)
	if conn, err := net.Dial("tcp", b.bootstrap); err == nil {
		conn.Close()
		t.Errorf("%s is still open", b.bootstrap)
	}
}

// TestSignalsStopCleanly sends each signal that asks for an end, with a consumer connected that
// waits in a long poll.
func TestSignalsStopCleanly(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			b := s.start(t.TempDir())
			s.must("one\n", "kafka-console-producer.sh", "--topic", "t", "--bootstrap-server", b.bootstrap)
			consumer := s.launch("kafka-console-consumer.sh", "--topic", "t", "--from-beginning", "--bootstrap-server", b.bootstrap)
			consumer.awaitOutput("one")
			stopAt := time.Now()
			requireCleanStop(t, b, signal)
			if took := time.Since(stopAt); took > 5*time.Second {
				t.Errorf("the stop took %v", took)
			}
		})
	}
}

// TestStopWhileStarting asks for the end at once: that is no failure either.
func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	dir := t.TempDir()
	for range 5 {
		p := s.launch("moldau", "start", "--data-dir", dir, "--port", fmt.Sprint(kafkatest.FreePort(t)), "--override", "http.listen=")
		// Its run file is the first thing that is written, when signals are already caught.
		waitFor(t, "the run file", func() bool {
			files, _ := filepath.Glob(filepath.Join(s.home, "cache", "moldau", "run", "*.pid"))
			files2, _ := filepath.Glob(filepath.Join(s.home, "Library", "Caches", "moldau", "run", "*.pid"))
			return len(files)+len(files2) > 0
		})
		if code := p.interrupt(syscall.SIGTERM); code != 0 || p.errs.String() != "" {
			t.Fatalf("exit code %d\n%s", code, p.errs.String())
		}
	}
	b := s.start(dir)
	requireCleanStop(t, b, syscall.SIGTERM)
}

// waitFor polls a condition that has no event to wait for.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		case <-poll.C:
		}
	}
}

func TestStartWithoutHTTP(t *testing.T) {
	t.Parallel()
	b := newShell(t).start(t.TempDir())
	if out := b.out.String(); strings.Contains(out, "/healthz") {
		t.Errorf("HTTP is on:\n%s", out)
	}
	requireCleanStop(t, b, syscall.SIGTERM)
}

// TestStartWithDefaults runs moldau start without any flag, if nobody else has its ports.
func TestStartWithDefaults(t *testing.T) {
	s := newShell(t)
	for _, address := range []string{"localhost:9092", "localhost:9080"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Skip("LOUD SKIP: a default port is in use:", err)
		}
		listener.Close()
	}
	p := s.launch("moldau", "start")
	p.awaitOutput(ready)
	requireMatch(t, "output", p.out.String(), `(?m)^  Kafka clients +localhost:9092\n  HTTP +http://127\.0\.0\.1:9080/healthz and /metrics\n  data +`+regexp.QuoteMeta(s.home)+`/`)
	get(t, "http://localhost:9080/healthz")
	dir := regexp.MustCompile(`(?m)^  data +(.*)$`).FindStringSubmatch(p.out.String())[1]
	requireCleanStop(t, &server{p, dir, "localhost:9092"}, syscall.SIGINT)
}

// TestStartFromFile starts with the server.properties that Kafka comes with, and shows which of
// file, flags and overrides wins.
func TestStartFromFile(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	port, dir := kafkatest.FreePort(t), t.TempDir()
	config := write(t, filepath.Join(t.TempDir(), "server.properties"), stock(t, port, dir))

	p := s.launch("moldau", "start", "--config", config, "--override", "http.listen=")
	p.awaitOutput(ready)
	b := &server{p, dir, fmt.Sprintf("localhost:%d", port)}
	requireMatch(t, "output", p.out.String(), fmt.Sprintf(`(?m)^  Kafka clients +localhost:%d\n  data +%s$`, port, regexp.QuoteMeta(dir)))
	warnings := p.errs.String()
	requireMatch(t, "stderr", warnings, `^warning: accepted without use here: [^\n]*\n$`) // one line
	for _, name := range []string{"num.network.threads", "num.io.threads", "share.coordinator.state.topic.min.isr"} {
		requireMatch(t, "warning", warnings, `[ ,]`+regexp.QuoteMeta(name)+`[,\n]`)
	}
	for _, name := range []string{"num.partitions", "log.retention.hours", "log.dirs", "socket.request.max.bytes"} {
		if strings.Contains(warnings, name) {
			t.Errorf("%s has a use, but the warning names it", name)
		}
	}
	s.must("x\n", "kafka-console-producer.sh", "--topic", "one", "--bootstrap-server", b.bootstrap)
	requireMatch(t, "description", s.must("", "kafka-topics.sh", "--describe", "--topic", "one", "--bootstrap-server", b.bootstrap), `PartitionCount: 1\t`)
	requireCleanStop(t, b, syscall.SIGTERM)

	// Flags win over the file, overrides over both.
	flagPort, otherDir := kafkatest.FreePort(t), t.TempDir()
	p = s.launch("moldau", "start", "--config", config, "--port", fmt.Sprint(flagPort), "--data-dir", t.TempDir(), "--override", "http.listen=",
		"--override", "num.partitions=4", "--override", "log.dirs="+otherDir, "--override", "node.id=12")
	p.awaitOutput(ready)
	b = &server{p, otherDir, fmt.Sprintf("localhost:%d", flagPort)}
	requireMatch(t, "output", p.out.String(), fmt.Sprintf(`node 12 of(.*\n)*  Kafka clients +localhost:%d\n  data +%s\n`, flagPort, regexp.QuoteMeta(otherDir)))
	s.must("x\n", "kafka-console-producer.sh", "--topic", "four", "--bootstrap-server", b.bootstrap)
	requireMatch(t, "description", s.must("", "kafka-topics.sh", "--describe", "--topic", "four", "--bootstrap-server", b.bootstrap), `PartitionCount: 4\t(.*\n)*.*Leader: 12\t`)
	requireCleanStop(t, b, syscall.SIGTERM)

	// The issue's own example of overrides.
	listeners := fmt.Sprintf("127.0.0.1:%d", kafkatest.FreePort(t))
	thirdDir := t.TempDir()
	p = s.launch("moldau", "start", "--override", "listeners=PLAINTEXT://"+listeners, "--override", "log.dirs="+thirdDir, "--override", "node.id=1", "--override=http.listen=")
	p.awaitOutput(ready)
	requireMatch(t, "output", p.out.String(), `(?m)^  Kafka clients +`+listeners+`$`)
	requireCleanStop(t, &server{p, thirdDir, listeners}, syscall.SIGTERM)
}
