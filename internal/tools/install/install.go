// Package install is moldau install-tools: it writes links that carry the names of Kafka's
// tools and lead to this program, and scripts that complete them in shells. cmd/moldau calls Run;
// nothing here starts a goroutine.
package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/completion"
)

// completionFolder has the shells' scripts, beside the links.
const completionFolder = "completion"

// startFiles are where users of the shells have what runs when one starts.
var startFiles = map[string]string{"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/config.fish"}

// Run writes into directory, for each tool name, a link with and one without .sh to program, and a script
// for each shell that completes them. What an earlier run has written is replaced; files that are something
// else stop it.
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
	if runtime.GOOS == "windows" {
		return nil
	}
	folder := filepath.Join(directory, completionFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("creating the folder for the shells' scripts: %w", err)
	}
	s.Println("To have them completed:")
	for _, shell := range completion.Shells {
		path := filepath.Join(folder, "moldau."+shell)
		if err := writeCompletion(path, shell, names); err != nil {
			return err
		}
		s.Printf("  source %s    # in %s\n", path, startFiles[shell])
	}
	return nil
}

func writeCompletion(path, shell string, names []string) error {
	script, err := completion.Script(shell, names)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(script, "\n") // says whose it is
	existing, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("looking at %s: %w", path, err)
	case !strings.HasPrefix(string(existing), first):
		return fmt.Errorf("%s exists and is no script of an earlier install-tools; remove it or choose another folder", path)
	}
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		return fmt.Errorf("writing the script %s: %w", path, err)
	}
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
