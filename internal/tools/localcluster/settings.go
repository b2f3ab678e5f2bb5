package localcluster

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/server"
)

const (
	// DefaultNodes and DefaultPort are those of a new cluster of which nothing else is said.
	DefaultNodes, DefaultPort = 3, 9092
	maxNodes                  = 9
	// Node number i has the i-th port from Port on for clients, from these further up for controllers and HTTP.
	controllerPorts, httpPorts = 100, 200

	settingsFile = "local-cluster.properties"
	// unfinishedSuffix is that of files that are being written.
	unfinishedSuffix = ".unfinished"
)

// settings are what a folder's cluster was begun with.
type settings struct {
	folder      string
	nodes, port int
}

// load reads what the folder's cluster is, or begins one there.
func load(o Options) (settings, error) {
	folder := o.DataDir
	if folder == "" {
		directory, err := server.DefaultDataDir()
		if err != nil {
			return settings{}, err
		}
		folder = directory + "-cluster"
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return settings{}, err
	}
	path := filepath.Join(folder, settingsFile)
	stored, err := cli.LoadProperties(path)
	if errors.Is(err, fs.ErrNotExist) {
		return begin(folder, o)
	}
	if err != nil {
		return settings{}, err
	}
	c := settings{folder: folder}
	for name, value := range map[string]*int{"nodes": &c.nodes, "port": &c.port} {
		if *value, err = strconv.Atoi(stored[name]); err != nil {
			return c, fmt.Errorf("%s: the property %s is no number", path, name)
		}
	}
	if o.Nodes != 0 && o.Nodes != c.nodes || o.Port != 0 && o.Port != c.port {
		return c, fmt.Errorf("%s has a cluster of %d nodes on port %d and following; start it without --nodes and --port, or choose another --data-dir", folder, c.nodes, c.port)
	}
	if err := c.check(); err != nil {
		return c, err
	}
	return c, c.makeNodes()
}

func begin(folder string, o Options) (settings, error) {
	c := settings{folder, o.Nodes, o.Port}
	if c.nodes == 0 {
		c.nodes = DefaultNodes
	}
	if c.port == 0 {
		c.port = DefaultPort
	}
	if err := c.check(); err != nil {
		return c, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != settingsFile+unfinishedSuffix }) {
		return c, fmt.Errorf("%s is not empty and has no cluster of `moldau cluster local`; choose another --data-dir", folder)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return c, fmt.Errorf("creating the cluster's folder: %w", err)
	}
	// First: with it another run goes on where this one was interrupted.
	if err := writeProperties(filepath.Join(folder, settingsFile), []string{"nodes=" + strconv.Itoa(c.nodes), "port=" + strconv.Itoa(c.port)}); err != nil {
		return c, err
	}
	return c, c.makeNodes()
}

// makeNodes makes the folders and properties files of nodes that have none.
func (c settings) makeNodes() error {
	for node := 1; node <= c.nodes; node++ {
		if _, err := os.Stat(c.propertiesFile(node)); err == nil {
			continue // which its owner may have changed
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.MkdirAll(c.nodeFolder(node), 0o755); err != nil {
			return fmt.Errorf("creating a node's folder: %w", err)
		}
		if err := writeProperties(c.propertiesFile(node), c.properties(node)); err != nil {
			return err
		}
	}
	return nil
}

func (c settings) check() error {
	if c.nodes < 1 || c.nodes > maxNodes {
		return fmt.Errorf("--nodes %d: want a number from 1 to %d", c.nodes, maxNodes)
	}
	if last := 65535 - httpPorts - c.nodes; c.port < 1 || c.port > last {
		return fmt.Errorf("--port %d: want a number from 1 to %d", c.port, last)
	}
	return nil
}

// checkPorts refuses to start where somebody listens already: most likely this cluster itself.
func (c settings) checkPorts() error {
	for node := 1; node <= c.nodes; node++ {
		for _, port := range []int{c.clientPort(node), c.clientPort(node) + controllerPorts, c.clientPort(node) + httpPorts} {
			listener, err := net.Listen("tcp", fmt.Sprintf("localhost:%d", port))
			if err != nil {
				return fmt.Errorf("port %d, which node %d needs, cannot be used; does this cluster run already? For a new one choose --port and --data-dir: %w", port, node, err)
			}
			_ = listener.Close()
		}
	}
	return nil
}

func (c settings) clientPort(node int) int { return c.port + node - 1 }
func (c settings) address(node int) string { return fmt.Sprintf("localhost:%d", c.clientPort(node)) }
func (c settings) nodeFolder(node int) string {
	return filepath.Join(c.folder, fmt.Sprintf("node-%d", node))
}
func (c settings) propertiesFile(node int) string {
	return filepath.Join(c.nodeFolder(node), "server.properties")
}
func (c settings) output(node int) string { return filepath.Join(c.nodeFolder(node), "broker.log") }
func (c settings) controllerAddress(node int) string {
	return fmt.Sprintf("localhost:%d", c.clientPort(node)+controllerPorts)
}

// voters is how many of the nodes are controllers: an odd number, where there are that many.
func (c settings) voters() int {
	switch {
	case c.nodes >= 5:
		return 5
	case c.nodes == 4:
		return 3
	}
	return c.nodes
}

// properties is a node's server.properties file.
func (c settings) properties(node int) []string {
	var voters []string
	for voter := 1; voter <= c.voters(); voter++ {
		voters = append(voters, fmt.Sprintf("%d@%s", voter, c.controllerAddress(voter)))
	}
	listeners, roles := "PLAINTEXT://"+c.address(node), "broker"
	if node <= c.voters() {
		listeners, roles = listeners+",CONTROLLER://"+c.controllerAddress(node), "broker,controller"
	}
	return []string{
		"process.roles=" + roles, "node.id=" + strconv.Itoa(node), "listeners=" + listeners, "controller.listener.names=CONTROLLER",
		"controller.quorum.voters=" + strings.Join(voters, ","), fmt.Sprintf("http.listen=localhost:%d", c.clientPort(node)+httpPorts),
		// A properties file reads a backslash as an escape.
		"log.dirs=" + strings.ReplaceAll(filepath.Join(c.nodeFolder(node), "data"), `\`, `\\`),
	}
}

// writeProperties writes a file that is there as a whole or not at all, whenever the program is interrupted.
func writeProperties(path string, lines []string) error {
	unfinished := path + unfinishedSuffix
	err := os.WriteFile(unfinished, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		return fmt.Errorf("writing a properties file: %w", err)
	}
	return nil
}
