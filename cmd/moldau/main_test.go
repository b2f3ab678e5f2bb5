package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/tools/cli"
)

func invoke(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = run(context.Background(), cli.Streams{In: strings.NewReader(""), Out: &o, Err: &e}, args)
	return o.String(), e.String(), code
}

func TestDispatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args    string
		code    int
		out     string // a beginning
		message string // a beginning
	}{
		{"moldau", 0, "Moldau is an event-streaming broker", ""},
		{"moldau version", 0, "moldau ", ""},
		{"moldau topics --version", 0, cli.KafkaVersion + "\n", ""},
		{"moldau kafka-topics -version", 0, cli.KafkaVersion + "\n", ""},
		{"/usr/bin/kafka-topics.sh --version", 0, cli.KafkaVersion + "\n", ""},
		{"kafka-consumer-groups --list", 1, "", `Missing required argument "[bootstrap-server]"`},
		{"moldau consumer-groups --list", 1, "", `Missing required argument "[bootstrap-server]"`},
		{"moldau storage random-uuid", 0, "", ""},
		{"kafka-server-start.sh", 1, "USAGE: kafka-server-start ", ""},
		{"moldau nonsense", 1, "", `unknown command "nonsense" for "moldau"`},
		{"moldau start --nonsense", 1, "", "unknown flag: --nonsense"},
		{"moldau start --port 70000", 1, "", ""},
		{"moldau start --override x", 1, "", "--override x: want name=value"},
		{"moldau start --config /nonexistent/file", 1, "", "reading the properties file /nonexistent/file: "},
		{"moldau start --override no.such.property=1", 1, "", ""},
		{"moldau install-tools", 1, "", "accepts 1 arg(s), received 0"},
	} {
		out, errs, code := invoke(strings.Fields(test.args)...)
		if code != test.code || !strings.HasPrefix(out, test.out) || !strings.HasPrefix(errs, test.message) || out+errs == "" {
			t.Errorf("%s: exit %d, %q, %q", test.args, code, out, errs)
		}
		if strings.Count(errs, "\n") > 1 && strings.HasPrefix(test.args, "moldau start") {
			t.Errorf("%s: the error is more than one line: %q", test.args, errs)
		}
	}
}

func TestInstallTools(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if out, errs, code := invoke("moldau", "install-tools", folder); code != 0 || !strings.Contains(out, folder) {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	if runtime.GOOS == "windows" {
		return
	}
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(filepath.Join(folder, "kafka-server-start.sh")); err != nil || target != program {
		t.Errorf("%q %v; want %q", target, err, program)
	}
}
