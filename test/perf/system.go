package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moldau/moldau/test/perf/load"
)

// system is a broker or a cluster of them, with its data folder.
type system struct {
	name, folder string
	nodes        []node
	format       func(context.Context) error // makes the data folder
}

// node is one of a system's processes.
type node struct {
	folder  string // its data is in data, what it prints in output.log
	port    int
	command func() *exec.Cmd
}

func (n node) addr() string { return fmt.Sprintf("localhost:%d", n.port) }

func newMoldau(binary, folder string, settings []string) system {
	port := freePort()
	args := []string{"start", "--data-dir", filepath.Join(folder, "data"), "--port", strconv.Itoa(port), "--override", "http.listen="}
	for _, setting := range settings {
		args = append(args, "--override", setting)
	}
	s := system{name: "Moldau", folder: folder, nodes: []node{{folder, port, func() *exec.Cmd { return exec.Command(binary, args...) }}}}
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
		name: "Apache Kafka", folder: folder,
		format: func(ctx context.Context) error {
			args := append([]string{"start", "--port", strconv.Itoa(port), "--dir", folder}, settings...)
			out, err := exec.CommandContext(ctx, script, args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return exec.CommandContext(ctx, script, "stop", "--dir", folder).Run()
		},
		nodes: []node{{folder, port, func() *exec.Cmd { return exec.Command(script, "serve", filepath.Join(folder, "server.properties")) }}},
	}
}

// newProbe is the limit of the machine; it forgets its data when it stops.
func newProbe(binary, folder string) system {
	port := freePort()
	return system{
		name: "probe", folder: folder,
		format: func(context.Context) error { return nil },
		nodes: []node{{folder, port, func() *exec.Cmd {
			return exec.Command(binary, "-listen", fmt.Sprintf("localhost:%d", port), "-dir", filepath.Join(folder, "data"))
		}}},
	}
}

// outputEnd is the last of what each broker has printed.
func (s system) outputEnd() string {
	var all strings.Builder
	for _, n := range s.nodes {
		output, err := os.ReadFile(filepath.Join(n.folder, "output.log"))
		if err != nil {
			output = []byte(err.Error())
		}
		fmt.Fprintf(&all, "%s\n", output[max(0, len(output)-2000):])
	}
	return all.String()
}

// addr are the addresses of all brokers, by comma.
func (s system) addr() string {
	var all []string
	for _, n := range s.nodes {
		all = append(all, n.addr())
	}
	return strings.Join(all, ",")
}

// firstPort and lastPort lie below those that the system gives to clients' connections: a port
// cannot be taken by one between now and the start of a broker.
const firstPort, lastPort = 24000, 24599

// freePort returns a port that is free, as is the next: Apache Kafka's controller takes that.
// Processes that measure at the same time begin far from each other.
func freePort() int {
	return freePorts(1)
}

// freePorts returns the first of so many pairs of ports next to each other.
func freePorts(pairs int) int {
	const all = lastPort + 1 - firstPort
next:
	for i := 0; i < all; i += 2 {
		first := firstPort + (os.Getpid()%12*40+i)%all
		if first+2*pairs > lastPort {
			continue
		}
		for port := first; port < first+2*pairs; port++ {
			if given[port] || !isFree(port) {
				continue next
			}
		}
		for port := first; port < first+2*pairs; port++ {
			given[port] = true
		}
		return first
	}
	panic(fmt.Sprintf("no %d ports next to each other are free from %d to %d", 2*pairs, firstPort, lastPort))
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

// process is a system that runs: one process, or one for each node.
type process struct {
	members []*member
}

// member is the process of one node.
type member struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start starts all nodes of a system.
func start(s system) (*process, error) {
	p := &process{}
	for _, n := range s.nodes {
		m, err := startNode(n)
		if err != nil {
			return nil, errors.Join(err, p.kill())
		}
		p.members = append(p.members, m)
	}
	return p, nil
}

func startNode(n node) (*member, error) {
	if conn, err := net.Dial("tcp", n.addr()); err == nil {
		conn.Close()
		return nil, fmt.Errorf("somebody else listens on %s", n.addr())
	}
	output, err := os.OpenFile(filepath.Join(n.folder, "output.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := n.command()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m := &member{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // however it ended
		close(m.done)
	}()
	return m, nil
}

func (m *member) pid() int { return m.cmd.Process.Pid }

func (m *member) hasEnded() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

func (m *member) stop() error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.done:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("the broker did not stop within %s", stopTimeout), m.kill())
	}
}

const stopTimeout = 3 * time.Minute

func (m *member) kill() error {
	err := m.cmd.Process.Kill()
	<-m.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// each does something to all nodes at once.
func (p *process) each(do func(*member) error) error {
	errs := make([]error, len(p.members))
	var wait sync.WaitGroup
	for i, m := range p.members {
		wait.Go(func() { errs[i] = do(m) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// sum adds what is measured of each node.
func sum[N int | float64 | time.Duration](p *process, measure func(pid int) (N, error)) (all N, err error) {
	for _, m := range p.members {
		n, err := measure(m.pid())
		if err != nil {
			return 0, err
		}
		all += n
	}
	return all, nil
}

func (p *process) stop() error { return p.each((*member).stop) }
func (p *process) kill() error { return p.each((*member).kill) }

func (p *process) pids() (all []int) {
	for _, m := range p.members {
		all = append(all, m.pid())
	}
	return all
}

// hasEnded reports whether one of the nodes runs no longer.
func (p *process) hasEnded() bool { return slices.ContainsFunc(p.members, (*member).hasEnded) }

// cpu returns the user and system time that the processes have used.
func (p *process) cpu() (time.Duration, error) { return sum(p, load.CPUTime) }

func (p *process) residentBytes() (float64, error) {
	return sum(p, func(pid int) (float64, error) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, err
		}
		resident, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
		return float64(resident) * float64(os.Getpagesize()), err
	})
}

// forgetPeak begins a new peak of the resident memory.
func (p *process) forgetPeak() error {
	return p.each(func(m *member) error {
		return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", m.pid()), []byte("5"), 0)
	})
}

// peakBytes is the most that has been resident since forgetPeak: of a cluster the sum over its nodes.
func (p *process) peakBytes() (float64, error) {
	return sum(p, func(pid int) (float64, error) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
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
	})
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
