//go:build unix

package javanode

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/compat/programs"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

func needsJava(t *testing.T) {
	t.Helper()
	if os.Getenv("JAVANODE") == "" {
		t.Skip("needs Java: test/compat/run javanode")
	}
}

// listeners runs the program of that name, which must come to its end.
func listeners(t *testing.T, b programs.Broker, what string) {
	t.Helper()
	p := programs.Start(t, "listeners", programs.Java("Listeners", b.Addr(), fmt.Sprintf("localhost:%d", kafkatest.FreePort(t)), what))
	if err := p.Wait(); err != nil || !strings.HasSuffix(p.Log(), "done\n") {
		t.Fatalf("%v\n%s", err, p.Log())
	}
}

// TestListenerIsRemoved: clients are told of the one that the properties name only, so others come and go.
func TestListenerIsRemoved(t *testing.T) {
	needsJava(t)
	listeners(t, programs.StartBrokerWith(t, "advertised.listeners=PLAINTEXT://localhost:PORT"), "removed")
}

// TestListenerServesClients: those that know nothing but a new listener are told its address.
func TestListenerServesClients(t *testing.T) {
	needsJava(t)
	if programs.AgainstKafka() {
		t.Skip("Apache Kafka 4.3 tells clients of a new listener after its next start at the earliest")
	}
	listeners(t, programs.StartBroker(t), "told")
}

// TestPushedMetrics: what a producer and a consumer push is on the page of the node's own metrics.
func TestPushedMetrics(t *testing.T) {
	needsJava(t)
	if programs.AgainstKafka() {
		t.Skip("Apache Kafka takes clients' metrics with a plug-in only")
	}
	page := fmt.Sprintf("localhost:%d", kafkatest.FreePort(t))
	b := programs.StartBrokerWith(t, "http.listen="+page, "client.metrics.export.enable=true")
	cmd := programs.Java("Telemetry", b.Addr())
	stop, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := programs.Start(t, "telemetry", cmd)
	ids := map[string]string{}
	programs.Await(t, "both clients have an instance id", func() error {
		for line := range strings.Lines(p.Log()) {
			if who, id, ok := strings.Cut(strings.TrimSpace(line), " "); ok && (who == "producer" || who == "consumer") {
				ids[who] = id
			}
		}
		if len(ids) < 2 {
			return fmt.Errorf("only %v; %v", ids, p.Running())
		}
		return nil
	})
	sent := series{"kafka_client_producer_record_send_total", "pusher-producer", ids["producer"]}
	consumed := series{"kafka_client_consumer_fetch_manager_records_consumed_total", "pusher-consumer", ids["consumer"]}
	for _, s := range []series{sent, consumed} {
		var first float64
		programs.Await(t, s.name+" grows", func() error {
			now, err := s.value(page)
			if err != nil {
				return fmt.Errorf("%w; %v", err, p.Running())
			}
			if first == 0 {
				first = now
			}
			if now <= first {
				return fmt.Errorf("it stays at %v", now)
			}
			return nil
		})
	}
	if _, err := io.WriteString(stop, "\n"); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err, p.Log())
	}
	count := regexp.MustCompile(`(?m)^sent (\d+)$`).FindStringSubmatch(p.Log())
	if count == nil {
		t.Fatal("the program does not say how many records it has sent:\n", p.Log())
	}
	all, err := strconv.ParseFloat(count[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	// The push of a client that closes is a matter of luck, so that the last records may be missing.
	if got, err := sent.value(page); err != nil || got > all {
		t.Errorf("the producer's pushes say %v (%v) records, the program %v", got, err, all)
	}
}

// series is one number of one client.
type series struct{ name, clientID, instance string }

// value is what the page of metrics shows of it.
func (s series) value(page string) (float64, error) {
	resp, err := http.Get("http://" + page + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	seen := 0
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "kafka_client_") && strings.Contains(line, s.clientID) {
			seen++
		}
		if strings.HasPrefix(line, s.name+"{") && strings.Contains(line, `client_id="`+s.clientID+`"`) && strings.Contains(line, `client_instance_id="`+s.instance+`"`) {
			return strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		}
	}
	return 0, fmt.Errorf("%s of %s (%s) is not on the page, but %d other series of that client", s.name, s.clientID, s.instance, seen)
}
