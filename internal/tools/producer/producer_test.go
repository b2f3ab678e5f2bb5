package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
)

// show prints a record as headers|key|value with <nil> for null.
func show(r *kgo.Record) string {
	field := func(b []byte) string {
		if b == nil {
			return "<nil>"
		}
		return string(b)
	}
	var headers []string
	for _, h := range r.Headers {
		headers = append(headers, h.Key+"="+field(h.Value))
	}
	return strings.Join(headers, ";") + "|" + field(r.Key) + "|" + field(r.Value)
}

func TestReader(t *testing.T) {
	t.Parallel()
	both := []string{"parse.key=true", "parse.headers=true"}
	for _, test := range []struct {
		properties []string
		line, want string
	}{
		{nil, "a", "|<nil>|a"},
		{nil, "a\tb", "|<nil>|a\tb"},
		{nil, "", "|<nil>|"},
		{nil, "\x80\xff", "|<nil>|\x80\xff"},
		{[]string{"parse.key=true"}, "k\tv\tw", "|k|v\tw"},
		{[]string{"parse.key= TRUE "}, "k\t", "|k|"},
		{[]string{"parse.key=true", "key.separator=::"}, "k::v", "|k|v"},
		{[]string{"parse.key=true", "null.marker=NULL"}, "NULL\tv", "|<nil>|v"},
		{[]string{"parse.key=true", "null.marker=NULL"}, "k\tNULL", "|k|<nil>"},
		{[]string{"parse.key=true", "ignore.error=true"}, "v", "|<nil>|v"},
		{both, "h1:x,h2:y\tk\tv", "h1=x;h2=y|k|v"},
		{both, "h1:,h2:y:z\tk\tv", "h1=;h2=y:z|k|v"},
		{append(both, "null.marker=-"), "h1:-\t-\t-", "h1=<nil>|<nil>|<nil>"},
		{append(both, "null.marker=-"), "-\tk\tv", "|k|v"},
		{append(both, "ignore.error=true"), "plain\tk\tv", "plain=<nil>|k|v"},
		{append(both, "headers.delimiter=|", "headers.separator=;", "headers.key.separator=="), "a=1;b=2|k\tv", "a=1;b=2|k|v"},
	} {
		r, err := newLineReader(strings.NewReader(test.line+"\n"), cli.ParseKeyValues(test.properties), func() {})
		if err != nil {
			t.Errorf("%q: %v", test.properties, err)
			continue
		}
		record, err := r.next()
		if err != nil {
			t.Errorf("%q %q: %v", test.properties, test.line, err)
			continue
		}
		if got := show(record); got != test.want {
			t.Errorf("%q %q: %q; want %q", test.properties, test.line, got, test.want)
		}
		if _, err := r.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%q: after the last line: %v", test.line, err)
		}
	}
}

func TestReaderLineEnds(t *testing.T) {
	t.Parallel()
	prompts := 0
	r, err := newLineReader(strings.NewReader("a\r\nb\n\nlast"), nil, func() { prompts++ })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		record, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(record.Value))
	}
	if want := "[a b  last]"; fmt.Sprint(got) != want || prompts != 5 {
		t.Errorf("%v, %d prompts; want %s, 5", got, prompts, want)
	}
}

func TestReaderErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ properties, line, want string }{
		{"parse.key=true", "nokey", "No key separator found on line number 1: 'nokey'"},
		{"parse.headers=true", "x", "No headers delimiter found on line number 1: 'x'"},
		{"parse.headers=true", "x\tv", "No header key separator found in pair 'x' on line number 1"},
		{"parse.headers=true null.marker=N", "N:1\tv", "Header keys should not be equal to the null marker 'N' as they can't be null"},
		{"headers.delimiter=,", "", "headers.delimiter and headers.separator may not be equal"},
		{"headers.delimiter=:", "", "headers.delimiter and headers.key.separator may not be equal"},
		{"headers.separator=:", "", "headers.separator and headers.key.separator may not be equal"},
		{"null.marker=:", "", "null.marker and headers.key.separator may not be equal"},
		{"null.marker=x key.separator=x", "", "null.marker and key.separator may not be equal"},
	} {
		r, err := newLineReader(strings.NewReader(test.line), cli.ParseKeyValues(strings.Fields(test.properties)), func() {})
		if err == nil {
			_, err = r.next()
		}
		if err == nil || err.Error() != test.want {
			t.Errorf("%s %q: %v; want %s", test.properties, test.line, err, test.want)
		}
	}
	if _, err := newLineReader(nil, map[string]string{"headers.separator": "["}, func() {}); err == nil {
		t.Error("[ is no regular expression")
	}
}

