package clientmetrics

import (
	"errors"
	"strconv"

	"github.com/moldau/moldau/internal/tools/cli"
)

const summary = "This tool helps to manipulate and describe client metrics configurations."

type options struct {
	*cli.Set
	parser                     *cli.Parser
	bootstrap, commandConfig   *cli.Option
	alter, del, describe, list *cli.Option
	name, generateName         *cli.Option
	interval, match, metrics   *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	return &options{
		parser:        p,
		bootstrap:     p.Value("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to connect to, host:port,..."),
		commandConfig: p.Value("command-config", "String: command config property file", "File with client properties."),
		alter:         p.Flag("alter", "Change a subscription, or add one."),
		del:           p.Flag("delete", "Delete a subscription."),
		describe:      p.Flag("describe", "Show the configs of one subscription or all."),
		list:          p.Flag("list", "Show the names of the subscriptions."),
		name:          p.Value("name", "String: name", "Name of the subscription."),
		generateName:  p.Flag("generate-name", "With --alter: give the subscription an id as its name."),
		interval:      p.Value("interval", "String: push interval", "Milliseconds between two pushes of a client; empty returns to the default."),
		match: p.Add(cli.Option{Name: "match", Arg: cli.RequiredArg, ArgName: "String: k1=v1,k2=v2", Separator: ",",
			Help: "Which clients push, as selector=regular expression; all must match. The selectors: client_id, client_instance_id, client_software_name, " +
				"client_software_version, client_source_address, client_source_port."}),
		metrics: p.Add(cli.Option{Name: "metrics", Arg: cli.RequiredArg, ArgName: "String: m1,m2", Separator: ",",
			Help: "Prefixes of the names of the metrics that are pushed; * for all."}),
	}
}

// check makes the checks of Kafka's tool in its order.
func (o *options) check(s cli.Streams) error {
	if o.Count(o.alter, o.del, o.describe, o.list) != 1 {
		return o.parser.UsageError(s, "Command must include exactly one action: --alter, --delete, --describe or --list.")
	}
	if !o.Has(o.bootstrap) {
		return errors.New("--bootstrap-server must be specified.") //nolint:staticcheck // the words of Kafka's tools
	}
	for _, invalid := range []struct {
		used   *cli.Option
		others []*cli.Option
	}{
		{o.del, []*cli.Option{o.generateName, o.interval, o.match, o.metrics}}, {o.describe, []*cli.Option{o.generateName, o.interval, o.match, o.metrics}},
		{o.list, []*cli.Option{o.name, o.generateName, o.interval, o.match, o.metrics}},
	} {
		if err := o.CheckInvalid(s, invalid.used, invalid.others...); err != nil {
			return err
		}
	}
	if o.Has(o.alter) {
		if o.Has(o.name) == o.Has(o.generateName) {
			return errors.New("One of --name or --generate-name must be specified with --alter.") //nolint:staticcheck // the words of Kafka's tools
		}
		if interval := o.String(o.interval); interval != "" {
			if _, err := strconv.ParseInt(interval, 10, 32); err != nil {
				return errors.New("Invalid interval value. Enter an integer, or leave empty to reset.") //nolint:staticcheck // the words of Kafka's tools
			}
		}
	}
	if o.Has(o.del) && !o.Has(o.name) {
		return errors.New("A client metrics resource name must be specified with --delete.") //nolint:staticcheck // the words of Kafka's tools
	}
	return o.Err()
}
