package apptest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
)

// patience bounds every wait for a process. It is far above what is needed, since test machines
// are shared.
const patience = 30 * time.Second

// shell is what a user has after `moldau install-tools`: tools by Kafka's names, and a home of
// their own.
type shell struct {
	t     *testing.T
	home  string
	tools string
	env   []string
	// asNobody runs commands as a user without rights, which only root can do.
	asNobody bool
}

func newShell(t *testing.T) *shell {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("LOUD SKIP: these tests send signals and run links")
	}
	s := &shell{t: t, home: t.TempDir(), tools: t.TempDir()}
	s.env = kafkatest.IsolatedEnv(s.home)
	out, err := exec.Command(kafkatest.Binary(t), "install-tools", s.tools).CombinedOutput()
	if err != nil {
		t.Fatalf("install-tools: %v\n%s", err, out)
	}
	return s
}

// process is a running command of a shell.
type process struct {
	t          *testing.T
	name       string
	cmd        *exec.Cmd
	in         io.WriteCloser
	out, errs  watchedBuffer
	exited     chan struct{}
	launchedAt time.Time
}

// launch starts moldau or a tool by name. It is killed with the test if it still runs.
func (s *shell) launch(name string, args ...string) *process {
	s.t.Helper()
	path := filepath.Join(s.tools, name)
	if name == "moldau" {
		path = kafkatest.Binary(s.t)
	}
	p := &process{t: s.t, name: name + " " + strings.Join(args, " "), cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Env, p.cmd.Dir = s.env, s.home
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errs
	p.cmd.SysProcAttr = ownGroup(s.asNobody)
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	p.launchedAt = time.Now()
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.exited)
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if s.t.Failed() {
			s.t.Logf("$ %s\n%s%s[%v]", p.name, tail(p.out.String()), tail(p.errs.String()), p.cmd.ProcessState)
		}
	})
	return p
}

// tail keeps a failed test's log readable.
func tail(text string) string { return text[max(0, len(text)-4096):] }

// run runs a command to its end with in on its standard input.
func (s *shell) run(in string, name string, args ...string) (code int, out, errs string) {
	s.t.Helper()
	p := s.launch(name, args...)
	p.typeIn(in)
	_ = p.in.Close()
	return p.await(), p.out.String(), p.errs.String()
}

// must runs a command that has to succeed and returns what it prints.
func (s *shell) must(in string, name string, args ...string) string {
	s.t.Helper()
	code, out, errs := s.run(in, name, args...)
	if code != 0 {
		s.t.Fatalf("$ %s %s\nexit code %d\n%s%s", name, strings.Join(args, " "), code, out, errs)
	}
	return out
}

// typeIn writes text to standard input. A process that ended without reading all of it is no failure here.
func (p *process) typeIn(text string) { _, _ = io.WriteString(p.in, text) }

// await waits for the end and returns the exit code.
func (p *process) await() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("$ %s\ndoes not end\n%s%s", p.name, p.out.String(), p.errs.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// interrupt sends a signal and returns the exit code.
func (p *process) interrupt(s syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("$ %s\n%v", p.name, err)
	}
	return p.await()
}

// awaitOutput returns when pattern has appeared on standard output.
func (p *process) awaitOutput(pattern string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := regexp.MustCompile(pattern)
	for {
		changed := p.out.changed()
		if want.MatchString(p.out.String()) {
			return
		}
		select {
		case <-changed:
		case <-p.exited:
			if !want.MatchString(p.out.String()) {
				p.t.Fatalf("$ %s\nended without %q\n%s%s", p.name, pattern, p.out.String(), p.errs.String())
			}
			return
		case <-ctx.Done():
			p.t.Fatalf("$ %s\nno %q within %v\n%s%s", p.name, pattern, patience, p.out.String(), p.errs.String())
		}
	}
}

// watchedBuffer is output that tests wait for.
type watchedBuffer struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	signal chan struct{}
}

func (w *watchedBuffer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.signal != nil {
		close(w.signal)
		w.signal = nil
	}
	return w.buf.Write(p)
}

func (w *watchedBuffer) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// changed returns a channel that the next write closes.
func (w *watchedBuffer) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.signal == nil {
		w.signal = make(chan struct{})
	}
	return w.signal
}

// server is a broker that was started by moldau start or kafka-server-start.
type server struct {
	*process
	dir       string
	bootstrap string
}

// ready is the last line of what a broker prints when it has started.
const ready = `Ctrl-C stops it\.\n`

// start runs moldau start on a folder and a free port, without HTTP, and waits until it is ready.
func (s *shell) start(dir string, args ...string) *server {
	s.t.Helper()
	port := kafkatest.FreePort(s.t)
	p := s.launch("moldau", append([]string{"start", "--data-dir", dir, "--port", fmt.Sprint(port), "--override", "http.listen="}, args...)...)
	p.awaitOutput(ready)
	return &server{p, dir, fmt.Sprintf("localhost:%d", port)}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func requireMatch(t *testing.T, what, got, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(got) {
		t.Errorf("%s is\n%s\nwant %s", what, got, pattern)
	}
}
