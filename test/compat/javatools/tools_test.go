//go:build unix

package javatools

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/compat/programs"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

// bench is what a test works with: the tools, and a client of its own to see whether it is true.
type bench struct {
	*testing.T
	tools     *programs.Tools
	bootstrap string
	admin     *kadm.Client
}

// TestTools runs the tools, one after the other as they share a JVM.
func TestTools(t *testing.T) {
	bootstrap := programs.Bootstrap(t)
	b := &bench{T: t, tools: programs.StartTools(t), bootstrap: bootstrap, admin: kadm.NewClient(programs.Client(t, bootstrap))}
	for _, test := range []struct {
		name string
		run  func(*bench)
	}{
		{"topics", topics}, {"configs", configs}, {"limits", limits}, {"client metrics", metricsSubscriptions}, {"console", console}, {"groups", groups}, {"offsets and records", offsetsAndRecords},
		{"cluster", cluster}, {"security disabled", securityDisabled}, {"replicas", replicas}, {"transactions", transactions},
		{"producer performance", producerPerformance}, {"consumer performance", consumerPerformance}, {"latency", latency},
		{"verifiable programs", verifiable}, {"application reset", applicationReset},
	} {
		t.Run(test.name, func(t *testing.T) {
			of := *b
			of.T = t
			test.run(&of)
		})
	}
}

// runs runs a tool against the broker; it must end with 0.
func (b *bench) runs(name string, args ...string) string {
	b.Helper()
	return b.ends(0, "", name, args...)
}

// ends runs a tool, which must end with the code, and returns all that it printed.
func (b *bench) ends(code int, stdin, name string, args ...string) string {
	b.Helper()
	o := b.tools.Run(b.T, stdin, name, append([]string{"--bootstrap-server", b.bootstrap}, args...)...)
	if o.Code != code {
		b.Fatalf("kafka-%s %s: ended with %d instead of %d\n%s\n%s", name, strings.Join(args, " "), o.Code, code, o.Stdout, o.Stderr)
	}
	return o.Stdout + o.Stderr
}

// has fails the test unless each of the patterns is found.
func (b *bench) has(out string, patterns ...string) {
	b.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			b.Errorf("no %q in:\n%s", p, out)
		}
	}
}

// file writes a file for a tool to read.
func (b *bench) file(name, content string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func (b *bench) create(topic string, partitions int32) {
	b.Helper()
	if _, err := b.admin.CreateTopic(b.Context(), partitions, programs.Replicas(), nil, topic); err != nil {
		b.Fatal(err)
	}
	programs.Await(b.T, topic+" is there", func() error {
		topics, err := b.admin.ListTopics(b.Context(), topic)
		if err == nil {
			err = topics.Error()
		}
		return err
	})
}

func (b *bench) values(topic string) []string {
	b.Helper()
	values, err := programs.Values(b.T, b.bootstrap, topic)
	if err != nil {
		b.Fatal(err)
	}
	return values
}

// produce has the console producer send the lines.
func (b *bench) produce(topic string, lines ...string) {
	b.Helper()
	b.ends(0, strings.Join(lines, "\n")+"\n", "console-producer", "--topic", topic)
	if got := b.values(topic); !slices.Equal(got, lines) {
		b.Fatalf("%s has %q instead of %q", topic, got, lines)
	}
}

// count is n in the smoke tier, and a hundred times that otherwise.
func count(n int) int {
	if os.Getenv("SMOKE") != "" {
		return n
	}
	return 100 * n
}
