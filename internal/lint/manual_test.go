package lint

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestMetricsAreInTheManual keeps docs/manual/metrics.md complete.
func TestMetricsAreInTheManual(t *testing.T) {
	t.Parallel()
	manual := document(t, "docs/manual/metrics.md")
	found := eachNamedCall(t, map[string]bool{"Counter": true, "Gauge": true, "GaugeFunc": true, "Histogram": true}, func(f sourceFile, name string) {
		if !strings.Contains(manual, "`"+name+"`") && !strings.Contains(manual, "`"+name+"{") {
			t.Errorf("%s registers the metric %s, which docs/manual/metrics.md does not explain", f.path, name)
		}
	})
	if found == 0 {
		t.Fatal("no metric found: the rule would pass on nothing")
	}
}

// TestGoroutinesAreListed keeps docs/concurrency.md complete. Names end in a number or another
// name where a goroutine exists several times; what is written out in the code must be listed.
func TestGoroutinesAreListed(t *testing.T) {
	t.Parallel()
	list := document(t, "docs/concurrency.md")
	found := eachNamedCall(t, map[string]bool{"Go": true, "spawn": true}, func(f sourceFile, name string) {
		if !strings.Contains(list, "`"+name) {
			t.Errorf("%s starts the goroutine %q, which docs/concurrency.md does not list", f.path, name)
		}
	})
	if found == 0 {
		t.Fatal("no goroutine found: the rule would pass on nothing")
	}
}

func document(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// eachNamedCall visits the broker's calls of methods with one of the names that have a text, or
// the beginning of one, among their first two arguments, and returns how many there are.
func eachNamedCall(t *testing.T, methods map[string]bool, visit func(f sourceFile, text string)) (found int) {
	t.Helper()
	for _, f := range load(t) {
		if _, layer := layerOf(f.folder); f.isTest || layer < 0 {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !methods[method.Sel.Name] {
				return true
			}
			for _, argument := range call.Args[:min(2, len(call.Args))] {
				if text := leadingText(argument); text != "" {
					found++
					visit(f, text)
					break
				}
			}
			return true
		})
	}
	return found
}

// leadingText returns the string literal that an expression is or begins with.
func leadingText(e ast.Expr) string {
	if sum, ok := e.(*ast.BinaryExpr); ok && sum.Op == token.ADD {
		return leadingText(sum.X)
	}
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return text
}
