package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 10 * time.Second
	pingInterval = 20 * time.Millisecond
)

// broker is a broker that runs as a child process on a temporary folder.
type broker struct {
	address string
	folder  string
	command *exec.Cmd
	exited  chan struct{} // closed after the process has ended
	output  string        // path of what it printed
}

// startBroker returns once the broker answers.
func startBroker(ctx context.Context, s cli.Streams, program string) (*broker, error) {
	folder, err := os.MkdirTemp("", "moldau-demo-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder for the demo's data: %w", err)
	}
	b := &broker{folder: folder, exited: make(chan struct{}), output: filepath.Join(folder, "broker.log")}
	started := time.Now()
	if err := b.launch(program); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err := b.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	s.Printf("A broker runs on %s, ready after %d ms, with its data in %s\n", b.address, time.Since(started).Milliseconds(), folder)
	return b, nil
}

func (b *broker) launch(program string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	b.address = fmt.Sprintf("127.0.0.1:%d", port)
	output, err := os.Create(b.output)
	if err != nil {
		return fmt.Errorf("creating the broker's log: %w", err)
	}
	defer output.Close()
	b.command = exec.Command(program, "start", "--data-dir", filepath.Join(b.folder, "data"),
		"--override", "listeners=PLAINTEXT://"+b.address, "--override", "http.listen=",
		"--override", "group.initial.rebalance.delay.ms=0")
	b.command.Stdout, b.command.Stderr = output, output
	b.command.SysProcAttr = apart()
	if err := b.command.Start(); err != nil {
		return fmt.Errorf("starting a broker: %w", err)
	}
	go func() {
		_ = b.command.Wait() // how it ended is seen in its state
		close(b.exited)
	}()
	return nil
}

// freePort returns a port that nobody listens on now.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (b *broker) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	probe, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.RequestRetries(0), kgo.DisableClientMetrics())
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
			return fmt.Errorf("the broker ended at once (%s): %s", b.command.ProcessState, b.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("the broker on %s did not answer: %w: %s", b.address, ctx.Err(), b.lastWords())
		case <-time.After(pingInterval):
		}
	}
}

// lastWords is the end of what the broker printed.
func (b *broker) lastWords() string {
	const most = 1000
	text, err := os.ReadFile(b.output)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

// stop ends the broker and removes its folder.
func (b *broker) stop() error {
	if err := b.command.Process.Signal(syscall.SIGTERM); err != nil {
		_ = b.command.Process.Kill() // where there are no signals
	}
	select {
	case <-b.exited:
	case <-time.After(stopTimeout):
		_ = b.command.Process.Kill()
		<-b.exited
	}
	if err := os.RemoveAll(b.folder); err != nil {
		return fmt.Errorf("removing the demo's data: %w", err)
	}
	return nil
}
