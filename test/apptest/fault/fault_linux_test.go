package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestNetwork(t *testing.T) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can make network namespaces; faults of the network are not tried")
	}
	n, err := NewNetwork()
	if err != nil {
		t.Skipf("SKIPPED: faults of the network are not tried: %v", err)
	}
	t.Cleanup(n.Close)
	return n
}

func join(t *testing.T, n *Network, host byte) *Namespace {
	t.Helper()
	ns, err := n.Join(host)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// pair is a connection from one namespace to another.
type pair struct {
	t              *testing.T
	client, server net.Conn
}

func connect(t *testing.T, from, to *Namespace) pair {
	t.Helper()
	var l net.Listener
	if err := to.within(func() (err error) { l, err = net.Listen("tcp", to.Address.String()+":9000"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := from.Dial(t.Context(), "tcp", to.Address.String()+":9000")
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return pair{t, client, server}
}

// passes sends a byte and reports whether it arrives in time.
func (p pair) passes(from, to net.Conn, patience time.Duration) bool {
	p.t.Helper()
	if _, err := from.Write([]byte{1}); err != nil {
		p.t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(patience))
	_, err := to.Read(make([]byte, 1))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal(err)
	}
	return err == nil
}

const long = 20 * time.Second

// TestBlockIsOneWay blocks one direction: UDP-like loss of what goes there, while packets the other way arrive.
func TestBlockIsOneWay(t *testing.T) {
	t.Parallel()
	n := newTestNetwork(t)
	a, b := join(t, n, 1), join(t, n, 2)
	p := connect(t, a, b)
	if !p.passes(p.client, p.server, long) || !p.passes(p.server, p.client, long) {
		t.Fatal("nothing passes a network without rules")
	}
	n.Set(a, b, Rule{Blocked: true})
	if p.passes(p.client, p.server, 300*time.Millisecond) {
		t.Error("what is blocked passes")
	}
	if !p.passes(p.server, p.client, long) {
		t.Error("the other direction is blocked too")
	}
	if n.Counters().Blocked == 0 {
		t.Error("nothing was counted")
	}
	n.Heal()
	_ = p.server.SetReadDeadline(time.Now().Add(long))
	if _, err := p.server.Read(make([]byte, 1)); err != nil {
		t.Errorf("what was held up does not arrive when the network is whole again: %v", err)
	}
}

// TestDial gives up where the other side does not answer.
func TestDial(t *testing.T) {
	t.Parallel()
	n := newTestNetwork(t)
	a, b := join(t, n, 1), join(t, n, 2)
	n.Set(b, a, Rule{Blocked: true})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if conn, err := a.Dial(ctx, "tcp", b.Address.String()+":9000"); err == nil {
		_ = conn.Close()
		t.Error("connected through a blocked network")
	}
}

// TestLossAndDelay measure that rules do what they say.
func TestLossAndDelay(t *testing.T) {
	t.Parallel()
	n := newTestNetwork(t)
	a, b := join(t, n, 1), join(t, n, 2)
	p := connect(t, a, b)
	n.Set(a, b, Rule{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond})
	began := time.Now()
	if !p.passes(p.client, p.server, long) || time.Since(began) < 50*time.Millisecond {
		t.Errorf("a packet took %s", time.Since(began))
	}
	n.Set(a, b, Rule{LossPercent: 20})
	for range 20 {
		if !p.passes(p.client, p.server, long) {
			t.Fatal("TCP does not get over loss")
		}
	}
	if n.Counters().Lost == 0 {
		t.Error("nothing was lost")
	}
}

// TestMain is also the process that tells the time, for TestClock.
func TestMain(m *testing.M) {
	if os.Getenv("FAULT_TELL_TIME") == "" {
		os.Exit(m.Run())
	}
	began := time.Now()
	for line := make([]byte, 1); ; {
		if _, err := os.Stdin.Read(line); err != nil {
			return
		}
		fmt.Println(time.Now().Unix(), time.Since(began).Seconds() < 60)
	}
}

// TestClock steps the wall clock of a process, and of it alone.
func TestClock(t *testing.T) {
	t.Parallel()
	n := newTestNetwork(t)
	ns := join(t, n, 1)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAULT_TELL_TIME=1")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var clock Clock
	if err := clock.Step(time.Hour); err != nil {
		t.Skipf("SKIPPED: clock skew is not tried: %v", err)
	}
	if err := ns.Start(cmd, &clock); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	for _, offset := range []time.Duration{time.Hour, -24 * time.Hour, 0} {
		if err := clock.Step(offset); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 100)
		size, err := out.Read(answer)
		if err != nil {
			t.Fatalf("%v\n%s", err, errs.String())
		}
		seconds, monotonic, _ := strings.Cut(strings.TrimSpace(string(answer[:size])), " ")
		told, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Unix(told, 0).Sub(time.Now().Add(offset)).Abs(); got > time.Minute {
			t.Errorf("the clock was stepped by %s, and is %s off that", offset, got)
		}
		if monotonic != "true" {
			t.Error("the monotonic clock went along")
		}
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestDisk fills a small file system and frees it.
func TestDisk(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small file system; a full disk is not tried")
	}
	d, err := NewDisk(t.TempDir(), 1<<20)
	if err != nil {
		t.Skipf("SKIPPED: a full disk is not tried: %v", err)
	}
	defer d.Close()
	if err := d.Fill(0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Folder+"/more", make([]byte, 4096), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk takes more: %v", err)
	}
	if err := d.Free(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Folder+"/more", make([]byte, 4096), 0o600); err != nil {
		t.Error(err)
	}
}
