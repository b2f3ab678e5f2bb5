package tools

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/internal/tools/cli"
)

// hostile is how a broker ill-treats those who connect.
type hostile struct {
	introduces bool   // tells first which requests it serves, as brokers do
	answer     []byte // to every other request, as it is
	correlated []byte // what follows the number of the request in an answer that announces 1,000 bytes; nil: none
	staysOpen  bool   // afterwards the connection stays open, and silent
}

const maxHostileRequestBytes = 1 << 16

// start listens until the test ends.
func (h hostile) start(t *testing.T) (address string) {
	t.Helper()
	return kafkatest.Listen(t, func(conn net.Conn) {
		if h.serve(conn) && h.staysOpen {
			_, _ = io.Copy(io.Discard, conn) // until the tool has had enough
		}
	})
}

// serve answers up to the first request that is ill-treated; false says that the tool hung up before.
func (h hostile) serve(conn net.Conn) bool {
	for introduced := false; ; introduced = true {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return false
		}
		request := make([]byte, min(binary.BigEndian.Uint32(size[:]), maxHostileRequestBytes))
		if _, err := io.ReadFull(conn, request); err != nil || len(request) < 8 {
			return false
		}
		key, version, number := int16(binary.BigEndian.Uint16(request)), int16(binary.BigEndian.Uint16(request[2:])), request[4:8]
		if h.introduces && !introduced && key == kmsg.ApiVersions.Int16() {
			body := append(slices.Clone(number), introduction(version)...)
			if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
				return false
			}
			continue
		}
		answer := h.answer
		if h.correlated != nil {
			answer = slices.Concat(binary.BigEndian.AppendUint32(nil, 1000), number, h.correlated)
		}
		_, err := conn.Write(answer)
		return err == nil
	}
}

// introduction is an answer to ApiVersions that serves everything.
func introduction(version int16) []byte {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = min(version, 3)
	for key := range kmsg.MaxKey + 1 {
		if request := kmsg.RequestForKey(int16(key)); request != nil {
			api := kmsg.NewApiVersionsResponseApiKey()
			api.ApiKey, api.MaxVersion = int16(key), request.MaxVersion()
			resp.ApiKeys = append(resp.ApiKeys, api)
		}
	}
	return resp.AppendTo(nil)
}

// hostileBrokers misbehave in all ways that come to mind.
func hostileBrokers() map[string]hostile {
	brokers := map[string]hostile{
		"hangs up":            {},
		"never answers":       {staysOpen: true},
		"HTTP":                {answer: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
		"zeros":               {answer: make([]byte, 64)},
		"negative size":       {answer: []byte{0xff, 0xff, 0xff, 0xff}},
		"huge size":           {answer: []byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}},
		"lying array":         {answer: []byte{0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 18, 0, 0}},
		"unknown correlation": {answer: []byte{0, 0, 0, 8, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0}},
		"half an answer":      {correlated: make([]byte, 20)},
		"half, then nothing":  {correlated: make([]byte, 20), staysOpen: true},
		"garbage":             {correlated: bytes.Repeat([]byte{0xff, 0x00, 0x7f, 0x80}, 249)},
	}
	for _, name := range []string{"hangs up", "never answers", "zeros", "half an answer", "garbage"} {
		late := brokers[name]
		late.introduces = true
		brokers["introduces itself, then "+name] = late
	}
	return brokers
}

// brokerless ends a tool as it should end where no broker answers.
type brokerless int

const (
	fails  brokerless = iota // exit code 1
	tells                    // exit code 0 as Kafka's, and a message
	runsOn                   // until it is interrupted, as Kafka's
)

