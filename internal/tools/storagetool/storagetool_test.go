package storagetool

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/tools/cli"
)

func run(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	s := cli.Streams{Out: &o, Err: &e}
	code = cli.Exit(s, Run(context.Background(), s, args))
	return o.String(), e.String(), code
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRandomUUID(t *testing.T) {
	t.Parallel()
	first, _, code := run("random-uuid")
	second, _, _ := run("random-uuid")
	if _, err := kafka.ParseUUID(strings.TrimSpace(first)); err != nil || code != 0 || first == second {
		t.Errorf("%q %q %d %v", first, second, code, err)
	}
}

// TestFormat holds the sentences of Apache Kafka 4.3.1's tool, and that what is written can be read.
func TestFormat(t *testing.T) {
	t.Parallel()
	const id = "jVKI9tV5Rfu5n__-BQhKbg"
	folder := t.TempDir()
	first, second := filepath.Join(folder, "a"), filepath.Join(folder, "b")
	config := write(t, filepath.Join(folder, "server.properties"), "node.id=3\nlog.dirs="+second+","+first+"\nmetadata.log.dir="+second+"\n")
	with4_3 := " with metadata.version 4.3-IV0.\n"
	if out, errs, code := run("format", "-t", id, "-c", config, "--release-version", "4.3", "--feature", "transaction.version=2"); code != 0 ||
		out != "Formatting metadata directory "+second+with4_3+"Formatting data directory "+first+with4_3 {
		t.Fatalf("%q %q %d", out, errs, code)
	}
	seen := map[kafka.UUID]bool{}
	for _, directory := range []string{first, second} {
		p := owner(t, directory)
		if p.ClusterID != id || p.NodeID != 3 || p.DirectoryID.IsZero() || seen[p.DirectoryID] {
			t.Errorf("%s: %+v", directory, p)
		}
		seen[p.DirectoryID] = true
	}
	before := owner(t, first)
	for _, c := range []struct{ args, out, err string }{
		{"-t " + id, "", "Log directory " + first + " is already formatted. Use --ignore-formatted to ignore this directory and format the others.\n"},
		{"-t " + id + " -g", "All of the log directories are already formatted.\n", ""},
		{"-t AAAAAAAAAAAAAAAAAAAAAg -g", "", "Invalid cluster.id in: " + first + "/meta.properties. Expected AAAAAAAAAAAAAAAAAAAAAg, but read " + id + "\n"},
	} {
		out, errs, code := run(append([]string{"format", "-c", config}, strings.Fields(c.args)...)...)
		if out != c.out || errs != c.err || (code == 0) != (c.err == "") {
			t.Errorf("%s: %q %q %d", c.args, out, errs, code)
		}
	}
	if after := owner(t, first); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
	write(t, config, "node.id=4\nlog.dirs="+first+"\n")
	if _, errs, code := run("format", "-t", id, "-c", config, "-g"); code != 1 || !strings.HasPrefix(errs, "Stored node id 3 doesn't match previous node id 4 in "+first) {
		t.Errorf("another node's folder: %q %d", errs, code)
	}
	// One more folder beside one that is formatted.
	third := filepath.Join(folder, "c", "d")
	write(t, config, "node.id=3\nlog.dirs="+first+","+third+"\n")
	if out, errs, code := run("format", "-t", id, "-c", config, "-g"); code != 0 || out != "Formatting data directory "+third+with4_3 {
		t.Errorf("%q %q %d", out, errs, code)
	}
}

func owner(t *testing.T, directory string) checkpoint.MetaProperties {
	t.Helper()
	p, err := checkpoint.ReadMetaProperties(vfs.OS{}, filepath.Join(directory, "meta.properties"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFormatOfAController holds what depends on how the first controllers are told.
func TestFormatOfAController(t *testing.T) {
	t.Parallel()
	const roles, voters = "process.roles=broker,controller\n", "controller.quorum.voters=1@localhost:9093\n"
	for _, c := range []struct{ properties, args, out, err string }{
		{roles, "", "", "Because controller.quorum.voters is not set on this controller, you must specify one of the following: --standalone, --initial-controllers, or --no-initial-controllers.\n"},
		{roles, "--standalone", "Formatting dynamic metadata voter directory ", ""},
		{roles, "-N", "Formatting metadata directory ", ""},
		{roles, "-I 1@localhost:9093:AAAAAAAAAAAAAAAAAAAAAg", "Formatting dynamic metadata voter directory ", ""},
		{roles, "-I 2@localhost:9093:AAAAAAAAAAAAAAAAAAAAAg,7@[::1]:9094:AAAAAAAAAAAAAAAAAAAAAw", "Formatting dynamic metadata directory ", ""},
		{roles + voters, "", "Formatting metadata directory ", ""},
		{roles + voters, "--standalone", "", "You cannot specify controller.quorum.voters and format the node with --initial-controllers or --standalone. "},
		{"cluster.id=other\n", "", "", "the property cluster.id is other, "},
		{"", "", "Formatting metadata directory ", ""},
		{"", "-I x", "", "No @ found in dynamic voter string.\n"},
		{"", "-I x@localhost", "", "Failed to parse node id in dynamic voter string.\n"},
		{"", "-I -1@a:1:b", "", "usage: kafka-storage "},
		{"", "--initial-controllers=-1@a:1:b", "", "Invalid negative node id -1 in dynamic voter string.\n"},
		{"", "-I 1@a", "", "No colon following hostname could be found.\n"},
		{"", "-I 1@a:1", "", "No colon following port could be found.\n"},
		{"", "-I 1@a:b:c", "", "Failed to parse port in dynamic voter string.\n"},
		{"", "-I 1@a:1:c", "", "Failed to parse directory ID in dynamic voter string.\n"},
		{"", "-I ,", "", "No voters given.\n"},
		{"", "-I 1@a:1:AAAAAAAAAAAAAAAAAAAAAg,1@b:1:AAAAAAAAAAAAAAAAAAAAAg", "", "Node id 1 was specified more than once.\n"},
		{"", "-s -N", "", "usage: kafka-storage format "},
		{"", "-S SCRAM-SHA-256=[name=a,password=b]", "", "--add-scram is not supported: "},
		{"", "-r 9.9", "", "Unknown metadata.version '9.9'. Supported metadata.version are: 3.3-IV3, "},
		{"", "-r 4.0", "Formatting metadata directory ", ""},
		{"", "-r 3.9 -f eligible.leader.replicas.version=1", "", "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23\n"},
		{"", "-f metadata.version=31", "", "metadata.version cannot begin with level 31, "},
		{"", "-f nope=1", "", "Unsupported feature: nope. Supported features are: eligible.leader.replicas.version, group.version, kraft.version, share.version, streams.version, transaction.version\n"},
		{"", "-f group.version=1", "", "group.version cannot begin with level 1, "},
		{"", "-f group.version=9", "", "No feature:group.version with feature level 9\n"},
		{"", "-f x", "", "Can't parse feature=level string x: equals sign not found.\n"},
		{"", "-f metadata.version=30 -r 4.3", "", "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.\n"},
		{"", "-f metadata.version=99", "", "No MetadataVersion with feature level 99. Valid feature levels are from 7 to 31.\n"},
		{"no.such.property=1\n", "", "", ""},
	} {
		folder := t.TempDir()
		data := filepath.Join(folder, "data")
		config := write(t, filepath.Join(folder, "server.properties"), "node.id=1\nlog.dirs="+data+"\n"+c.properties)
		out, errs, code := run(append([]string{"format", "-t", "abc", "-c", config}, strings.Fields(c.args)...)...)
		refused := c.out == ""
		if !strings.HasPrefix(out, c.out) || !strings.HasPrefix(errs, c.err) || refused != (code == 1) || refused != (errs != "") {
			t.Errorf("%q %s: %q %q %d", c.properties, c.args, out, errs, code)
		}
		if _, err := os.Stat(data); (err == nil) == refused {
			t.Errorf("%q %s: the folder: %v", c.properties, c.args, err)
		}
		if strings.HasPrefix(c.args, "-I 1@localhost") && owner(t, data).DirectoryID.String() != "AAAAAAAAAAAAAAAAAAAAAg" {
			t.Errorf("the directory id is %s", owner(t, data).DirectoryID)
		}
	}
}

func TestFeatureDependencies(t *testing.T) {
	t.Parallel()
	for argument, want := range map[string]string{
		"x":                     "Invalid feature format: x. Expected format: 'feature=version' (e.g. 'group.version=1')\n",
		"group.version=y":       "Invalid version format: y for feature group.version\n",
		"group.version=7":       "Feature level 7 is not supported for feature group.version\n",
		"metadata.version=1000": "Unknown metadata.version 1000\n",
	} {
		if _, errs, code := run("feature-dependencies", "-f", argument); errs != want || code != 1 {
			t.Errorf("%s: %q %d", argument, errs, code)
		}
	}
}

// TestInfo holds the form in which Apache Kafka 4.3.1's tool prints a folder.
func TestInfo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	data := filepath.Join(folder, "a")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	config := write(t, filepath.Join(folder, "server.properties"), "log.dirs="+data+"\n")
	if out, _, code := run("info", "-c", config); code != 1 || out != "Found log directory:\n  "+data+"\n\nFound problem:\n  "+data+" is not formatted.\n\n" {
		t.Errorf("%q %d", out, code)
	}
	write(t, filepath.Join(data, "meta.properties"), "#x\nversion=1\nnode.id=1\ndirectory.id=8yY10laSTESJEIpQVweSEA\ncluster.id=jVKI9tV5Rfu5n__-BQhKbg\n")
	want := "Found log directory:\n  " + data + "\n\nFound metadata: {cluster.id=jVKI9tV5Rfu5n__-BQhKbg, directory.id=8yY10laSTESJEIpQVweSEA, node.id=1, version=1}\n\n"
	if out, _, code := run("info", "-c", config); code != 0 || out != want {
		t.Errorf("%q %d", out, code)
	}
	write(t, config, "log.dirs="+data+", "+folder+"/none,"+config+"\nmetadata.log.dir="+data+"\n")
	out, _, code := run("info", "--config", config)
	if code != 1 || !strings.Contains(out, "Found problems:\n  "+folder+"/none does not exist\n  "+config+" is not a directory\n") {
		t.Errorf("%q %d", out, code)
	}
}

// What a cluster begins with is in Kafka's file beside meta.properties, in the folder of the metadata log only.
func TestFormatForALevel(t *testing.T) {
	t.Parallel()
	for arguments, want := range map[string]map[string]int16{
		"":                                nil,
		"-r 4.0":                          {"metadata.version": 25, "transaction.version": 2, "eligible.leader.replicas.version": 0},
		"-r 3.9 -f transaction.version=1": {"metadata.version": 21, "transaction.version": 1, "eligible.leader.replicas.version": 0},
		"-f eligible.leader.replicas.version=0 -f kraft.version=1": {"metadata.version": 30, "transaction.version": 2, "eligible.leader.replicas.version": 0},
	} {
		folder := t.TempDir()
		first, second := filepath.Join(folder, "a"), filepath.Join(folder, "b")
		config := write(t, filepath.Join(folder, "server.properties"), "node.id=3\nlog.dirs="+second+","+first+"\nmetadata.log.dir="+second+"\n")
		if _, errs, code := run(append([]string{"format", "-t", "jVKI9tV5Rfu5n__-BQhKbg", "-c", config}, strings.Fields(arguments)...)...); code != 0 {
			t.Fatalf("%s: %s", arguments, errs)
		}
		if got, err := metadata.ReadBootstrap(vfs.OS{}, second); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v %v", arguments, got, err)
		}
		if got, err := metadata.ReadBootstrap(vfs.OS{}, first); err != nil || got != nil {
			t.Errorf("%s: the other folder has %v %v", arguments, got, err)
		}
	}
}
