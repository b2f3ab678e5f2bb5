package groups

import (
	"github.com/moldau/moldau/internal/tools/cli"
)

// Summary is the one sentence that the usage text begins with.
const Summary = "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets."

const dryRunWarning = "WARN: No action will be performed as the --execute option is missing. " +
	"In version 5.0, this command will require either --dry-run or --execute to be specified. " +
	"You should add the --dry-run option explicitly if you are scripting this command and want to " +
	"keep the current default behavior without prompting."

type options struct {
	*cli.Set
	parser                                           *cli.Parser
	bootstrap, commandConfig, timeout                *cli.Option
	group, allGroups, topic, allTopics               *cli.Option
	list, describe, del, reset, deleteOffsets, regex *cli.Option
	dryRun, execute, export                          *cli.Option
	toOffset, fromFile, toDatetime, byDuration       *cli.Option
	toEarliest, toLatest, toCurrent, shiftBy         *cli.Option
	members, offsets, state, verbose, kind           *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	o := &options{
		parser:        p,
		bootstrap:     p.Value("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to connect to, host:port,..."),
		commandConfig: p.Value("command-config", "String: command config property file", "File with client properties."),
		timeout: p.Add(cli.Option{
			Name: "timeout", Arg: cli.RequiredArg, ArgName: "Long: timeout (ms)", Default: "30000",
			Help: "How long to wait for the cluster.",
		}),
		group:         p.Value("group", "String: consumer group", "A group to work on. Repeatable."),
		allGroups:     p.Flag("all-groups", "Work on all consumer groups."),
		topic:         p.Value("topic", "String: topic", "A topic whose offsets are reset or deleted; topic:0,1 for some of its partitions. Repeatable."),
		allTopics:     p.Flag("all-topics", "Reset all topics for which the group has offsets."),
		list:          p.Flag("list", "List consumer groups."),
		describe:      p.Flag("describe", "Show groups with their offsets and lag."),
		del:           p.Flag("delete", "Delete groups with their offsets."),
		reset:         p.Flag("reset-offsets", "Set the offsets of groups that have no active members: --dry-run (the default) shows the plan, --execute carries it out, --export prints it as CSV. Needs one of the --to-..., --by-duration, --shift-by, --from-file options and --topic or --all-topics."),
		deleteOffsets: p.Flag("delete-offsets", "Delete a group's offsets of topics."),
		regex:         p.Value("validate-regex", "String: regex", "Say whether a regular expression is valid."),
		dryRun:        p.Flag("dry-run", "With --reset-offsets: only show what would be done."),
		execute:       p.Flag("execute", "With --reset-offsets: do it."),
		export:        p.Flag("export", "With --reset-offsets: print the plan as CSV."),
		toOffset:      p.Value("to-offset", "Long: offset", "Reset to this offset."),
		fromFile:      p.Value("from-file", "String: path to CSV file", "Reset to what --export has printed."),
		toDatetime:    p.Value("to-datetime", "String: datetime", "Reset to the first record at or after YYYY-MM-DDThh:mm:ss.sss."),
		byDuration:    p.Value("by-duration", "String: duration", "Reset to the first record younger than PnDTnHnMnS."),
		toEarliest:    p.Flag("to-earliest", "Reset to the beginning."),
		toLatest:      p.Flag("to-latest", "Reset to the end."),
		toCurrent:     p.Flag("to-current", "Reset to the committed offset."),
		shiftBy:       p.Value("shift-by", "Long: number-of-offsets", "Move offsets forward, or back by a negative number."),
	}
	o.members = p.Add(cli.Option{Name: "members", Help: "With --describe: the members.", AvailableIf: []*cli.Option{o.describe}})
	o.verbose = p.Add(cli.Option{Name: "verbose", Help: "With --describe: more columns.", AvailableIf: []*cli.Option{o.describe}})
	o.offsets = p.Add(cli.Option{Name: "offsets", Help: "With --describe: the offsets (the default).", AvailableIf: []*cli.Option{o.describe}})
	o.state = p.Add(cli.Option{
		Name: "state", Arg: cli.OptionalArg, AvailableIf: []*cli.Option{o.describe, o.list},
		Help: "With --describe: the state. With --list: a column of states, or only groups in the given ones (stable,empty).",
	})
	o.kind = p.Add(cli.Option{
		Name: "type", Arg: cli.OptionalArg, AvailableIf: []*cli.Option{o.list},
		Help: "With --list: a column of types, or only groups of the given ones (classic,consumer).",
	})
	p.Group("What to do", o.list, o.describe, o.del, o.reset, o.deleteOffsets, o.regex)
	p.Group("Of what", o.group, o.allGroups, o.topic, o.allTopics)
	p.Group("What to show", o.members, o.offsets, o.state, o.kind, o.verbose)
	p.Group("How to reset", append(o.scenarios(), o.dryRun, o.execute, o.export)...)
	return o
}

