package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// RunAPIVersions is kafka-broker-api-versions.
func RunAPIVersions(ctx context.Context, s cli.Streams, args []string) error {
	p := cli.NewParser()
	bootstrap := p.Value("bootstrap-server", "String: server(s) to use for bootstrapping", "REQUIRED: brokers to connect to, host:port,...")
	commandConfig := p.Value("command-config", "String: command config property file", "File with client properties.")
	set, err := p.Parse(args)
	if err != nil {
		return err
	}
	if done, err := set.HelpOrVersion(s, "This tool helps to retrieve broker version information."); done {
		return err
	}
	if err := set.CheckRequired(s, bootstrap); err != nil {
		return err
	}
	admin, err := client.Connection{Servers: bootstrap, Config: commandConfig, Defaults: client.Properties{"default.api.timeout.ms": "5000"}}.Open(s, set)
	if err != nil {
		return err
	}
	defer admin.Close()
	return printVersions(ctx, s, admin)
}

func printVersions(ctx context.Context, s cli.Streams, admin *client.Client) error {
	cluster, err := admin.Metadata(ctx, []string{}, "metadata")
	if err != nil {
		return fmt.Errorf("Request METADATA failed on brokers: %w", err) //nolint:staticcheck // the words of Kafka's tools
	}
	slices.SortFunc(cluster.Brokers, func(a, b kmsg.MetadataResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for _, b := range cluster.Brokers {
		rack := "null"
		if b.Rack != nil {
			rack = *b.Rack
		}
		node := fmt.Sprintf("%s:%d (id: %d rack: %s isFenced: false)", b.Host, b.Port, b.NodeID, rack)
		versions, err := askVersions(ctx, admin, b.NodeID)
		if err != nil {
			s.Println(node + " -> ERROR: " + err.Error())
			continue
		}
		s.Println(node + " -> " + versionsText(versions))
	}
	return nil
}

func askVersions(ctx context.Context, admin *client.Client, broker int32) ([]kmsg.ApiVersionsResponseApiKey, error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "moldau-tools", cli.KafkaVersion
	resp, err := req.RequestWith(ctx, admin.Broker(int(broker)))
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	if err != nil {
		return nil, client.Convert(err, "apiVersions")
	}
	return resp.ApiKeys, nil
}

// versionsText lists what the broker serves, what it does not, and up to which version this
// release's clients can use it.
func versionsText(served []kmsg.ApiVersionsResponseApiKey) string {
	lines := map[int16]string{}
	for _, api := range clientAPIs {
		lines[api.key] = fmt.Sprintf("%s(%d): UNSUPPORTED", api.name, api.key)
	}
	for _, s := range served {
		versions := fmt.Sprint(s.MinVersion)
		if s.MaxVersion != s.MinVersion {
			versions = fmt.Sprintf("%d to %d", s.MinVersion, s.MaxVersion)
		}
		i, known := slices.BinarySearchFunc(clientAPIs, s.ApiKey, func(api clientAPI, key int16) int { return cmp.Compare(api.key, key) })
		if !known {
			lines[s.ApiKey] = fmt.Sprintf("UNKNOWN(%d): %s", s.ApiKey, versions)
			continue
		}
		api := clientAPIs[i]
		usable := fmt.Sprintf("usable: %d", min(api.latest, s.MaxVersion))
		switch {
		case api.latest < s.MinVersion:
			usable = "unusable: node too new"
		case s.MaxVersion < api.oldest:
			usable = "unusable: node too old"
		}
		lines[s.ApiKey] = fmt.Sprintf("%s(%d): %s [%s]", api.name, api.key, versions, usable)
	}
	words := make([]string, 0, len(lines))
	for _, key := range slices.Sorted(maps.Keys(lines)) {
		words = append(words, lines[key])
	}
	return "(\n\t" + strings.Join(words, ",\n\t") + "\n)"
}
