package cli

import (
	"bytes"
	"strings"
	"testing"
)

func testParser() (p *Parser, topic, partitions, list, state, keys *Option) {
	p = NewParser()
	topic = p.Value("topic", "String: topic", "The topic.")
	partitions = p.Add(Option{Name: "partitions", Arg: RequiredArg, Default: "7", Help: "How many."})
	list = p.Flag("list", "List.")
	state = p.Add(Option{Name: "state", Arg: OptionalArg, Help: "State.", AvailableIf: []*Option{list}})
	keys = p.Add(Option{Name: "keys", Arg: RequiredArg, Separator: ",", Help: "Keys."})
	return p, topic, partitions, list, state, keys
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--topic", "a", "--list"}, {"--topic=a", "--list"}, {"-topic", "a", "-list"}, {"-topic=a", "--list"}, {"--list", "--topic", "a"},
	} {
		p, topic, partitions, list, _, _ := testParser()
		set, err := p.Parse(args)
		if err != nil {
			t.Errorf("%q: %v", args, err)
			continue
		}
		if got := set.String(topic); got != "a" || !set.Has(list) || set.Int(partitions) != 7 || set.Err() != nil {
			t.Errorf("%q: topic %q, list %t, partitions %d, %v", args, got, set.Has(list), set.Int(partitions), set.Err())
		}
	}
}

