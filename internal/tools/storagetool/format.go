package storagetool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/features"
)

const votersProperty = "controller.quorum.voters"

// formatter writes whose the folders of a node are. A start does the same with folders that have no
// owner yet, and takes those that have one as they are.
type formatter struct {
	streams         cli.Streams
	fs              vfs.FS
	node            *config.Broker
	clusterID       string
	ignoreFormatted bool
	// levels are those of the features with which the cluster begins, nil for the newest, and version is the name of
	// its metadata.version.
	levels  map[string]int16
	version string
	// voters are the directory ids of the first controllers by their node ids; nil where the command line has none.
	voters map[int32]kafka.UUID
}

func format(s cli.Streams, parsed *cli.Parsed, node *config.Broker, properties map[string]string) error {
	if err := checkQuorum(s, parsed, node, properties); err != nil {
		return err
	}
	levels, version, err := features.Initial(parsed.Value("--release-version"), parsed.Values("--feature"))
	if err != nil {
		return err
	}
	f := &formatter{levels: levels, version: version, streams: s, fs: vfs.OS{}, node: node, clusterID: parsed.Value("--cluster-id"), ignoreFormatted: parsed.Has("--ignore-formatted")}
	switch {
	case f.clusterID == "":
		return errors.New("You must specify the cluster id.") //nolint:staticcheck // the words of Kafka's tools
	case node.ClusterID != "" && node.ClusterID != f.clusterID:
		return fmt.Errorf("the property cluster.id is %s, so a broker with these properties would refuse folders of cluster %s: give both the same id", node.ClusterID, f.clusterID)
	case parsed.Has("--standalone"):
		f.voters = map[int32]kafka.UUID{node.NodeID: kafka.NewUUID(systemRandom{})}
	case parsed.Has("--initial-controllers"):
		var err error
		if f.voters, err = parseVoters(parsed.Value("--initial-controllers")); err != nil {
			return err
		}
	}
	return f.run()
}

