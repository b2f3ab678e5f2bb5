package kafkatest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ReadyTimeout bounds how long a broker may take to answer its first request. Far above what
// it needs, since test machines are shared.
const ReadyTimeout = 30 * time.Second

// Broker is a moldau process under test.
type Broker struct {
	DataDir   string
	Port      int
	Overrides []string // key=value
	Join      string   // host:port of a node of the cluster to join; "" for none
	// Program is the binary to run, "" for the one under test.
	Program string

	// Host is localhost where it is empty. Who puts a broker elsewhere, into a namespace say, also starts its
	// process and connects to it.
	Host         string
	StartProcess func(*exec.Cmd) error
	Dial         func(ctx context.Context, network, host string) (net.Conn, error)

	t       testing.TB
	home    string
	mu      sync.Mutex
	cmd     *exec.Cmd
	output  *syncBuffer
	waitErr error
	exited  chan struct{}
}

// StartBroker starts a broker on a fresh folder and a free port, waits until it answers, and
// ends it with the test.
func StartBroker(t testing.TB, overrides ...string) *Broker {
	t.Helper()
	b := NewBroker(t, overrides...)
	b.Start()
	return b
}

// NewBroker prepares a broker without starting it.
func NewBroker(t testing.TB, overrides ...string) *Broker {
	t.Helper()
	b := &Broker{DataDir: t.TempDir(), Port: FreePort(t), Overrides: overrides, t: t, home: t.TempDir(), output: &syncBuffer{}}
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Logf("output of the broker on port %d:\n%s", b.Port, b.output.tail(8<<10))
		}
	})
	return b
}

// Addr is the broker's bootstrap address.
func (b *Broker) Addr() string {
	return net.JoinHostPort(cmp.Or(b.Host, "localhost"), fmt.Sprint(b.Port))
}

// Output returns what the broker has printed so far.
func (b *Broker) Output() string { return b.output.tail(1 << 20) }

// Start starts the process and waits until the broker answers a request.
func (b *Broker) Start() {
	b.t.Helper()
	b.Launch()
	ctx, cancel := context.WithTimeout(context.Background(), ReadyTimeout)
	defer cancel()
	if err := b.WaitReady(ctx); err != nil {
		b.t.Fatalf("%v\n%s", err, b.Output())
	}
}

// Launch starts the process without waiting for it.
func (b *Broker) Launch() {
	b.t.Helper()
	args := []string{"start", "--data-dir", b.DataDir, "--port", fmt.Sprint(b.Port), "--override", "http.listen="}
	for _, o := range b.Overrides {
		args = append(args, "--override", o)
	}
	if b.Join != "" {
		args = append(args, "--join", b.Join)
	}
	program := b.Program
	if program == "" {
		program = Binary(b.t)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = IsolatedEnv(b.home)
	cmd.Stdout, cmd.Stderr = b.output, b.output
	start := cmd.Start
	if b.StartProcess != nil {
		start = func() error { return b.StartProcess(cmd) }
	}
	if err := start(); err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cmd, b.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) {
		err := cmd.Wait()
		b.mu.Lock()
		b.waitErr = err
		b.mu.Unlock()
		close(exited)
	}(b.exited)
}

// WaitReady returns once the broker has answered a request, or with an error when the
// process ended or ctx is done.
func (b *Broker) WaitReady(ctx context.Context) error {
	opts := []kgo.Opt{kgo.SeedBrokers(b.Addr()), kgo.RetryTimeout(time.Second)}
	if b.Dial != nil {
		opts = append(opts, kgo.Dialer(b.Dial))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		ping, cancel := context.WithTimeout(ctx, time.Second)
		err := client.Ping(ping)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-b.Exited():
			return fmt.Errorf("the broker ended while starting: %v", b.exitError())
		case <-ctx.Done():
			return fmt.Errorf("the broker does not answer: %w", err)
		case <-poll.C:
		}
	}
}

// Exited is closed when the process has ended.
func (b *Broker) Exited() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exited
}

func (b *Broker) exitError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waitErr
}

// Pid returns the id of the running process.
func (b *Broker) Pid() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cmd.Process.Pid
}

// Kill ends the process with SIGKILL and waits for it. It is idempotent.
func (b *Broker) Kill() {
	b.mu.Lock()
	cmd, exited := b.cmd, b.exited
	b.mu.Unlock()
	if cmd == nil {
		return
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.t.Errorf("kill: %v", err)
	}
	<-exited
}

// Stop asks the process to end, as Ctrl-C does, and fails the test unless it ends cleanly.
func (b *Broker) Stop() {
	b.t.Helper()
	b.mu.Lock()
	cmd, exited := b.cmd, b.exited
	b.mu.Unlock()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatalf("stop: %v", err)
	}
	select {
	case <-exited:
		if err := b.exitError(); err != nil {
			b.t.Fatalf("the broker did not stop cleanly: %v\n%s", err, b.Output())
		}
	case <-time.After(ReadyTimeout):
		b.t.Fatalf("the broker does not stop\n%s", b.Output())
	}
}

// Client returns a franz-go client of the broker, closed with the test.
func (b *Broker) Client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr())}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	return client
}

// IsolatedEnv is this process's environment with all folders that belong to a user below home,
// so that no kafka-server-stop but a test's own finds the test's broker.
func IsolatedEnv(home string) []string {
	return append(os.Environ(), "HOME="+home, "USERPROFILE="+home, "LOCALAPPDATA="+home, "XDG_CACHE_HOME="+home+"/cache", "XDG_DATA_HOME=")
}

// portsGiven are the ports that FreePort has returned, for tests that run side by side.
var portsGiven sync.Map

// FreePort returns a loopback port that nobody listens on. It is below those that systems give
// to outgoing connections: a client that calls a stopped broker again and again would otherwise
// get the broker's own port one day, and the broker could not come back.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(10000)
		if _, taken := portsGiven.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	t.Fatal("no free port between 20000 and 30000")
	return 0
}

// syncBuffer gathers output that two goroutines of os/exec write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *syncBuffer) tail(limitBytes int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buf.Bytes()
	if len(b) > limitBytes {
		b = b[len(b)-limitBytes:]
	}
	return string(b)
}