func TestArgumentForms(t *testing.T) {
	t.Parallel()
	p, topic, _, list, state, keys := testParser()
	set, err := p.Parse([]string{"--list", "--state", "--topic", "-dash", "--topic", "b", "--keys", "a,b", "--keys=c", "word", "--", "--list"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(set.Values(topic), " "); got != "-dash b" {
		t.Errorf("topics %q: a required argument may begin with a dash", got)
	}
	if !set.Has(state) || len(set.Values(state)) != 0 {
		t.Errorf("state has values %q: an option is no optional argument", set.Values(state))
	}
	if got := strings.Join(set.Values(keys), " "); got != "a b c" {
		t.Errorf("keys %q", got)
	}
	if got := strings.Join(set.Operands(), " "); got != "word --list" {
		t.Errorf("operands %q", got)
	}
	if set.Count(list, topic) != 2 {
		t.Errorf("count %d", set.Count(list, topic))
	}
	set, err = p.Parse([]string{"--list", "--state", "stable"})
	if err != nil || set.String(state) != "stable" {
		t.Errorf("state %q, %v", set.String(state), err)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--foo"}, "foo is not a recognized option"},
		{[]string{"-foo"}, "f is not a recognized option"},
		{[]string{"--top", "x"}, "top is not a recognized option\nDid you mean --topic?"},
		{[]string{"--topic"}, "Option topic requires an argument"},
		{[]string{"--list=x"}, "Option list does not take an argument"},
		{[]string{"--state"}, "Option(s) [state] are unavailable given other options on the command line"},
	} {
		p, _, _, _, _, _ := testParser()
		if _, err := p.Parse(test.args); err == nil || err.Error() != test.want {
			t.Errorf("%q: %v; want %s", test.args, err, test.want)
		}
	}
}

func TestAccessorErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--partitions", "abc"}, "Cannot parse argument 'abc' of option partitions"},
		{[]string{"--partitions", "3000000000"}, "Cannot parse argument '3000000000' of option partitions"},
		{[]string{"--partitions", "1", "--partitions", "2"}, "Found multiple arguments for option partitions, but you asked for only one"},
	} {
		p, _, partitions, _, _, _ := testParser()
		set, err := p.Parse(test.args)
		if err != nil {
			t.Fatal(err)
		}
		set.Int(partitions)
		if set.Err() == nil || set.Err().Error() != test.want {
			t.Errorf("%q: %v; want %s", test.args, set.Err(), test.want)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	s := Streams{Out: &out, Err: &errs}
	p, topic, _, list, _, _ := testParser()
	set, _ := p.Parse([]string{"--list"})
	if err := set.CheckRequired(s, list, topic); Exit(s, err) != 1 {
		t.Errorf("%v", err)
	}
	if !strings.HasPrefix(errs.String(), "Missing required argument \"[topic]\"\nOption                                   Description\n------ ") {
		t.Errorf("usage text %q", errs.String())
	}
	if !strings.Contains(errs.String(), "--topic <String: topic>                  The topic.\n") {
		t.Errorf("usage text %q", errs.String())
	}
	for _, line := range strings.Split(errs.String(), "\n") {
		if len(line) > usageWidth {
			t.Errorf("line of %d characters: %q", len(line), line)
		}
	}
	empty, _ := p.Parse(nil)
	if done, err := empty.HelpOrVersion(s, "summary"); !done || Exit(s, err) != 1 {
		t.Errorf("an empty command line: %t %v", done, err)
	}
	version, _ := p.Parse([]string{"--version"})
	if done, err := version.HelpOrVersion(s, "summary"); !done || err != nil || out.String() != KafkaVersion+"\n" {
		t.Errorf("--version: %t %v %q", done, err, out.String())
	}
}

func TestSubCommands(t *testing.T) {
	t.Parallel()
	p := &SubParser{Program: "tool", Commands: []SubCommand{{Name: "act", Arguments: []Argument{
		{Long: "--cluster-id", Short: "-t", Required: true}, {Long: "--config", Short: "-c"}, {Long: "--force", Short: "-f", IsFlag: true},
	}}}}
	for _, args := range [][]string{
		{"act", "--cluster-id", "x", "-f"}, {"act", "-t", "x", "--force"}, {"act", "-tx", "-f"}, {"act", "--cl=x", "--fo"},
	} {
		parsed, err := p.Parse(Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, args)
		if err != nil || parsed.Value("--cluster-id") != "x" || !parsed.Has("--force") || parsed.Has("--config") {
			t.Errorf("%q: %+v %v", args, parsed, err)
		}
	}
	for _, test := range []struct{ args, want string }{
		{"", "too few arguments"}, {"other", "invalid choice: 'other' (choose from 'act')"}, {"act", "argument --cluster-id/-t is required"},
		{"act -t", "argument --cluster-id/-t: expected one argument"}, {"act -t x -z", "unrecognized arguments: '-z'"},
		{"act -t x --c y", "unrecognized arguments: '--c'"}, {"act --force=1", "argument --force/-f: ignored explicit argument '1'"},
	} {
		var errs bytes.Buffer
		if _, err := p.Parse(Streams{Err: &errs}, strings.Fields(test.args)); err == nil || !strings.HasSuffix(errs.String(), "tool: error: "+test.want+"\n") {
			t.Errorf("%q: %v %q; want %s", test.args, err, errs.String(), test.want)
		}
	}
	var out bytes.Buffer
	if _, err := p.Parse(Streams{Out: &out}, []string{"--help"}); err != ErrHelp || !strings.Contains(out.String(), "positional arguments:") {
		t.Errorf("--help: %v %q", err, out.String())
	}
}

func TestTopicFilter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		expression, topic string
		excludeInternal   bool
		want              bool
	}{
		{"a", "a", false, true}, {"a", "ab", false, false}, {"a.*", "ab", false, true}, {"a,b", "b", false, true}, {"a, b", "b", false, true},
		{`"a"`, "a", false, true}, {".*", "__consumer_offsets", false, true}, {".*", "__consumer_offsets", true, false}, {"a|bc", "abc", false, false},
	} {
		filter, err := NewTopicFilter(test.expression)
		if err != nil {
			t.Fatal(err)
		}
		if got := filter.Allows(test.topic, test.excludeInternal); got != test.want {
			t.Errorf("%q allows %q: %t", test.expression, test.topic, got)
		}
	}
	if _, err := NewTopicFilter("["); err == nil {
		t.Error("[ is no regular expression")
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	if _, err := LoadProperties(t.TempDir() + "/none"); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing file: %v", err)
	}
	got := ParseKeyValues([]string{"a=1", "b=x=y", "c", "a=2"})
	if got["a"] != "2" || got["b"] != "x=y" || got["c"] != "" || len(got) != 3 {
		t.Errorf("%v", got)
	}
}
