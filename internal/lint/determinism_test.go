package lint

import (
	"go/ast"
	"strings"
	"testing"
)

// cores are deterministic: input in, records, effects and a response out (DESIGN, cores and
// hosts). Their hosts, in X/host, are not.
var singleOwnerCores = []string{"internal/quorum", "internal/controller", "internal/group", "internal/peer/suspect", "internal/peer/forward", "internal/replica/follower", "internal/replica/isr", "internal/replica/plan", "internal/replica/repair", "internal/broker/lifecycle", "internal/balance"}

// sharedCores may use mutexes and atomics, but no clock, randomness, goroutine or channel.
var sharedCores = []string{"internal/storage", "internal/partition", "internal/metadata", "internal/record"}

var bannedCalls = map[string]string{
	"time.Now": "take the instant as an argument", "time.Since": "take the instant as an argument", "time.Sleep": "cores do not wait",
	"time.After": "cores do not wait", "time.NewTimer": "cores do not wait", "time.NewTicker": "cores do not wait", "time.AfterFunc": "cores do not wait",
	"os.Open": "disk is env/vfs", "os.Create": "disk is env/vfs", "os.OpenFile": "disk is env/vfs", "os.ReadFile": "disk is env/vfs", "os.WriteFile": "disk is env/vfs",
	"rand.Int": "take env.Random as an argument", "rand.Read": "take env.Random as an argument", "rand.Uint64": "take env.Random as an argument",
}

func coreOf(folder string) (core, singleOwner bool) {
	if strings.HasSuffix(folder, "/host") || strings.Contains(folder, "/host/") {
		return false, false
	}
	for _, c := range singleOwnerCores {
		if under(folder, c) {
			return true, true
		}
	}
	for _, c := range sharedCores {
		if under(folder, c) {
			return true, false
		}
	}
	return false, false
}

func TestCoresAreDeterministic(t *testing.T) {
	for _, f := range load(t) {
		core, singleOwner := coreOf(f.folder)
		if !core || f.isTest {
			continue
		}
		if singleOwner {
			for _, path := range f.imports() {
				if path == "sync" || path == "sync/atomic" || path == "context" || path == "net" {
					t.Errorf("%s imports %s: a single-owner core has no locks, waits or network", f.path, path)
				}
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s:%d starts a goroutine in a core", f.path, f.line(n))
			case *ast.SelectStmt:
				t.Errorf("%s:%d selects in a core", f.path, f.line(n))
			case *ast.ChanType:
				t.Errorf("%s:%d uses a channel in a core", f.path, f.line(n))
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Obj == nil {
					if why, banned := bannedCalls[pkg.Name+"."+n.Sel.Name]; banned {
						t.Errorf("%s:%d uses %s.%s in a core: %s", f.path, f.line(n), pkg.Name, n.Sel.Name, why)
					}
				}
			}
			return true
		})
	}
}

// TestGoroutinesAreSpawned keeps every goroutine of the product under an owner that stops it.
func TestGoroutinesAreSpawned(t *testing.T) {
	for _, f := range load(t) {
		if f.isTest || under(f.folder, "internal/env") || under(f.folder, "internal/tools") || under(f.folder, "internal/kafkatest") || under(f.folder, "test") || under(f.folder, "cmd") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s:%d starts a goroutine without env.Spawner", f.path, f.line(s))
			}
			return true
		})
	}
}

func TestNoSleepsInTests(t *testing.T) {
	for _, f := range load(t) {
		if !f.isTest {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "time" && s.Sel.Name == "Sleep" {
					t.Errorf("%s:%d sleeps: wait on a condition or use virtual time", f.path, f.line(s))
				}
			}
			return true
		})
	}
}
