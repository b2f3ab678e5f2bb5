//go:build unix

package eos

import (
	"os"
	"os/exec"
	"testing"
)

// TestLibrdkafka runs instances of transform.py: confluent-kafka over librdkafka.
func TestLibrdkafka(t *testing.T) {
	python := os.Getenv("EOS_PYTHON")
	if python == "" {
		t.Skip("needs Python: test/compat/run eos")
	}
	run(t, program{name: "librdkafka", instances: 3, outputOf: upperCase, command: func() *exec.Cmd {
		return exec.Command(python, "python/transform.py")
	}})
}
