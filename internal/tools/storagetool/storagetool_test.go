package storagetool

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

func run(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	s := cli.Streams{Out: &o, Err: &e}
	code = cli.Exit(s, Run(context.Background(), s, args))
	return o.String(), e.String(), code
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRandomUUID(t *testing.T) {
	t.Parallel()
	first, _, code := run("random-uuid")
	second, _, _ := run("random-uuid")
	if _, err := kafka.ParseUUID(strings.TrimSpace(first)); err != nil || code != 0 || first == second {
		t.Errorf("%q %q %d %v", first, second, code, err)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	config := write(t, filepath.Join(folder, "server.properties"), "node.id=1\nlog.dirs="+filepath.Join(folder, "data")+"\n")
	id := "jVKI9tV5Rfu5n__-BQhKbg"
	for _, args := range [][]string{
		{"format", "-t", id, "-c", config}, {"format", "--cluster-id", id, "--config", config, "--standalone"},
		{"format", "--standalone", "-t", id, "-c", config, "--ignore-formatted", "--release-version", "4.3", "--feature", "kraft.version=1"},
	} {
		if out, errs, code := run(args...); code != 0 || !strings.HasPrefix(out, "No format is needed: ") {
			t.Errorf("%q: %q %q %d", args, out, errs, code)
		}
	}
	for _, args := range [][]string{
		{"format", "-c", config}, {"format", "-t", "abc", "-c", config}, {"format", "-t", id, "-c", folder + "/none"}, {}, {"other"},
		{"format", "-t", id, "-c", config, "--add-scram", "SCRAM-SHA-256=[name=a,password=b]"},
	} {
		if _, errs, code := run(args...); code != 1 || errs == "" {
			t.Errorf("%q: %q %d", args, errs, code)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "data", "meta.properties"), "version=1\ncluster.id="+id+"\n")
	if _, errs, code := run("format", "-t", "AAAAAAAAAAAAAAAAAAAAAg", "-c", config); code != 1 || !strings.Contains(errs, "Expected AAAAAAAAAAAAAAAAAAAAAg, but read "+id) {
		t.Errorf("another cluster's folder: %q %d", errs, code)
	}
	if _, errs, code := run("format", "-t", id, "-c", config); code != 0 {
		t.Errorf("the same cluster's folder: %q %d", errs, code)
	}
}

// TestInfo holds the form in which Apache Kafka 4.3.1's tool prints a folder.
func TestInfo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	data := filepath.Join(folder, "a")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	config := write(t, filepath.Join(folder, "server.properties"), "log.dirs="+data+"\n")
	if out, _, code := run("info", "-c", config); code != 1 || out != "Found log directory:\n  "+data+"\n\nFound problem:\n  "+data+" is not formatted.\n\n" {
		t.Errorf("%q %d", out, code)
	}
	write(t, filepath.Join(data, "meta.properties"), "#x\nversion=1\nnode.id=1\ndirectory.id=8yY10laSTESJEIpQVweSEA\ncluster.id=jVKI9tV5Rfu5n__-BQhKbg\n")
	want := "Found log directory:\n  " + data + "\n\nFound metadata: {cluster.id=jVKI9tV5Rfu5n__-BQhKbg, directory.id=8yY10laSTESJEIpQVweSEA, node.id=1, version=1}\n\n"
	if out, _, code := run("info", "-c", config); code != 0 || out != want {
		t.Errorf("%q %d", out, code)
	}
	write(t, config, "log.dirs="+data+", "+folder+"/none,"+config+"\nmetadata.log.dir="+data+"\n")
	out, _, code := run("info", "--config", config)
	if code != 1 || !strings.Contains(out, "Found problems:\n  "+folder+"/none does not exist\n  "+config+" is not a directory\n") {
		t.Errorf("%q %d", out, code)
	}
}
