package cluster

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
)

func served(key, lowest, highest int16) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = key, lowest, highest
	return k
}

// TestVersions compares with what Apache Kafka 4.3.1's tool printed for a 4.3.1 broker.
func TestVersions(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/api_versions.golden")
	if err != nil {
		t.Fatal(err)
	}
	var keys []kmsg.ApiVersionsResponseApiKey
	for _, api := range clientAPIs {
		if !strings.Contains(string(want), fmt.Sprintf("(%d): UNSUPPORTED", api.key)) {
			keys = append(keys, served(api.key, api.oldest, api.latest))
		}
	}
	if got := versionsText(keys) + "\n"; got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestOtherVersions(t *testing.T) {
	t.Parallel()
	got := versionsText([]kmsg.ApiVersionsResponseApiKey{served(1, 0, 3), served(2, 90, 91), served(0, 3, 90), served(999, 5, 5), served(-7, 1, 2)})
	for _, want := range []string{
		"(\n\tUNKNOWN(-7): 1 to 2,\n", "\tFetch(1): 0 to 3 [unusable: node too old],\n", "\tListOffsets(2): 90 to 91 [unusable: node too new],\n",
		"\tProduce(0): 3 to 90 [usable: 13],\n", "\tMetadata(3): UNSUPPORTED,\n", "\tUNKNOWN(999): 5\n)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/endpoints.golden")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	b := kmsg.NewDescribeClusterResponseBroker()
	b.NodeID, b.Host, b.Port = 1, "localhost", 27092
	printNodes(cli.Streams{Out: &out}, []kmsg.DescribeClusterResponseBroker{b}, false)
	if out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
