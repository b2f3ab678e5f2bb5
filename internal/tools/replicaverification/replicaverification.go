// Package replicaverification is kafka-replica-verification: it fetches the same offsets of partitions from
// all their replicas and compares what comes, until it is interrupted. The command table in internal/tools
// calls Run; nothing here starts a goroutine.
package replicaverification

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	summary = "Validate that all replicas for a set of topics have the same data."
	logger  = "org.apache.kafka.tools.ReplicaVerificationTool"
	// interruptedExit is the exit code after Ctrl-C.
	interruptedExit = 130
	// debuggingConsumer is the replica id by which followers answer who is no broker.
	debuggingConsumer = -2
	// maxFetchBytes bounds an answer; what does not fit into it comes in a later round.
	maxFetchBytes = 64 << 20
	// fetchPatience is how long an answer may take besides --max-wait-ms.
	fetchPatience = 30 * time.Second
)

type options struct {
	*cli.Set
	parser                                                    *cli.Parser
	brokers, fetchSize, maxWait, include, startTime, interval *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	withDefault := func(name, argName, value, help string) *cli.Option {
		return p.Add(cli.Option{Name: name, Arg: cli.RequiredArg, ArgName: argName, Default: value, Help: help})
	}
	return &options{
		parser:    p,
		brokers:   p.Value("broker-list", "String: hostname:port,...,hostname:port", "REQUIRED: brokers to connect to, host:port,..."),
		fetchSize: withDefault("fetch-size", "Integer: bytes", "1048576", "The most bytes of one partition in one answer."),
		maxWait:   withDefault("max-wait-ms", "Integer: ms", "1000", "How long a broker may wait for records."),
		include:   withDefault("topics-include", "String: Java regex (String)", ".*", "The topics whose names match this regular expression."),
		startTime: withDefault("time", "Long: timestamp/-1(latest)/-2(earliest)", "-1", "Where to begin: at a time, behind the newest records (-1) or at the oldest (-2)."),
		interval:  withDefault("report-interval-ms", "Long: ms", "30000", "Milliseconds between two reports."),
	}
}

// Run is kafka-replica-verification.
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
	if err := set.CheckRequired(s, o.brokers); err != nil {
		return err
	}
	if err := client.CheckBootstrap(set.String(o.brokers)); err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	err = o.run(ctx, s)
	if ctx.Err() != nil {
		return &cli.ExitError{Code: interruptedExit}
	}
	return err
}

func (o *options) run(ctx context.Context, s cli.Streams) error {
	s.Log("WARN", "This tool is deprecated and may be removed in a future major release.", logger)
	filter, err := cli.NewTopicFilter(o.String(o.include))
	if err != nil {
		return err
	}
	r := &reader{fetchBytes: o.Int(o.fetchSize), maxWaitMs: o.Int(o.maxWait)}
	startTime, intervalMs := o.Long(o.startTime), o.Long(o.interval)
	props := client.Properties{"bootstrap.servers": o.String(o.brokers)}
	if err := o.Err(); err != nil {
		return err
	}
	if r.admin, err = client.NewAdmin(s, props); err != nil {
		return err
	}
	defer r.admin.Close()
	if err := r.admin.Connect(ctx, "listTopics"); err != nil {
		return err
	}
	cluster, err := r.admin.Metadata(ctx, nil, "listTopics")
	if err != nil {
		return err
	}
	r.choose(cluster, filter)
	if len(r.replicas) == 0 {
		s.Log("ERROR", "No topics found. [topics-include] if specified, is either filtering out all topics or there is no topic.", logger)
		return cli.Failed
	}
	offsets, err := r.beginnings(ctx, startTime)
	if err != nil {
		return err
	}
	say := func(now time.Time, text string) { s.Println(now.Format("2006-01-02 15:04:05,000") + ": " + text) }
	v := newVerifier(offsets, r.replicas, time.Duration(min(intervalMs, 1<<31))*time.Millisecond, time.Now(), say)
	say(time.Now(), "verification process is started")
	for ctx.Err() == nil {
		r.fetch(ctx, v)
		if ctx.Err() == nil && !v.verify(time.Now()) {
			return cli.Failed
		}
	}
	return nil
}

