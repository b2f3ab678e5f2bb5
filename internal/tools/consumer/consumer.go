package consumer

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	logger = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	// maxPollRecords bounds how many records are printed between two looks at the client.
	maxPollRecords = 10_000
	// closeTimeout bounds the last commit and the leaving of the group.
	closeTimeout = 30 * time.Second
	// interruptedExit is the exit code after Ctrl-C.
	interruptedExit = 130
)

// Run is kafka-console-consumer.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	set, err := o.parser.Parse(args)
	if err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	o.Set = set
	if done, err := o.HelpOrVersion(s, Summary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	p, err := o.plan(s)
	if err != nil {
		return err
	}
	c := &consumer{streams: s, plan: p}
	if err := c.open(); err != nil {
		s.Log("ERROR", "Unknown error when running consumer: "+err.Error(), logger)
		return cli.Failed
	}
	return c.run(ctx)
}

// consumer is one run of the tool.
type consumer struct {
	streams cli.Streams
	plan    *plan
	client  *client.Client
	// committer is nil unless a group's offsets are committed.
	committer *committer
	count     int64
	buffer    []byte
}

func (c *consumer) open() error {
	var opts []kgo.Opt
	p := c.plan
	switch {
	case p.hasPartition:
		opts = append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {p.partition: p.offset.position()}}))
	case p.topic != "":
		opts = append(opts, kgo.ConsumeTopics(p.topic))
	default:
		matching, err := client.Matching(p.include, p.props["exclude.internal.topics"] != "false")
		if err != nil {
			return err
		}
		opts = append(opts, matching...)
	}
	if p.props["group.id"] != "" {
		opts = append(opts, kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit())
		if !strings.EqualFold(p.props["enable.auto.commit"], "false") {
			c.newCommitter()
			opts = append(opts, kgo.AdjustFetchOffsetsFn(c.committer.resolve),
				kgo.OnPartitionsRevoked(c.committer.revoked), kgo.OnPartitionsLost(c.committer.lost))
		}
	}
	var err error
	if c.client, err = client.NewConsumer(c.streams, p.props, opts...); err != nil {
		return err
	}
	if c.committer != nil {
		c.committer.client = c.client
	}
	return nil
}

func (c *consumer) newCommitter() {
	interval := defaultCommitInterval
	if millis, err := strconv.ParseInt(c.plan.props["auto.commit.interval.ms"], 10, 32); err == nil && millis > 0 {
		interval = time.Duration(millis) * time.Millisecond
	}
	c.committer = &committer{
		earliest: c.plan.props["auto.offset.reset"] == "earliest",
		fixed:    c.plan.props["auto.offset.reset"] == "none",
		interval: interval, lastAt: time.Now(), positions: map[string]map[int32]kgo.EpochOffset{},
		warn: func(message string) { c.streams.Log("WARN", message, logger) },
	}
}

func (o startOffset) position() kgo.Offset {
	switch o {
	case atStart:
		return kgo.NewOffset().AtStart()
	case atEnd:
		return kgo.NewOffset().AtEnd()
	}
	return kgo.NewOffset().At(int64(o))
}

func (c *consumer) run(ctx context.Context) error {
	result := c.consume(ctx)
	c.close(context.WithoutCancel(ctx))
	c.streams.Errorln("Processed a total of " + strconv.FormatInt(c.count, 10) + " messages")
	if c.plan.systest {
		c.streams.Println("shutdown_complete")
	}
	return result
}

