package reassign

import (
	"context"
	"errors"
	"slices"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const summary = "This tool helps to move topic partitions between replicas."

type options struct {
	*cli.Set
	parser                                      *cli.Parser
	verify, generate, execute, cancel, list     *cli.Option
	bootstrap, controller, config               *cli.Option
	plan, topics, brokers, rackUnaware          *cli.Option
	throttle, dirThrottle, timeout              *cli.Option
	additional, preserveThrottles, sameReplicas *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	number := func(name, argName, defaultValue, help string) *cli.Option {
		return p.Add(cli.Option{Name: name, Arg: cli.RequiredArg, ArgName: argName, Default: defaultValue, Help: help})
	}
	o := &options{
		parser:     p,
		verify:     p.Flag("verify", "Show how far the reassignment of --reassignment-json-file is; once it is done, remove its throttles."),
		generate:   p.Flag("generate", "Propose where partitions could go. Nothing is moved."),
		execute:    p.Flag("execute", "Start the reassignment of --reassignment-json-file."),
		cancel:     p.Flag("cancel", "Cancel an active reassignment."),
		list:       p.Flag("list", "List the active reassignments."),
		bootstrap:  p.Add(cli.Option{Name: "bootstrap-server", Arg: cli.OptionalArg, ArgName: "Server(s) to use for bootstrapping", Help: "Brokers to connect to."}),
		controller: p.Add(cli.Option{Name: "bootstrap-controller", Arg: cli.OptionalArg, ArgName: "bootstrap controller to connect to", Help: "Controllers to connect to instead, with --cancel and --list."}),
		config:     p.Value("command-config", "Admin client property file", "File with client properties."),
		plan: p.Value("reassignment-json-file", "manual assignment json file path",
			`JSON file with partitions and their new replicas, such as {"version":1,"partitions":[{"topic":"foo","partition":1,"replicas":[1,2],"log_dirs":["any","/data2"]}]}. log_dirs may be absent.`),
		topics: p.Value("topics-to-move-json-file", "topics to reassign json file path",
			`JSON file with the topics to move, such as {"version":1,"topics":[{"topic":"foo"}]}.`),
		brokers:     p.Value("broker-list", "brokerlist", "Brokers that shall have the topics, such as 0,1,2."),
		rackUnaware: p.Flag("disable-rack-aware", "Propose without regard to racks."),
		throttle:    number("throttle", "Long: throttle", "-1", "How many bytes a second may move between brokers. To change it, execute the same reassignment again with --additional."),
		dirThrottle: number("replica-alter-log-dirs-throttle", "Long: replicaAlterLogDirsThrottle", "-1",
			"How many bytes a second may move between log dirs of a broker."),
		timeout:           number("timeout", "Long: timeout", "10000", "How many milliseconds to wait for moves between log dirs to begin."),
		additional:        p.Flag("additional", "Execute although other reassignments are active."),
		preserveThrottles: p.Flag("preserve-throttles", "Leave throttles as they are."),
		sameReplicas:      p.Flag("disallow-replication-factor-change", "Refuse to change how many replicas a partition has."),
	}
	p.Group("What to do", o.generate, o.execute, o.verify, o.cancel, o.list)
	p.Group("The plan", o.topics, o.brokers, o.rackUnaware, o.plan, o.additional, o.sameReplicas)
	p.Group("Limits", o.throttle, o.dirThrottle, o.preserveThrottles, o.timeout)
	return o
}

// Run is kafka-reassign-partitions.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	set, err := o.parser.Parse(args)
	if err != nil {
		return err
	}
	o.Set = set
	if done, err := set.HelpOrVersion(s, summary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	err = o.act(ctx, s)
	var terse *refusal
	switch {
	case errors.As(err, &terse):
		s.Println(terse.Error())
		return cli.Failed
	case err != nil: // as Kafka's, which tells on standard output
		message := err.Error()
		if _, answered := errors.AsType[*client.Error](err); answered {
			message = client.Exception(err)
		}
		s.Println("Error: " + message)
		return cli.Failed
	}
	return nil
}

// refusal is printed as it is.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// check is Kafka's check of what belongs together.
func (o *options) check(s cli.Streams) error {
	actions := []*cli.Option{o.generate, o.execute, o.verify, o.cancel, o.list}
	given := slices.DeleteFunc(slices.Clone(actions), func(action *cli.Option) bool { return !o.Has(action) })
	if len(given) != 1 {
		return o.parser.UsageError(s, "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list")
	}
	action := given[0]
	switch {
	case o.Has(o.bootstrap) && o.Has(o.controller):
		return o.parser.UsageError(s, "Please don't specify both --bootstrap-server and --bootstrap-controller")
	case !o.Has(o.bootstrap) && !o.Has(o.controller):
		return o.parser.UsageError(s, "Please specify either --bootstrap-server or --bootstrap-controller")
	}
	required := map[*cli.Option][]*cli.Option{o.verify: {o.plan}, o.generate: {o.topics, o.brokers}, o.execute: {o.plan}, o.cancel: {o.plan}}[action]
	if err := o.CheckRequired(s, required...); err != nil {
		return err
	}
	permitted := append(required, action, o.config)
	permitted = append(permitted, map[*cli.Option][]*cli.Option{
		o.verify:   {o.bootstrap, o.preserveThrottles},
		o.generate: {o.bootstrap, o.rackUnaware},
		o.execute:  {o.bootstrap, o.additional, o.throttle, o.dirThrottle, o.timeout, o.sameReplicas},
		o.cancel:   {o.bootstrap, o.controller, o.preserveThrottles, o.timeout},
		o.list:     {o.bootstrap, o.controller},
	}[action]...)
	for _, option := range o.Detected() {
		if !slices.Contains(permitted, option) {
			return o.parser.UsageError(s, "Option \"%s\" can't be used with action \"%s\"", option, action)
		}
	}
	return nil
}

func (o *options) act(ctx context.Context, s cli.Streams) error {
	limits := limits{between: o.Long(o.throttle), dirs: o.Long(o.dirThrottle)}
	timeoutMs := o.Long(o.timeout)
	connection := client.Connection{Servers: o.bootstrap, Controllers: o.controller, Config: o.config, Defaults: client.Properties{"client.id": "reassign-partitions-tool"}}
	admin, err := connection.Open(s, o.Set)
	if err != nil {
		return err
	}
	defer admin.Close()
	m := &mover{Streams: s, admin: admin, timeoutMs: timeoutMs, keepThrottles: o.Has(o.preserveThrottles)}
	if o.Has(o.list) {
		return m.list(ctx)
	}
	if o.Has(o.generate) {
		return m.generate(ctx, o.String(o.topics), o.String(o.brokers), !o.Has(o.rackUnaware))
	}
	data, err := readFile(o.String(o.plan))
	if err != nil {
		return err
	}
	plan, err := parsePlan(data)
	if err != nil {
		return err
	}
	switch {
	case o.Has(o.verify):
		return m.verify(ctx, plan)
	case o.Has(o.cancel):
		return m.cancel(ctx, plan)
	}
	return m.execute(ctx, plan, limits, execution{additional: o.Has(o.additional), sameReplicas: o.Has(o.sameReplicas)})
}
