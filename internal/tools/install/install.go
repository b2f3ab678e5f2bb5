// Package install is moldau install-tools: it writes links that carry the names of Kafka's
// tools and lead to this program. cmd/moldau calls Run; nothing here starts a goroutine.
package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/moldau/moldau/internal/tools/cli"
)

// Run writes into directory, for each tool name, a link with and one without .sh to program.
// Links of an earlier run are replaced; files that are something else stop it.
func Run(s cli.Streams, program, directory string, names []string) error {
	directory, err := filepath.Abs(directory) // so that the PATH it prints works in every folder
	if err != nil {
		return fmt.Errorf("finding the folder for the tools: %w", err)
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return fmt.Errorf("creating the folder for the tools: %w", err)
	}
	for _, name := range names {
		var err error
		if runtime.GOOS == "windows" {
			err = writeScript(program, filepath.Join(directory, name+".cmd"), name)
		} else {
			err = errors.Join(link(program, filepath.Join(directory, name)), link(program, filepath.Join(directory, name+".sh")))
		}
		if err != nil {
			return err
		}
	}
	s.Printf("Wrote %d tools to %s. To have them at hand:\n  export PATH=%s:$PATH\n", len(names), directory, directory)
	return nil
}

func link(program, path string) error {
	existing, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("looking at %s: %w", path, err)
	case existing.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s exists and is no link; remove it or choose another folder", path)
	default:
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("replacing the link %s: %w", path, err)
		}
	}
	if err := os.Symlink(program, path); err != nil {
		return fmt.Errorf("writing the link %s: %w", path, err)
	}
	return nil
}

// writeScript stands in for links on Windows, where writing them needs a privilege.
func writeScript(program, path, name string) error {
	script := fmt.Sprintf("@\"%s\" %s %%*\r\n", program, name)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		return fmt.Errorf("writing the script %s: %w", path, err)
	}
	return nil
}
