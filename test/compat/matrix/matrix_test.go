package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const manual = "../../../docs/manual/clients.md"

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestManualHasEverySuite holds the committed table to its form, and to the folders of test/compat.
func TestManualHasEverySuite(t *testing.T) {
	t.Parallel()
	_, table, _, err := split(read(t, manual))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := parseTable(table)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(table), strings.TrimSpace(render(merge(rows, nil))); got != want {
		t.Errorf("the table is not as this program writes it; it would be\n%s", want)
	}
	runs, err := filepath.Glob("../*/run")
	if err != nil || len(runs) == 0 {
		t.Fatalf("no suites: the test would pass on nothing: %v", err)
	}
	script, page := read(t, "../run"), read(t, "../README.md")
	for _, path := range runs {
		suite := filepath.Base(filepath.Dir(path))
		if !slices.ContainsFunc(rows, func(r row) bool { return r.suite == suite }) {
			t.Errorf("the table of clients lacks the suite %s: run test/compat/run %s", suite, suite)
		}
		if !strings.Contains(page, "`"+suite+"`") {
			t.Errorf("test/compat/README.md lacks the suite %s", suite)
		}
		if !slices.Contains(strings.Fields(strings.NewReplacer("(", " ", ")", " ", "=", " ").Replace(script)), suite) {
			t.Errorf("test/compat/run does not run the suite %s", suite)
		}
	}
}

const results = "a\t1.2\tproduce\tpass\na\t1.2\tseeks\tpass\na\t1.2\ttransactions\tabsent\na\t1.10\tproduce\tpass\na\t1.10\tproduce\tabsent\n"

func parsed(t *testing.T, suite, content string) []row {
	t.Helper()
	rows, err := parseResults(suite, content)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestTableFromResults(t *testing.T) {
	t.Parallel()
	committed := append(parsed(t, "s", "a\t0.9\tproduce\tpass\n"), parsed(t, "other", "B\t1\tadmin\tpass\n")...)
	table := render(merge(committed, parsed(t, "s", results)))
	want := strings.Join([]string{
		"| Client | Version | Produce | Consume | Groups | Admin | Transactions | Idempotence | Compression | Also | Suite |",
		"|---|---|---|---|---|---|---|---|---|---|---|",
		"| a | 1.10 | yes | | | | | | | | `s` |",
		"| a | 1.2 | yes | | | | – | | | seeks | `s` |",
		"| B | 1 | | | | yes | | | | | `other` |", ""}, "\n")
	if table != want {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
	again, err := parseTable(table)
	if err != nil || render(again) != want {
		t.Errorf("a table that is read is not written as it was: %v\n%s", err, render(again))
	}
}

func TestResultsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"a\t1\tproduce\tfail\n", "a\t1\tproduce\n", "a\t1\tproduce\tmaybe\n", "a\t\tproduce\tpass\n", "a\t1\tx|y\tpass\n", ""} {
		if rows, err := parseResults("s", line); err == nil {
			t.Errorf("%q gave %v", line, rows)
		}
	}
}

func TestRunThatSaysLess(t *testing.T) {
	t.Parallel()
	committed := append(parsed(t, "s", results), parsed(t, "other", "B\t1\tadmin\tpass\n")...)
	for _, c := range []struct {
		ran  string
		want []string
	}{
		{results, nil},
		{results + "a\t1.2\tgroups\tpass\n", nil},
		{"a\t1.3\tproduce\tpass\na\t1.3\tseeks\tpass\n", nil},
		{"a\t1.2\tproduce\tpass\na\t1.10\tproduce\tpass\n", []string{"a 1.2 (s): seeks"}},
		{"c\t1\tproduce\tpass\na\t1.3\tseeks\tpass\n", []string{"a 1.2 (s): produce", "a 1.10 (s): produce"}},
	} {
		if got := less(committed, parsed(t, "s", c.ran)); !slices.Equal(got, c.want) {
			t.Errorf("after %q: got %q, want %q", c.ran, got, c.want)
		}
	}
}

// TestRunWritesTheTable goes the whole way, and leaves the page as it is when the run says less.
func TestRunWritesTheTable(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	page := filepath.Join(folder, "clients.md")
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("clients.md", "before\n"+begin+"\n"+end+"\nafter\n")
	write("s.tsv", results)
	if err := run(folder, page); err != nil {
		t.Fatal(err)
	}
	first := read(t, page)
	if !strings.HasPrefix(first, "before\n"+begin+"\n| Client |") || !strings.HasSuffix(first, "| `s` |\n"+end+"\nafter\n") {
		t.Errorf("got %s", first)
	}
	write("s.tsv", "a\t1.2\tproduce\tpass\n")
	if err := run(folder, page); err == nil || read(t, page) != first {
		t.Errorf("a run that says less: error %v, page %s", err, read(t, page))
	}
}
