package apptest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
)

// freePorts returns a port from which on so many are free, as are those that the nodes of a local cluster need
// for their controllers and HTTP.
func freePorts(t *testing.T, nodes int) int {
	t.Helper()
next:
	for range 100 {
		first := kafkatest.FreePort(t)
		for node := range nodes {
			for _, up := range []int{0, 100, 200} {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+node+up))
				if err != nil {
					continue next
				}
				_ = l.Close()
			}
		}
		return first
	}
	t.Fatal("no ports for a cluster are free")
	return 0
}

// TestLocalCluster starts three nodes with one command, kills one of them, stops them all and goes on with the
// same folder.
func TestLocalCluster(t *testing.T) {
	t.Parallel()
	s, folder, firstPort := newShell(t), filepath.Join(t.TempDir(), "c"), freePorts(t, 3)
	port := strconv.Itoa(firstPort)
	bootstrap := "localhost:" + port
	first := s.launch("moldau", "cluster", "local", "--data-dir", folder, "--port", port)
	first.awaitOutput(`(?m)^A cluster of 3 nodes is ready, after \d+ ms$`)
	first.awaitOutput(`Ctrl-C stops all`)
	s.must("", "kafka-topics.sh", "--bootstrap-server", bootstrap, "--create", "--topic", "kept", "--partitions", "3")
	requireMatch(t, "topic", s.must("", "kafka-topics.sh", "--bootstrap-server", bootstrap, "--describe", "--topic", "kept"), `ReplicationFactor: 3`)
	node := regexp.MustCompile(`(?m)^  node 3 .* process (\d+)$`).FindStringSubmatch(first.out.String())
	if node == nil {
		t.Fatal(first.out.String())
	}
	pid, err := strconv.Atoi(node[1])
	if err != nil {
		t.Fatal(err)
	}
	if p, err := os.FindProcess(pid); err != nil || p.Kill() != nil {
		t.Fatalf("process %d cannot be killed", pid)
	}
	first.awaitOutput(`(?m)^Node 3 has ended \(signal: killed\)\. To start it again: moldau start --config .*node-3/server\.properties$`)
	s.must("", "kafka-topics.sh", "--bootstrap-server", bootstrap, "--list")
	if code, _, errs := s.run("", "moldau", "cluster", "local", "--data-dir", folder); code != 1 || !regexp.MustCompile(`does this cluster run already\?`).MatchString(errs) {
		t.Errorf("a second start: exit code %d, %s", code, errs)
	}
	if code := first.interrupt(syscall.SIGINT); code != 0 || first.errs.String() != "" {
		t.Errorf("exit code %d, %s", code, first.errs.String())
	}

	if code, _, errs := s.run("", "moldau", "cluster", "local", "--data-dir", folder, "--nodes", "4"); code != 1 || !regexp.MustCompile(`has a cluster of 3 nodes on port `+port).MatchString(errs) {
		t.Errorf("another number of nodes: exit code %d, %s", code, errs)
	}
	again := s.launch("moldau", "cluster", "local", "--data-dir", folder)
	again.awaitOutput(`(?m)^A cluster of 3 nodes is ready`)
	requireMatch(t, "topics", s.must("", "kafka-topics.sh", "--bootstrap-server", bootstrap, "--list"), `(?m)^kept$`)
	if code := again.interrupt(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, up := range []int{0, 1, 2} {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+up)); err != nil {
			t.Errorf("node %d still listens: %v", up+1, err)
		} else {
			_ = l.Close()
		}
	}
}
