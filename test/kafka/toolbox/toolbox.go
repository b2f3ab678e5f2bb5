package toolbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// timeout bounds the run of one tool.
const timeout = 2 * time.Minute

// Output is what a tool leaves behind.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Toolbox has the tools of one side.
type Toolbox interface {
	// Run runs a tool: the first word is its name without "kafka-".
	Run(words []string, stdin string) (Output, error)
}

// Program is a command line that tools' names are appended to, such as the moldau binary.
type Program []string

// Run runs a tool in a process of its own.
func (p Program) Run(words []string, stdin string) (Output, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p[0], append(p[1:len(p):len(p)], words...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = exit.ExitCode(), nil
	}
	return Output{stdout.String(), stderr.String(), code}, err
}

// WarmJVM has Apache Kafka's tools and runs them one after the other in one JVM, as
// test/kafka/ToolRunner.java describes. It is used by one goroutine at a time.
type WarmJVM struct {
	script  string
	classes map[string]string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// NewWarmJVM returns the toolbox of the script test/kafka/kafka. The JVM starts with the first tool.
func NewWarmJVM(script string) *WarmJVM {
	return &WarmJVM{script: script, classes: map[string]string{}}
}

func (j *WarmJVM) start() (err error) {
	j.cmd = exec.Command(j.script, "tools")
	j.cmd.Stderr = os.Stderr
	if j.in, err = j.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	j.out = bufio.NewReader(out)
	return j.cmd.Start()
}

// Stop ends the JVM; the next run starts another one.
func (j *WarmJVM) Stop() {
	if j.cmd == nil {
		return
	}
	j.in.Close()
	patience := time.AfterFunc(5*time.Second, func() { _ = j.cmd.Process.Kill() })
	_ = j.cmd.Wait()
	patience.Stop()
	j.cmd = nil
}

// Run implements Toolbox.
func (j *WarmJVM) Run(words []string, stdin string) (Output, error) {
	name := words[0]
	if strings.HasPrefix(name, "verifiable-") { // their last words come when the JVM ends
		return Program{j.script, "tool"}.Run(words, stdin)
	}
	if j.classes[name] == "" {
		class, err := exec.Command(j.script, "tool-class", name).Output()
		if err != nil {
			return Output{}, fmt.Errorf("Apache Kafka's tool %s: %w", name, err)
		}
		j.classes[name] = strings.TrimSpace(string(class))
	}
	if j.cmd == nil {
		if err := j.start(); err != nil {
			return Output{}, err
		}
	}
	question := binary.BigEndian.AppendUint32(nil, uint32(len(words)))
	for _, word := range append([]string{j.classes[name]}, append(words[1:len(words):len(words)], stdin)...) {
		question = binary.BigEndian.AppendUint32(question, uint32(len(word)))
		question = append(question, word...)
	}
	patience := time.AfterFunc(timeout, func() { _ = j.cmd.Process.Kill() })
	defer patience.Stop()
	answer, err := j.ask(question)
	if err != nil {
		// Some mistakes end argparse's tools without a chance to hold the JVM: one of their own, then.
		j.Stop()
		return Program{j.script, "tool"}.Run(words, stdin)
	}
	return answer, nil
}

func (j *WarmJVM) ask(question []byte) (Output, error) {
	if _, err := j.in.Write(question); err != nil {
		return Output{}, err
	}
	var code int32
	if err := binary.Read(j.out, binary.BigEndian, &code); err != nil {
		return Output{}, err
	}
	var texts [2]string
	for i := range texts {
		var size int32
		if err := binary.Read(j.out, binary.BigEndian, &size); err != nil {
			return Output{}, err
		}
		text := make([]byte, size)
		if _, err := io.ReadFull(j.out, text); err != nil {
			return Output{}, err
		}
		texts[i] = string(text)
	}
	return Output{texts[0], texts[1], int(code)}, nil
}
