package configs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// Run is kafka-configs.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	var err error
	if o.Set, err = o.parser.Parse(args); err != nil {
		return err
	}
	if done, err := o.HelpOrVersion(s, Summary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	err = runAction(ctx, s, o)
	answered, ok := errors.AsType[*client.Error](err)
	if !ok {
		return err
	}
	s.Errorln("Error while executing config command with args '" + strings.Join(args, " ") + "'")
	s.Errorln(client.Wrapped(answered))
	return cli.Failed
}

func runAction(ctx context.Context, s cli.Streams, o *options) error {
	kind := o.types()[0]
	admin, err := client.Connection{Servers: o.bootstrap, Controllers: o.bootstrapController, Config: o.commandConfig}.Open(s, o.Set)
	if err != nil {
		return err
	}
	defer admin.Close()
	if quotaTypes[kind] != "" {
		return quotas(ctx, s, admin, o)
	}
	call := "describeConfigs"
	if o.Has(o.alter) {
		call = "incrementalAlterConfigs"
	}
	if err := admin.Connect(ctx, call); err != nil {
		return err
	}
	if o.Has(o.alter) {
		return alter(ctx, s, admin, o)
	}
	return describe(ctx, s, admin, o)
}

func resourceType(kind string) kafka.ConfigResourceType {
	switch kind {
	case topicType:
		return kafka.ConfigResourceTopic
	case brokerLoggerType:
		return kafka.ConfigResourceBrokerLogger
	case clientMetricsType:
		return kafka.ConfigResourceClientMetrics
	case groupType:
		return kafka.ConfigResourceGroup
	}
	return kafka.ConfigResourceBroker
}

