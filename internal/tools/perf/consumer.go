package perf

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	consumerSummary = "This tool measures how fast records can be consumed."
	pollWait        = 100 * time.Millisecond
	// maxPollRecords is Kafka's max.poll.records: the count of records may pass the wanted one by less.
	maxPollRecords = 500
	statsColumns   = ", data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
)

type consumerOptions struct {
	*cli.Set
	parser                                                *cli.Parser
	bootstrap, topic, include, group, fetchSize, property *cli.Option
	fromLatest, socketBuffer, oldConfig, config           *cli.Option
	printMetrics, detailed, timeout, messages, records    *cli.Option
	interval, dateFormat, hideHeader                      *cli.Option
}

func newConsumerOptions() *consumerOptions {
	p := cli.NewParser()
	withDefault := func(name, argName, value, help string) *cli.Option {
		return p.Add(cli.Option{Name: name, Arg: cli.RequiredArg, ArgName: argName, Default: value, Help: help})
	}
	return &consumerOptions{
		parser:       p,
		bootstrap:    p.Value("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to connect to, host:port,..."),
		topic:        p.Value("topic", "String: topic", "The topic to read."),
		include:      p.Value("include", "String: Java regex (String)", "Read all topics whose names match this regular expression."),
		group:        withDefault("group", "String: gid", "perf-consumer-"+strconv.Itoa(rand.IntN(100_000)), "The group to read as."),
		fetchSize:    withDefault("fetch-size", "Integer: size", "1048576", "The most bytes of one partition in one answer."),
		property:     p.Value("command-property", "String: prop1=val1", "A property of the consumer, key=value. Repeatable."),
		fromLatest:   p.Flag("from-latest", "Begin behind the newest record where no committed offset says otherwise."),
		socketBuffer: withDefault("socket-buffer-size", "Integer: size", "2097152", "Accepted; the operating system sizes the buffers."),
		oldConfig:    p.Value("consumer.config", "String: config file", "(DEPRECATED) The former name of --command-config."),
		config:       p.Value("command-config", "String: config file", "File with consumer properties; --command-property wins."),
		printMetrics: p.Flag("print-metrics", "Print the client's metrics at the end, by the names that Kafka's Java client has for them."),
		detailed:     p.Flag("show-detailed-stats", "Report every interval instead of once."),
		timeout: p.Add(cli.Option{
			Name: "timeout", Arg: cli.OptionalArg, ArgName: "Long: milliseconds", Default: "10000", Help: "Stop when no record has come for this long.",
		}),
		messages:   p.Value("messages", "Long: count", "(DEPRECATED) The former name of --num-records."),
		records:    p.Value("num-records", "Long: count", "REQUIRED: how many records to read."),
		interval:   withDefault("reporting-interval", "Long: interval_ms", defaultReportingIntervalMs, "Milliseconds between two reports."),
		dateFormat: withDefault("date-format", "String: date format", "yyyy-MM-dd HH:mm:ss:SSS", "How times are printed, in the letters of Java's SimpleDateFormat."),
		hideHeader: p.Flag("hide-header", "Leave out the line with the columns' names."),
	}
}

func (o *consumerOptions) check(s cli.Streams) error {
	if err := o.CheckRequired(s, o.bootstrap); err != nil {
		return err
	}
	if err := o.CheckOneOf(s, o.topic, o.include); err != nil {
		return err
	}
	if err := o.CheckOneOf(s, o.messages, o.records); err != nil {
		return err
	}
	if err := o.CheckInvalid(s, o.oldConfig, o.config); err != nil {
		return err
	}
	if o.Has(o.messages) {
		s.Println("Warning: --messages is deprecated. Use --num-records instead.")
		o.records = o.messages
	}
	if o.Has(o.oldConfig) {
		s.Println("Warning: --consumer.config is deprecated. Use --command-config instead.")
		o.config = o.oldConfig
	}
	return nil
}

