// Package streamsreset is kafka-streams-application-reset: it has an application of Kafka Streams begin
// anew, by its offsets and by its internal topics. The command table in internal/tools calls Run;
// nothing here starts a goroutine.
package streamsreset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const summary = "This tool has an application of Kafka Streams process its input from the beginning, or from another position, and deletes its internal topics. " +
	"No instance of the application may run; their local state has to be deleted too (KafkaStreams#cleanUp). Try it with --dry-run first: what it does cannot be undone."

type options struct {
	*cli.Set
	parser                                              *cli.Parser
	application, bootstrap, oldConfig, config           *cli.Option
	input, intermediate, internal                       *cli.Option
	toOffset, toDatetime, byDuration, fromFile, shiftBy *cli.Option
	toEarliest, toLatest, dryRun, force                 *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	list := func(name, help string) *cli.Option {
		return p.Add(cli.Option{Name: name, Arg: cli.RequiredArg, ArgName: "list", Separator: ",", Help: help})
	}
	o := &options{
		parser:       p,
		application:  p.Value("application-id", "id", "REQUIRED: the application.id."),
		bootstrap:    p.Value("bootstrap-server", "server to connect to", "Brokers to connect to; localhost:9092 if absent."),
		oldConfig:    p.Value("config-file", "file name", "(DEPRECATED) The former name of --command-config."),
		config:       p.Value("command-config", "file name", "File with client properties."),
		input:        list("input-topics", "Topics whose offsets are reset, separated by commas; to the beginning, if nothing else is said."),
		intermediate: list("intermediate-topics", "(DEPRECATED) Topics whose offsets are set to the end, separated by commas."),
		internal:     list("internal-topics", "Internal topics to delete, separated by commas; all of the application if absent."),
		toOffset:     p.Value("to-offset", "Long", "Reset to this offset."),
		toDatetime:   p.Value("to-datetime", "String", "Reset to the first record at or after YYYY-MM-DDThh:mm:ss.sss."),
		byDuration:   p.Value("by-duration", "String", "Reset to the first record younger than PnDTnHnMnS."),
		toEarliest:   p.Flag("to-earliest", "Reset to the beginning."),
		toLatest:     p.Flag("to-latest", "Reset to the end."),
		fromFile:     p.Value("from-file", "String", "Reset to what a CSV file says: topic,partition,offset."),
		shiftBy:      p.Value("shift-by", "Long: number-of-offsets", "Move offsets forward, or back by a negative number."),
		dryRun:       p.Flag("dry-run", "Only show what would be done."),
		force:        p.Flag("force", "Remove members that are left in the group."),
	}
	p.Group("What to reset", o.application, o.input, o.internal, o.intermediate)
	p.Group("Where to", o.scenarios()...)
	return o
}

// scenarios are the positions of which one can be chosen.
func (o *options) scenarios() []*cli.Option {
	return []*cli.Option{o.toOffset, o.toDatetime, o.byDuration, o.toEarliest, o.toLatest, o.fromFile, o.shiftBy}
}

// Run is kafka-streams-application-reset.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	set, err := o.parser.Parse(args)
	if err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	o.Set = set
	if len(args) > 0 || s.Describe != nil { // nothing at all lacks an application
		if done, err := set.HelpOrVersion(s, summary); done {
			return err
		}
	}
	if err := o.check(s); err != nil {
		return err
	}
	err = o.act(ctx, s)
	if _, printed := errors.AsType[*cli.ExitError](err); err == nil || printed {
		return err
	}
	message := err.Error()
	if answered, ok := errors.AsType[*client.Error](err); ok {
		message = client.Wrapped(answered)
	}
	s.Errorln("ERROR: " + message)
	return cli.Failed
}

func (o *options) check(s cli.Streams) error {
	if !o.Has(o.application) {
		return o.parser.UsageError(s, "Missing required option(s) [application-id]")
	}
	for _, scenario := range o.scenarios() {
		if err := o.CheckInvalid(s, scenario, cli.Without(o.scenarios(), scenario)...); err != nil {
			return err
		}
	}
	return o.CheckInvalid(s, o.oldConfig, o.config)
}

// tool is one run against a cluster.
type tool struct {
	*options
	cli.Streams
	client *client.Client
	admin  *kadm.Client
	topics *client.Cluster
}

