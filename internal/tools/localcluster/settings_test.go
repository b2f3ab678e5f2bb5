package localcluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestABeginningThatWasInterrupted goes on with a folder that a run has left at any point, and touches no file of a node
// that its owner has changed.
func TestABeginningThatWasInterrupted(t *testing.T) {
	t.Parallel()
	whole := settings{filepath.Join(t.TempDir(), "c"), 3, 7000}
	for name, left := range map[string]func(folder string) error{
		"nothing":             func(string) error { return nil },
		"an empty folder":     func(folder string) error { return os.MkdirAll(folder, 0o755) },
		"half of a file":      func(folder string) error { return writeHalf(folder, settingsFile) },
		"no node":             func(folder string) error { return os.RemoveAll(filepath.Join(folder, "node-1")) },
		"a node without file": func(folder string) error { return os.Remove(filepath.Join(folder, "node-2", "server.properties")) },
		"half of a node's file": func(folder string) error {
			return writeHalf(filepath.Join(folder, "node-3"), "server.properties")
		},
	} {
		folder := filepath.Join(t.TempDir(), "c")
		if strings.Contains(name, "node") {
			if _, err := load(Options{DataDir: folder, Nodes: 3, Port: 7000}); err != nil {
				t.Fatal(err)
			}
		}
		changed := filepath.Join(folder, "node-1", "server.properties")
		if name == "a node without file" {
			if err := os.WriteFile(changed, []byte("own=1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := left(folder); err != nil {
			t.Fatal(err)
		}
		c, err := load(Options{DataDir: folder, Nodes: 3, Port: 7000})
		if err != nil || c.nodes != whole.nodes || c.port != whole.port {
			t.Errorf("%s: %+v, %v", name, c, err)
			continue
		}
		for node := 1; node <= 3; node++ {
			text, err := os.ReadFile(c.propertiesFile(node))
			if isOwn := string(text) == "own=1\n"; err != nil || isOwn != (name == "a node without file" && node == 1) || !isOwn && !strings.Contains(string(text), "log.dirs=") {
				t.Errorf("%s: node %d: %q, %v", name, node, text, err)
			}
		}
	}
}

// writeHalf is what is left of a file while it was written.
func writeHalf(folder, file string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(folder, file))
	return os.WriteFile(filepath.Join(folder, file+unfinishedSuffix), []byte("nod"), 0o600)
}
