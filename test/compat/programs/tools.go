//go:build unix

package programs

import (
	"path/filepath"
	"testing"

	"github.com/moldau/moldau/test/kafka/toolbox"
)

// Tools are Apache Kafka's command line tools, in one JVM.
type Tools struct{ jvm *toolbox.WarmJVM }

// StartTools has the JVM end with the test.
func StartTools(t *testing.T) *Tools {
	t.Helper()
	script, err := filepath.Abs("../../kafka/kafka")
	if err != nil {
		t.Fatal(err)
	}
	tools := &Tools{toolbox.NewWarmJVM(script)}
	t.Cleanup(tools.jvm.Stop)
	return tools
}

// Run runs a tool: its name without kafka-, its arguments, what it reads.
func (tools *Tools) Run(t *testing.T, stdin, name string, args ...string) toolbox.Output {
	t.Helper()
	o, err := tools.jvm.Run(append([]string{name}, args...), stdin)
	if err != nil {
		t.Fatalf("Apache Kafka's tool %s: %v", name, err)
	}
	return o
}
