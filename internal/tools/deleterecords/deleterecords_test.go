package deleterecords

import (
	"strings"
	"testing"
)

func TestOffsetFile(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		`{"partitions": [{"topic": "b", "partition": 1, "offset": 3}, {"topic": "a", "partition": 0, "offset": -1}], "version": 1}`: "",
		`{"partitions": []}`:               "",
		`{`:                                "not a valid JSON",
		`[]`:                               "expected form",
		`{}`:                               "Missing partitions field",
		`{"partitions": [{"topic": "b"}]}`: "entry 1",
		`{"version": 2, "partitions": []}`: "Not supported version field value 2",
		`{"partitions": [{"topic": "b", "partition": 1, "offset": 3}, {"topic": "b", "partition": 1, "offset": 4}]}`: "duplicate topic partitions: b-1",
	} {
		all, err := parseOffsets([]byte(content))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
		if len(all) == 2 && (all[0].tp.String() != "a-0" || all[0].offset != -1 || all[1].tp.String() != "b-1") {
			t.Errorf("%+v", all)
		}
	}
}
