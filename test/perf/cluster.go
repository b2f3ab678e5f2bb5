package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/test/perf/load"
)

// clusterPrefix begins the names of what is measured of three nodes; without its dash it stands for all.
const clusterPrefix = "cluster-"

// clusterItems are measured with three nodes of each system, each broker and controller.
func clusterItems() []item {
	all := []item{{name: "cluster-ready", byName: true, measure: clusterReady}}
	for _, f := range failovers {
		all = append(all, item{name: f.name, byName: true, measure: f.compare})
	}
	all = append(all, item{name: coordinatorFailoverName, byName: true, measure: coordinatorFailover})
	for i := range clusterWorkloads {
		all = append(all, item{name: clusterWorkloads[i].name, byName: true, workload: &clusterWorkloads[i]})
	}
	return append(all, item{name: "cluster-partitions", byName: true, measure: clusterPartitions}, item{name: "cluster-new-broker", byName: true, measure: clusterNewBroker})
}

// clusterWorkloads have three replicas of each partition.
var clusterWorkloads = []workload{
	{
		name: "cluster-large", about: "three nodes, 3 replicas: 1,000 B, acks=all (idempotent), linger 5 ms, one producer, 6 partitions. CPU and memory are those of all three brokers", partitions: 6, clustered: true,
		order: load.Order{Records: 400_000, ValueBytes: 1000, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none"},
	},
	{
		name: "cluster-small", about: "three nodes, 3 replicas: 100 B, acks=all (idempotent), linger 5 ms, one producer, 6 partitions", partitions: 6, clustered: true,
		order: load.Order{Records: 1_500_000, ValueBytes: 100, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none"},
	},
	{
		name: "cluster-rate", about: "three nodes, 3 replicas: 5,000 records of 1,000 B a second, acks=all (idempotent), linger 0, one producer and one consumer, 6 partitions; 6 s after 1 s of warm-up", partitions: 6, clustered: true,
		order: load.Order{Mode: load.Paced, Rate: 5000, Seconds: 6, WarmUp: 5000, ValueBytes: 1000, Acks: "all", Codec: "none"},
	},
}

// bench is where clusters run that are no fleet.
type bench struct {
	options
	folder string
}

func newBench(o options) (*bench, error) {
	folder, err := os.MkdirTemp(o.dir, "moldau-perf-")
	return &bench{o, folder}, err
}

func (b *bench) close() { _ = os.RemoveAll(b.folder) }

func (b *bench) moldauCluster(nodes int, settings ...string) *run {
	return &run{system: newMoldauCluster(b.moldau, filepath.Join(b.folder, "moldau"), nodes, append(slices.Clone(clusterSettings), settings...)), scale: b.scale}
}

func (b *bench) kafkaCluster(settings ...string) *run {
	return &run{system: newKafkaCluster(b.kafka, filepath.Join(b.folder, "kafka"), append(slices.Clone(clusterSettings), settings...)), scale: b.scale}
}

// up makes the folders where there are none, starts the first nodes and waits until they serve.
func (r *run) up(ctx context.Context, nodes int) error {
	if err := r.format(ctx); err != nil {
		return err
	}
	r.process = &process{}
	for _, n := range r.nodes[:nodes] {
		m, err := startNode(n)
		if err != nil {
			return errors.Join(err, r.stop())
		}
		r.process.members = append(r.process.members, m)
	}
	return r.awaitBrokers(ctx, nodes)
}

// down ends all nodes at once, without ceremony, and deletes their data.
func (r *run) down() error {
	if r.process == nil {
		return nil
	}
	return errors.Join(r.kill(), os.RemoveAll(r.folder))
}

// restartNode starts a node whose process has ended.
func (r *run) restartNode(i int) (err error) {
	r.process.members[i], err = startNode(r.nodes[i])
	return err
}

const clusterPoll = 10 * time.Millisecond

// eager are the options of a client that is not to be what is waited for.
func eager(addr string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, seeds(addr), kgo.MetadataMinAge(10*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 2 * time.Millisecond }),
		kgo.RequestRetries(1_000_000), kgo.RetryTimeout(5*time.Minute), kgo.UnknownTopicRetries(-1))...)
}

// untilTimeout is far above what anything takes.
const untilTimeout = 10 * time.Minute

// until asks again and again until the answer is true.
func until(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, untilTimeout)
	defer cancel()
	for {
		ok, err := holds()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, errors.Join(err, ctx.Err()))
		case <-time.After(clusterPoll):
		}
	}
}