func (o *consumerOptions) properties() (client.Properties, error) {
	props, err := client.LoadCommandConfig(o.Set, o.config)
	if err != nil {
		return nil, err
	}
	for name, value := range cli.ParseKeyValues(o.Values(o.property)) {
		props[name] = value
	}
	props["bootstrap.servers"], props["group.id"] = o.String(o.bootstrap), o.String(o.group)
	props["max.partition.fetch.bytes"] = strconv.Itoa(int(o.Int(o.fetchSize)))
	props["auto.offset.reset"] = "earliest"
	if o.Has(o.fromLatest) {
		props["auto.offset.reset"] = "latest"
	}
	props["check.crcs"] = "false"
	if props["client.id"] == "" {
		props["client.id"] = "perf-consumer-client"
	}
	return props, nil
}

// RunConsumer is kafka-consumer-perf-test.
func RunConsumer(ctx context.Context, s cli.Streams, args []string) error {
	o := newConsumerOptions()
	set, err := o.parser.Parse(args)
	if err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	o.Set = set
	if done, err := o.HelpOrVersion(s, consumerSummary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	c := &consumer{
		streams: s, detailed: o.Has(o.detailed), records: o.Long(o.records),
		timeout:  time.Duration(min(o.Long(o.timeout), 1<<31)) * time.Millisecond,
		interval: time.Duration(min(o.Long(o.interval), 1<<31)) * time.Millisecond,
	}
	if !o.Has(o.hideHeader) {
		c.printHeader()
	}
	if c.format, err = newDateFormat(o.String(o.dateFormat)); err != nil {
		return err
	}
	if c.interval <= 0 && o.Err() == nil {
		return fmt.Errorf("Reporting interval must be greater than 0.") //nolint:staticcheck // the words of Kafka's tools
	}
	if err := c.open(o); err != nil {
		return err
	}
	if err := o.Err(); err != nil {
		return err
	}
	defer c.client.CloseAllowingRebalance()
	return c.run(ctx)
}

// consumer is one run of the tool.
type consumer struct {
	streams           cli.Streams
	client            *client.Client
	format            *dateFormat
	detailed          bool
	records           int64
	timeout, interval time.Duration
	joins             joins
	counts            *meter // nil unless metrics are wanted
	clientID          string

	read, lastRead consumed
	lastReport     time.Time
}

// consumed is how much has been read.
type consumed struct{ records, bytes int64 }

func (c *consumer) printHeader() {
	if c.detailed {
		c.streams.Println("time, threadId" + statsColumns)
		return
	}
	c.streams.Println("start.time, end.time" + statsColumns)
}

func (c *consumer) open(o *consumerOptions) error {
	props, err := o.properties()
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.ConsumeTopics(o.String(o.topic))}
	if o.Has(o.include) {
		if opts, err = client.Matching(o.String(o.include), props["exclude.internal.topics"] != "false"); err != nil {
			return err
		}
	}
	if props["enable.auto.commit"] == "false" {
		opts = append(opts, kgo.DisableAutoCommit())
	}
	c.joins.startedAt, c.clientID = time.Now(), props["client.id"]
	if o.Has(o.printMetrics) {
		c.counts = newMeter(c.joins.startedAt)
		opts = append(opts, kgo.WithHooks(c.counts))
	}
	opts = append(opts, kgo.OnPartitionsAssigned(c.joins.assigned), kgo.OnPartitionsRevoked(c.joins.revoked), kgo.OnPartitionsLost(c.joins.revoked))
	c.client, err = client.NewConsumer(c.streams, props, opts...)
	return err
}

