package apptest

import (
	"net"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"
)

var demoAddress = regexp.MustCompile(`A broker runs on (\S+),`)

// startDemo launches moldau demo with a folder of its own for temporary files.
func startDemo(t *testing.T, duration string) (demo *process, s *shell, temp string) {
	t.Helper()
	s, temp = newShell(t), t.TempDir()
	s.env = append(s.env, "TMPDIR="+temp)
	return s.launch("moldau", "demo", "--duration", duration), s, temp
}

// requireNothingLeft checks that a demo that has ended left no process, port or folder.
func requireNothingLeft(t *testing.T, demo *process, s *shell, temp string) {
	t.Helper()
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("the demo left %v in the folder for temporary files (%v)", left, err)
	}
	address := demoAddress.FindStringSubmatch(demo.out.String())
	if address == nil {
		t.Fatalf("the demo does not say where its broker runs:\n%s", demo.out.String())
	}
	if conn, err := net.Dial("tcp", address[1]); err == nil {
		conn.Close()
		t.Errorf("the demo's broker still listens on %s", address[1])
	}
	// Run files are locked by living brokers, so this sees any of them.
	if code, out, _ := s.run("", "kafka-server-stop.sh"); code == 0 {
		t.Errorf("the demo's broker still ran: %s", out)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	demo, s, temp := startDemo(t, "2500ms")
	if code := demo.await(); code != 0 {
		t.Errorf("exit code %d\n%s", code, demo.errs.String())
	}
	took := time.Since(demo.launchedAt)
	t.Logf("the demo took %v", took)
	if took < 2500*time.Millisecond || took > 15*time.Second {
		t.Errorf("the demo took %v", took)
	}
	out := demo.out.String()
	requireMatch(t, "output", out, `(?m)^A broker runs on 127\.0\.0\.1:\d+, ready after \d+ ms, with its data in `)
	requireMatch(t, "output", out, `(?m)^ +\d+\.\d s  orders +\d+ \( *\d+/s\)  billed +\d+ \( *\d+/s\)  lag +\d+ \[0:\d+ 1:\d+ 2:\d+\]$`)
	requireMatch(t, "output", out, `(?m)^[1-9]\d+ orders \(\d+\.\d MB\) in \d+\.\d s, acknowledged in `)
	requireMatch(t, "output", out, `(?m)^Two members of one group billed every one of them\.$`)
	requireMatch(t, "output", out, `(?m)^  moldau start$`)
	if demo.errs.String() != "" {
		t.Errorf("on stderr: %s", demo.errs.String())
	}
	requireNothingLeft(t, demo, s, temp)
}

// TestDemoStopped presses Ctrl-C, which signals the demo's whole process group, closes the
// terminal, and asks politely.
func TestDemoStopped(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			demo, s, temp := startDemo(t, "10m")
			demo.awaitOutput(`orders +[1-9]`)
			if err := signalGroup(demo.cmd.Process.Pid, signal); err != nil {
				t.Fatal(err)
			}
			if code := demo.await(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if demo.errs.String() != "" {
				t.Errorf("on stderr: %s", demo.errs.String())
			}
			requireNothingLeft(t, demo, s, temp)
		})
	}
}

// TestDemoOnAnotherCluster uses a broker that runs already, and leaves it running.
func TestDemoOnAnotherCluster(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	b := s.start(t.TempDir(), "--override", "group.initial.rebalance.delay.ms=0")
	out := s.must("", "moldau", "demo", "--duration", "1s", "--bootstrap-server", b.bootstrap)
	requireMatch(t, "output", out, `(?m)^[1-9]\d* orders `)
	requireMatch(t, "topics", s.must("", "kafka-topics.sh", "--list", "--bootstrap-server", b.bootstrap), `(?m)^orders$`)
	if code, _, errs := s.run("", "moldau", "demo", "--duration", "0s"); code != 1 || errs != "the duration 0s is not positive\n" {
		t.Errorf("exit code %d, %q", code, errs)
	}
}
