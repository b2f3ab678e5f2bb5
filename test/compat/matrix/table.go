package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// columns are the features with a column of their own; others are named in the last column.
var columns = []string{"produce", "consume", "groups", "admin", "transactions", "idempotence", "compression"}

const (
	passed = "yes"
	absent = "–" // the client does not have it
	silent = ""  // no part of the suite says anything
)

// row is one version of a client in one suite.
type row struct {
	client, version, suite string
	features               map[string]string // passed or absent
}

func (r row) name() string { return fmt.Sprintf("%s %s (%s)", r.client, r.version, r.suite) }

// parseResults reads the lines of one suite. A feature with several lines works if none of them failed.
func parseResults(suite, content string) ([]row, error) {
	var rows []row
	for i, line := range strings.Split(strings.TrimSuffix(content, "\n"), "\n") {
		fields := strings.Split(line, "\t")
		if len(fields) != 4 || slices.Contains(fields, "") || strings.ContainsAny(line, "|,`") {
			return nil, fmt.Errorf("line %d: not client, version, feature and result, separated by tabs and without | , or `: %q", i+1, line)
		}
		client, version, feature, result := fields[0], fields[1], fields[2], fields[3]
		at := slices.IndexFunc(rows, func(r row) bool { return r.client == client && r.version == version })
		if at < 0 {
			at = len(rows)
			rows = append(rows, row{client, version, suite, map[string]string{}})
		}
		switch result {
		case "pass":
			rows[at].features[feature] = passed
		case "absent":
			if rows[at].features[feature] == silent {
				rows[at].features[feature] = absent
			}
		case "fail":
			return nil, fmt.Errorf("line %d: %s failed with %s %s", i+1, feature, client, version)
		default:
			return nil, fmt.Errorf("line %d: result %q is none of pass, fail, absent", i+1, result)
		}
	}
	return rows, nil
}

// merge replaces the rows of the suites that ran.
func merge(committed, ran []row) []row {
	suites := map[string]bool{}
	for _, r := range ran {
		suites[r.suite] = true
	}
	rows := slices.DeleteFunc(slices.Clone(committed), func(r row) bool { return suites[r.suite] })
	rows = append(rows, ran...)
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.client), strings.ToLower(b.client)), compareVersions(b.version, a.version), cmp.Compare(a.suite, b.suite))
	})
	return rows
}

// less lists what the committed table says of the suites that ran and the run does not. Where a version
// gave way to another one, some version of the client must have the feature.
func less(committed, ran []row) (problems []string) {
	for _, old := range committed {
		if !slices.ContainsFunc(ran, func(r row) bool { return r.suite == old.suite }) {
			continue
		}
		same := slices.DeleteFunc(slices.Clone(ran), func(r row) bool {
			return r.suite != old.suite || r.client != old.client || r.version != old.version
		})
		if len(same) == 0 {
			same = slices.DeleteFunc(slices.Clone(ran), func(r row) bool { return r.suite != old.suite || r.client != old.client })
		}
		for _, feature := range slices.Sorted(maps.Keys(old.features)) {
			if old.features[feature] == passed && !slices.ContainsFunc(same, func(r row) bool { return r.features[feature] == passed }) {
				problems = append(problems, fmt.Sprintf("%s: %s", old.name(), feature))
			}
		}
	}
	return problems
}

func header() []string {
	cells := []string{"Client", "Version"}
	for _, c := range columns {
		cells = append(cells, strings.ToUpper(c[:1])+c[1:])
	}
	return append(cells, "Also", "Suite")
}

func render(rows []row) string {
	var b strings.Builder
	line := func(cells []string) {
		b.WriteString("|")
		for _, c := range cells {
			b.WriteString(strings.TrimRight(" "+c, " ") + " |")
		}
		b.WriteString("\n")
	}
	line(header())
	b.WriteString(strings.Repeat("|---", len(header())) + "|\n")
	for _, r := range rows {
		cells := []string{r.client, r.version}
		for _, c := range columns {
			cells = append(cells, r.features[c])
		}
		var also []string
		for _, feature := range slices.Sorted(maps.Keys(r.features)) {
			if r.features[feature] == passed && !slices.Contains(columns, feature) {
				also = append(also, feature)
			}
		}
		line(append(cells, strings.Join(also, ", "), "`"+r.suite+"`"))
	}
	return b.String()
}

// parseTable reads what render wrote.
func parseTable(table string) ([]row, error) {
	var rows []row
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		if i < 2 || line == "" {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		if len(cells) != len(header()) {
			return nil, fmt.Errorf("%d cells instead of %d: %s", len(cells), len(header()), line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		r := row{cells[0], cells[1], strings.Trim(cells[len(cells)-1], "`"), map[string]string{}}
		for i, c := range columns {
			switch cell := cells[2+i]; cell {
			case passed, absent:
				r.features[c] = cell
			case silent:
			default:
				return nil, fmt.Errorf("%q is none of %q, %q and nothing: %s", cell, passed, absent, line)
			}
		}
		for _, feature := range strings.Split(cells[len(cells)-2], ", ") {
			if feature != "" {
				r.features[feature] = passed
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// compareVersions compares the numbers in the versions, and what lies between them as text.
func compareVersions(a, b string) int {
	return slices.CompareFunc(pieces(a), pieces(b), func(x, y string) int {
		n, errX := strconv.Atoi(x)
		m, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return cmp.Compare(n, m)
		}
		return cmp.Compare(x, y)
	})
}

// pieces cuts the version into numbers and what lies between them.
func pieces(version string) (list []string) {
	digits := false
	for i, c := range version {
		if i == 0 || unicode.IsDigit(c) != digits {
			list = append(list, "")
		}
		digits = unicode.IsDigit(c)
		list[len(list)-1] += string(c)
	}
	return list
}
