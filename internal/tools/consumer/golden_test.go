package consumer

import (
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestGoldenFormatters holds the formatters of the internal topics to what Apache Kafka's print
// for the records that it wrote itself, byte by byte.
func TestGoldenFormatters(t *testing.T) {
	t.Parallel()
	records := map[string][]*kgo.Record{
		"TransactionLog": goldenRecords(t, "../../txn/testdata/kafka-4.3.1-records.txt"),
		"Offsets":        goldenRecords(t, "../../group/testdata/kafka-4.3.1-records.txt"),
	}
	records["GroupMetadata"] = records["Offsets"]
	printed := map[string]int{}
	for _, line := range goldenLines(t, "testdata/kafka-4.3.1-formatted.txt") {
		fields := strings.SplitN(line, " ", 3)
		class, want := fields[0], fields[2]
		number, err := strconv.Atoi(fields[1])
		if err != nil || number >= len(records[class]) {
			t.Fatalf("%s: %v", line, err)
		}
		f, err := formatters["org.apache.kafka.tools.consumer."+class+"MessageFormatter"](nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.format(nil, records[class][number])
		if err != nil || string(got) != want {
			t.Errorf("%s, record %d: %v\n got %s\nwant %s", class, number, err, got, want)
		}
		if want != "" {
			printed[class]++
		}
	}
	for class := range records {
		if printed[class] < 4 {
			t.Errorf("%s: only %d records were printed", class, printed[class])
		}
	}
}

func goldenLines(t *testing.T, path string) (lines []string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(content), "\n"), "\n") {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func goldenRecords(t *testing.T, path string) (records []*kgo.Record) {
	t.Helper()
	for _, line := range goldenLines(t, path) {
		fields := strings.Fields(line)
		r := &kgo.Record{}
		for i, target := range []*[]byte{&r.Key, &r.Value} {
			text := fields[2+i]
			if text == "-" || text == "null" {
				continue
			}
			b, err := hex.DecodeString(text)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			*target = b
		}
		records = append(records, r)
	}
	return records
}
