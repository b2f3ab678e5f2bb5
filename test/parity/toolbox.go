package main

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

// toolTimeout bounds the run of one tool.
const toolTimeout = 2 * time.Minute

// output is what a tool leaves behind.
type output struct {
	stdout, stderr string
	code           int
}

// toolbox runs the tools of one side: the first word is the tool's name without "kafka-".
type toolbox interface {
	run(words []string, stdin string) (output, error)
}

// program is a command line that tools' names are appended to, such as the moldau binary.
type program []string

func (p program) run(words []string, stdin string) (output, error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
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
	return output{stdout.String(), stderr.String(), code}, err
}

// warmJVM runs Apache Kafka's tools in one JVM, as test/kafka/ToolRunner.java describes.
type warmJVM struct {
	script  string
	classes map[string]string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func newWarmJVM(script string) *warmJVM {
	return &warmJVM{script: script, classes: map[string]string{}}
}

func (j *warmJVM) start() (err error) {
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

// stop ends the JVM; the next run starts another one.
func (j *warmJVM) stop() {
	if j.cmd == nil {
		return
	}
	j.in.Close()
	patience := time.AfterFunc(5*time.Second, func() { _ = j.cmd.Process.Kill() })
	_ = j.cmd.Wait()
	patience.Stop()
	j.cmd = nil
}

func (j *warmJVM) run(words []string, stdin string) (output, error) {
	name := words[0]
	if strings.HasPrefix(name, "verifiable-") { // their last words come when the JVM ends
		return program{j.script, "tool"}.run(words, stdin)
	}
	if j.classes[name] == "" {
		class, err := exec.Command(j.script, "tool-class", name).Output()
		if err != nil {
			return output{}, fmt.Errorf("Apache Kafka's tool %s: %w", name, err)
		}
		j.classes[name] = strings.TrimSpace(string(class))
	}
	if j.cmd == nil {
		if err := j.start(); err != nil {
			return output{}, err
		}
	}
	question := binary.BigEndian.AppendUint32(nil, uint32(len(words)))
	for _, word := range append([]string{j.classes[name]}, append(words[1:len(words):len(words)], stdin)...) {
		question = binary.BigEndian.AppendUint32(question, uint32(len(word)))
		question = append(question, word...)
	}
	patience := time.AfterFunc(toolTimeout, func() { _ = j.cmd.Process.Kill() })
	defer patience.Stop()
	answer, err := j.ask(question)
	if err != nil {
		// Some mistakes end argparse's tools without a chance to hold the JVM: one of their own, then.
		j.stop()
		return program{j.script, "tool"}.run(words, stdin)
	}
	return answer, nil
}

func (j *warmJVM) ask(question []byte) (output, error) {
	if _, err := j.in.Write(question); err != nil {
		return output{}, err
	}
	var code int32
	if err := binary.Read(j.out, binary.BigEndian, &code); err != nil {
		return output{}, err
	}
	var texts [2]string
	for i := range texts {
		var size int32
		if err := binary.Read(j.out, binary.BigEndian, &size); err != nil {
			return output{}, err
		}
		text := make([]byte, size)
		if _, err := io.ReadFull(j.out, text); err != nil {
			return output{}, err
		}
		texts[i] = string(text)
	}
	return output{texts[0], texts[1], int(code)}, nil
}