// consume prints records until the limit, the time-out, an error or an interruption.
func (c *consumer) consume(ctx context.Context) error {
	for c.plan.maxMessages < 0 || c.count < c.plan.maxMessages {
		limit := int64(maxPollRecords)
		if c.plan.maxMessages >= 0 {
			limit = min(limit, c.plan.maxMessages-c.count)
		}
		fetches, err := c.poll(ctx, int(limit))
		if err == nil {
			err = c.print(fetches)
		}
		c.betweenPolls(ctx)
		switch {
		case ctx.Err() != nil:
			return &cli.ExitError{Code: interruptedExit}
		case errors.Is(err, errStop):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// errStop ends the tool, successfully to its caller, after the reason has been printed.
var errStop = errors.New("stop")

// poll waits for records, up to the time-out, and commits meanwhile what is due.
func (c *consumer) poll(ctx context.Context, limit int) (kgo.Fetches, error) {
	started := time.Now()
	for {
		wait, cancel := c.waitContext(ctx, started)
		fetches := c.client.PollRecords(wait, limit)
		waitEnded := wait.Err() != nil
		cancel()
		if fetches.NumRecords() > 0 {
			return fetches, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c.plan.timeout > 0 && time.Since(started) >= c.plan.timeout {
			c.stop("org.apache.kafka.common.errors.TimeoutException")
			return nil, errStop
		}
		for _, fetchError := range fetches.Errors() {
			if waitEnded {
				break // these are the end of the wait
			}
			if fatal(fetchError.Err) {
				c.stop(client.Exception(client.Convert(fetchError.Err, "fetch")))
				return nil, errStop
			}
			c.streams.Log("WARN", fetchError.Topic+": "+fetchError.Err.Error(), logger)
		}
		c.betweenPolls(ctx)
	}
}

// waitContext ends with the time-out or when the next commit is due.
func (c *consumer) waitContext(ctx context.Context, started time.Time) (context.Context, context.CancelFunc) {
	var end time.Time
	if c.plan.timeout > 0 {
		end = started.Add(c.plan.timeout)
	}
	if c.committer != nil {
		if due := c.committer.due(); !due.IsZero() && (end.IsZero() || due.Before(end)) {
			end = due
		}
	}
	if end.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, end)
}

// betweenPolls commits what is due and lets the group rebalance.
func (c *consumer) betweenPolls(ctx context.Context) {
	if c.committer != nil {
		if due := c.committer.due(); !due.IsZero() && !time.Now().Before(due) {
			c.committer.commit(ctx)
		}
	}
	if c.plan.props["group.id"] != "" {
		c.client.AllowRebalance()
	}
}

// fatal tells errors that waiting cannot mend from those that it may.
func fatal(err error) bool {
	if errors.Is(err, kgo.ErrClientClosed) {
		return true
	}
	switch client.Code(err) {
	case kafka.ErrUnknownServerError, kafka.ErrUnknownTopicOrPartition, kafka.ErrLeaderNotAvailable,
		kafka.ErrUnknownTopicID, kafka.ErrCoordinatorNotAvailable, kafka.ErrNone:
		return false
	}
	return true
}

func (c *consumer) stop(cause string) {
	c.streams.Log("ERROR", "Error processing message, terminating consumer process: ", logger)
	c.streams.Errorln(cause)
}

func (c *consumer) print(fetches kgo.Fetches) error {
	c.buffer = c.buffer[:0]
	records := fetches.Records()
	for _, record := range records {
		c.count++
		end := len(c.buffer)
		var err error
		if c.buffer, err = c.plan.formatter.format(c.buffer, record); err == nil {
			continue
		}
		c.buffer = c.buffer[:end]
		if !c.plan.skipOnError {
			_ = c.write()
			c.streams.Log("ERROR", "Unknown error when running consumer: "+err.Error(), logger)
			return cli.Failed
		}
		c.streams.Log("ERROR", "Error processing message, skipping this message: "+err.Error(), logger)
	}
	if err := c.write(); err != nil {
		c.streams.Errorln("Unable to write to standard out, closing consumer.")
		return errStop
	}
	if c.committer != nil {
		c.committer.printed(records)
	}
	return nil
}

func (c *consumer) write() error {
	if len(c.buffer) == 0 {
		return nil
	}
	written, err := c.streams.Out.Write(c.buffer)
	if err == nil && written < len(c.buffer) {
		err = io.ErrShortWrite
	}
	return err
}

func (c *consumer) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if c.committer != nil {
		c.committer.commit(ctx)
	}
	c.client.CloseAllowingRebalance()
}
