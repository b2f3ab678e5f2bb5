package server

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
)

// Flags are the flags of moldau start.
type Flags struct {
	DataDir   string
	Port      int // 0: not given
	File      string
	Overrides []string // name=value
	Join      string   // host:port of a node of the cluster to join; "" for none
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
	if err := setPort(properties, f.Port); err != nil {
		return nil, err
	}
	for _, override := range f.Overrides {
		if name, _, ok := strings.Cut(override, "="); !ok || name == "" {
			return nil, errors.New("--override " + override + ": want name=value")
		}
	}
	maps.Copy(properties, cli.ParseKeyValues(f.Overrides))
	if f.File == "" && properties["log.dirs"] == "" && properties["log.dir"] == "" {
		directory, err := DefaultDataDir()
		if err != nil {
			return nil, err
		}
		properties["log.dirs"] = directory
	}
	return properties, nil
}

// setPort gives the first listener for clients another port, and what is advertised for it too.
func setPort(properties map[string]string, port int) error {
	switch {
	case port == 0:
		return nil
	case port < 0 || port > 65535:
		return fmt.Errorf("--port %d: want a number from 1 to 65535", port)
	case properties["listeners"] == "":
		properties["listeners"] = "PLAINTEXT://localhost:" + strconv.Itoa(port)
		return nil
	}
	controllers := strings.Split(strings.ToUpper(strings.ReplaceAll(properties["controller.listener.names"], " ", "")), ",")
	listeners := strings.Split(properties["listeners"], ",")
	chosen := slices.IndexFunc(listeners, func(l string) bool { return !slices.Contains(controllers, listenerName(l)) })
	if chosen < 0 {
		return errors.New("--port: the property listeners has none for clients")
	}
	name := listenerName(listeners[chosen])
	for _, property := range []string{"listeners", "advertised.listeners"} {
		listeners := strings.Split(properties[property], ",")
		for i, l := range listeners {
			if colon := strings.LastIndexByte(l, ':'); colon >= 0 && listenerName(l) == name {
				listeners[i] = l[:colon+1] + strconv.Itoa(port)
			}
		}
		if properties[property] != "" {
			properties[property] = strings.Join(listeners, ",")
		}
	}
	return nil
}

func listenerName(listener string) string {
	name, _, _ := strings.Cut(listener, "://")
	return strings.ToUpper(strings.TrimSpace(name))
}

// DefaultDataDir is the folder that the operating system has for a user's application data.
func DefaultDataDir() (string, error) {
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