// checkQuorum makes Kafka's checks of what the command line and the properties say of the controllers.
// A file without process.roles is not Kafka's, and needs none of the three options.
func checkQuorum(s cli.Streams, parsed *cli.Parsed, node *config.Broker, properties map[string]string) error {
	var given []string
	for _, option := range []string{"--standalone/-s", "--no-initial-controllers/-N", "--initial-controllers/-I"} {
		if long, _, _ := strings.Cut(option, "/"); parsed.Has(long) {
			given = append(given, option)
		}
	}
	hasVoters := strings.TrimSpace(properties[votersProperty]) != ""
	isController := strings.Contains(properties["process.roles"], "controller")
	switch {
	case len(given) > 1:
		return parser.Fail(s, parsed, "argument %s: not allowed with argument %s", given[1], given[0])
	case parsed.Has("--add-scram"):
		return errors.New("--add-scram is not supported: there is no SASL yet. Leave it out")
	case hasVoters && (parsed.Has("--standalone") || parsed.Has("--initial-controllers")):
		return errors.New("You cannot specify " + votersProperty + " and format the node with --initial-controllers or --standalone. " +
			"If you want to use dynamic quorum, please remove " + votersProperty + " and specify controller.quorum.bootstrap.servers instead.") //nolint:staticcheck // the words of Kafka's tools
	case !node.Explicit("process.roles"):
		return nil
	case parsed.Has("--standalone") && !isController:
		return errors.New("You can only use --standalone on a controller.") //nolint:staticcheck // the words of Kafka's tools
	case len(given) == 0 && isController && !hasVoters:
		return errors.New("Because " + votersProperty + " is not set on this controller, you must specify one of the following: " +
			"--standalone, --initial-controllers, or --no-initial-controllers.") //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

// parseVoters reads node@host:port:directory,...
func parseVoters(text string) (map[int32]kafka.UUID, error) {
	voters := map[int32]kafka.UUID{}
	for voter := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if voter == "" {
			continue
		}
		id, rest, found := strings.Cut(voter, "@")
		if !found {
			return nil, errors.New("No @ found in dynamic voter string.") //nolint:staticcheck // the words of Kafka's tools
		}
		node, err := strconv.ParseInt(id, 10, 32)
		switch {
		case err != nil:
			return nil, errors.New("Failed to parse node id in dynamic voter string.") //nolint:staticcheck // the words of Kafka's tools
		case node < 0:
			return nil, fmt.Errorf("Invalid negative node id %d in dynamic voter string.", node) //nolint:staticcheck // the words of Kafka's tools
		}
		colon := strings.LastIndexByte(rest, ':')
		if colon < 0 {
			return nil, errors.New("No colon following hostname could be found.") //nolint:staticcheck // the words of Kafka's tools
		}
		_, port, err := net.SplitHostPort(rest[:colon])
		if err != nil {
			return nil, errors.New("No colon following port could be found.") //nolint:staticcheck // the words of Kafka's tools
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return nil, errors.New("Failed to parse port in dynamic voter string.") //nolint:staticcheck // the words of Kafka's tools
		}
		directory, err := kafka.ParseUUID(rest[colon+1:])
		if err != nil {
			return nil, errors.New("Failed to parse directory ID in dynamic voter string.") //nolint:staticcheck // the words of Kafka's tools
		}
		if _, twice := voters[int32(node)]; twice {
			return nil, fmt.Errorf("Node id %d was specified more than once.", node) //nolint:staticcheck // the words of Kafka's tools
		}
		voters[int32(node)] = directory
	}
	if len(voters) == 0 {
		return nil, errors.New("No voters given.") //nolint:staticcheck // the words of Kafka's tools
	}
	return voters, nil
}

func (f *formatter) run() error {
	formatted := map[string]checkpoint.MetaProperties{}
	var empty []string
	for _, directory := range directories(f.node) {
		path := filepath.Join(directory, checkpoint.MetaPropertiesFileName)
		found, err := checkpoint.ReadMetaProperties(f.fs, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			empty = append(empty, directory)
			continue
		case err != nil && checkpoint.IsMalformed(err):
			return err
		case err != nil:
			f.streams.Println("I/O error trying to read log directory " + directory + ". Ignoring...")
			continue
		case found.ClusterID != f.clusterID:
			return fmt.Errorf("Invalid cluster.id in: %s. Expected %s, but read %s", path, f.clusterID, found.ClusterID) //nolint:staticcheck // the words of Kafka's tools
		case found.NodeID != f.node.NodeID:
			return fmt.Errorf("Stored node id %d doesn't match previous node id %d in %s. If you moved your data, make sure your configured node id matches. "+
				"If you intend to create a new node, you should remove all data in your data directories.", found.NodeID, f.node.NodeID, path) //nolint:staticcheck // the words of Kafka's tools
		}
		formatted[directory] = found
	}
	switch {
	case len(formatted) > 0 && !f.ignoreFormatted:
		return fmt.Errorf("Log directory %s is already formatted. Use --ignore-formatted to ignore this directory and format the others.", slices.Sorted(maps.Keys(formatted))[0]) //nolint:staticcheck // the words of Kafka's tools
	case len(formatted)+len(empty) == 0:
		return errors.New("No available log directories to format.") //nolint:staticcheck // the words of Kafka's tools
	case len(empty) == 0:
		f.streams.Println("All of the log directories are already formatted.")
		return nil
	}
	// The metadata log's folder comes first: an interrupted format is completed by a start then.
	slices.SortStableFunc(empty, func(a, b string) int { return f.rank(a) - f.rank(b) })
	for _, directory := range empty {
		if err := f.write(directory); err != nil {
			return err
		}
	}
	return nil
}

func (f *formatter) rank(directory string) int {
	if directory == f.node.MetadataLogDir {
		return 0
	}
	return 1
}

func (f *formatter) write(directory string) error {
	id, kind := kafka.NewUUID(systemRandom{}), "data directory"
	if directory == f.node.MetadataLogDir {
		voter, isVoter := f.voters[f.node.NodeID]
		switch {
		case isVoter:
			id, kind = voter, "dynamic metadata voter directory"
		case f.voters != nil:
			kind = "dynamic metadata directory"
		default:
			kind = "metadata directory"
		}
	}
	f.streams.Printf("Formatting %s %s with metadata.version %s.\n", kind, directory, f.version)
	if err := f.fs.MkdirAll(directory); err != nil {
		return fmt.Errorf("creating the log directory %s: %w", directory, err)
	}
	if err := f.writeLevels(directory); err != nil {
		return fmt.Errorf("writing the levels of features into %s: %w", directory, err)
	}
	path := filepath.Join(directory, checkpoint.MetaPropertiesFileName)
	p := checkpoint.MetaProperties{ClusterID: f.clusterID, NodeID: f.node.NodeID, DirectoryID: id}
	if err := checkpoint.WriteMetaProperties(f.fs, path, p); err != nil {
		return fmt.Errorf("Error while writing meta.properties file %s: %w", directory, err) //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

// writeLevels writes what the cluster begins with into the folder of the metadata log.
func (f *formatter) writeLevels(directory string) error {
	if len(f.levels) == 0 || directory != f.node.MetadataLogDir {
		return nil
	}
	var records []metadata.FeatureLevelRecord
	names := slices.Sorted(maps.Keys(f.levels))
	// metadata.version comes first: it says how what follows is written.
	slices.SortStableFunc(names, func(a, b string) int { return features.Rank(a) - features.Rank(b) })
	for _, name := range names {
		records = append(records, metadata.FeatureLevelRecord{Name: name, FeatureLevel: f.levels[name]})
	}
	return metadata.WriteBootstrap(f.fs, directory, time.Now().UnixMilli(), records)
}
