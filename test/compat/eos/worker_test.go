//go:build unix

package eos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// worker is one instance of a program. It is started again whenever it ends, as a supervisor would
// do, unless it is held.
type worker struct {
	t       *testing.T
	name    string
	command func() *exec.Cmd
	logPath string

	mu      sync.Mutex
	cmd     *exec.Cmd
	held    bool
	stopped bool
	killed  bool
	changed chan struct{} // closed and replaced when held or stopped change
	ended   chan struct{} // closed when it will not be started any more
	exits   int           // that nobody asked for
}

func startWorker(t *testing.T, name string, command func() *exec.Cmd) *worker {
	w := &worker{t: t, name: name, command: command, logPath: filepath.Join(t.TempDir(), name+".log"), changed: make(chan struct{}), ended: make(chan struct{})}
	go w.supervise()
	t.Cleanup(func() {
		w.kill(true)
		w.stop()
		if t.Failed() {
			if log, err := os.ReadFile(w.logPath); err == nil {
				t.Logf("end of what %s printed:\n%s", w.name, log[max(0, len(log)-6000):])
			}
		}
	})
	return w
}

func (w *worker) supervise() {
	defer close(w.ended)
	for {
		cmd := w.launch()
		if cmd == nil {
			return
		}
		err := cmd.Wait()
		w.mu.Lock()
		w.cmd = nil
		if !w.killed && !w.stopped {
			w.exits++
			w.t.Logf("%s ended by itself and is started again: %v", w.name, err)
		}
		w.killed = false
		w.mu.Unlock()
	}
}

// launch starts the process once it may run; nil if it is to run no more.
func (w *worker) launch() *exec.Cmd {
	for {
		w.mu.Lock()
		if w.stopped {
			w.mu.Unlock()
			return nil
		}
		if !w.held {
			break
		}
		changed := w.changed
		w.mu.Unlock()
		<-changed
	}
	defer w.mu.Unlock()
	log, err := os.OpenFile(w.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Error(err)
		return nil
	}
	defer log.Close()
	fmt.Fprintf(log, "--- %s is started at %s\n", w.name, time.Now().UTC().Format(time.TimeOnly))
	cmd := w.command()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Errorf("%s: %v", w.name, err)
		return nil
	}
	w.cmd = cmd
	return cmd
}

func (w *worker) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// kill ends the process with SIGKILL. A held worker stays away until release.
func (w *worker) kill(hold bool) {
	w.change(func() {
		w.held = hold
		if w.cmd != nil {
			w.killed = true
			_ = w.cmd.Process.Kill()
		}
	})
}

func (w *worker) release() { w.change(func() { w.held = false }) }

// pause stops the process with SIGSTOP, resume lets it run on. One that was just killed, or ends meanwhile, stays away until then:
// else another would come in its place, and run.
func (w *worker) pause() {
	w.change(func() { w.held = true })
	w.signal(syscall.SIGSTOP)
}

func (w *worker) resume() {
	w.signal(syscall.SIGCONT)
	w.release()
}

func (w *worker) signal(s syscall.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd != nil {
		_ = w.cmd.Process.Signal(s)
	}
}

// stop asks the process to end and waits for it.
func (w *worker) stop() {
	w.change(func() { w.stopped = true })
	w.signal(syscall.SIGTERM)
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.t.Errorf("%s does not end within %v of SIGTERM", w.name, patience)
		w.kill(false)
		<-w.ended
	}
}