func (c *consumer) run(ctx context.Context) error {
	started := time.Now()
	c.lastReport = started
	lastRecord, now := started, started
	for c.read.records < c.records && now.Sub(lastRecord) <= c.timeout && ctx.Err() == nil {
		wait, cancel := context.WithTimeout(ctx, pollWait)
		fetches := c.client.PollRecords(wait, maxPollRecords)
		cancel()
		now = time.Now()
		if fetches.NumRecords() > 0 {
			lastRecord = now
		}
		fetches.EachRecord(func(r *kgo.Record) { c.count(r, now) })
	}
	if c.read.records < c.records {
		c.streams.Printf("WARNING: Exiting before consuming the expected number of records: timeout (%d ms) exceeded. "+
			"You can use the --timeout option to increase the timeout.\n", c.timeout.Milliseconds())
	}
	if !c.detailed {
		c.printTotal(started, time.Now())
	}
	if c.counts != nil {
		c.counts.consumerTable(c.clientID, c.read, time.Now()).print(c.streams)
	}
	if ctx.Err() != nil {
		return &cli.ExitError{Code: interruptedExit}
	}
	return nil
}

func (c *consumer) count(r *kgo.Record, now time.Time) {
	c.read.records++
	c.read.bytes += int64(len(r.Key) + len(r.Value))
	if now.Sub(c.lastReport) < c.interval {
		return
	}
	joinMs := c.joins.takeRecent()
	if c.detailed {
		c.printProgress(now, joinMs)
	}
	c.lastReport, c.lastRead = now, c.read
}

func (c *consumer) printProgress(now time.Time, joinMs int64) {
	elapsedMs := now.Sub(c.lastReport).Milliseconds()
	fetchMs := elapsedMs - joinMs
	megabytes := float64(c.read.bytes-c.lastRead.bytes) / bytesPerMB
	records := float64(c.read.records - c.lastRead.records)
	var fetchMB, fetchRecords float64
	if fetchMs > 0 {
		fetchMB, fetchRecords = 1000*megabytes/float64(fetchMs), 1000*records/float64(fetchMs)
	}
	c.streams.Printf("%s, 0, %s, %s, %d, %s, %d, %d, %s, %s\n", c.format.format(now), cli.Decimal(float64(c.read.bytes)/bytesPerMB, 4),
		cli.Decimal(1000*megabytes/float64(elapsedMs), 4), c.read.records, cli.Decimal(1000*records/float64(elapsedMs), 4),
		joinMs, fetchMs, cli.Decimal(fetchMB, 4), cli.Decimal(fetchRecords, 4))
}

func (c *consumer) printTotal(started, ended time.Time) {
	elapsedMs := ended.Sub(started).Milliseconds()
	joinMs := c.joins.totalMs()
	fetchMs := elapsedMs - joinMs
	megabytes, records := float64(c.read.bytes)/bytesPerMB, float64(c.read.records)
	perSecond := func(amount float64, ms int64) string { return cli.Decimal(amount/(float64(ms)/1000), 4) }
	c.streams.Printf("%s, %s, %s, %s, %d, %s, %d, %d, %s, %s\n", c.format.format(started), c.format.format(ended), cli.Decimal(megabytes, 4),
		perSecond(megabytes, elapsedMs), c.read.records, perSecond(records, elapsedMs), joinMs, fetchMs,
		perSecond(megabytes, fetchMs), perSecond(records, fetchMs))
}

// joins measures how long the consumer was without partitions.
type joins struct {
	mu            sync.Mutex
	startedAt     time.Time
	owned         int
	total, recent time.Duration
}

func (j *joins) assigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.owned == 0 {
		took := time.Since(j.startedAt)
		j.total += took
		j.recent += took
	}
	j.owned += countPartitions(partitions)
}

func (j *joins) revoked(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.owned -= countPartitions(partitions); j.owned <= 0 {
		j.owned, j.startedAt = 0, time.Now()
	}
}

func (j *joins) totalMs() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.total.Milliseconds()
}

// takeRecent returns the time since it was last asked.
func (j *joins) takeRecent() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	recent := j.recent.Milliseconds()
	j.recent = 0
	return recent
}

func countPartitions(partitions map[string][]int32) (count int) {
	for _, indexes := range partitions {
		count += len(indexes)
	}
	return count
}
