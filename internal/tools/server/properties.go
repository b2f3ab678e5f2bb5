package server

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
)

// Flags are the flags of moldau start.
type Flags struct {
	DataDir   string
	Port      uint16 // 0: not given
	File      string
	Overrides []string // name=value
}

// Properties merges the file, then the other flags, then the overrides.
func Properties(f Flags) (map[string]string, error) {
	properties := map[string]string{}
	if f.File != "" {
		loaded, err := cli.LoadProperties(f.File)
		if err != nil {
			return nil, err
		}
		properties = loaded
	}
	if f.DataDir != "" {
		properties["log.dirs"] = f.DataDir
	}
	if f.Port != 0 {
		properties["listeners"] = "PLAINTEXT://localhost:" + strconv.Itoa(int(f.Port))
	}
	for _, override := range f.Overrides {
		if name, _, ok := strings.Cut(override, "="); !ok || name == "" {
			return nil, errors.New("--override " + override + ": want name=value")
		}
	}
	maps.Copy(properties, cli.ParseKeyValues(f.Overrides))
	if f.File == "" && properties["log.dirs"] == "" && properties["log.dir"] == "" {
		directory, err := defaultDataDir()
		if err != nil {
			return nil, err
		}
		properties["log.dirs"] = directory
	}
	return properties, nil
}

// defaultDataDir is the folder that the operating system has for a user's application data.
func defaultDataDir() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("there is no home folder to keep data in; give --data-dir: %w", err)
	}
	switch data := os.Getenv("XDG_DATA_HOME"); {
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support", "moldau"), nil
	case runtime.GOOS == "windows":
		return filepath.Join(home, "AppData", "Local", "moldau", "data"), nil
	case filepath.IsAbs(data):
		return filepath.Join(data, "moldau"), nil
	}
	return filepath.Join(home, ".local", "share", "moldau"), nil
}
