package lint

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Tests are named in documents as `folder`: TestA, TestB. What stands between back quotes is the end of a folder's path.
var (
	testName   = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z][A-Za-z0-9_]*`)
	folderName = regexp.MustCompile("`([a-z][a-z/]*)`: ")
	scriptName = regexp.MustCompile(`\bscripts/([a-z_]+)\b`)
)

// strictDocuments say in which folder each test is.
var strictDocuments = []string{"docs/cluster-acceptance.md", "docs/design/replicas.md"}

// testFolders are the folders in which tests of a name are.
func testFolders(t *testing.T) map[string][]string {
	t.Helper()
	folders := map[string][]string{}
	for _, f := range load(t) {
		if !strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, d := range f.syntax.Decls {
			if function, ok := d.(*ast.FuncDecl); ok && function.Recv == nil && testName.MatchString(function.Name.Name) {
				folders[function.Name.Name] = append(folders[function.Name.Name], f.folder)
			}
		}
	}
	return folders
}

// TestDocumentsNameTestsThatExist: who reads in a document that a test shows something finds it. Below test/ it may be another project's.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	tests, root, named := testFolders(t), filepath.Join("..", ".."), 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" || path == filepath.Join(root, "test")) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, name := range testName.FindAllString(string(text), -1) {
			if named++; tests[name] == nil {
				t.Errorf("%s names %s, which is no test", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if named == 0 {
		t.Fatal("no test is named: the rule would pass on nothing")
	}
}

// TestDocumentsNameTheFoldersOfTests: the same for the folders in which they are, and for the controller's scripts.
func TestDocumentsNameTheFoldersOfTests(t *testing.T) {
	t.Parallel()
	tests := testFolders(t)
	for _, path := range strictDocuments {
		checked := 0
		for line := range strings.Lines(document(t, path)) {
			places := folderName.FindAllStringSubmatchIndex(line, -1)
			for i, place := range places {
				end := len(line)
				if i+1 < len(places) {
					end = places[i+1][0]
				}
				folder := line[place[2]:place[3]]
				for _, name := range testName.FindAllString(line[place[1]:end], -1) {
					if checked++; !isIn(tests[name], folder) {
						t.Errorf("%s has %s in %s, it is in %v", path, name, folder, tests[name])
					}
				}
			}
			for _, script := range scriptName.FindAllStringSubmatch(line, -1) {
				if _, err := os.Stat(filepath.Join("..", "controller", "testdata", "scripts", script[1])); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
		if checked == 0 {
			t.Errorf("%s names no test with its folder: the rule would pass on nothing", path)
		}
	}
}

// isIn reports whether one of the folders ends with the path given.
func isIn(folders []string, end string) bool {
	for _, folder := range folders {
		if strings.HasSuffix("/"+folder, "/"+end) {
			return true
		}
	}
	return false
}
