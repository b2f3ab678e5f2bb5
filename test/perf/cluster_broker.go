package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/test/perf/load"
)

const (
	newBrokerQuiet  = "produce p99 before, windows of 5 s, ms"
	newBrokerDuring = "produce p99 while it takes its share, windows of 5 s, ms"
	newBrokerRatio  = "the worst window ÷ the median before"
	newBrokerTook   = "until it has its share, s"
	newBrokerMoved  = "data on the new node, GB"
	newBrokerRate   = 2000
	// newBrokerThrottle is what each broker may send, and the new one take, of what moves.
	newBrokerThrottle = 50_000_000
)

// clusterNewBroker has a fourth broker join three that hold data, and take its share while producers go on.
func clusterNewBroker(ctx context.Context, o options) ([]verdict, error) {
	b, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	began := time.Now()
	r := b.moldauCluster(clusterNodes + 1)
	v, quiet, during, err := r.growBy(ctx, o.newBrokerGB)
	if err != nil {
		err = fmt.Errorf("%w; the end of its output:\n%s", err, r.outputEnd())
	}
	if err = errors.Join(err, r.down()); err != nil {
		return nil, err
	}
	rows := []finding{
		{title: newBrokerQuiet, moldau: quiet}, {title: newBrokerDuring, moldau: during},
		{title: newBrokerRatio, moldau: []float64{slices.Max(during) / median(quiet)}, target: "2", median: 2},
		{title: newBrokerTook, moldau: []float64{v[newBrokerTook]}}, {title: newBrokerMoved, moldau: []float64{v[newBrokerMoved]}},
	}
	about := fmt.Sprintf("%g GB in 24 partitions with 3 replicas on three nodes (%g GB of disk), a fourth broker joins, and a reassignment of all partitions gives it a quarter of the replicas, no leaders, throttled to %d MB/s for each broker. Meanwhile %d records of 1,000 B a second are produced to "+
		"12 other partitions, acks=all, linger 0, which move, too. Moldau alone.", o.newBrokerGB, 3*o.newBrokerGB, newBrokerThrottle/1_000_000, newBrokerRate)
	return printFindings(o.out, "cluster-new-broker", about, rows, time.Since(began)), nil
}

func (r *run) growBy(ctx context.Context, gigabytes float64) (v values, quiet, during []float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	v = values{}
	if err := r.up(ctx, clusterNodes); err != nil {
		return v, nil, nil, err
	}
	for topic, partitions := range map[string]int32{"filled": 24, "live": 12} {
		if err := createTopic(ctx, r.addr(), topic, partitions); err != nil {
			return v, nil, nil, err
		}
	}
	progress("cluster-new-broker", "fills", gigabytes, "GB")
	fill := load.Order{Mode: load.Produce, Topic: "filled", Records: int(gigabytes * 1e6), ValueBytes: 1000, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none"}
	if _, err := r.do(ctx, fill); err != nil {
		return v, nil, nil, err
	}
	time.Sleep(5 * time.Second) // the disk has what the page cache must give it
	for range 4 {
		p99, err := r.window(ctx)
		if err != nil {
			return v, nil, nil, err
		}
		quiet = append(quiet, p99)
	}
	quiet = quiet[1:] // the first window has warmed up
	m, err := startNode(r.nodes[clusterNodes])
	if err != nil {
		return v, nil, nil, err
	}
	r.process.members = append(r.process.members, m)
	if err := r.awaitBrokers(ctx, clusterNodes+1); err != nil {
		return v, nil, nil, err
	}
	began := time.Now()
	if err := r.throttle(ctx, "filled", "live"); err != nil {
		return v, nil, nil, err
	}
	moving, err := r.share(ctx, "filled", "live")
	if err != nil {
		return v, nil, nil, err
	}
	finished := make(chan error, 1)
	go func() {
		err := r.awaitShare(ctx, moving, "filled", "live")
		v[newBrokerTook] = time.Since(began).Seconds()
		finished <- err
	}()
	for {
		p99, err := r.window(ctx)
		if err != nil {
			return v, quiet, during, err
		}
		during = append(during, p99)
		progress("cluster-new-broker", "p99 before", quiet, "during", during)
		select {
		case err := <-finished:
			size, sizeErr := folderBytes(r.nodes[clusterNodes].folder)
			v[newBrokerMoved] = float64(size) / 1e9
			return v, quiet, during, errors.Join(err, sizeErr)
		default:
		}
	}
}

// window produces at a fixed rate for 5 s and returns the p99 in milliseconds.
func (r *run) window(ctx context.Context) (float64, error) {
	result, err := r.do(ctx, load.Order{Mode: load.Paced, Topic: "live", Rate: newBrokerRate, Seconds: 5, WarmUp: newBrokerRate / 2, ValueBytes: 1000, Acks: "all", Codec: "none", MayMiss: true})
	if err != nil {
		return 0, err
	}
	return result.Acknowledged.P99Ms, nil
}

// throttle bounds the pace of a reassignment as Kafka's tool does.
func (r *run) throttle(ctx context.Context, topics ...string) error {
	client, err := eager(r.addr())
	if err != nil {
		return err
	}
	defer client.Close()
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value}
	}
	admin, rate := kadm.NewClient(client), strconv.Itoa(newBrokerThrottle)
	brokers, err := admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{set("leader.replication.throttled.rate", rate), set("follower.replication.throttled.rate", rate)}, 1, 2, 3, 4)
	if err != nil {
		return err
	}
	changed, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{set("leader.replication.throttled.replicas", "*"), set("follower.replication.throttled.replicas", "*")}, topics...)
	for _, response := range append(brokers, changed...) {
		err = errors.Join(err, response.Err)
	}
	return err
}

// share asks for a quarter of the replicas to be on the fourth broker: of every four partitions three get it instead of a
// follower. Leaders stay: what it costs to move them is another figure, which clients' pauses between retries would
// add to this one. It returns how many partitions change.
func (r *run) share(ctx context.Context, topics ...string) (moving int, err error) {
	client, err := eager(r.addr())
	if err != nil {
		return 0, err
	}
	defer client.Close()
	request := kadm.AlterPartitionAssignmentsReq{}
	for _, topic := range topics {
		all, err := r.replicasOf(ctx, 0, topic)
		if err != nil {
			return 0, err
		}
		for _, p := range all {
			if p.Partition%(clusterNodes+1) == clusterNodes {
				continue
			}
			replicas := slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return id == p.Leader })
			replicas[p.Partition%2] = clusterNodes + 1
			request.Assign(topic, p.Partition, append([]int32{p.Leader}, replicas...))
			moving++
		}
	}
	responses, err := kadm.NewClient(client).AlterPartitionAssignments(ctx, request)
	if err != nil {
		return 0, err
	}
	return moving, responses.Error()
}

// awaitShare waits until the fourth broker has so many partitions, all are in sync, and nothing is on its way.
func (r *run) awaitShare(ctx context.Context, moving int, topics ...string) error {
	return until(ctx, "the new broker has its share", func() (bool, error) {
		all, err := r.replicasOf(ctx, 0, topics...)
		there := 0
		for i := range all {
			if p := &all[i]; len(p.Replicas) == clusterNodes && inSync(p) && slices.Contains(p.Replicas, clusterNodes+1) {
				there++
			}
		}
		return there == moving, errors.Join(err, fmt.Errorf("%d of %d partitions are there", there, moving))
	})
}

func folderBytes(folder string) (all int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil && strings.HasSuffix(entry.Name(), ".log") {
			all += info.Size()
		}
		return err
	})
	return all, err
}
