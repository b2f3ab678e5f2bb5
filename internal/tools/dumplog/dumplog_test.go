package dumplog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/tools/cli"
)

// ownWords are cases in which Apache Kafka ends with the words of an exception, for which this tool has
// its own. Standard output and the exit code are the same.
var ownWords = map[string]string{
	"flipped":              "00000000000000000218.snapshot: corrupt producer snapshot: crc at byte 2 is 491668899, expected 1300457495",
	"zeros":                "Found record size 0 smaller than minimum record overhead (14) in file testdata/damaged/zeros/00000000000000000000.log.",
	"keyless":              "Failed to decode message at offset 0 using the specified decoder (message had a missing key)",
	"no_file":              "testdata/kafka/00000000000000000000.log: no such file",
	"no_files":             "Missing required argument \"[files]\"",
	"index_size":           "DIR/testdata/damaged/sizes/00000000000000000000.index is corrupt, found 19 bytes which is neither positive nor a multiple of 8",
	"index_end":            "DIR/testdata/damaged/sizes/00000000000000000100.index has non-zero size but the last offset is -100 which is less than the base offset 100",
	"timeindex_size":       "DIR/testdata/damaged/sizes/00000000000000000000.timeindex is corrupt, found 19 bytes which is neither positive nor a multiple of 12",
	"timeindex_order":      "has non-zero size but the last timestamp is 400 which is less than the first timestamp 500",
	"wrong_indexes_sanity": "has non-zero size but the last timestamp is 0 which is less than the first timestamp 1795261987400",
}

// skipped is why a record cannot be shown; each tool has its own words.
var skipped = regexp.MustCompile(`skipping\. .*`)

// TestAsKafka compares with what Apache Kafka 4.3.1's tool printed about the same files
// (testdata/capture).
func TestAsKafka(t *testing.T) {
	t.Parallel()
	cases, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(cases)) {
		words := strings.Fields(line)
		t.Run(words[0], func(t *testing.T) {
			t.Parallel()
			out, messages := golden(t, words[0]+".out"), golden(t, words[0]+".err")
			var gotOut, gotErr bytes.Buffer
			s := cli.Streams{Out: &gotOut, Err: &gotErr}
			code := cli.Exit(s, Run(t.Context(), s, words[1:]))
			compare(t, skipped.ReplaceAllString(gotOut.String(), "skipping."), skipped.ReplaceAllString(out, "skipping."))
			got := strings.ReplaceAll(gotErr.String(), folder+"/", "DIR/") + fmt.Sprintf("exit code %d\n", code)
			own, ends := ownWords[words[0]]
			switch {
			case !ends:
				compare(t, got, messages)
			case !strings.Contains(got, own) || !strings.HasSuffix(messages, got[strings.LastIndex(got, "exit code"):]):
				t.Errorf("it says %q, which has not %q, or has another exit code than %q", got, own, messages)
			}
		})
	}
}

func golden(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// compare shows the first line that differs.
func compare(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		var g, w string
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if g != w {
			t.Errorf("line %d is\n%q\nApache Kafka has\n%q", i+1, g, w)
			return
		}
	}
}
