package server

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/tools/cli"
)

func TestProperties(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(path, []byte("node.id=4\nlog.dirs=/file\nlisteners=PLAINTEXT://:9999\nx=${y}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stock := filepath.Join(t.TempDir(), "stock.properties")
	if err := os.WriteFile(stock, []byte("listeners=CONTROLLER://localhost:9093, PLAINTEXT://localhost:9092\ncontroller.listener.names=controller\n"+
		"advertised.listeners=PLAINTEXT://broker.example:9092,CONTROLLER://localhost:9093\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	controllerOnly := filepath.Join(t.TempDir(), "controller.properties")
	if err := os.WriteFile(controllerOnly, []byte("listeners=C://:1\ncontroller.listener.names=C\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		flags      Flags
		name, want string
	}{
		{Flags{File: path}, "log.dirs", "/file"},
		{Flags{File: path}, "x", "${y}"},
		{Flags{File: path, DataDir: "/flag"}, "log.dirs", "/flag"},
		{Flags{File: path, DataDir: "/flag", Overrides: []string{"log.dirs=/override"}}, "log.dirs", "/override"},
		{Flags{Port: 19092}, "listeners", "PLAINTEXT://localhost:19092"},
		{Flags{Port: 19092, Overrides: []string{"listeners=PLAINTEXT://:1"}}, "listeners", "PLAINTEXT://:1"},
		{Flags{File: path, Port: 19092}, "listeners", "PLAINTEXT://:19092"},
		{Flags{File: stock, Port: 19092}, "listeners", "CONTROLLER://localhost:9093, PLAINTEXT://localhost:19092"},
		{Flags{File: stock, Port: 19092}, "advertised.listeners", "PLAINTEXT://broker.example:19092,CONTROLLER://localhost:9093"},
		{Flags{Overrides: []string{"a=b=c", "log.dir=/one"}}, "a", "b=c"},
		{Flags{Overrides: []string{"log.dir=/one"}}, "log.dirs", ""},
	} {
		got, err := Properties(test.flags)
		if err != nil || got[test.name] != test.want {
			t.Errorf("%+v: %s is %q, %v; want %q", test.flags, test.name, got[test.name], err, test.want)
		}
	}
	if got, err := Properties(Flags{}); err != nil || !filepath.IsAbs(got["log.dirs"]) {
		t.Errorf("without flags: %v %v", got, err)
	}
	for _, flags := range []Flags{{File: path + "x"}, {Overrides: []string{"a"}}, {Overrides: []string{"=b"}}, {Port: 65536}, {Port: -1}, {File: controllerOnly, Port: 1}} {
		if _, err := Properties(flags); err == nil {
			t.Errorf("%+v was accepted", flags)
		}
	}
}

func TestStartCommandLines(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	path := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(path, []byte("node.id=4\nlisteners=PLAINTEXT://:9999,CONTROLLER://:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	failed := errors.New("port in use")
	start := StartCommand(func(_ context.Context, properties map[string]string, _ cli.Streams) error {
		got = properties
		directory, err := runDirectory()
		if err != nil {
			t.Fatal(err)
		}
		brokers, err := running(directory)
		if err != nil || len(brokers) != 1 || brokers[0].nodeID != properties["node.id"] || brokers[0].pid != os.Getpid() || brokers[0].port != "9999" {
			t.Errorf("run files while the broker runs: %+v %v", brokers, err)
		}
		return failed
	})
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{path}, "4"}, {[]string{path, "--override", "node.id=5", "--override", "a=b"}, "5"}, {[]string{path, "--override=node.id=6"}, "6"},
	} {
		got = nil
		if err := start(context.Background(), cli.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}, test.args); !errors.Is(err, failed) || got["node.id"] != test.want {
			t.Errorf("%q: %v %v", test.args, got, err)
		}
	}
	if directory, err := runDirectory(); err != nil {
		t.Error(err)
	} else if left, err := filepath.Glob(filepath.Join(directory, "*")); err != nil || len(left) != 0 {
		t.Errorf("files are left: %q %v", left, err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*"},
		{[]string{path, "extra"}, "Found non argument parameters: extra"},
		{[]string{path, "--override"}, "Option override requires an argument"},
		{[]string{path + "x"}, "reading the properties file " + path + "x: open " + path + "x: no such file or directory"},
	} {
		var out bytes.Buffer
		s := cli.Streams{Out: &out, Err: &out}
		code := cli.Exit(s, start(context.Background(), s, test.args))
		if first, _, _ := strings.Cut(out.String(), "\n"); code != 1 || first != test.want {
			t.Errorf("%q: exit %d, %q; want %q", test.args, code, first, test.want)
		}
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("LOUD SKIP: this system has no signals to stop a broker with")
	}
	directory := t.TempDir()
	stop := func(args ...string) (string, int) {
		var out bytes.Buffer
		s := cli.Streams{Out: &out, Err: &out}
		code := cli.Exit(s, stopIn(s, directory, args))
		return out.String(), code
	}
	if out, code := stop(); code != 1 || out != "No kafka server to stop\n" {
		t.Errorf("%q %d", out, code)
	}
	stale := filepath.Join(directory, "moldau-9-9092-1.pid")
	if err := os.WriteFile(stale, []byte("pid=1\nnode.id=9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := stop(); code != 1 || out != "No kafka server to stop\n" {
		t.Errorf("%q %d", out, code)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("a file that nobody holds is left: %v", err)
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal("no process to stop:", err)
	}
	b := describe(map[string]string{"node.id": "3", "process.roles": "broker", "listeners": "PLAINTEXT://:19092"})
	b.pid = child.Process.Pid
	file, err := writeRunFile(directory, b)
	if err != nil {
		t.Fatal(err)
	}
	defer file.remove()
	for _, filter := range []string{"--node-id=4", "--process-role=controller"} {
		if out, code := stop(filter); code != 1 || out != "No kafka server to stop\n" {
			t.Errorf("%s: %q %d", filter, out, code)
		}
	}
	if out, code := stop("--unknown"); code != 1 || !strings.Contains(out, "--unknown") {
		t.Errorf("%q %d", out, code)
	}
	if out, code := stop("--node-id=3", "--process-role=controller"); code != 0 || !strings.Contains(out, "precedence") {
		t.Errorf("%q %d", out, code)
	}
	if err := child.Wait(); err == nil || child.ProcessState.Success() {
		t.Errorf("the process was not stopped: %v", child.ProcessState)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	if got := describe(nil); got.nodeID != "1" || got.port != "9092" || got.processRoles != "broker,controller" {
		t.Errorf("%+v", got)
	}
	if got := describe(map[string]string{"broker.id": "7", "process.roles": "broker, controller", "listeners": "A://[::1]:5,B://x:6"}); got.nodeID != "7" || got.port != "5" || got.processRoles != "broker,controller" {
		t.Errorf("%+v", got)
	}
	if got := fileWord("../x"); got != "___x" {
		t.Errorf("%q", got)
	}
}
