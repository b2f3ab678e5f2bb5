//go:build unix

package programs

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Tools runs Apache Kafka's command line tools in one JVM, as test/kafka/ToolRunner.java describes.
type Tools struct {
	script string
	in     io.Writer
	out    *bufio.Reader
}

// Output is what a tool leaves behind.
type Output struct {
	Code           int
	Stdout, Stderr string
}

// StartTools starts the JVM and ends it with the test.
func StartTools(t *testing.T) *Tools {
	t.Helper()
	script, err := filepath.Abs("../../kafka/kafka")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script, "tools")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		limit := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		defer limit.Stop()
		_ = cmd.Wait()
	})
	return &Tools{script: script, in: in, out: bufio.NewReader(out)}
}

// Run runs a tool: its name without kafka-, its arguments, what it reads.
func (tools *Tools) Run(t *testing.T, stdin, name string, args ...string) Output {
	t.Helper()
	class, err := exec.Command(tools.script, "tool-class", name).Output()
	if err != nil {
		t.Fatalf("Apache Kafka's tool %s: %v", name, err)
	}
	question := binary.BigEndian.AppendUint32(nil, uint32(1+len(args)))
	for _, word := range append(append([]string{strings.TrimSpace(string(class))}, args...), stdin) {
		question = append(binary.BigEndian.AppendUint32(question, uint32(len(word))), word...)
	}
	if _, err := tools.in.Write(question); err != nil {
		t.Fatal(err)
	}
	var o Output
	o.Code = int(int32(tools.number(t)))
	o.Stdout, o.Stderr = tools.text(t), tools.text(t)
	return o
}

func (tools *Tools) number(t *testing.T) uint32 {
	t.Helper()
	var n uint32
	if err := binary.Read(tools.out, binary.BigEndian, &n); err != nil {
		t.Fatalf("the tools' JVM: %v", err)
	}
	return n
}

func (tools *Tools) text(t *testing.T) string {
	t.Helper()
	text := make([]byte, tools.number(t))
	if _, err := io.ReadFull(tools.out, text); err != nil {
		t.Fatalf("the tools' JVM: %v", err)
	}
	return string(text)
}
