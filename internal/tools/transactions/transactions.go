package transactions

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

var (
	topicArgument     = cli.Argument{Long: "--topic", Required: true, Help: "The topic."}
	partitionArgument = cli.Argument{Long: "--partition", Required: true, Bits: 32, Help: "The partition."}
)

func optional(a cli.Argument) cli.Argument {
	a.Required = false
	return a
}

var parser = &cli.SubParser{
	Program:     "kafka-transactions",
	Description: "Shows transactional ids and producers' transactions; finds and ends transactions that hang.",
	Global: []cli.Argument{
		{Long: "--version", Short: "-v", IsFlag: true, Help: "Print the version of Kafka that this tool follows."},
		{Long: "--command-config", Help: "File with client properties."},
		{Long: "--bootstrap-server", Required: true, Help: "Brokers to connect to, host:port, separated by commas."},
	},
	Commands: []cli.SubCommand{
		{Name: "list", Help: "List transactional ids.", Arguments: []cli.Argument{
			{Long: "--duration-filter", Bits: 64, Help: "Only transactions that have been open for longer, in ms; below 0: all."},
			{Long: "--transactional-id-pattern", Help: "Only ids that match this regular expression as a whole."},
		}},
		{Name: "describe", Help: "Describe one transactional id.", Arguments: []cli.Argument{
			{Long: "--transactional-id", Required: true, Help: "The transactional id."},
		}},
		{Name: "describe-producers", Help: "Show the producers that a partition knows.", Arguments: []cli.Argument{
			{Long: "--broker-id", Bits: 32, Help: "Ask this broker instead of the partition's leader."}, topicArgument, partitionArgument,
		}},
		{Name: "abort", Help: "Abort a transaction that hangs in a partition.", Arguments: []cli.Argument{
			topicArgument, partitionArgument,
			{Long: "--start-offset", Bits: 64, Help: "Where the transaction begins. Enough for brokers from 3.0 on."},
			{Long: "--producer-id", Bits: 64, Help: "Its producer id; with the two below, for any broker."},
			{Long: "--producer-epoch", Bits: 16, Help: "Its producer epoch."},
			{Long: "--coordinator-epoch", Bits: 32, Help: "The epoch of the transaction's coordinator."},
		}},
		{Name: "find-hanging", Help: "Find transactions that nobody will end.", Arguments: []cli.Argument{
			{Long: "--broker-id", Bits: 32, Help: "Search the partitions of this broker."},
			{Long: "--max-transaction-timeout", Bits: 32, Help: "Leave out what is younger, in minutes (15 by default)."},
			optional(topicArgument), optional(partitionArgument),
		}},
		{Name: "forceTerminateTransaction", Help: "Abort the transaction of a transactional id and fence its producer.", Arguments: []cli.Argument{
			{Long: "--transactionalId", Required: true, Help: "The transactional id."},
		}},
	},
}

// command is a run of the tool.
type command struct {
	*cli.Parsed
	streams cli.Streams
	admin   *client.Client
	nowMs   func() int64
}

// Run is kafka-transactions.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	parsed, err := parser.Parse(s, args)
	if errors.Is(err, cli.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	c := &command{Parsed: parsed, streams: s, nowMs: func() int64 { return time.Now().UnixMilli() }}
	props := client.Properties{}
	if file := parsed.Value("--command-config"); file != "" {
		if props, err = cli.LoadProperties(file); err != nil {
			return c.fail("Failed to load admin client properties", err)
		}
	}
	props["bootstrap.servers"] = parsed.Value("--bootstrap-server")
	if c.admin, err = client.NewAdmin(s, props); err != nil {
		return err
	}
	defer c.admin.Close()
	if err := c.checkArguments(); err != nil {
		return err
	}
	return map[string]func(context.Context) error{
		"list": c.list, "describe": c.describe, "describe-producers": c.describeProducers,
		"abort": c.abort, "find-hanging": c.findHanging, "forceTerminateTransaction": c.forceTerminate,
	}[parsed.Command](ctx)
}

// checkArguments checks what the parser cannot know.
func (c *command) checkArguments() error {
	problem := ""
	switch {
	case c.Command == "abort" && !c.Has("--start-offset"):
		switch {
		case !c.Has("--producer-id"):
			problem = "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)"
		case !c.Has("--producer-epoch"):
			problem = "Missing required argument --producer-epoch"
		case !c.Has("--coordinator-epoch"):
			problem = "Missing required argument --coordinator-epoch"
		}
	case c.Command == "find-hanging" && !c.Has("--topic"):
		switch {
		case !c.Has("--broker-id"):
			problem = "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search"
		case c.Has("--partition"):
			problem = "The --partition argument requires --topic to be provided"
		}
	}
	if problem == "" {
		return nil
	}
	c.streams.Errorln(problem)
	return cli.Failed
}

// fail says what did not work, in the words of Kafka's tool.
func (c *command) fail(what string, err error) error {
	c.streams.Errorln(what + ": " + err.Error() + ". Enable debug logging for additional detail.")
	return cli.Failed
}

func text[N int16 | int32 | int64](n N) string { return strconv.FormatInt(int64(n), 10) }

// orNone shows a time or offset that may be absent.
func orNone(n int64) string {
	if n < 0 {
		return "None"
	}
	return text(n)
}

// Waits between attempts, as retry.backoff.ms and its maximum.
const (
	firstRetryWait = 100 * time.Millisecond
	maxRetryWait   = time.Second
)

// retried attempts something until it does not ask for another attempt or the time for a call is
// used up.
func (c *command) retried(ctx context.Context, call string, attempt func(ctx context.Context) (again bool, err error)) error {
	ctx, cancel := c.admin.Context(ctx)
	defer cancel()
	for wait := firstRetryWait; ; wait = min(2*wait, maxRetryWait) {
		again, err := attempt(ctx)
		if !again {
			return client.Convert(err, call)
		}
		select {
		case <-ctx.Done():
			return client.Convert(context.DeadlineExceeded, call)
		case <-time.After(wait):
		}
	}
}
