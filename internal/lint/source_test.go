package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const modulePath = "github.com/moldau/moldau"

// sourceFile is one parsed Go file of the module.
type sourceFile struct {
	path    string // relative to the module's root, with slashes
	folder  string // its folder, likewise
	isTest  bool
	lines   int
	fileSet *token.FileSet
	syntax  *ast.File
}

func (f sourceFile) line(n ast.Node) int { return f.fileSet.Position(n.Pos()).Line }

// imports returns the import paths of f.
func (f sourceFile) imports() []string {
	var paths []string
	for _, spec := range f.syntax.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, `"`))
	}
	return paths
}

// load parses every Go file of the module.
func load(t *testing.T) []sourceFile {
	t.Helper()
	root := filepath.Join("..", "..")
	var files []sourceFile
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			name := entry.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fileSet := token.NewFileSet()
		syntax, err := parser.ParseFile(fileSet, path, content, parser.ParseComments)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		files = append(files, sourceFile{
			path: relative, folder: filepath.ToSlash(filepath.Dir(relative)), isTest: strings.HasSuffix(path, "_test.go"),
			lines: strings.Count(string(content), "\n"), fileSet: fileSet, syntax: syntax,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found: the rules would pass on nothing")
	}
	return files
}
