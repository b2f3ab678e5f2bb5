package kafkatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

var (
	buildOnce sync.Once
	builtPath string
	buildErr  error
)

// Binary returns the path of the moldau binary, built from this module. MOLDAU_BINARY names
// one that is there already.
func Binary(t testing.TB) string {
	t.Helper()
	buildOnce.Do(func() { builtPath, buildErr = build() })
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return builtPath
}

func build() (string, error) {
	if path := os.Getenv("MOLDAU_BINARY"); path != "" {
		return path, nil
	}
	// The folder outlives the test that happens to build first; the next run reuses it.
	folder := filepath.Join(os.TempDir(), fmt.Sprintf("moldau-test-%d", os.Getpid()))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(folder, "moldau")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	cmd := exec.Command("go", "build", "-o", path, "github.com/moldau/moldau/cmd/moldau")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the binary: %w\n%s", err, out)
	}
	return path, nil
}

// RemoveBinary deletes what Binary built; TestMain calls it after the tests.
func RemoveBinary() {
	if builtPath != "" && os.Getenv("MOLDAU_BINARY") == "" {
		_ = os.RemoveAll(filepath.Dir(builtPath))
	}
}