func (o *options) scenarios() []*cli.Option {
	return []*cli.Option{o.toOffset, o.shiftBy, o.toDatetime, o.byDuration, o.toEarliest, o.toLatest, o.toCurrent, o.fromFile}
}

// check makes the checks of Kafka's tool in its order.
func (o *options) check(s cli.Streams) error {
	if !o.Has(o.regex) {
		if err := o.CheckRequired(s, o.bootstrap); err != nil {
			return err
		}
	}
	scopes := cli.JoinOptions(o.group, o.allGroups)
	hasScope := o.Count(o.group, o.allGroups) > 0
	fail := func(format string, args ...any) error { return o.parser.UsageError(s, format, args...) }
	switch {
	case o.Has(o.describe) && !hasScope:
		return fail("Option %s takes one of these options: %s", o.describe, scopes)
	case o.Has(o.describe) && o.Count(o.members, o.offsets, o.state) > 1:
		return fail("Option %s takes at most one of these options: %s", o.describe, cli.JoinOptions(o.members, o.offsets, o.state))
	case o.Has(o.describe) && len(o.Values(o.state)) > 0:
		return fail("Option %s does not take a value for %s", o.describe, o.state)
	case o.Has(o.del) && !hasScope:
		return fail("Option %s takes one of these options: %s", o.del, scopes)
	case o.Has(o.del) && o.Has(o.topic):
		return fail("The consumer does not support topic-specific offset deletion from a consumer group.")
	case o.Has(o.deleteOffsets) && o.Count(o.group, o.topic) < 2:
		return fail("Option %s takes the following options: %s", o.deleteOffsets, cli.JoinOptions(o.group, o.topic))
	}
	if o.Has(o.reset) {
		if err := o.checkReset(s, hasScope, scopes); err != nil {
			return err
		}
	}
	levels := []*cli.Option{o.list, o.describe, o.del, o.reset}
	if err := o.CheckInvalid(s, o.group, o.allGroups); err != nil {
		return err
	}
	if err := o.CheckInvalid(s, o.group, cli.Without(levels, o.describe, o.del, o.reset)...); err != nil {
		return err
	}
	if err := o.CheckInvalid(s, o.topic, cli.Without(levels, o.del, o.reset)...); err != nil {
		return err
	}
	if o.Count(o.list, o.describe, o.del, o.reset, o.deleteOffsets, o.regex) != 1 {
		return fail("Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex")
	}
	return nil
}

func (o *options) checkReset(s cli.Streams, hasScope bool, scopes string) error {
	if o.Has(o.dryRun) && o.Has(o.execute) {
		return o.parser.UsageError(s, "Option %s only accepts one of %s and %s", o.reset, o.execute, o.dryRun)
	}
	if !o.Has(o.dryRun) && !o.Has(o.execute) {
		s.Errorln(dryRunWarning)
	}
	if !hasScope {
		return o.parser.UsageError(s, "Option %s takes one of these options: %s", o.reset, scopes)
	}
	for _, scenario := range o.scenarios() {
		if err := o.CheckInvalid(s, scenario, cli.Without(o.scenarios(), scenario)...); err != nil {
			return err
		}
	}
	return nil
}
