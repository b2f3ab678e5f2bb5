package configs

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestQuotaLine compares with what Apache Kafka 4.3.1's tool printed.
func TestQuotaLine(t *testing.T) {
	t.Parallel()
	name := "c1"
	values := []kmsg.DescribeClientQuotasResponseEntryValue{
		{Key: "consumer_byte_rate", Value: 2097152}, {Key: "controller_mutation_rate", Value: 1e7}, {Key: "producer_byte_rate", Value: 1 << 53}, {Key: "request_percentage", Value: 12.5},
	}
	entry := kmsg.DescribeClientQuotasResponseEntry{
		Entity: []kmsg.DescribeClientQuotasResponseEntryEntity{{Type: "client-id", Name: &name}, {Type: "user"}}, Values: values[:2],
	}
	if got, want := quotaLine(&entry), "Quota configs for the default user-principal, client-id 'c1' are consumer_byte_rate=2097152.0, controller_mutation_rate=1.0E7"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	entry.Entity, entry.Values = []kmsg.DescribeClientQuotasResponseEntryEntity{{Type: "ip"}}, values[3:]
	if got, want := quotaLine(&entry), "Quota configs for the default ip are request_percentage=12.5"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestParseJavaDouble(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{
		"1": 1, " 1.5 ": 1.5, "1e3": 1000, "1.5E9": 1.5e9, "7d": 7, "7F": 7, "-2": -2, "Infinity": math.Inf(1), "-Infinity": math.Inf(-1), "0x1p3": 8, "1e999": math.Inf(1),
	} {
		if got, err := parseJavaDouble(text); err != nil || got != want {
			t.Errorf("%q: %v %v, want %v", text, got, err, want)
		}
	}
	if got, err := parseJavaDouble("NaN"); err != nil || !math.IsNaN(got) {
		t.Errorf("NaN: %v %v", got, err)
	}
	for _, text := range []string{"", " ", "x", "inf", "nan", "infinity", "1_000", "7dd", "0x", "1,5"} {
		if got, err := parseJavaDouble(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestQuotaKeys(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		types, add, remove string
		want               string
	}{
		{"clients", "producer_byte_rate", "request_percentage", ""},
		{"users", "controller_mutation_rate", "", ""},
		{"ips", "connection_creation_rate", "", ""},
		{"clients", "connection_creation_rate", "", "Only quota configs can be added for 'clients' using --bootstrap-server. Unexpected config names: Set(connection_creation_rate)"},
		{"users,clients", "", "x,y", "Only quota configs can be deleted for 'clients' using --bootstrap-server. Unexpected config names: ArrayBuffer(x, y)"},
		{"users", "x", "", "Only quota and SCRAM credential configs can be added for 'users' using --bootstrap-server. Unexpected config names: Set(x)"},
		{"ips", "x", "y", "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: x,y"},
		{"users", "SCRAM-SHA-256", "", "SCRAM credentials are not supported yet"},
		{"clients", "SCRAM-SHA-256", "", "Only quota configs can be added for 'clients' using --bootstrap-server. Unexpected config names: Set(SCRAM-SHA-256)"},
	} {
		var additions []setting
		for _, name := range strings.FieldsFunc(test.add, func(r rune) bool { return r == ',' }) {
			additions = append(additions, setting{name: name, value: "1"})
		}
		err := checkQuotaKeys(strings.Split(test.types, ","), additions, strings.FieldsFunc(test.remove, func(r rune) bool { return r == ',' }))
		if got := fmt.Sprint(err); got != test.want && (err != nil || test.want != "") {
			t.Errorf("%s add %s delete %s: %s, want %s", test.types, test.add, test.remove, got, test.want)
		}
	}
}

func TestQuotaFilters(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--entity-type users":                               "user:2:",
		"--user u --client-defaults":                        "user:0:u client-id:1:",
		"--entity-type clients --entity-type users":         "client-id:2: user:2:",
		"--entity-type clients --entity-name c":             "client-id:0:c",
		"--ip 10.0.0.1":                                     "ip:0:10.0.0.1",
		"--entity-type ips --entity-default":                "ip:1:",
		"--entity-type users --entity-name a --user b":      "user:0:a user:0:b",
		"--entity-type ips --entity-name a --entity-name b": "More entity names specified than entity types",
	} {
		o := newOptions()
		var err error
		if o.Set, err = o.parser.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		components, err := o.filter()
		var got []string
		for _, c := range components {
			name := ""
			if c.Match != nil {
				name = *c.Match
			}
			got = append(got, fmt.Sprintf("%s:%d:%s", c.EntityType, c.MatchType, name))
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %s, want %s", args, text, want)
		}
	}
}
