package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/test/parity/script"
)

// TestDifferencesAreTheLedgers holds PARITY.md and the lists of differences to each other.
func TestDifferencesAreTheLedgers(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join("..", "..", "PARITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(content), "\n## Stated differences\n")
	if !found {
		t.Fatal("PARITY.md has no stated differences")
	}
	var rows []string
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| Where ") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	names := map[string]bool{}
	for _, d := range slices.Concat(script.Differences(), differences) {
		names[d.Where] = true
		row := "| " + d.Where + " | " + d.Kafka + " | " + d.Moldau + " |"
		if i := slices.Index(rows, row); i >= 0 {
			rows = slices.Delete(rows, i, i+1)
		} else {
			t.Errorf("PARITY.md, stated differences, lacks\n%s", row)
		}
	}
	for _, row := range rows {
		t.Errorf("PARITY.md states a difference that no list has:\n%s", row)
	}
	for probe, name := range known {
		if !names[name] {
			t.Errorf("the difference of the probe %q is %q, which no list has", probe, name)
		}
	}
}
