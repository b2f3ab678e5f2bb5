package clientmetrics

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// Run is kafka-client-metrics.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	var err error
	if o.Set, err = o.parser.Parse(args); err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	if done, err := o.HelpOrVersion(s, summary); done {
		return err
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
	if err := runAction(ctx, s, o, props); err != nil {
		s.Println("Error while executing client metrics command : " + err.Error())
		s.Log("ERROR", client.Exception(err), "org.apache.kafka.tools.ClientMetricsCommand")
		return cli.Failed
	}
	return nil
}

func runAction(ctx context.Context, s cli.Streams, o *options, props client.Properties) error {
	admin, err := client.NewAdmin(s, props)
	if err != nil {
		return err
	}
	defer admin.Close()
	action, call := list, "listConfigResources"
	switch {
	case o.Has(o.alter):
		action, call = alter, "incrementalAlterConfigs"
	case o.Has(o.describe):
		action = describe
	case o.Has(o.del):
		action, call = del, "describeConfigs"
	}
	if err := admin.Connect(ctx, call); err != nil {
		return err
	}
	return action(ctx, s, admin, o)
}

func alter(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	name := o.String(o.name)
	if o.Has(o.generateName) {
		var id kafka.UUID
		rand.Read(id[:])
		name = id.String()
	}
	var configs []kmsg.IncrementalAlterConfigsRequestResourceConfig
	for _, c := range []struct {
		name   string
		option *cli.Option
	}{{"interval.ms", o.interval}, {"metrics", o.metrics}, {"match", o.match}} {
		if o.Has(c.option) {
			configs = append(configs, change(c.name, strings.Join(o.Values(c.option), ",")))
		}
	}
	if err := o.Err(); err != nil {
		return err
	}
	if err := send(ctx, admin, name, configs); err != nil {
		return err
	}
	s.Println("Altered client metrics config for " + name + ".")
	return nil
}

// change sets a config, or returns it to its default where value is empty.
func change(name, value string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	if c.Name = name; value == "" {
		c.Op = kmsg.IncrementalAlterConfigOpDelete
	} else {
		c.Value = &value
	}
	return c
}

func send(ctx context.Context, admin *client.Client, name string, configs []kmsg.IncrementalAlterConfigsRequestResourceConfig) error {
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName, resource.Configs = kmsg.ConfigResourceTypeClientMetrics, name, configs
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	return admin.AlterConfigs(ctx, req)
}

func del(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	name := o.String(o.name)
	configs, err := described(ctx, admin, name)
	if err != nil {
		return err
	}
	var removals []kmsg.IncrementalAlterConfigsRequestResourceConfig
	for _, c := range configs {
		removals = append(removals, change(c.Name, ""))
	}
	if err := send(ctx, admin, name, removals); err != nil {
		return err
	}
	s.Println("Deleted client metrics config for " + name + ".")
	return nil
}

func described(ctx context.Context, admin *client.Client, name string) ([]client.Config, error) {
	all, err := admin.DescribeConfigs(ctx, kafka.ConfigResourceClientMetrics, []string{name}, false)
	return all[name], err
}

func describe(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	names, err := admin.ListConfigResources(ctx, kafka.ConfigResourceClientMetrics)
	if err != nil {
		return err
	}
	if o.Has(o.name) {
		name := o.String(o.name)
		if !slices.Contains(names, name) {
			s.Println("The client metric resource " + name + " doesn't exist and doesn't have dynamic config.")
			return nil
		}
		names = []string{name}
	}
	for _, name := range names {
		configs, err := described(ctx, admin, name)
		if err != nil {
			return err
		}
		s.Println("Client metrics configs for " + name + " are:")
		for _, c := range configs {
			value := "null"
			if c.Value != nil {
				value = *c.Value
			}
			s.Println("  " + c.Name + "=" + value)
		}
	}
	return nil
}

func list(ctx context.Context, s cli.Streams, admin *client.Client, _ *options) error {
	names, err := admin.ListConfigResources(ctx, kafka.ConfigResourceClientMetrics)
	if err != nil {
		return err
	}
	s.Println(strings.Join(names, "\n"))
	return nil
}