func parse(t *testing.T, args string) *options {
	t.Helper()
	o := newOptions()
	set, err := o.parser.Parse(strings.Fields(args))
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	o.Set = set
	return o
}

func TestProperties(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, name, want string }{
		{"", "acks", "-1"}, {"", "linger.ms", ""}, {"", "client.id", "console-producer"}, {"", "compression.type", "none"},
		{"--request-required-acks 1", "acks", "1"}, {"--command-property acks=0", "acks", "0"},
		{"--command-property acks=0 --request-required-acks all", "acks", "all"}, {"--timeout 20", "linger.ms", "20"}, {"--sync", "linger.ms", "0"},
		{"--compression-codec", "compression.type", "gzip"}, {"--compression-codec lz4", "compression.type", "lz4"},
		{"--compression-codec=zstd", "compression.type", "zstd"}, {"--command-property client.id=x", "client.id", "x"},
		{"--max-block-ms 5", "max.block.ms", "5"}, {"--message-send-max-retries 10", "retries", "10"},
	} {
		props, err := parse(t, "--topic t --bootstrap-server b:1 "+test.args).producerProperties()
		if err != nil || props[test.name] != test.want {
			t.Errorf("%s: %s is %q, %v; want %q", test.args, test.name, props[test.name], err, test.want)
		}
	}
}

func TestFormerSpellings(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := parse(t, "--topic t --bootstrap-server b:1 --property parse.key=true --producer-property acks=1")
	if err := o.check(cli.Streams{Out: &out}); err != nil {
		t.Fatal(err)
	}
	want := "Warning: --producer-property is deprecated and will be removed in a future version. Use --command-property instead.\n" +
		"Warning: --property is deprecated and will be removed in a future version. Use --reader-property instead.\n"
	if out.String() != want {
		t.Errorf("%q", out.String())
	}
	reader, err := o.readerProperties()
	if err != nil || reader["parse.key"] != "true" {
		t.Errorf("%v %v", reader, err)
	}
	if props, err := o.producerProperties(); err != nil || props["acks"] != "1" {
		t.Errorf("%v %v", props, err)
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"", Summary},
		{"--topic t", "Error while validating the bootstrap address"},
		{"--bootstrap-server b:1", `Missing required argument "[topic]"`},
		{"--bootstrap-server foo --topic t", "Please provide valid host:port like host1:9091,host2:9092"},
		{"--bootstrap-server b:1 --topic t --reader-property a=b --property c=d", "Options --reader-property and --property cannot be specified together."},
		{"--bootstrap-server b:1 --topic t --compression-codec foo", "org.apache.kafka.common.config.ConfigException: Invalid value foo for configuration compression.type: String must be one of: none, gzip, snappy, lz4, zstd"},
		{"--bootstrap-server b:1 --topic t --line-reader x.Y", "java.lang.ClassNotFoundException: x.Y (this tool has only " + lineReaderClass + ")"},
		{"--bootstrap-server b:1 --topic t --max-block-ms x", "org.apache.kafka.common.config.ConfigException: Invalid value x for configuration max.block.ms: Not a number of type LONG"},
		{"--bootstrap-server b:1 --topic t --foo", "foo is not a recognized option"},
	} {
		var errs bytes.Buffer
		s := cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: &errs}
		code := cli.Exit(s, Run(context.Background(), s, strings.Fields(test.args)))
		if first, _, _ := strings.Cut(errs.String(), "\n"); code != 1 || first != test.want {
			t.Errorf("%s: exit %d, %q; want %q", test.args, code, first, test.want)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add("h:1,g:2\tk\tv", true, true)
	f.Add("", false, false)
	f.Fuzz(func(t *testing.T, line string, key, headers bool) {
		props := map[string]string{"parse.key": fmt.Sprint(key), "parse.headers": fmt.Sprint(headers), "ignore.error": "true", "null.marker": "-"}
		r, err := newLineReader(strings.NewReader(line), props, func() {})
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := r.next(); err != nil {
				return
			}
		}
	})
}