func alter(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	kind, name := o.types()[0], o.names()[0]
	additions, err := o.additions()
	if err != nil {
		return err
	}
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType = kmsg.ConfigResourceType(resourceType(kind))
	resource.ResourceName = name
	for _, key := range o.Values(o.deleteConfig) {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Op = strings.TrimSpace(key), kmsg.IncrementalAlterConfigOpDelete
		resource.Configs = append(resource.Configs, config)
	}
	for _, a := range additions {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Op, config.Value = a.name, kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(a.value)
		resource.Configs = append(resource.Configs, config)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	if err := admin.AlterConfigs(ctx, req); err != nil {
		return err
	}
	printUpdated(s, kind, name)
	return nil
}

func printUpdated(s cli.Streams, kind, name string) {
	if name == "" {
		s.Println("Completed updating default config for " + kind + " in the cluster.")
	} else {
		s.Println("Completed updating config for " + singular(kind) + " " + name + ".")
	}
}

func singular(kind string) string { return kind[:len(kind)-1] }

func describe(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	kind, names, all := o.types()[0], o.names(), o.Has(o.all)
	if len(names) == 0 || !all {
		existing, err := allNames(ctx, admin, kind)
		if err != nil {
			return err
		}
		if len(names) > 0 && (names[0] != "" || kind != topicType) && !slices.Contains(existing, names[0]) {
			s.Println("The " + singular(kind) + " '" + names[0] + "' doesn't exist and doesn't have dynamic config.")
			return nil
		}
		if len(names) == 0 {
			names = existing
		} else {
			names = names[:1]
		}
	}
	for _, name := range names {
		printTitle(s, kind, name, all) // before they are asked for, as Kafka's tool does: it stays when that fails
		configs, err := admin.DescribeConfigs(ctx, resourceType(kind), []string{name}, true)
		if err != nil {
			return err
		}
		printConfigs(s, kind, name, configs[name], all)
	}
	return nil
}

// allNames lists what there is of a type; for brokers their defaults come last.
func allNames(ctx context.Context, admin *client.Client, kind string) ([]string, error) {
	switch kind {
	case topicType:
		cluster, err := admin.Metadata(ctx, nil, "listTopics")
		if err != nil {
			return nil, err
		}
		var names []string
		for _, topic := range cluster.Topics {
			names = append(names, topic.Name)
		}
		return names, nil
	case clientMetricsType:
		return admin.ListConfigResources(ctx, kafka.ConfigResourceClientMetrics)
	case groupType:
		return groupNames(ctx, admin)
	}
	cluster, err := admin.Describe(ctx, false)
	if err != nil {
		return nil, err
	}
	var names []string
	nodes := slices.SortedFunc(slices.Values(cluster.Brokers), func(a, b kmsg.DescribeClusterResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for _, broker := range nodes {
		names = append(names, strconv.Itoa(int(broker.NodeID)))
	}
	return append(names, ""), nil
}

// groupNames lists the groups that there are and those that have configs only.
func groupNames(ctx context.Context, admin *client.Client) ([]string, error) {
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	names, err := admin.ListConfigResources(ctx, kafka.ConfigResourceGroup)
	if code := client.Code(err); code != kafka.ErrUnsupportedVersion && code != kafka.ErrClusterAuthorizationFailed && err != nil {
		return nil, err
	}
	for _, g := range groups {
		names = append(names, g.ID)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// dynamicSource is the source whose values --describe shows without --all.
func dynamicSource(kind, name string) kafka.ConfigSource {
	switch {
	case kind == topicType:
		return kafka.ConfigSourceDynamicTopic
	case kind == clientMetricsType:
		return kafka.ConfigSourceClientMetrics
	case kind == groupType:
		return kafka.ConfigSourceGroup
	case name == "":
		return kafka.ConfigSourceDynamicDefaultBroker
	}
	return kafka.ConfigSourceDynamicBroker
}

var sourceNames = map[kafka.ConfigSource]string{
	kafka.ConfigSourceUnknown: "UNKNOWN", kafka.ConfigSourceDynamicTopic: "DYNAMIC_TOPIC_CONFIG",
	kafka.ConfigSourceDynamicBroker: "DYNAMIC_BROKER_CONFIG", kafka.ConfigSourceDynamicDefaultBroker: "DYNAMIC_DEFAULT_BROKER_CONFIG",
	kafka.ConfigSourceStaticBroker: "STATIC_BROKER_CONFIG", kafka.ConfigSourceDefault: "DEFAULT_CONFIG",
	kafka.ConfigSourceDynamicBrokerLogger: "DYNAMIC_BROKER_LOGGER_CONFIG",
	kafka.ConfigSourceClientMetrics:       "DYNAMIC_CLIENT_METRICS_CONFIG", kafka.ConfigSourceGroup: "DYNAMIC_GROUP_CONFIG",
}

func printTitle(s cli.Streams, kind, name string, all bool) {
	switch {
	case name == "":
		s.Println("Default configs for " + kind + " in the cluster are:")
	case all:
		s.Println("All configs for " + singular(kind) + " " + name + " are:")
	default:
		s.Println("Dynamic configs for " + singular(kind) + " " + name + " are:")
	}
}

func printConfigs(s cli.Streams, kind, name string, configs []client.Config, all bool) {
	sorted := slices.SortedFunc(slices.Values(configs), func(a, b client.Config) int { return cmp.Compare(a.Name, b.Name) })
	for _, c := range sorted {
		// Loggers have no source of their own to filter by.
		if !all && kind != brokerLoggerType && c.Source != dynamicSource(kind, name) {
			continue
		}
		synonyms := make([]string, len(c.Synonyms))
		for i, synonym := range c.Synonyms {
			source := cmp.Or(sourceNames[kafka.ConfigSource(synonym.Source)], "UNKNOWN")
			synonyms[i] = source + ":" + synonym.Name + "=" + orNull(synonym.Value)
		}
		s.Printf("  %s=%s sensitive=%t synonyms={%s}\n", c.Name, orNull(c.Value), c.Sensitive, strings.Join(synonyms, ", "))
	}
}

func orNull(value *string) string {
	if value == nil {
		return "null"
	}
	return *value
}