func (o *options) act(ctx context.Context, s cli.Streams) error {
	config := o.config
	if o.Has(o.oldConfig) {
		s.Println("Option --config-file has been deprecated and will be removed in a future version. Use --command-config instead.")
		config = o.oldConfig
	}
	props, err := client.LoadCommandConfig(o.Set, config)
	if err != nil {
		return err
	}
	props["bootstrap.servers"] = cmp.Or(o.String(o.bootstrap), "localhost:9092")
	c, err := client.NewAdmin(s, props)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Connect(ctx, "describeConsumerGroups"); err != nil {
		return err
	}
	t := &tool{options: o, Streams: s, client: c, admin: kadm.NewClient(c.Client)}
	if err := t.emptyGroup(ctx); err != nil {
		return err
	}
	if t.topics, err = c.Metadata(ctx, nil, "listTopics"); err != nil {
		return err
	}
	if o.Has(o.dryRun) {
		s.Println("----Dry run displays the actions which will be performed when running Streams Reset Tool----")
	}
	missing, err := t.resetOffsets(ctx)
	if err != nil {
		return err
	}
	if err := t.deleteTopics(ctx); err != nil {
		return err
	}
	if missing {
		return cli.Failed
	}
	return nil
}

// emptyGroup sees to it that nobody is in the application's group.
func (t *tool) emptyGroup(ctx context.Context) error {
	ctx, cancel := t.client.Context(ctx)
	defer cancel()
	id := t.String(t.application)
	described, err := t.admin.DescribeGroups(ctx, id)
	if err == nil {
		err = described[id].Err
	}
	if err = client.Convert(err, "describeConsumerGroups"); client.Code(err) == kafka.ErrGroupIDNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	var members []string
	for _, m := range described[id].Members {
		members = append(members, m.MemberID)
	}
	switch {
	case len(members) == 0:
		return nil
	case !t.Has(t.force):
		return fmt.Errorf("java.lang.IllegalStateException: Consumer group '%s' is still active and has following members: [%s]. "+ //nolint:staticcheck // the words of Kafka's tools
			"Make sure to stop all running application instances before running the reset tool. You can use option '--force' to remove active members from the group.", id, strings.Join(members, ", "))
	}
	t.Println("Force deleting all active members in the group: " + id)
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = id
	for _, memberID := range members {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID, member.Reason = memberID, kmsg.StringPtr("removed by kafka-streams-application-reset")
		req.Members = append(req.Members, member)
	}
	resp, err := req.RequestWith(ctx, t.client.Client)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	return client.Convert(err, "leaveGroup")
}

// internalTopic is the form of the names that Kafka Streams gives its own topics, after the application's.
var internalTopic = regexp.MustCompile(`(-changelog|-repartition|-subscription-registration-topic|-subscription-response-topic|.-KTABLE-FK-JOIN-SUBSCRIPTION-(REGISTRATION|RESPONSE)-\d+-topic)$`)

func (t *tool) isInternal(topic string) bool {
	return strings.HasPrefix(topic, t.String(t.application)+"-") && internalTopic.MatchString(topic) &&
		!slices.Contains(t.Values(t.input), topic) && !slices.Contains(t.Values(t.intermediate), topic)
}

func (t *tool) deleteTopics(ctx context.Context) error {
	var inferred []string
	for _, topic := range t.topics.Topics {
		if t.isInternal(topic.Name) {
			inferred = append(inferred, topic.Name)
		}
	}
	doomed, kind := inferred, "inferred"
	if specified := t.Values(t.internal); len(specified) > 0 {
		doomed, kind = specified, "specified"
		for _, topic := range specified {
			if !slices.Contains(inferred, topic) {
				return errors.New("java.lang.IllegalArgumentException: Invalid topic specified in the --internal-topics option. Ensure that the topics specified are all internal topics. " +
					"Do a dry run without the --internal-topics option to see the list of all internal topics that can be deleted.")
			}
		}
	}
	t.Printf("Deleting %s internal topics [%s]\n", kind, strings.Join(doomed, ", "))
	if !t.Has(t.dryRun) && len(doomed) > 0 {
		ctx, cancel := t.client.Context(ctx)
		defer cancel()
		results, err := t.admin.DeleteTopics(ctx, doomed...)
		if err != nil {
			return client.Convert(err, "deleteTopics")
		}
		failed := false
		for _, r := range results.Sorted() {
			if r.Err != nil {
				t.Errorln("ERROR: deleting topic " + r.Topic)
				failed = true
			}
		}
		if failed {
			return errors.New("java.lang.RuntimeException: Encountered an error deleting one or more topics")
		}
	}
	t.Println("Done.")
	return nil
}
