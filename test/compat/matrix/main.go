package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	begin = "<!-- matrix: begin -->"
	end   = "<!-- matrix: end -->"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: matrix RESULTS MANUAL")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func run(results, manual string) error {
	page, err := os.ReadFile(manual)
	if err != nil {
		return err
	}
	before, old, after, err := split(string(page))
	if err != nil {
		return fmt.Errorf("%s: %w", manual, err)
	}
	committed, err := parseTable(old)
	if err != nil {
		return fmt.Errorf("%s: %w", manual, err)
	}
	ran, err := readResults(results)
	if err != nil {
		return err
	}
	if problems := less(committed, ran); len(problems) > 0 {
		return fmt.Errorf("the run says less than the table in %s; if that is meant, remove the rows there first:\n%s", manual, strings.Join(problems, "\n"))
	}
	return os.WriteFile(manual, []byte(before+render(merge(committed, ran))+after), 0o644)
}

// split cuts the page into what is before the table, the table, and what is after it.
func split(page string) (before, table, after string, err error) {
	i, j := strings.Index(page, begin), strings.Index(page, end)
	if i < 0 || j < i {
		return "", "", "", fmt.Errorf("no %s followed by %s", begin, end)
	}
	i += len(begin)
	return page[:i] + "\n", page[i:j], page[j:], nil
}

// readResults reads the file of each suite in the folder.
func readResults(folder string) ([]row, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.tsv"))
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		suite := strings.TrimSuffix(filepath.Base(path), ".tsv")
		of, err := parseResults(suite, string(content))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		rows = append(rows, of...)
	}
	return rows, nil
}
