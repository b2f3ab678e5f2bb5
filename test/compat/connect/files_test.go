//go:build unix

package connect

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/compat/programs"
)

const (
	sourceClass = "org.apache.kafka.connect.file.FileStreamSourceConnector"
	sinkClass   = "org.apache.kafka.connect.file.FileStreamSinkConnector"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

// lines is how many are appended at a time.
func lines() int {
	if os.Getenv("SMOKE") != "" {
		return 500
	}
	return 20_000
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// appendLines appends so many lines to a file and returns them.
func appendLines(t *testing.T, path, word string, count int) []string {
	t.Helper()
	var added []string
	for i := range count {
		added = append(added, fmt.Sprintf("%s line %d", word, i)) // the connector counts characters where it means bytes
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(strings.Join(added, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	return added
}

func readLines(path string) ([]string, error) {
	content, err := os.ReadFile(path)
	if err != nil || len(content) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n"), nil
}

// awaitFile returns when the file has the lines, and no others.
func awaitFile(t *testing.T, worker *programs.Process, path string, want []string) {
	t.Helper()
	var got []string
	programs.Await(t, "lines in "+path, func() error {
		if err := worker.Running(); err != nil {
			t.Fatal(err)
		}
		var err error
		if got, err = readLines(path); err != nil {
			return err
		}
		if len(got) < len(want) {
			return fmt.Errorf("%d of %d lines", len(got), len(want))
		}
		return nil
	})
	same(t, path, got, want)
}

// same reports the first difference.
func same(t *testing.T, where string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: line %d is %q, not %q; %d lines of %d", where, i, got[i], want[i], len(got), len(want))
		}
	}
	t.Fatalf("%s: %d lines instead of %d", where, len(got), len(want))
}
