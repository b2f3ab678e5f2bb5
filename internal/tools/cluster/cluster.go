package cluster

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

var connection = []cli.Argument{
	{Long: "--bootstrap-server", Short: "-b", Help: "Brokers to connect to."},
	{Long: "--bootstrap-controller", Short: "-C", Help: "Controllers to connect to instead."},
	{Long: "--config", Help: "(DEPRECATED) The former name of --command-config."},
	{Long: "--command-config", Short: "-c", Help: "File with client properties."},
}

var parser = &cli.SubParser{
	Program:     "kafka-cluster",
	Description: "The Kafka cluster tool.",
	Commands: []cli.SubCommand{
		{Name: "cluster-id", Help: "Show the cluster's id.", Arguments: connection},
		{Name: "unregister", Help: "Unregister a broker.",
			Arguments: append(slices.Clone(connection), cli.Argument{Long: "--id", Short: "-i", Required: true, Help: "The broker's id."})},
		{Name: "list-endpoints", Help: "Show the brokers' addresses.",
			Arguments: append(slices.Clone(connection), cli.Argument{Long: "--include-fenced-brokers", IsFlag: true, Help: "Fenced brokers too."})},
	},
}

// Run is kafka-cluster.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	parsed, err := parser.Parse(s, args)
	if errors.Is(err, cli.ErrHelp) {
		return cli.Failed // as Kafka's tool
	}
	if err != nil {
		return err
	}
	admin, err := connect(s, parsed)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := admin.Connect(ctx, "describeCluster"); err != nil {
		return err
	}
	switch parsed.Command {
	case "cluster-id":
		return printID(ctx, s, admin)
	case "list-endpoints":
		return printEndpoints(ctx, s, admin, parsed.Has("--include-fenced-brokers"))
	}
	return unregister(ctx, s, admin, parsed)
}

func connect(s cli.Streams, parsed *cli.Parsed) (*client.Client, error) {
	config := "--command-config"
	if parsed.Has("--config") {
		if parsed.Has("--command-config") {
			return nil, parser.Fail(s, parsed, "--config and --command-config cannot be specified together.")
		}
		s.Println("Option --config has been deprecated and will be removed in a future version. Use --command-config instead.")
		config = "--config"
	}
	if !parsed.Has("--bootstrap-server") && !parsed.Has("--bootstrap-controller") {
		return nil, parser.Fail(s, parsed, "one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required")
	}
	return client.OpenParsed(s, parsed, config)
}

func printID(ctx context.Context, s cli.Streams, admin *client.Client) error {
	cluster, err := admin.Describe(ctx, false)
	if err != nil {
		return err
	}
	if cluster.ClusterID == "" {
		s.Println("No cluster ID found. The Kafka version is probably too old.")
		return nil
	}
	s.Println("Cluster ID: " + cluster.ClusterID)
	return nil
}

func printEndpoints(ctx context.Context, s cli.Streams, admin *client.Client, includeFenced bool) error {
	if includeFenced && admin.ToControllers {
		return errors.New("The option --include-fenced-brokers is only supported with --bootstrap-server option") //nolint:staticcheck // the words of Kafka's tools
	}
	resp, err := admin.Describe(ctx, includeFenced)
	if err != nil {
		return err
	}
	printNodes(s, resp.Brokers, admin.ToControllers)
	return nil
}

// printNodes prints a line for each node, as Kafka's tool does. Controllers have no state.
func printNodes(s cli.Streams, brokers []kmsg.DescribeClusterResponseBroker, controllers bool) {
	hostWidth, rackWidth := 0, 0
	for _, b := range brokers {
		hostWidth = max(hostWidth, len(b.Host))
		if b.Rack != nil {
			rackWidth = max(rackWidth, len(*b.Rack))
		}
	}
	hostWidth, rackWidth = cmp.Or(hostWidth, 100), cmp.Or(rackWidth, 10)
	line := func(id, host, port, rack, state, kind string) {
		if controllers {
			s.Printf("%-10s %-*s %-10s %-*s %-15s\n", id, hostWidth, host, port, rackWidth, rack, kind)
			return
		}
		s.Printf("%-10s %-*s %-10s %-*s %-10s %-15s\n", id, hostWidth, host, port, rackWidth, rack, state, kind)
	}
	kind := map[bool]string{true: "controller", false: "broker"}[controllers]
	line("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE")
	sorted := slices.SortedFunc(slices.Values(brokers), func(a, b kmsg.DescribeClusterResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for _, b := range sorted {
		rack, state := "null", "unfenced"
		if b.Rack != nil {
			rack = *b.Rack
		}
		if b.IsFenced {
			state = "fenced"
		}
		line(strconv.Itoa(int(b.NodeID)), b.Host, strconv.Itoa(int(b.Port)), rack, state, kind)
	}
}

func unregister(ctx context.Context, s cli.Streams, admin *client.Client, parsed *cli.Parsed) error {
	idText := parsed.Value("--id")
	id, err := strconv.ParseInt(idText, 10, 32)
	if err != nil {
		return parser.Fail(s, parsed, "argument --id/-i: could not convert '%s' to Integer", idText)
	}
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = int32(id)
	resp, err := req.RequestWith(ctx, admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err = client.Convert(err, "unregisterBroker"); client.Code(err) == kafka.ErrUnsupportedVersion {
		s.Println("The target cluster does not support the broker unregistration API.")
		return nil // as Kafka's tool
	}
	if err != nil {
		return err
	}
	s.Println("Broker " + idText + " is no longer registered.")
	return nil
}
