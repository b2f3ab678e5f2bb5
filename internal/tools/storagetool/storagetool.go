// Package storagetool is kafka-storage: generate cluster ids and look at log directories. The
// command table in internal/tools calls Run; nothing here starts a goroutine. Formatting is
// accepted and does nothing, because a Moldau broker sets up an empty log directory itself.
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

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/features"
)

var config = cli.Argument{Long: "--config", Short: "-c", Required: true, Help: "The server.properties file."}

var parser = &cli.SubParser{
	Program:     "kafka-storage",
	Description: "The Kafka storage tool.",
	Commands: []cli.SubCommand{
		{Name: "info", Help: "Show what the log directories of a node hold.", Arguments: []cli.Argument{config}},
		{Name: "format", Help: "Accepted; Moldau needs no format step.", Arguments: []cli.Argument{
			{Long: "--cluster-id", Short: "-t", Required: true, Help: "The cluster id."},
			config,
			{Long: "--add-scram", Short: "-S", Repeats: true, Help: "Not supported yet."},
			{Long: "--ignore-formatted", Short: "-g", IsFlag: true, Help: "Accepted."},
			{Long: "--release-version", Short: "-r", Help: "Accepted."},
			{Long: "--feature", Short: "-f", Repeats: true, Help: "Accepted."},
			{Long: "--standalone", Short: "-s", IsFlag: true, Help: "Accepted."},
			{Long: "--no-initial-controllers", Short: "-N", IsFlag: true, Help: "Accepted."},
			{Long: "--initial-controllers", Short: "-I", Help: "Accepted."},
		}},
		{Name: "version-mapping", Help: "Show which levels of features belong to a release.", Arguments: []cli.Argument{
			{Long: "--release-version", Short: "-r", Help: "The release, from 3.3-IV3 on; otherwise the newest."}}},
		{Name: "feature-dependencies", Help: "Show what levels of features need.", Arguments: []cli.Argument{
			{Long: "--feature", Short: "-f", Required: true, Repeats: true, Help: "A feature and its level, such as metadata.version=30."}}},
		{Name: "random-uuid", Help: "Print a random UUID."},
	},
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
		return features.PrintDependencies(s, parsed.Values("--feature"))
	}
	properties, err := cli.LoadProperties(parsed.Value("--config"))
	if err != nil {
		return err
	}
	directories := logDirectories(properties)
	if parsed.Command == "info" {
		return info(s, directories)
	}
	return format(s, parsed, directories)
}

// systemRandom draws from the operating system.
type systemRandom struct{}

func (systemRandom) Uint64() uint64 {
	var b [8]byte
	_, _ = cryptorand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return binary.BigEndian.Uint64(b[:])
}

// logDirectories lists the directories of a server.properties file, each once, sorted.
func logDirectories(properties map[string]string) []string {
	list, ok := properties["log.dirs"]
	if !ok || strings.TrimSpace(list) == "" {
		list = properties["log.dir"]
	}
	if list == "" {
		list = "moldau-data" // the broker's default
	}
	var directories []string
	for directory := range strings.SplitSeq(list+","+properties["metadata.log.dir"], ",") {
		if directory = strings.TrimSpace(directory); directory != "" {
			directories = append(directories, directory)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(directories)))
}

func format(s cli.Streams, parsed *cli.Parsed, directories []string) error {
	if parsed.Has("--add-scram") {
		return errors.New("--add-scram is not supported yet")
	}
	if _, err := kafka.ParseUUID(parsed.Value("--cluster-id")); err != nil {
		return fmt.Errorf("the cluster id: %w", err)
	}
	for _, directory := range directories {
		metadata, problem := readMetadata(directory)
		if problem != "" {
			continue // there is nothing to contradict
		}
		if given, found := parsed.Value("--cluster-id"), metadata["cluster.id"]; found != given {
			return fmt.Errorf("Invalid cluster.id in: %s. Expected %s, but read %s", filepath.Join(directory, "meta.properties"), given, found) //nolint:staticcheck // the words of Kafka's tools
		}
	}
	s.Printf("No format is needed: a Moldau broker sets up %s when it starts, and a new cluster gives itself an id.\n", strings.Join(directories, ", "))
	return nil
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