// hostileLines are command lines of every tool that talks to a broker, and how they end. FILES is a folder.
var hostileLines = []struct {
	line string
	ends brokerless
}{
	{"kafka-acls --bootstrap-server BROKER --list --command-config FILES/client", fails},
	{"kafka-acls --bootstrap-server BROKER --add --allow-principal User:a --operation Read --topic t --force --command-config FILES/client", fails},
	{"kafka-acls --bootstrap-controller BROKER --list --command-config FILES/client", fails},
	{"kafka-broker-api-versions --bootstrap-server BROKER --command-config FILES/client", fails},
	{"kafka-client-metrics --bootstrap-server BROKER --list --command-config FILES/client", fails},
	{"kafka-client-metrics --bootstrap-server BROKER --alter --name n --interval 100 --command-config FILES/client", fails},
	{"kafka-cluster cluster-id --bootstrap-server BROKER --command-config FILES/client", fails},
	{"kafka-cluster list-endpoints --bootstrap-controller BROKER --command-config FILES/client", fails},
	{"kafka-cluster unregister --id 1 --bootstrap-server BROKER --command-config FILES/client", fails},
	{"kafka-configs --bootstrap-server BROKER --describe --topic t --command-config FILES/client", fails},
	{"kafka-configs --bootstrap-server BROKER --alter --topic t --add-config retention.ms=1 --command-config FILES/client", fails},
	{"kafka-configs --bootstrap-controller BROKER --describe --client c --command-config FILES/client", fails},
	{"kafka-console-consumer --bootstrap-server BROKER --topic t --timeout-ms 100", tells},
	{"kafka-console-consumer --bootstrap-server BROKER --topic t --group g --timeout-ms 100", tells},
	{"kafka-console-producer --bootstrap-server BROKER --topic t --max-block-ms 100 --sync", fails},
	{"kafka-consumer-groups --bootstrap-server BROKER --list --timeout 100", tells},
	{"kafka-consumer-groups --bootstrap-server BROKER --describe --group g --timeout 100", tells},
	{"kafka-consumer-groups --bootstrap-server BROKER --reset-offsets --group g --topic t --to-earliest --dry-run --timeout 100", tells},
	{"kafka-consumer-perf-test --bootstrap-server BROKER --topic t --num-records 1 --timeout 100", tells},
	{"kafka-delegation-tokens --bootstrap-server BROKER --describe --command-config FILES/client", fails},
	{"kafka-delete-records --bootstrap-server BROKER --offset-json-file FILES/cut --command-config FILES/client", tells},
	{"kafka-e2e-latency --bootstrap-server BROKER --topic t --num-records 1 --producer-acks 1 --record-size 1 --command-config FILES/client", fails},
	{"kafka-features --bootstrap-server BROKER --command-config FILES/client describe", fails},
	{"kafka-features --bootstrap-controller BROKER --command-config FILES/client upgrade --feature transaction.version=2", fails},
	{"kafka-get-offsets --bootstrap-server BROKER --command-config FILES/client", fails},
	{"kafka-groups --bootstrap-server BROKER --list --command-config FILES/client", fails},
	{"kafka-leader-election --bootstrap-server BROKER --election-type preferred --all-topic-partitions --command-config FILES/client", fails},
	{"kafka-log-dirs --bootstrap-server BROKER --describe --command-config FILES/client", fails},
	{"kafka-metadata-quorum --bootstrap-server BROKER --command-config FILES/client describe --status", fails},
	{"kafka-metadata-quorum --bootstrap-controller BROKER --command-config FILES/client describe --replication", fails},
	{"kafka-producer-perf-test --bootstrap-server BROKER --topic t --num-records 1 --record-size 1 --throughput -1 --command-property max.block.ms=100", fails},
	{"kafka-reassign-partitions --bootstrap-server BROKER --list --command-config FILES/client", fails},
	{"kafka-reassign-partitions --bootstrap-server BROKER --execute --reassignment-json-file FILES/plan --command-config FILES/client", fails},
	{"kafka-replica-verification --broker-list BROKER", runsOn},
	{"kafka-streams-application-reset --bootstrap-server BROKER --application-id a --input-topics t --command-config FILES/client", fails},
	{"kafka-topics --bootstrap-server BROKER --list --command-config FILES/client", fails},
	{"kafka-topics --bootstrap-server BROKER --create --topic t --command-config FILES/client", fails},
	{"kafka-topics --bootstrap-server BROKER --describe --command-config FILES/client", fails},
	{"kafka-transactions --bootstrap-server BROKER --command-config FILES/client list", fails},
	{"kafka-transactions --bootstrap-server BROKER --command-config FILES/client describe-producers --topic t --partition 0", fails},
	{"kafka-transactions --bootstrap-server BROKER --command-config FILES/client find-hanging --broker-id 1", fails},
	{"kafka-verifiable-consumer --bootstrap-server BROKER --topic t --group-id g --command-config FILES/client", runsOn},
	{"kafka-verifiable-producer --bootstrap-server BROKER --topic t --max-messages 1 --command-config FILES/client", tells},
}

