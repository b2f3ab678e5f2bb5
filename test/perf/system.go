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

	"github.com/moldau/moldau/test/perf/load"
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

// newProbe is the limit of the machine; it forgets its data when it stops.
func newProbe(binary, folder string) system {
	port := freePort()
	return system{
		name: "probe", folder: folder, port: port,
		format: func(context.Context) error { return nil },
		command: func() *exec.Cmd {
			return exec.Command(binary, "-listen", fmt.Sprintf("localhost:%d", port), "-dir", filepath.Join(folder, "data"))
		},
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

// firstPort and lastPort lie below those that the system gives to clients' connections: a port
// cannot be taken by one between now and the start of a broker.
const firstPort, lastPort = 24000, 24499

// freePort returns a port that is free, as is the next: Apache Kafka's controller takes that.
// Processes that measure at the same time begin far from each other.
func freePort() int {
	for port := firstPort + os.Getpid()%12*40; port < lastPort; port += 2 {
		if isFree(port) && isFree(port+1) && !given[port] {
			given[port] = true
			return port
		}
	}
	panic(fmt.Sprintf("no two ports next to each other are free from %d to %d", firstPort, lastPort))
}

var given = map[int]bool{} // the harness gives ports from one goroutine

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// process is a running broker.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
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
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // however it ended
		close(p.done)
	}()
	return p, nil
}

func (p *process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
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
func (p *process) cpu() (time.Duration, error) { return load.CPUTime(p.cmd.Process.Pid) }

func (p *process) residentBytes() (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	resident, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	return float64(resident) * float64(os.Getpagesize()), err
}

// forgetPeak begins a new peak of the resident memory.
func (p *process) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// peakBytes is the most that has been resident since forgetPeak.
func (p *process) peakBytes() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib * 1024, err
		}
	}
	return 0, errors.New("the kernel tells no VmHWM")
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
