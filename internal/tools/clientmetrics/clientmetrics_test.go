package clientmetrics

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
)

// TestCommandLines has the words of Apache Kafka 4.3.1's tool.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	const bootstrap = "--bootstrap-server x:1 "
	for line, want := range map[string]string{
		"":                              summary,
		"--list":                        "--bootstrap-server must be specified.",
		bootstrap:                       "Command must include exactly one action: --alter, --delete, --describe or --list.",
		bootstrap + "--list --describe": "Command must include exactly one action: --alter, --delete, --describe or --list.",
		bootstrap + "--alter":           "One of --name or --generate-name must be specified with --alter.",
		bootstrap + "--alter --name a --generate-name":  "One of --name or --generate-name must be specified with --alter.",
		bootstrap + "--alter --name a --interval 1s":    "Invalid interval value. Enter an integer, or leave empty to reset.",
		bootstrap + "--delete":                          "A client metrics resource name must be specified with --delete.",
		bootstrap + "--list --name a":                   `Option "[list]" can't be used with option "[name]"`,
		bootstrap + "--describe --name a --metrics b":   `Option "[describe]" can't be used with option "[metrics]"`,
		bootstrap + "--delete --name a --generate-name": `Option "[delete]" can't be used with option "[generate-name]"`,
		bootstrap + "--list --block":                    "block is not a recognized option",
	} {
		var messages bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &messages}
		code := cli.Exit(s, Run(t.Context(), s, strings.Fields(line)))
		if first, _, _ := strings.Cut(messages.String(), "\n"); code != 1 || first != want {
			t.Errorf("%s: %d %q, want %q", line, code, first, want)
		}
	}
}

func TestEmptyValuesRemove(t *testing.T) {
	t.Parallel()
	if c := change("interval.ms", ""); c.Op != kmsg.IncrementalAlterConfigOpDelete || c.Value != nil {
		t.Errorf("%+v", c)
	}
	if c := change("interval.ms", "100"); c.Op != kmsg.IncrementalAlterConfigOpSet || *c.Value != "100" {
		t.Errorf("%+v", c)
	}
}
