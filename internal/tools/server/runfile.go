package server

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
)

// broker is what a run file tells of a running broker.
type broker struct {
	pid          int
	nodeID       string
	port         string
	processRoles string
}

// describe finds in a broker's properties what tells it from its neighbours.
func describe(properties map[string]string) broker {
	listener, _, _ := strings.Cut(properties["listeners"], ",")
	port := listener[strings.LastIndexByte(listener, ':')+1:]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		port = "9092"
	}
	return broker{
		pid:          os.Getpid(),
		nodeID:       cmp.Or(strings.TrimSpace(properties["node.id"]), strings.TrimSpace(properties["broker.id"]), "1"),
		port:         port,
		processRoles: cmp.Or(strings.ReplaceAll(properties["process.roles"], " ", ""), "broker,controller"),
	}
}

// runDirectory is where this user's brokers leave their run files.
func runDirectory() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), "moldau-"+strconv.Itoa(os.Getuid()))
	}
	return filepath.Join(cache, "moldau", "run"), nil
}

// runFile is held locked while the broker lives, so that a file left behind by a crash is never
// taken for a process that got the same pid later.
type runFile struct {
	path string
	file *os.File
}

func writeRunFile(directory string, b broker) (*runFile, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("creating the folder for run files: %w", err)
	}
	// The pid is part of the name: a second start that fails on a port or lock in use must not
	// touch the first one's file.
	path := filepath.Join(directory, fmt.Sprintf("moldau-%s-%s-%d.pid", fileWord(b.nodeID), b.port, b.pid))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating the run file: %w", err)
	}
	if locked, err := lock(file); err != nil || !locked {
		file.Close()
		return nil, fmt.Errorf("locking the run file %s: locked %t: %w", path, locked, err)
	}
	_, err = fmt.Fprintf(file, "pid=%d\nnode.id=%s\nport=%s\nprocess.roles=%s\n", b.pid, b.nodeID, b.port, b.processRoles)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("writing the run file: %w", err)
	}
	return &runFile{path, file}, nil
}

// fileWord keeps a property's value from naming another folder.
func fileWord(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, text)
}

func (f *runFile) remove() {
	// On Windows an open file cannot be removed, elsewhere it is better gone before the lock is.
	err := os.Remove(f.path)
	f.file.Close()
	if err != nil {
		_ = os.Remove(f.path)
	}
}

// running returns the brokers whose run files are locked, and removes the files of others.
func running(directory string) ([]broker, error) {
	paths, err := filepath.Glob(filepath.Join(directory, "moldau-*.pid"))
	if err != nil {
		return nil, err
	}
	var brokers []broker
	for _, path := range paths {
		alive, err := isHeld(path)
		if err != nil {
			continue // it went away meanwhile
		}
		if !alive {
			_ = os.Remove(path)
			continue
		}
		properties, err := cli.LoadProperties(path)
		if err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(properties["pid"])
		if err != nil || pid <= 1 {
			return nil, fmt.Errorf("the run file %s names no process", path)
		}
		brokers = append(brokers, broker{pid, properties["node.id"], properties["port"], properties["process.roles"]})
	}
	return brokers, nil
}
