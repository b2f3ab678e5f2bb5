package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const allSummary = "This tool helps to list groups of all types."

// allTypes are the types of groups by the names in which Kafka's tools show them.
var allTypes = []string{"Consumer", "Classic", "Share", "Streams"}

// allOptions are the options of kafka-groups.
type allOptions struct {
	*cli.Set
	parser                    *cli.Parser
	bootstrap, commandConfig  *cli.Option
	list, groupType, protocol *cli.Option
	consumer, share, streams  *cli.Option
}

func newAllOptions(p *cli.Parser) *allOptions {
	return &allOptions{
		parser:        p,
		bootstrap:     p.Value("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to connect to, host:port,..."),
		commandConfig: p.Value("command-config", "String: command config property file", "File with client properties."),
		list:          p.Flag("list", "Show the groups."),
		groupType:     p.Value("group-type", "String: type", "Only groups of this type: classic, consumer, share or streams."),
		protocol:      p.Value("protocol", "String: protocol", "Only groups whose members gave this protocol type."),
		consumer:      p.Flag("consumer", "Only groups of consumers: of the type consumer, and classic ones of consumers or without members."),
		share:         p.Flag("share", "Only share groups."),
		streams:       p.Flag("streams", "Only streams groups."),
	}
}

// RunAll is kafka-groups.
func RunAll(ctx context.Context, s cli.Streams, args []string) error {
	p := cli.NewParser()
	o := newAllOptions(p)
	var err error
	if o.Set, err = p.Parse(args); err != nil {
		return p.UsageError(s, "%s", err)
	}
	if len(args) > 0 {
		if done, err := o.HelpOrVersion(s, allSummary); done {
			return err
		}
	}
	if err := o.check(s); err != nil {
		return err
	}
	props, err := client.LoadCommandConfig(o.Set, o.commandConfig)
	if err != nil {
		return err
	}
	props["bootstrap.servers"] = o.String(o.bootstrap)
	if err := o.Err(); err != nil {
		return err
	}
	if err := o.print(ctx, s, props); err != nil {
		s.Println("Error while executing groups command : " + err.Error())
		s.Log("ERROR", client.Exception(err), "org.apache.kafka.tools.GroupsCommand")
		return cli.Failed
	}
	return nil
}

// check makes the checks of Kafka's tool in its order.
func (o *allOptions) check(s cli.Streams) error {
	if !o.Has(o.bootstrap) {
		return o.parser.UsageError(s, "Missing required option(s) [bootstrap-server]")
	}
	if !o.Has(o.list) {
		return o.parser.UsageError(s, "Command must include exactly one action: --list.")
	}
	if o.Has(o.groupType) && canonicalType(o.String(o.groupType)) == "" {
		return cmp.Or(o.Err(), errors.New("--group-type must be a valid group type.")) //nolint:staticcheck // the words of Kafka's tools
	}
	filters := []*cli.Option{o.consumer, o.groupType, o.protocol, o.share, o.streams}
	for _, used := range []*cli.Option{o.consumer, o.share, o.streams} {
		if err := o.CheckInvalid(s, used, cli.Without(filters, used)...); err != nil {
			return err
		}
	}
	return nil
}

// canonicalType is a type's name as Kafka's tools show it, or "".
func canonicalType(name string) string {
	for _, known := range allTypes {
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return ""
}

func (o *allOptions) print(ctx context.Context, s cli.Streams, props client.Properties) error {
	admin, err := client.NewAdmin(s, props)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := admin.Connect(ctx, "listGroups"); err != nil {
		return err
	}
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	width := 20
	var shown []client.Group
	for _, g := range groups {
		if g.Type = canonicalType(g.Type); o.passes(g) {
			shown = append(shown, g)
			width = max(width, len(g.ID), len(g.Protocol))
		}
	}
	if err := o.Err(); err != nil {
		return err
	}
	s.Println(fmt.Sprintf("%-*s %-*s %-*s", width, "GROUP", width, "TYPE", width, "PROTOCOL"))
	for _, g := range shown {
		s.Println(fmt.Sprintf("%-*s %-*s %-*s ", width, g.ID, width, g.Type, width, g.Protocol))
	}
	return nil
}

// passes is Kafka's reading of the filters.
func (o *allOptions) passes(g client.Group) bool {
	switch {
	case o.Has(o.groupType):
		return g.Type == canonicalType(o.String(o.groupType)) && (!o.Has(o.protocol) || g.Protocol == o.String(o.protocol))
	case o.Has(o.protocol):
		return g.Protocol == o.String(o.protocol)
	case o.Has(o.consumer):
		return g.Protocol == "consumer" || g.Protocol == "" || g.Type == "Consumer"
	case o.Has(o.share):
		return g.Type == "Share"
	case o.Has(o.streams):
		return g.Type == "Streams"
	}
	return true
}
