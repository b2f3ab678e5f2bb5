package features

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
)

// TestWithoutCluster compares with what Apache Kafka 4.3.1's tool printed.
func TestWithoutCluster(t *testing.T) {
	t.Parallel()
	unknown := "Unknown metadata.version '9.9'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, 3.5-IV0, 3.5-IV1, 3.5-IV2, 3.6-IV0, 3.6-IV1, 3.6-IV2, 3.7-IV0, 3.7-IV1, 3.7-IV2, 3.7-IV3, 3.7-IV4, 3.8-IV0, 3.9-IV0, 4.0-IV0, 4.0-IV1, 4.0-IV2, 4.0-IV3, 4.1-IV0, 4.1-IV1, 4.2-IV0, 4.2-IV1, 4.3-IV0, 4.4-IV0\n"
	for _, c := range []struct{ line, out, err string }{
		{"version-mapping", "metadata.version=30 (4.3-IV0)\nkraft.version=1\ntransaction.version=2\ngroup.version=1\neligible.leader.replicas.version=1\nshare.version=1\nstreams.version=1\n", ""},
		{"version-mapping --release-version 3.9", "metadata.version=21 (3.9)\nkraft.version=1\ntransaction.version=0\ngroup.version=0\neligible.leader.replicas.version=0\nshare.version=0\nstreams.version=0\n", ""},
		{"version-mapping --release-version 9.9", "", unknown},
		{"feature-dependencies --feature transaction.version=2 --feature group.version=1 --feature metadata.version=20",
			"transaction.version=2 has no dependencies.\ngroup.version=1 has no dependencies.\nmetadata.version=20 (3.8-IV0) has no dependencies.\n", ""},
		{"feature-dependencies --feature nope=1", "", "Unknown feature: nope\n"},
		{"feature-dependencies --feature metadata.version", "", "Can't parse feature=level string metadata.version: equals sign not found.\n"},
		{"describe", "", "Command line error: You must specify either --bootstrap-controller or --bootstrap-server.. Type --help for help.\n"},
	} {
		var out, messages bytes.Buffer
		s := cli.Streams{Out: &out, Err: &messages}
		code := cli.Exit(s, Run(t.Context(), s, strings.Fields(c.line)))
		if out.String() != c.out || messages.String() != c.err || (code == 0) != (c.err == "") {
			t.Errorf("%s: %q %q %d", c.line, &out, &messages, code)
		}
	}
}

func TestDescription(t *testing.T) {
	t.Parallel()
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.FinalizedFeaturesEpoch = 442
	resp.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{{Name: "metadata.version", MinVersion: 7, MaxVersion: 30}, {Name: "group.version", MaxVersion: 1}}
	resp.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{{Name: "metadata.version", MaxVersionLevel: 30, MinVersionLevel: 30}}
	var out bytes.Buffer
	printFeatures(cli.Streams{Out: &out}, resp)
	want := "Feature: group.version                             SupportedMinVersion: 0                SupportedMaxVersion: 1                FinalizedVersionLevel: 0                Epoch: 442\n" +
		"Feature: metadata.version                          SupportedMinVersion: 3.3-IV3          SupportedMaxVersion: 4.3-IV0          FinalizedVersionLevel: 4.3-IV0          Epoch: 442\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"upgrade --feature a=1 --feature b=2":                "",
		"upgrade":                                            "You must specify at least one feature to upgrade",
		"disable":                                            "You must specify at least one feature to disable",
		"disable --feature a --feature a":                    "Feature a was specified more than once.",
		"upgrade --feature a=0":                              "maxVersionLevel:0 is < 1",
		"downgrade --feature a=-1":                           "Cannot specify a negative version level.",
		"downgrade --feature a=x":                            "unable to parse x as a short",
		"upgrade --release-version 4.3 --feature a=1":        "Can not specify `release-version` with other feature flags.",
		"downgrade --metadata 4.2-IV9":                       "Unknown metadata.version '4.2-IV9'",
		"downgrade --metadata 4.2 --feature group.version=0": "",
	} {
		parsed, err := parser.Parse(cli.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := changes(cli.Streams{Out: &bytes.Buffer{}}, parsed)
		if want == "" && (err != nil || len(wanted) != 2) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v %v, want %q", line, wanted, err, want)
		}
	}
}

// TestWhatAReleaseHasMoreIsLeftOut: a cluster that lacks one of its features refuses the whole request.
func TestWhatAReleaseHasMoreIsLeftOut(t *testing.T) {
	t.Parallel()
	resp := kmsg.NewPtrApiVersionsResponse()
	for _, name := range []string{"metadata.version", "transaction.version", "kraft.version", "eligible.leader.replicas.version"} {
		resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeature{Name: name, MaxVersion: 1})
	}
	for line, want := range map[string]string{
		"upgrade --release-version 4.3":   "[group.version share.version streams.version]",
		"upgrade --release-version 4.0":   "[group.version]",
		"downgrade --release-version 3.9": "[]",
	} {
		parsed, err := parser.Parse(cli.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := changes(cli.Streams{Out: &bytes.Buffer{}}, parsed)
		if got := fmt.Sprint(missing(resp, wanted)); err != nil || got != want {
			t.Errorf("%s: without %s, want %s; %v", line, got, want, err)
		}
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	broken := errors.New("No.")
	for _, c := range []struct {
		got, want string
	}{
		{outcome("upgrade", "f", 2, false, nil), "f was upgraded to 2."},
		{outcome("downgrade", "f", 2, true, nil), "f can be downgraded to 2."},
		{outcome("disable", "f", 0, true, nil), "f can be disabled."},
		{outcome("disable", "f", 0, false, broken), "Could not disable f. No."},
		{outcome("upgrade", "f", 2, true, broken), "Can not upgrade f to 2. No."},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