const (
	// patience is how long a tool may take. It has been told to wait a tenth of a second; the machine may be slow.
	patience = 8 * time.Second
	// interruption ends those that run on.
	interruption = 300 * time.Millisecond
)

// logLine is one of Kafka's tools' own log.
var logLine = regexp.MustCompile(`(?m)^\[\d{4}-.*\n`)

// TestHostileBrokers lets every tool meet answers that no broker gives: each ends with a few words and the
// exit code of Kafka's, none panics or waits for ever.
func TestHostileBrokers(t *testing.T) {
	t.Parallel()
	files := t.TempDir()
	for name, content := range map[string]string{
		"client": "default.api.timeout.ms=100\nrequest.timeout.ms=100\nmax.block.ms=100\ndelivery.timeout.ms=100\n",
		"cut":    `{"partitions":[{"topic":"t","partition":0,"offset":1}]}`,
		"plan":   `{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1]}]}`,
	} {
		if err := os.WriteFile(filepath.Join(files, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, broker := range hostileBrokers() {
		t.Run(name, func(t *testing.T) {
			address := broker.start(t)
			var running sync.WaitGroup // the tools mostly wait: all at once
			for _, l := range hostileLines {
				running.Go(func() { meetHostile(t, strings.NewReplacer("BROKER", address, "FILES", files).Replace(l.line), l.ends) })
			}
			running.Wait()
		})
	}
}

func meetHostile(t *testing.T, line string, ends brokerless) {
	words := strings.Fields(line)
	command, _ := ByProgram(Commands(nil), words[0])
	limit := patience
	if ends == runsOn {
		limit = interruption
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var out, errs lockedBuffer
	s := cli.Streams{In: strings.NewReader("line\n"), Out: &out, Err: &errs}
	code := cli.Exit(s, command.Run(ctx, s, words[1:]))
	printed := out.String() + errs.String()
	said := strings.TrimSpace(logLine.ReplaceAllString(printed, ""))
	switch {
	case ends != runsOn && ctx.Err() != nil:
		t.Errorf("%s: hung\n%s", line, printed)
	case ends == fails && code != 1, ends == tells && code != 0, ends == runsOn && code != 130:
		t.Errorf("%s: exit %d\n%s", line, code, printed)
	case printed == "" || said == "" && ends == tells:
		t.Errorf("%s: said nothing", line)
	case strings.Count(said, "\n") >= 6:
		t.Errorf("%s: said too much\n%s", line, printed)
	case strings.ContainsFunc(strings.ReplaceAll(strings.ReplaceAll(printed, "\n", ""), "\t", ""), func(r rune) bool { return !unicode.IsPrint(r) }):
		t.Errorf("%s: printed what cannot be read\n%q", line, printed)
	}
}

// TestHostileBrokersMeetEveryTool holds the command lines to the tools that connect to brokers.
func TestHostileBrokersMeetEveryTool(t *testing.T) {
	t.Parallel()
	for _, tool := range Completable(t.Context(), Commands(nil)) {
		options := tool.Help.Options
		for _, action := range tool.Help.Commands {
			options = append(options, action.Options...)
		}
		connects := slices.ContainsFunc(options, func(o cli.HelpOption) bool { return o.Names[0] == "--bootstrap-server" })
		name := tool.Names[len(tool.Names)-1]
		connects = connects || name == "kafka-replica-verification" // by --broker-list
		meets := false
		for _, l := range hostileLines {
			meets = meets || strings.HasPrefix(l.line, name+" ")
		}
		if connects != meets {
			t.Errorf("%s connects to brokers: %v; meets hostile ones: %v", name, connects, meets)
		}
	}
}

// lockedBuffer takes what the client library logs from its goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
