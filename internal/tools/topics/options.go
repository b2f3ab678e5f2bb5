package topics

import (
	"github.com/moldau/moldau/internal/tools/cli"
)

// Summary is the one sentence that the usage text begins with.
const Summary = "This tool helps to create, delete, describe, or change a topic."

const useConfigsTool = " (To alter topic configurations, the kafka-configs tool can be used.)"

type options struct {
	*cli.Set
	parser                                            *cli.Parser
	bootstrap, commandConfig                          *cli.Option
	list, create, del, alter, describe                *cli.Option
	topic, topicID, config, deleteConfig              *cli.Option
	partitions, replicationFactor, assignment         *cli.Option
	underReplicated, unavailable, underMin, atMin     *cli.Option
	overrides, ifExists, ifNotExists, excludeInternal *cli.Option
	partitionLimit                                    *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	o := &options{
		parser:        p,
		bootstrap:     p.Value("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to connect to, host:port,..."),
		commandConfig: p.Value("command-config", "String: command config property file", "File with client properties."),
		list:          p.Flag("list", "List topics."),
		create:        p.Flag("create", "Create a topic."),
		del:           p.Flag("delete", "Delete topics."),
		alter:         p.Flag("alter", "Raise the number of partitions."+useConfigsTool),
		describe:      p.Flag("describe", "Show topics with their partitions."),
		topic:         p.Value("topic", "String: topic", "The topic; a regular expression except with --create."),
		topicID:       p.Value("topic-id", "String: topic-id", "Describe the topic with this id."),
		config: p.Value("config", "String: name=value",
			"A config for the topic that --create makes. Repeatable."+useConfigsTool),
		deleteConfig:      p.Value("delete-config", "String: name", "Ignored; Kafka dropped it in 4.0."),
		partitions:        p.Value("partitions", "Integer: # of partitions", "How many partitions a topic gets (--create) or shall have (--alter). Records with keys go elsewhere after a change."),
		replicationFactor: p.Value("replication-factor", "Integer: replication factor", "How many replicas each partition gets; the cluster's default if absent."),
		assignment: p.Value("replica-assignment",
			"String: broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , broker_id_for_part2_replica1 : broker_id_for_part2_replica2 , ...",
			"Brokers of each partition, instead of letting the cluster choose."),
		underReplicated: p.Flag("under-replicated-partitions", "With --describe: only partitions that miss in-sync replicas."),
		unavailable:     p.Flag("unavailable-partitions", "With --describe: only partitions without a live leader."),
		underMin:        p.Flag("under-min-isr-partitions", "With --describe: only partitions with fewer in-sync replicas than min.insync.replicas."),
		atMin:           p.Flag("at-min-isr-partitions", "With --describe: only partitions with exactly min.insync.replicas in-sync replicas."),
		overrides:       p.Flag("topics-with-overrides", "With --describe: only topics that have configs of their own, without partitions."),
		ifExists:        p.Flag("if-exists", "With --alter, --delete and --describe: a missing topic is no error."),
		ifNotExists:     p.Flag("if-not-exists", "With --create: an existing topic is no error."),
		excludeInternal: p.Flag("exclude-internal", "With --list and --describe: leave internal topics out."),
		partitionLimit: p.Add(cli.Option{
			Name: "partition-size-limit-per-response", Arg: cli.RequiredArg, ArgName: "Integer: maximum number of partitions per response",
			Default: "2000", Help: "How many partitions one answer may describe.",
		}),
	}
	p.Group("What to do", o.create, o.list, o.describe, o.alter, o.del)
	p.Group("The topic", o.topic, o.topicID, o.partitions, o.replicationFactor, o.assignment, o.config, o.ifExists, o.ifNotExists)
	p.Group("What to show", o.excludeInternal, o.underReplicated, o.unavailable, o.underMin, o.atMin, o.overrides, o.partitionLimit)
	return o
}

// check makes the checks of Kafka's tool in its order, so that the same mistake gets the same
// complaint.
func (o *options) check(s cli.Streams) error {
	if len(o.Args) == 0 {
		return o.parser.UsageError(s, "Create, delete, describe, or change a topic.")
	}
	if o.Count(o.create, o.list, o.alter, o.describe, o.del) != 1 {
		return o.parser.UsageError(s, "Command must include exactly one action: --list, --describe, --create, --alter or --delete")
	}
	if o.Has(o.deleteConfig) {
		s.Errorln("delete-config option is no longer supported and deprecated since version 4.0. The config will be fully removed in future releases.")
	}
	if !o.Has(o.bootstrap) {
		s.Errorln("--bootstrap-server must be specified")
		return cli.Failed
	}
	if err := o.checkRequired(s); err != nil {
		return err
	}
	return o.checkInvalid(s)
}

func (o *options) checkRequired(s cli.Streams) error {
	if o.Has(o.describe) && o.Has(o.ifExists) {
		if o.Count(o.topic, o.topicID) == 0 {
			return o.parser.UsageError(s, "--topic or --topic-id is required to describe a topic")
		}
		if o.Count(o.topic, o.topicID) == 2 {
			s.Println("Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID")
		}
	}
	if !o.Has(o.list) && !o.Has(o.describe) {
		if err := o.CheckRequired(s, o.topic); err != nil {
			return err
		}
	}
	if !o.Has(o.alter) {
		return nil
	}
	if o.Has(o.config) {
		return o.parser.UsageError(s, "Option combination \"[%s, %s]\" can't be used with option \"%s\"%s", o.bootstrap, o.config, o.alter, useConfigsTool)
	}
	return o.CheckRequired(s, o.partitions)
}

func (o *options) checkInvalid(s cli.Streams) error {
	actions := []*cli.Option{o.alter, o.create, o.describe, o.list, o.del}
	reports := []*cli.Option{o.underReplicated, o.underMin, o.atMin, o.unavailable}
	exclusions := []struct {
		used    *cli.Option
		invalid []*cli.Option
	}{
		{o.config, cli.Without(actions, o.alter, o.create)},
		{o.partitions, cli.Without(actions, o.alter, o.create)},
		{o.replicationFactor, cli.Without(actions, o.create)},
		{o.assignment, cli.Without(actions, o.alter, o.create)},
	}
	type exclusion = struct {
		used    *cli.Option
		invalid []*cli.Option
	}
	if o.Has(o.create) {
		exclusions = append(exclusions, exclusion{o.assignment, []*cli.Option{o.partitions, o.replicationFactor}})
	}
	for _, report := range reports {
		exclusions = append(exclusions, exclusion{report, append(cli.Without(actions, o.describe), o.overrides)})
	}
	exclusions = append(exclusions,
		exclusion{o.overrides, append(cli.Without(actions, o.describe), reports...)},
		exclusion{o.ifExists, cli.Without(actions, o.alter, o.del, o.describe)},
		exclusion{o.ifNotExists, cli.Without(actions, o.create)},
		exclusion{o.excludeInternal, cli.Without(actions, o.list, o.describe)},
	)
	for _, e := range exclusions {
		if err := o.CheckInvalid(s, e.used, e.invalid...); err != nil {
			return err
		}
	}
	return nil
}
