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

// system is one broker that can be started on an existing data folder.
type system struct {
	name    string
	port    int
	prepare func() error // makes the data folder, so that no run pays for it
	command func() *exec.Cmd
}

func newMoldau(binary, folder string) system {
	port := freePort()
	args := []string{"start", "--data-dir", filepath.Join(folder, "moldau"), "--port", strconv.Itoa(port), "--override", "http.listen="}
	s := system{name: "Moldau", port: port, command: func() *exec.Cmd { return exec.Command(binary, args...) }}
	s.prepare = func() error { return startOnce(s) }
	return s
}

func newKafka(script, folder string) system {
	port := freePort()
	dir := filepath.Join(folder, "kafka")
	return system{
		name: "Apache Kafka", port: port,
		prepare: func() error {
			if _, err := os.Stat(filepath.Join(dir, "server.properties")); err == nil {
				return nil
			}
			out, err := exec.Command(script, "start", "--port", strconv.Itoa(port), "--dir", dir).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return exec.Command(script, "stop", "--dir", dir).Run()
		},
		command: func() *exec.Cmd { return exec.Command(script, "serve", filepath.Join(dir, "server.properties")) },
	}
}

func startOnce(s system) error {
	p, err := start(s)
	if err != nil {
		return err
	}
	defer p.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return firstProduce(ctx, s.addr())
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
	cmd := s.command()
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
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
		<-p.done
		return errors.New("the broker did not stop within a minute")
	}
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