// metadata asks one node, and no cache of a client.
func (r *run) metadata(ctx context.Context, asked int, topics ...string) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.nodes[asked].addr()), kgo.DialTimeout(time.Second))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		request.Topics = append(request.Topics, t)
	}
	response, err := client.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		return nil, err
	}
	return response.(*kmsg.MetadataResponse), nil
}

// awaitBrokers returns once so many brokers serve, as all nodes see it.
func (r *run) awaitBrokers(ctx context.Context, brokers int) error {
	for node := range brokers {
		if err := until(ctx, "all brokers serve", func() (bool, error) {
			response, err := r.metadata(ctx, node)
			return err == nil && len(response.Brokers) >= brokers, err
		}); err != nil {
			return err
		}
	}
	return nil
}

// replicasOf asks one node about the partitions of topics.
func (r *run) replicasOf(ctx context.Context, asked int, topics ...string) (all []kmsg.MetadataResponseTopicPartition, err error) {
	response, err := r.metadata(ctx, asked, topics...)
	if err != nil {
		return nil, err
	}
	for _, t := range response.Topics {
		all = append(all, t.Partitions...)
	}
	return all, nil
}

// awaitAll returns once all partitions of the topics are as wanted.
func (r *run) awaitAll(ctx context.Context, asked int, what string, topics []string, wanted func(*kmsg.MetadataResponseTopicPartition) bool) error {
	return until(ctx, what, func() (bool, error) {
		all, err := r.replicasOf(ctx, asked, topics...)
		if err != nil {
			return false, err
		}
		lacking := 0
		for i := range all {
			if all[i].ErrorCode != 0 || !wanted(&all[i]) {
				lacking++
			}
		}
		return lacking == 0 && len(all) > 0, fmt.Errorf("%d of %d partitions are not so", lacking, len(all))
	})
}

func inSync(p *kmsg.MetadataResponseTopicPartition) bool {
	return p.Leader >= 0 && len(p.ISR) == len(p.Replicas)
}

func preferred(p *kmsg.MetadataResponseTopicPartition) bool {
	return inSync(p) && p.Leader == p.Replicas[0]
}

// activeController is the node that leads the metadata quorum.
func (r *run) activeController(ctx context.Context) (int32, error) {
	client, err := eager(r.addr())
	if err != nil {
		return 0, err
	}
	defer client.Close()
	var leader int32
	err = until(ctx, "there is an active controller", func() (bool, error) {
		request := kmsg.NewPtrDescribeQuorumRequest()
		request.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		response, err := request.RequestWith(ctx, client)
		if err != nil {
			return false, err
		}
		p := response.Topics[0].Partitions[0]
		leader = p.LeaderID
		return p.ErrorCode == 0 && leader > 0, nil
	})
	return leader, err
}

// finding is a row of a cluster's table.
type finding struct {
	title         string
	moldau, kafka []float64
	target        string // what the median and the maximum may be, in words; empty for none
	median, most  float64
}

func printFindings(out io.Writer, name, about string, rows []finding, took time.Duration) (verdicts []verdict) {
	fmt.Fprintf(out, "### %s\n\n%s\n\n| figure | Moldau: median (min–max) | Apache Kafka: median (min–max) | target |\n|---|---|---|---|\n", name, about)
	for _, row := range rows {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", row.title, counted(row.moldau), counted(row.kafka), row.target)
		if row.target == "" || len(row.moldau) == 0 {
			continue
		}
		reached := row.median == 0 || median(row.moldau) <= row.median
		reached = reached && (row.most == 0 || slices.Max(row.moldau) <= row.most)
		verdicts = append(verdicts, verdict{name + ", " + row.title + ": " + row.target, "Moldau", counted(row.moldau), reached})
	}
	fmt.Fprintf(out, "\n%s; load average %s.\n\n", took.Round(time.Second), loadAverage())
	return verdicts
}

// counted is the spread with the number of runs.
func counted(all []float64) string {
	switch len(all) {
	case 0:
		return "–"
	case 1:
		return spread(all)
	}
	return fmt.Sprintf("%s, %d runs", spread(all), len(all))
}

func progress(name string, v ...any) {
	fmt.Fprintf(os.Stderr, "%s %s: %s", time.Now().Format("15:04:05"), name, fmt.Sprintln(v...))
}
