package groups

import (
	"bytes"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// TestAllCommandLines has the words of Apache Kafka 4.3.1's kafka-groups.
func TestAllCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                       "Missing required option(s) [bootstrap-server]",
		"--list":                 "Missing required option(s) [bootstrap-server]",
		"--help":                 allSummary,
		"--bootstrap-server x:1": "Command must include exactly one action: --list.",
		"--bootstrap-server x:1 --list --group-type odd":                     "--group-type must be a valid group type.",
		"--bootstrap-server x:1 --list --share --consumer":                   `Option "[consumer]" can't be used with option "[share]"`,
		"--bootstrap-server x:1 --list --streams --protocol p":               `Option "[streams]" can't be used with option "[protocol]"`,
		"--bootstrap-server x:1 --list --share --group-type classic --odd 1": "odd is not a recognized option",
	} {
		var messages bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &messages}
		code := cli.Exit(s, RunAll(t.Context(), s, strings.Fields(line)))
		if first, _, _ := strings.Cut(messages.String(), "\n"); code != 1 || first != want {
			t.Errorf("%s: %d %q, want %q", line, code, first, want)
		}
	}
}

func TestFiltersOfAllGroups(t *testing.T) {
	t.Parallel()
	groups := []client.Group{{ID: "app", Type: "Classic", Protocol: "consumer"}, {ID: "simple", Type: "Classic"}, {ID: "connect", Type: "Classic", Protocol: "connect"},
		{ID: "new", Type: "Consumer", Protocol: "consumer"}, {ID: "share", Type: "Share", Protocol: "share"}, {ID: "streams", Type: "Streams", Protocol: "streams"}}
	for line, want := range map[string]string{
		"":                     "app simple connect new share streams",
		"--consumer":           "app simple new",
		"--share":              "share",
		"--streams":            "streams",
		"--group-type CLASSIC": "app simple connect",
		"--group-type classic --protocol connect": "connect",
		"--protocol consumer":                     "app new",
		"--protocol nothing":                      "",
	} {
		p := cli.NewParser()
		o := newAllOptions(p)
		var err error
		if o.Set, err = p.Parse(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		var passed []string
		for _, g := range groups {
			if o.passes(g) {
				passed = append(passed, g.ID)
			}
		}
		if got := strings.Join(passed, " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
