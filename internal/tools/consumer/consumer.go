package consumer

import (
	"context"
	"errors"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
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
	count   int64
	buffer  []byte
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
		// Kafka matches whole names, the client library parts of them.
		if _, err := regexp.Compile(p.include); err != nil {
			return err
		}
		opts = append(opts, kgo.ConsumeRegex(), kgo.ConsumeTopics("^(?:"+p.include+")$"))
		if p.props["exclude.internal.topics"] != "false" {
			opts = append(opts, kgo.ConsumeExcludeTopics("^(?:"+kafka.ConsumerOffsetsTopic+"|"+kafka.TransactionStateTopic+"|"+kafka.ShareGroupStateTopic+")$"))
		}
	}
	if p.props["group.id"] != "" {
		opts = append(opts, kgo.BlockRebalanceOnPoll())
		if p.props["enable.auto.commit"] != "false" {
			opts = append(opts, kgo.AutoCommitMarks(), kgo.AdjustFetchOffsetsFn(c.resolveStart))
		}
	}
	var err error
	c.client, err = client.NewConsumer(c.streams, p.props, opts...)
	return err
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

// resolveStart turns "start" and "end" of partitions without a committed offset into numbers
// and lets those be committed with the rest, as Kafka's consumer does with its positions: a
// description of the group then shows the lag of every partition.
func (c *consumer) resolveStart(ctx context.Context, starts map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	topics := slices.Sorted(maps.Keys(starts))
	admin := kadm.NewClient(c.client.Client)
	list := admin.ListStartOffsets
	if c.plan.props["auto.offset.reset"] != "earliest" {
		list = admin.ListEndOffsets
	}
	if c.plan.props["auto.offset.reset"] == "none" || len(topics) == 0 {
		return starts, nil
	}
	listed, err := list(ctx, topics...)
	if err != nil {
		// The client library finds its own way from "start" or "end".
		return starts, nil //nolint:nilerr // see above
	}
	marks := map[string]map[int32]kgo.EpochOffset{}
	for topic, partitions := range starts {
		for partition, start := range partitions {
			found, ok := listed.Lookup(topic, partition)
			if start.EpochOffset().Offset >= 0 || !ok || found.Err != nil || found.Offset < 0 {
				continue
			}
			partitions[partition] = kgo.NewOffset().At(found.Offset)
			if marks[topic] == nil {
				marks[topic] = map[int32]kgo.EpochOffset{}
			}
			marks[topic][partition] = kgo.EpochOffset{Epoch: -1, Offset: found.Offset}
		}
	}
	c.client.MarkCommitOffsets(marks)
	return starts, nil
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
		if c.plan.props["group.id"] != "" {
			c.client.AllowRebalance()
		}
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

func (c *consumer) poll(ctx context.Context, limit int) (kgo.Fetches, error) {
	if c.plan.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.plan.timeout)
		defer cancel()
	}
	for {
		fetches := c.client.PollRecords(ctx, limit)
		if fetches.NumRecords() > 0 {
			return fetches, nil
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.stop("org.apache.kafka.common.errors.TimeoutException")
			return nil, errStop
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, fetchError := range fetches.Errors() {
			if fatal(fetchError.Err) {
				c.stop(client.Exception(client.Convert(fetchError.Err, "fetch")))
				return nil, errStop
			}
			c.streams.Log("WARN", fetchError.Topic+": "+fetchError.Err.Error(), logger)
		}
		if c.plan.props["group.id"] != "" {
			c.client.AllowRebalance()
		}
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
	c.client.MarkCommitRecords(records...)
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
	if c.plan.props["group.id"] != "" {
		if c.plan.props["enable.auto.commit"] != "false" {
			if err := c.client.CommitMarkedOffsets(ctx); err != nil {
				c.streams.Log("ERROR", "Offset commit failed: "+err.Error(), logger)
			}
		}
		c.client.AllowRebalance()
	}
	c.client.CloseAllowingRebalance()
}
