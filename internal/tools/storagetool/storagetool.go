// Package storagetool is kafka-storage: it generates cluster ids, gives log directories to a cluster
// and a node, and looks at them. The command table in internal/tools calls Run; nothing here starts
// a goroutine. A broker formats empty log directories itself, so format is for those who want to
// choose the cluster's id, or have scripts that do.
package storagetool

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/features"
)

var configArgument = cli.Argument{Long: "--config", Short: "-c", Required: true, Help: "The server.properties file."}

var parser = &cli.SubParser{
	Program:     "kafka-storage",
	Description: "The Kafka storage tool.",
	Commands: []cli.SubCommand{
		{Name: "info", Help: "Show what the log directories of a node hold.", Arguments: []cli.Argument{configArgument}},
		{Name: "format", Help: "Give empty log directories to a node of a cluster. A start does it too, with an id of its own.", Arguments: []cli.Argument{
			{Long: "--cluster-id", Short: "-t", Required: true, Help: "The cluster's id."},
			configArgument,
			{Long: "--add-scram", Short: "-S", Repeats: true, Help: "Refused: there is no SASL yet."},
			{Long: "--ignore-formatted", Short: "-g", IsFlag: true, Help: "Leave formatted log directories as they are and format the others."},
			{Long: "--release-version", Short: "-r", Help: "Release whose features the cluster begins with; 4.3 is the only one."},
			{Long: "--feature", Short: "-f", Repeats: true, Help: "Level that a feature begins with, such as transaction.version=2; others than a start's are refused."},
			{Long: "--standalone", Short: "-s", IsFlag: true, Help: "This node is the only controller."},
			{Long: "--no-initial-controllers", Short: "-N", IsFlag: true, Help: "The controllers are told later."},
			{Long: "--initial-controllers", Short: "-I", Help: "The first controllers, id@host:port:directory,...; this node's directory id is taken from it."},
		}},
		{Name: "version-mapping", Help: "Show which levels of features belong to a release.", Arguments: []cli.Argument{
			{Long: "--release-version", Short: "-r", Help: "The release, from 3.3-IV3 on; otherwise the newest."}}},
		{Name: "feature-dependencies", Help: "Show what levels of features need.", Arguments: []cli.Argument{
			{Long: "--feature", Short: "-f", Required: true, Repeats: true, Help: "A feature and its level, such as metadata.version=30."}}},
		{Name: "random-uuid", Help: "Print a random UUID."},
	},
}

var words = features.Words{
	NoPair:   "Invalid feature format: {argument}. Expected format: 'feature=version' (e.g. 'group.version=1')",
	NoNumber: "Invalid version format: {level} for feature {name}",
	NoLevel:  "Feature level {level} is not supported for feature {name}",
}

// Run is kafka-storage.
func Run(_ context.Context, s cli.Streams, args []string) error {
	parsed, err := parser.Parse(s, args)
	if err != nil {
		return err
	}
	switch parsed.Command {
	case "random-uuid":
		s.Println(kafka.NewUUID(systemRandom{}).String())
		return nil
	case "version-mapping":
		return features.PrintMapping(s, parsed.Value("--release-version"))
	case "feature-dependencies":
		return features.PrintDependencies(s, parsed.Values("--feature"), words)
	}
	properties, err := cli.LoadProperties(parsed.Value("--config"))
	if err != nil {
		return err
	}
	node, _, err := config.NewBroker(properties)
	if err != nil {
		return fmt.Errorf("%s: %w", parsed.Value("--config"), err)
	}
	if parsed.Command == "info" {
		return info(s, directories(node))
	}
	return format(s, parsed, node, properties)
}

// systemRandom draws from the operating system.
type systemRandom struct{}

func (systemRandom) Uint64() uint64 {
	var b [8]byte
	_, _ = cryptorand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:])
}

// directories lists a node's log directories, each once, sorted.
func directories(node *config.Broker) []string {
	return slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(node.LogDirs), node.MetadataLogDir))))
}

func info(s cli.Streams, directories []string) error {
	var found, problems []string
	var metadata map[string]string
	for _, directory := range directories {
		state, err := os.Stat(directory)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, directory+" does not exist")
			continue
		case err != nil:
			problems = append(problems, err.Error())
			continue
		case !state.IsDir():
			problems = append(problems, directory+" is not a directory")
			continue
		}
		found = append(found, directory)
		current, problem := readMetadata(directory)
		switch {
		case problem != "":
			problems = append(problems, problem)
		case metadata == nil:
			metadata = current
		case metadata["cluster.id"] != current["cluster.id"]:
			problems = append(problems, "Mismatched cluster IDs between storage directories.")
		case metadata["node.id"] != current["node.id"]:
			problems = append(problems, "Mismatched node IDs between storage directories.")
		}
	}
	printList(s, "Found log directory:", "Found log directories:", found)
	if metadata != nil {
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(metadata)) {
			pairs = append(pairs, name+"="+metadata[name])
		}
		s.Printf("Found metadata: {%s}\n\n", strings.Join(pairs, ", "))
	}
	printList(s, "Found problem:", "Found problems:", problems)
	if len(problems) > 0 {
		return cli.Failed
	}
	return nil
}

func readMetadata(directory string) (metadata map[string]string, problem string) {
	path := filepath.Join(directory, "meta.properties")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, directory + " is not formatted."
	}
	metadata, err := cli.LoadProperties(path)
	if err != nil {
		return nil, "Error loading " + path + ": " + err.Error()
	}
	return metadata, ""
}

func printList(s cli.Streams, one, many string, items []string) {
	if len(items) == 0 {
		return
	}
	if len(items) == 1 {
		many = one
	}
	s.Println(many)
	for _, item := range items {
		s.Println("  " + item)
	}
	s.Println("")
}
