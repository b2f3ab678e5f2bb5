package verifiable

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	consumerDeprecated = "Option --consumer.config has been deprecated and will be removed in a future version. Use --command-config instead."
	consumerLogger     = "org.apache.kafka.tools.VerifiableConsumer"
	// maxPollRecords is Kafka's max.poll.records.
	maxPollRecords = 500
	closeTimeout   = 30 * time.Second
)

func consumerParser() *cli.OptionParser {
	return &cli.OptionParser{
		Program:     "verifiable-consumer",
		Description: "Reads a topic as a member of a group and prints as JSON what it got, what it committed and how the group rebalanced.",
		Arguments: []cli.Argument{
			{Long: "--topic", Metavar: "TOPIC", Required: true, Help: "the topic to read"},
			{Long: "--group-protocol", Metavar: "GROUP-PROTOCOL", Default: "classic", Help: "CLASSIC; CONSUMER is not supported yet"},
			{Long: "--group-remote-assignor", Metavar: "GROUP-REMOTE-ASSIGNOR", Help: "only used with the protocol CONSUMER"},
			{Long: "--group-id", Metavar: "GROUP-ID", Required: true, Help: "the group to read as"},
			{Long: "--group-instance-id", Metavar: "GROUP-INSTANCE-ID", Help: "the name of a static member"},
			{Long: "--max-messages", Metavar: "MAX-MESSAGES", Bits: 32, Default: "-1", Help: "how many to read; -1: until interrupted"},
			{Long: "--session-timeout", Metavar: "TIMEOUT-MS", Bits: 32, Help: "the session timeout of the member"},
			{Long: "--verbose", IsFlag: true, Help: "print each record"},
			{Long: "--enable-autocommit", IsFlag: true, Help: "commit in the background, not after each read"},
			{Long: "--reset-policy", Metavar: "RESET-POLICY", Default: "earliest", Help: "earliest, latest or none"},
			{Long: "--assignment-strategy", Metavar: "ASSIGNMENT-STRATEGY", Default: "org.apache.kafka.clients.consumer.RangeAssignor", Help: "an assignor of Kafka's"},
			{Long: "--consumer.config", Metavar: "CONFIG-FILE", Help: "(DEPRECATED) the former name of --command-config"},
			{Long: "--command-config", Metavar: "CONFIG-FILE", Help: "file with consumer properties; the options win"},
			{Long: "--bootstrap-server", Metavar: "HOST1:PORT1[,HOST2:PORT2[...]]", Required: true, Help: "brokers to connect to"},
		},
	}
}

// RunConsumer is kafka-verifiable-consumer.
func RunConsumer(ctx context.Context, s cli.Streams, args []string) error {
	parser := consumerParser()
	set, err := parser.Parse(s, args)
	if err != nil {
		return err
	}
	props := client.Properties{}
	if err := mergeFile(s, parser, set, props, "--consumer.config", consumerDeprecated); err != nil {
		return err
	}
	for option, name := range map[string]string{
		"--group-protocol": "group.protocol", "--assignment-strategy": "partition.assignment.strategy", "--session-timeout": "session.timeout.ms",
		"--group-id": "group.id", "--group-instance-id": "group.instance.id", "--bootstrap-server": "bootstrap.servers", "--reset-policy": "auto.offset.reset",
	} {
		if value := set.Value(option); value != "" {
			props[name] = value
		}
	}
	c := &consumer{events: events{streams: s}, topic: set.Value("--topic"), verbose: set.Has("--verbose"), autoCommit: set.Has("--enable-autocommit")}
	c.limit, _ = set.Number("--max-messages")
	opts := []kgo.Opt{
		kgo.ConsumeTopics(c.topic), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(c.rebalanced("partitions_assigned")), kgo.OnPartitionsRevoked(c.rebalanced("partitions_revoked")),
	}
	if !c.autoCommit {
		opts = append(opts, kgo.DisableAutoCommit())
	}
	if c.client, err = client.NewConsumer(s, props, opts...); err != nil {
		return fmt.Errorf("org.apache.kafka.common.KafkaException: Failed to construct kafka consumer: %w", err)
	}
	c.run(ctx)
	if ctx.Err() != nil {
		return &cli.ExitError{Code: interruptedExit}
	}
	return nil
}

