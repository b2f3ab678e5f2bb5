package broker

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node runs a broker in this process.
type node struct {
	port   int
	stop   context.CancelFunc
	ended  chan error
	stdout lockedBuffer
	stderr lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func run(t *testing.T, dir string, port int, properties map[string]string) *node {
	t.Helper()
	all := map[string]string{"log.dirs": dir, "listeners": fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", port), "http.listen": ""}
	for k, v := range properties {
		all[k] = v
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := &node{port: port, stop: cancel, ended: make(chan error, 1)}
	go func() { n.ended <- Run(ctx, Options{Properties: all, Stdout: &n.stdout, Stderr: &n.stderr}) }()
	return n
}

// end stops the node and returns what Run did.
func (n *node) end(t *testing.T) error {
	t.Helper()
	n.stop()
	return n.await(t)
}

func (n *node) await(t *testing.T) error {
	t.Helper()
	select {
	case err := <-n.ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatalf("the node does not end; it printed %s %s", n.stdout.String(), n.stderr.String())
		return nil
	}
}

func (n *node) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(fmt.Sprintf("127.0.0.1:%d", n.port)), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(10),
		kgo.MetadataMinAge(10*time.Millisecond))...) // the node may not listen yet at the first try
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNodeComesBackAsItWas starts a node on an empty folder, writes, stops it, and finds
// everything again; nothing is left running in between.
func TestNodeComesBackAsItWas(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	for round := range 3 {
		n := run(t, dir, port, nil)
		c := n.client(t, kgo.ConsumeTopics("kept"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Value: fmt.Append(nil, round)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for len(got) <= round {
			fetches := c.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
		if want := "0 1 2"[:2*round+1]; strings.Join(got, " ") != want {
			t.Errorf("round %d: got %v, want %s", round, got, want)
		}
		c.Close()
		if err := n.end(t); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, clean := checkpoint.ReadCleanShutdown(vfs.OS{}, filepath.Join(dir, checkpoint.CleanShutdownFileName)); !clean {
			t.Errorf("round %d: the stop was not marked clean", round)
		}
		if !strings.Contains(n.stdout.String(), "ready") || !strings.Contains(n.stdout.String(), dir) {
			t.Errorf("round %d: the welcome is %q", round, n.stdout.String())
		}
	}
}

// TestFailedStartLeavesNothingBehind starts nodes that cannot come up, and then one that can
// on the same folder and port.
func TestFailedStartLeavesNothingBehind(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	n := run(t, dir, port, nil)
	if err := n.await(t); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("port in use: %v", err)
	}
	taken.Close()
	file := filepath.Join(dir, "a file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n = run(t, filepath.Join(file, "below"), port, nil)
	if err := n.await(t); err == nil || !strings.Contains(err.Error(), "log.dirs") {
		t.Errorf("unusable folder: %v", err)
	}
	n = run(t, dir, port, map[string]string{"metadata.log.dir": filepath.Join(file, "below")})
	if err := n.await(t); err == nil {
		t.Error("unusable metadata folder: no error")
	}
	n = run(t, dir, port, nil)
	c := n.client(t)
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
		t.Errorf("a right start afterwards: %v", err)
	}
	c.Close()
	if err := n.end(t); err != nil {
		t.Error(err)
	}
}

// TestStopWhileStarting ends a node at arbitrary early moments: it must end, and cleanly.
func TestStopWhileStarting(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	for _, after := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 6 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
		n := run(t, dir, port, nil)
		timer := time.AfterFunc(after, n.stop)
		if err := n.await(t); err != nil {
			t.Errorf("stopped after %s: %v", after, err)
		}
		timer.Stop()
	}
}
