package install

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/tools/cli"
)

func TestInstall(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "a", "bin")
	var out bytes.Buffer
	s := cli.Streams{Out: &out}
	for range 2 { // the second time replaces the first links
		if err := Run(s, "/program", folder, []string{"kafka-topics", "kafka-configs"}); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, name := range []string{"kafka-topics", "kafka-topics.sh", "kafka-configs", "kafka-configs.sh"} {
		if target, err := os.Readlink(filepath.Join(folder, name)); err != nil || target != "/program" {
			t.Errorf("%s: %q %v", name, target, err)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		path := filepath.Join(folder, "completion", "moldau."+shell)
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), " kafka-topics kafka-topics.sh kafka-configs kafka-configs.sh") {
			t.Errorf("%s: %v %s", path, err, text)
		}
		if line := "\n  source " + path + " "; !strings.Contains(out.String(), line) {
			t.Errorf("no %q in %q", line, &out)
		}
	}
	script := filepath.Join(folder, "kafka-storage.sh")
	if err := os.WriteFile(script, []byte("original"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Run(s, "/program", folder, []string{"kafka-storage"}); err == nil {
		t.Error("a file that is no link was replaced")
	}
	if text, err := os.ReadFile(script); err != nil || string(text) != "original" {
		t.Errorf("%q %v", text, err)
	}
	script = filepath.Join(folder, "completion", "moldau.zsh")
	if err := os.WriteFile(script, []byte("original"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Run(s, "/program", folder, []string{"kafka-topics"}); err == nil {
		t.Error("a file that is no script of ours was replaced")
	}
	if text, err := os.ReadFile(script); err != nil || string(text) != "original" {
		t.Errorf("%q %v", text, err)
	}
}

func TestScript(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kafka-topics.cmd")
	if err := writeScript(`C:\moldau.exe`, path, "kafka-topics"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "@\"C:\\moldau.exe\" kafka-topics %*\r\n" {
		t.Errorf("%q %v", text, err)
	}
}
