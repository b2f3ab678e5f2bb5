package configs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

func synonym(source kafka.ConfigSource, name, value string) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
	s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
	s.Name, s.Value, s.Source = name, &value, kmsg.ConfigSource(source)
	return s
}

// TestPrint compares with what Apache Kafka 4.3.1's tool printed.
func TestPrint(t *testing.T) {
	t.Parallel()
	value := func(s string) *string { return &s }
	configs := []client.Config{
		{Name: "retention.ms", Value: value("5000"), Source: kafka.ConfigSourceDynamicTopic,
			Synonyms: []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{synonym(kafka.ConfigSourceDynamicTopic, "retention.ms", "5000")}},
		{Name: "compression.type", Value: value("producer"), Source: kafka.ConfigSourceDefault},
		{Name: "cleanup.policy", Value: value("compact,delete"), Source: kafka.ConfigSourceDynamicTopic,
			Synonyms: []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				synonym(kafka.ConfigSourceDynamicTopic, "cleanup.policy", "compact,delete"), synonym(kafka.ConfigSourceDefault, "log.cleanup.policy", "delete"),
			}},
	}
	var out bytes.Buffer
	printTitle(cli.Streams{Out: &out}, topicType, "q1", false)
	printConfigs(cli.Streams{Out: &out}, topicType, "q1", configs, false)
	want, err := os.ReadFile("testdata/topic_dynamic.golden")
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
	for _, test := range []struct {
		kind, name string
		all        bool
		want       string
	}{
		{brokerType, "", false, "Default configs for brokers in the cluster are:\n"},
		{brokerType, "1", false, "Dynamic configs for broker 1 are:\n"},
		{brokerType, "1", true, "All configs for broker 1 are:\n  x=null sensitive=true synonyms={}\n"},
	} {
		out.Reset()
		printTitle(cli.Streams{Out: &out}, test.kind, test.name, test.all)
		printConfigs(cli.Streams{Out: &out}, test.kind, test.name, []client.Config{{Name: "x", Sensitive: true, Source: kafka.ConfigSourceStaticBroker}}, test.all)
		if out.String() != test.want {
			t.Errorf("%q; want %q", out.String(), test.want)
		}
	}
}

func TestAddConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a=1":                 "map[a:1]",
		"a=1,b=2":             "map[a:1 b:2]",
		"a = 1 , b=[x,y]":     "map[a:1 b:x,y]",
		"a=[x=1,y=2],b=3":     "map[a:x=1,y=2 b:3]",
		"a=":                  "map[a:]",
		"b=[],c=1":            "map[b: c:1]",
		"a=[1],b=[2,3],c=[4]": "map[a:1 b:2,3 c:4]",
	} {
		got, err := parseAddConfig(text)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v %v; want %s", text, got, err, want)
		}
	}
	for _, bad := range []string{"foo", "a=1,b", "a=1=2", "a=x,y"} {
		if _, err := parseAddConfig(bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestEntities(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, types, names string }{
		{"--entity-type topics --entity-name t", "[topics]", "[t]"},
		{"--topic t", "[topics]", "[t]"},
		{"--entity-type brokers --entity-default", "[brokers]", "[]"},
		{"--broker-defaults", "[brokers]", "[]"},
		{"--broker 1", "[brokers]", "[1]"},
		{"--entity-type users --entity-name u --entity-type clients --entity-default", "[users clients]", "[u ]"},
	} {
		o := newOptions()
		var err error
		if o.Set, err = o.parser.Parse(strings.Fields(test.args)); err != nil {
			t.Fatal(err)
		}
		if types, names := fmt.Sprint(o.types()), fmt.Sprint(o.names()); types != test.types || names != test.names {
			t.Errorf("%s: %s %s; want %s %s", test.args, types, names, test.types, test.names)
		}
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"", Summary},
		{"--bootstrap-server b:1", "Command must include exactly one action: --describe, --alter"},
		{"--describe --topic t", "Either --bootstrap-server or --bootstrap-controller must be specified."},
		{"--bootstrap-server b:1 --describe", "At least one entity type must be specified"},
		{"--bootstrap-server b:1 --describe --broker x", "The entity name for brokers must be a valid integer broker id, but it is: x"},
		{"--bootstrap-server b:1 --alter --topic t", "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"},
		{"--bootstrap-server b:1 --alter --topic t --entity-type topics --add-config a=b", "Duplicate entity type(s) specified: topics"},
		{"--bootstrap-server b:1 --describe --topic t --broker 1", "Only 'users' and 'clients' entity types may be specified together"},
		{"--bootstrap-server b:1 --alter --entity-type brokers --add-config a=b", "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips"},
		{"--bootstrap-server b:1 --alter --entity-type topics --add-config a=b", "An entity name must be specified with --alter of topics"},
		{"--bootstrap-server b:1 --describe --entity-type topics --entity-default", "--entity-default must not be specified with --describe of topics"},
		{"--bootstrap-server b:1 --describe --entity-type broker-loggers", "An entity name must be specified with --describe of broker-loggers"},
		{"--bootstrap-server b:1 --describe --add-config a=b --topic t", `Option "[describe]" can't be used with option "[add-config]"`},
	} {
		var errs bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &errs}
		code := cli.Exit(s, Run(context.Background(), s, strings.Fields(test.args)))
		if first, _, _ := strings.Cut(errs.String(), "\n"); code != 1 || first != test.want {
			t.Errorf("%s: exit %d, %q; want %q", test.args, code, first, test.want)
		}
	}
}

func TestAdditions(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/configs.properties"
	if err := os.WriteFile(path, []byte("retention.ms=5\ncleanup.policy=compact,delete\nx=${y}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOptions()
	var err error
	if o.Set, err = o.parser.Parse([]string{"--add-config-file", path}); err != nil {
		t.Fatal(err)
	}
	got, err := o.additions()
	if want := "[{cleanup.policy compact,delete} {retention.ms 5} {x ${y}}]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v %v; want %s", got, err, want)
	}
	if o.Set, err = o.parser.Parse([]string{"--add-config", "a b=1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.additions(); err == nil || err.Error() != "Invalid character found for config key: a b" {
		t.Errorf("%v", err)
	}
}
