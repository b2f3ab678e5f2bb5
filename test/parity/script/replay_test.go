package script

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/internal/wire"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

// TestEveryVersionIsAsked holds the script to the dispatch table: whoever serves an API or a version must say
// here what is right and wrong in it, and record what Apache Kafka answers (test/parity/run -record).
func TestEveryVersionIsAsked(t *testing.T) {
	t.Parallel()
	type version struct {
		key, version int16
		good         bool
	}
	asked := map[version]int{}
	ids := map[string]bool{}
	for _, c := range Cases() {
		asked[version{c.API.Key, c.Version, c.Good}]++
		if ids[c.ID()] {
			t.Errorf("two cases are called %s", c.ID())
		}
		if strings.ContainsAny(c.Name, "\n") || strings.HasPrefix(c.Name, " ") {
			t.Errorf("the name %q does not fit into a golden file", c.Name)
		}
		ids[c.ID()] = true
	}
	for _, api := range wire.APIs() {
		for v := api.MinServed; v <= api.MaxAdvertised; v++ {
			if good, bad := asked[version{api.Key, v, true}], asked[version{api.Key, v, false}]; good == 0 || bad == 0 {
				t.Errorf("%s v%d: %d good and %d bad cases", api.Name, v, good, bad)
			}
		}
	}
}

// TestAnswersAreApacheKafkas sends the whole script to a broker and compares with what Apache Kafka has answered.
func TestAnswersAreApacheKafkas(t *testing.T) {
	golden, err := Golden()
	if err != nil {
		t.Fatal(err)
	}
	cases := Cases()
	theirs := make([]string, len(cases))
	for i := range cases {
		answer, ok := golden[cases[i].ID()]
		if !ok {
			t.Fatalf("no answer of Apache Kafka to %s is recorded: test/parity/run -record", cases[i].ID())
		}
		theirs[i] = answer
		delete(golden, cases[i].ID())
	}
	for id := range golden {
		t.Errorf("golden/ has an answer to %s, which nobody asks: test/parity/run -record", id)
	}
	b := kafkatest.NewBroker(t, Settings...)
	b.Overrides = append(b.Overrides, fmt.Sprintf("listeners=PLAINTEXT://localhost:%d,CONTROLLER://localhost:%d", b.Port, kafkatest.FreePort(t)), "controller.listener.names=CONTROLLER", "http.listen=localhost:0", "client.metrics.export.enable=true")
	b.Start()
	ours, err := Ask(b.Addr(), cases)
	if err != nil {
		t.Fatal(err)
	}
	for i, problem := range Judge(cases, theirs, ours) {
		if i == 20 {
			t.Error("…")
			break
		}
		t.Error(problem)
	}
}

// TestGoldenFilesAreReadAsWritten keeps writer and reader of golden files together.
func TestGoldenFilesAreReadAsWritten(t *testing.T) {
	t.Parallel()
	cases := Cases()
	answers := make([]string, len(cases))
	for i := range cases {
		answers[i] = []string{"one: 1..2", "two", "closes the connection"}[(i/3)%3]
	}
	folder := t.TempDir()
	if err := WriteGolden(folder, cases, answers); err != nil {
		t.Fatal(err)
	}
	read := map[string]string{}
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := parseGolden(content, read); err != nil {
			t.Fatal(err)
		}
	}
	for i := range cases {
		if read[cases[i].ID()] != answers[i] {
			t.Fatalf("%s: read %q, written %q", cases[i].ID(), read[cases[i].ID()], answers[i])
		}
	}
}
