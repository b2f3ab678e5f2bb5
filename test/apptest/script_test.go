package apptest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/moldau/moldau/internal/kafkatest"
)

// TestScripts runs testdata/scripts: what Kafka's users type, in the tools of install-tools, with
// the variables of setup. Besides testscript's own commands there are
//
//	broker [name=value ...]          starts a broker with these overrides; $BROKER is its address
//	until PATTERN COMMAND ARG ...    repeats the command until its standard output matches
//	expand FILE                      replaces $VARIABLES in a file of the script
func TestScripts(t *testing.T) {
	t.Parallel()
	shell := newShell(t) // its tools are shared, its home is not
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/scripts",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(16 * patience), // they wait for their turn, too
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			for _, setting := range kafkatest.IsolatedEnv(home) {
				if name, value, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "XDG_") || strings.HasSuffix(name, "APPDATA") || name == "USERPROFILE" {
					env.Setenv(name, value)
				}
			}
			env.Setenv("HOME", home)
			env.Setenv("PATH", shell.tools+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("PORT", fmt.Sprint(kafkatest.FreePort(t)))
			env.Setenv("CONTROLLER_PORT", fmt.Sprint(kafkatest.FreePort(t)))
			env.Setenv("DIR", filepath.Join(env.WorkDir, "data"))
			env.Setenv("BROKER", "localhost:"+env.Getenv("PORT"))
			env.Values["tb"] = env.T()
			return os.WriteFile(filepath.Join(env.WorkDir, "server.properties"), []byte(stockProperties), 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"broker": scriptBroker, "until": scriptUntil, "expand": scriptExpand,
		},
	})
}

func scriptBroker(ts *testscript.TestScript, neg bool, args []string) {
	tb, ok := ts.Value("tb").(testing.TB)
	if neg || !ok {
		ts.Fatalf("broker: unsupported: ! broker, or no testing.TB")
	}
	b := kafkatest.StartBroker(tb, append([]string{"group.initial.rebalance.delay.ms=0"}, args...)...)
	ts.Setenv("BROKER", b.Addr())
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND ARG ...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.After(patience)
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("%s did not print %q within %v (%v); it prints\n%s%s", args[1], args[0], patience, err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		case <-pause.C:
		}
	}
}

func scriptExpand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}