// consumer is one run of the tool.
type consumer struct {
	events              events
	client              *client.Client
	topic               string
	limit               int64 // negative: none
	consumed            int64
	verbose, autoCommit bool
}

type partition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

type summary struct {
	partition
	Count     int64 `json:"count"`
	MinOffset int64 `json:"minOffset"`
	MaxOffset int64 `json:"maxOffset"`
}

type committed struct {
	partition
	Offset int64 `json:"offset"`
}

func (c *consumer) rebalanced(name string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
		list := []partition{}
		for _, topic := range slices.Sorted(maps.Keys(assigned)) {
			for _, index := range slices.Sorted(slices.Values(assigned[topic])) {
				list = append(list, partition{topic, index})
			}
		}
		c.events.print(struct {
			event
			Partitions []partition `json:"partitions"`
		}{named(name), list})
	}
}

func (c *consumer) finished() bool { return c.limit >= 0 && c.consumed >= c.limit }

func (c *consumer) run(ctx context.Context) {
	c.events.print(named("startup_complete"))
	for !c.finished() && ctx.Err() == nil {
		fetches := c.client.PollRecords(ctx, maxPollRecords)
		if fetches.NumRecords() > 0 {
			summaries := c.received(fetches)
			if !c.autoCommit {
				c.commit(context.WithoutCancel(ctx), summaries)
			}
		}
		fetches.EachError(func(topic string, index int32, err error) {
			if ctx.Err() == nil {
				c.events.streams.Log("ERROR", fmt.Sprintf("%s-%d: %v", topic, index, err), consumerLogger)
			}
		})
		c.client.AllowRebalance()
	}
	if ctx.Err() != nil {
		c.events.print(named("shutdown_requested"))
	}
	c.client.CloseAllowingRebalance()
	c.events.print(named("shutdown_complete"))
	if ctx.Err() == nil {
		// Kafka's tool says so when its process ends, whatever ended it.
		c.events.print(named("shutdown_requested"))
	}
}

// received prints what a poll brought, up to the limit.
func (c *consumer) received(fetches kgo.Fetches) []summary {
	summaries := []summary{}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		records := p.Records
		if c.limit >= 0 {
			records = records[:min(int64(len(records)), c.limit-c.consumed)]
		}
		if len(records) == 0 {
			return
		}
		for _, r := range records {
			if c.verbose {
				c.printRecord(r)
			}
		}
		c.consumed += int64(len(records))
		summaries = append(summaries, summary{
			partition{p.Topic, p.Partition}, int64(len(records)), records[0].Offset, records[len(records)-1].Offset,
		})
	})
	c.events.print(struct {
		event
		Count      int       `json:"count"`
		Partitions []summary `json:"partitions"`
	}{named("records_consumed"), fetches.NumRecords(), summaries})
	return summaries
}

func (c *consumer) printRecord(r *kgo.Record) {
	c.events.print(struct {
		event
		Key       *string `json:"key"`
		Value     *string `json:"value"`
		Topic     string  `json:"topic"`
		Partition int32   `json:"partition"`
		Offset    int64   `json:"offset"`
	}{named("record_data"), text(r.Key), text(r.Value), r.Topic, r.Partition, r.Offset})
}

func (c *consumer) commit(ctx context.Context, summaries []summary) {
	ctx, cancel := context.WithTimeout(client.CommitContext(ctx), closeTimeout)
	defer cancel()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	list := []committed{}
	for _, s := range summaries {
		if offsets[s.Topic] == nil {
			offsets[s.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[s.Topic][s.Partition] = kgo.EpochOffset{Epoch: -1, Offset: s.MaxOffset + 1}
		list = append(list, committed{s.partition, s.MaxOffset + 1})
	}
	var failed error
	c.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if failed = err; err == nil {
			failed = client.FirstCommitError(resp)
		}
	})
	var message *string
	if failed != nil {
		_, words, _ := strings.Cut(client.Exception(client.Convert(failed, "commit")), ": ")
		message = &words
	}
	c.events.print(struct {
		event
		Offsets []committed `json:"offsets"`
		Error   *string     `json:"error,omitempty"`
		Success bool        `json:"success"`
	}{named("offsets_committed"), list, message, failed == nil})
}
