package lint

import (
	"go/ast"
	"strings"
	"testing"
)

const (
	maxFileLines     = 600
	maxFunctionLines = 120
	maxPackageLines  = 6000
	maxParameters    = 6
)

func TestFilesAndPackagesStaySmall(t *testing.T) {
	packageLines := map[string]int{}
	for _, f := range load(t) {
		if f.lines > maxFileLines {
			t.Errorf("%s has %d lines; at most %d: where is the seam?", f.path, f.lines, maxFileLines)
		}
		if !f.isTest {
			packageLines[f.folder] += f.lines
		}
	}
	for folder, lines := range packageLines {
		if lines > maxPackageLines && folder != "internal/handler" && !under(folder, "internal/tools") {
			t.Errorf("package %s has %d lines; at most %d", folder, lines, maxPackageLines)
		}
	}
}

func TestFunctionsStayShort(t *testing.T) {
	for _, f := range load(t) {
		if f.isTest {
			continue
		}
		for _, decl := range f.syntax.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || function.Body == nil {
				continue
			}
			lines := f.fileSet.Position(function.End()).Line - f.line(function)
			if lines > maxFunctionLines {
				t.Errorf("%s:%d: %s has %d lines; at most %d", f.path, f.line(function), function.Name.Name, lines, maxFunctionLines)
			}
			if n := function.Type.Params.NumFields(); n > maxParameters {
				t.Errorf("%s:%d: %s has %d parameters; at most %d", f.path, f.line(function), function.Name.Name, n, maxParameters)
			}
		}
	}
}

func TestPackagesAreNamedAndDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range load(t) {
		if f.isTest {
			continue
		}
		switch f.syntax.Name.Name {
		case "util", "utils", "common", "helper", "helpers", "types", "base":
			t.Errorf("%s: a package is not called %s", f.path, f.syntax.Name.Name)
		}
		documented[f.folder] = documented[f.folder] || f.syntax.Doc != nil
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", folder)
		}
	}
}

// selfExplaining are methods whose meaning the standard library fixes.
var selfExplaining = map[string]bool{"Error": true, "Unwrap": true, "String": true, "Is": true}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range load(t) {
		if f.isTest || !strings.HasPrefix(f.folder, "internal/") {
			continue
		}
		for _, decl := range f.syntax.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && receiverIsExported(d) && !(d.Recv != nil && selfExplaining[d.Name.Name]) {
					t.Errorf("%s:%d: exported %s has no comment", f.path, f.line(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() && s.Doc == nil && d.Doc == nil {
						t.Errorf("%s:%d: exported type %s has no comment", f.path, f.line(s), s.Name.Name)
					}
				}
			}
		}
	}
}

func receiverIsExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	name, ok := typ.(*ast.Ident)
	return ok && name.IsExported()
}

func TestNoUnfinishedMarks(t *testing.T) {
	marks := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "not " + "implemented", "un" + "implemented"}
	for _, f := range load(t) {
		for _, group := range f.syntax.Comments {
			for _, mark := range marks {
				if strings.Contains(group.Text(), mark) {
					t.Errorf("%s:%d: a comment says %q: finish it, or put it in PARITY.md", f.path, f.line(group), mark)
				}
			}
		}
	}
}
