package folders

import (
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
)

func TestFolderNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a-0": "a-0", "a-b-12": "a-b-12", "a.b_c-3": "a.b_c-3",
		"a": "", "-0": "", "a-": "", "a-x": "", "a--1": "a--1", "a-01": "", "a-99999999999": "", "a b-0": "",
		"__cluster_metadata-0": "", "a-0.00112233445566778899aabbccddeeff-delete": "", "a-0-stray": "", "a-0-future": "",
	} {
		tp, ok := Parse(name)
		if ok != (want != "") || ok && tp.String() != want {
			t.Errorf("%q: %v %v", name, tp, ok)
		}
	}
	long := kafka.TopicPartition{Topic: strings.Repeat("t", kafka.MaxTopicNameLength), Partition: 12345}
	if name := Retired(long, DeleteSuffix, env.NewSeededRandom(1)); len(name) != 255 || !strings.HasSuffix(name, "-delete") {
		t.Errorf("%d bytes: %s", len(name), name)
	}
}
