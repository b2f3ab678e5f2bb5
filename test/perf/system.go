package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// system is one broker with its data folder.
type system struct {
	name, folder string
	port         int
	format       func(context.Context) error // makes the data folder
	command      func() *exec.Cmd
}

func newMoldau(binary, folder string, settings []string) system {
	port := freePort()
	args := []string{"start", "--data-dir", filepath.Join(folder, "data"), "--port", strconv.Itoa(port), "--override", "http.listen="}
	for _, setting := range settings {
		args = append(args, "--override", setting)
	}
	s := system{name: "Moldau", folder: folder, port: port, command: func() *exec.Cmd { return exec.Command(binary, args...) }}
	s.format = func(ctx context.Context) error {
		p, err := start(s)
		if err != nil {
			return err
		}
		return errors.Join(firstProduce(ctx, s.addr(), "first", 0), p.stop())
	}
	return s
}

func newKafka(script, folder string, settings []string) system {
	port := freePort()
	return system{
		name: "Apache Kafka", folder: folder, port: port,
		format: func(ctx context.Context) error {
			args := append([]string{"start", "--port", strconv.Itoa(port), "--dir", folder}, settings...)
			out, err := exec.CommandContext(ctx, script, args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return exec.CommandContext(ctx, script, "stop", "--dir", folder).Run()
		},
		command: func() *exec.Cmd { return exec.Command(script, "serve", filepath.Join(folder, "server.properties")) },
	}
}

// outputEnd is the last of what the broker has printed.
func (s system) outputEnd() string {
	output, err := os.ReadFile(filepath.Join(s.folder, "output.log"))
	if err != nil {
		return err.Error()
	}
	return string(output[max(0, len(output)-2000):])
}

func (s system) addr() string { return fmt.Sprintf("localhost:%d", s.port) }

func freePort() int {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		next, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1)) // Apache Kafka's controller takes the next port
		if err == nil {
			next.Close()
			return port
		}
	}
}

// process is a running broker.
type process struct {
	cmd  *exec.Cmd
	done chan error
}

func start(s system) (*process, error) {
	if conn, err := net.Dial("tcp", s.addr()); err == nil {
		conn.Close()
		return nil, fmt.Errorf("somebody else listens on %s", s.addr())
	}
	output, err := os.OpenFile(filepath.Join(s.folder, "output.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := s.command()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("the broker did not stop within %s", stopTimeout), p.kill())
	}
}

const stopTimeout = 3 * time.Minute

func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.done
	return err
}

// cpu returns the user and system time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The fields after the command's name, which stands in parentheses: utime is the 12th.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const ticksPerSecond = 100 // USER_HZ, the same on every Linux platform Go runs on
	return time.Duration(user+system) * time.Second / ticksPerSecond, errors.Join(err1, err2)
}

func (p *process) residentBytes() (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	resident, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	return float64(resident) * float64(os.Getpagesize()), err
}

// cost runs work and returns the broker's CPU time and the wall time that it took.
func (p *process) cost(work func() error) (cpu, wall time.Duration, err error) {
	before, err := p.cpu()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return 0, 0, err
	}
	wall = time.Since(began)
	after, err := p.cpu()
	return after - before, wall, err
}