// reader asks brokers for what their replicas have.
type reader struct {
	admin                 *client.Client
	fetchBytes, maxWaitMs int32
	topicIDs              map[string]kafka.UUID
	topicNames            map[kafka.UUID]string
	brokers               []int32
	replicas              map[kafka.TopicPartition][]int32
}

// choose takes the partitions of the topics that the filter lets pass.
func (r *reader) choose(cluster *client.Cluster, filter *cli.TopicFilter) {
	r.topicIDs, r.topicNames, r.replicas = map[string]kafka.UUID{}, map[kafka.UUID]string{}, map[kafka.TopicPartition][]int32{}
	for _, topic := range cluster.Topics {
		if !filter.Allows(topic.Name, false) {
			continue
		}
		r.topicIDs[topic.Name], r.topicNames[topic.ID] = topic.ID, topic.Name
		for _, p := range topic.Partitions {
			r.replicas[kafka.TopicPartition{Topic: topic.Name, Partition: p.Index}] = p.Replicas
		}
	}
	for _, b := range cluster.Brokers {
		r.brokers = append(r.brokers, b.NodeID)
	}
}

// beginnings are the offsets to verify from.
func (r *reader) beginnings(ctx context.Context, timestamp int64) (map[kafka.TopicPartition]int64, error) {
	partitions := sortedPartitions(r.replicas)
	listed, err := r.admin.ListOffsets(ctx, partitions, timestamp)
	if err != nil {
		return nil, err
	}
	offsets := map[kafka.TopicPartition]int64{}
	for _, tp := range partitions {
		found, ok := listed[tp]
		switch {
		case !ok:
			return nil, fmt.Errorf("no broker told an offset of %s", tp)
		case found.Err != nil:
			return nil, fmt.Errorf("offset of %s: %w", tp, found.Err)
		case found.Offset < 0:
			return nil, fmt.Errorf("%s has no record at or after %d; choose an earlier --time", tp, timestamp)
		}
		offsets[tp] = found.Offset
	}
	return offsets, nil
}

// fetch asks each broker once for what it has from the offsets on that have been reached. A broker that does
// not answer has nothing, as in Kafka's tool, until it is back.
func (r *reader) fetch(ctx context.Context, v *verifier) {
	for _, broker := range r.brokers {
		req := r.request(broker, v)
		if len(req.Topics) == 0 {
			continue
		}
		limit, cancel := context.WithTimeout(ctx, fetchPatience+time.Duration(r.maxWaitMs)*time.Millisecond)
		resp, err := req.RequestWith(limit, r.admin.Broker(int(broker)))
		cancel()
		if err != nil {
			continue
		}
		for _, topic := range resp.Topics {
			name := topic.Topic
			if name == "" {
				name = r.topicNames[topic.TopicID]
			}
			for _, p := range topic.Partitions {
				v.take(kafka.TopicPartition{Topic: name, Partition: p.Partition}, broker, p.HighWatermark, p.RecordBatches)
			}
		}
	}
}

func (r *reader) request(broker int32, v *verifier) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.ReplicaState.ID = debuggingConsumer, debuggingConsumer
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = r.maxWaitMs, 1, maxFetchBytes, -1
	for _, tp := range v.partitions {
		if !v.expects(tp, broker) {
			continue
		}
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != tp.Topic {
			topic := kmsg.NewFetchRequestTopic()
			topic.Topic, topic.TopicID = tp.Topic, r.topicIDs[tp.Topic]
			req.Topics = append(req.Topics, topic)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = tp.Partition, v.offsets[tp], r.fetchBytes
		topic := &req.Topics[len(req.Topics)-1]
		topic.Partitions = append(topic.Partitions, p)
	}
	return req
}
