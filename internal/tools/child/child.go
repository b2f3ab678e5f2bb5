package child

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 15 * time.Second
	pingInterval = 20 * time.Millisecond
)

// Broker is a broker that runs as a child process.
type Broker struct {
	Address string // for clients

	command *exec.Cmd
	exited  chan struct{} // closed after the process has ended
	output  string        // path of what it printed
}

// Start runs program as a broker that listens on address, with the arguments of moldau start. What it prints
// is added to the file output.
func Start(program, address, output string, args ...string) (*Broker, error) {
	file, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the broker's log: %w", err)
	}
	defer file.Close()
	b := &Broker{Address: address, command: exec.Command(program, slices.Concat([]string{"start"}, args)...), exited: make(chan struct{}), output: output}
	b.command.Stdout, b.command.Stderr = file, file
	b.command.SysProcAttr = apart()
	if err := b.command.Start(); err != nil {
		return nil, fmt.Errorf("starting a broker: %w", err)
	}
	go func() {
		_ = b.command.Wait() // how it ended is seen in its state
		close(b.exited)
	}()
	return b, nil
}

// FreePort returns a port that nobody listens on now.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// AwaitReady returns once the broker answers.
func (b *Broker) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	probe, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.RequestRetries(0), kgo.DisableClientMetrics())
	if err != nil {
		return err
	}
	defer probe.Close()
	for {
		if err := probe.Ping(ctx); err == nil {
			return nil
		}
		select {
		case <-b.exited:
			return fmt.Errorf("the broker ended at once (%s): %s", b.State(), b.LastWords())
		case <-ctx.Done():
			return fmt.Errorf("the broker on %s did not answer: %w: %s", b.Address, ctx.Err(), b.LastWords())
		case <-time.After(pingInterval):
		}
	}
}

// PID is the id of the process.
func (b *Broker) PID() int { return b.command.Process.Pid }

// Exited is closed after the process has ended.
func (b *Broker) Exited() <-chan struct{} { return b.exited }

// State says how the process has ended.
func (b *Broker) State() string { return b.command.ProcessState.String() }

// LastWords is the end of what the broker printed.
func (b *Broker) LastWords() string {
	const most = 1000
	text, err := os.ReadFile(b.output)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

// Stop ends the broker: by a signal, and where that does not help by force.
func (b *Broker) Stop() {
	if err := b.command.Process.Signal(syscall.SIGTERM); err != nil {
		_ = b.command.Process.Kill() // where there are no signals
	}
	select {
	case <-b.exited:
	case <-time.After(stopTimeout):
		_ = b.command.Process.Kill()
		<-b.exited
	}
}
