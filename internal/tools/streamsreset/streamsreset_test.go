package streamsreset

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

// TestCommandLines has the words of Apache Kafka 4.3.1's tool.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":          "Missing required option(s) [application-id]",
		"--dry-run": "Missing required option(s) [application-id]",
		"--application-id a --to-earliest --to-latest": `Option "[to-earliest]" can't be used with option "[to-latest]"`,
		"--application-id a --nonsense":                "nonsense is not a recognized option",
	} {
		var messages bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &messages}
		code := cli.Exit(s, Run(t.Context(), s, strings.Fields(line)))
		if first, _, _ := strings.Cut(messages.String(), "\n"); code != 1 || first != want {
			t.Errorf("%s: %d %q, want %q", line, code, first, want)
		}
	}
}

func TestInternalTopics(t *testing.T) {
	t.Parallel()
	o := newOptions()
	set, err := o.parser.Parse([]string{"--application-id", "app", "--input-topics", "app-own-changelog,in"})
	if err != nil {
		t.Fatal(err)
	}
	o.Set = set
	for topic, want := range map[string]bool{
		"app-store-changelog": true, "app-x-repartition": true, "app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000012-topic": true,
		"app-a-subscription-registration-topic": true, "app-changelogs": false, "other-store-changelog": false, "app-own-changelog": false, "in": false,
	} {
		if got := (&tool{options: o}).isInternal(topic); got != want {
			t.Errorf("%s is internal: %t", topic, got)
		}
	}
}

func TestPlanFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plan.csv")
	for content, want := range map[string]string{
		"in,0,5\nin,1,7\n": "", "": "It is empty", "in,0\n": "not following the format", "in,x,1\n": "NumberFormatException", "in,0,many": "NumberFormatException",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		plan, err := readPlan(path)
		if want == "" && (err != nil || plan[kafka.TopicPartition{Topic: "in", Partition: 1}] != 7) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v %v, want %q", content, plan, err, want)
		}
	}
}
