package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/test/perf/load"
)

const (
	newBrokerRatio  = "produce p99 during ÷ before"
	newBrokerTarget = 2
	newBrokerRate   = 2000
	newBrokerWindow = 5 * time.Second
	// Two minutes: until then the rate at which the data was written counts for what followers have to copy beside the balancer's share.
	quietWindows = 24
	// Then nothing is copied any more: what four nodes cost on the same disk and cores, and what the copies cost beside it.
	fourWindows = 12
)

// newBrokerTopics are what is there before the new broker, and what is produced to.
var newBrokerTopics = []string{"filled", "live"}

// clientsSaw is what a producer and a consumer waited for, in windows.
type clientsSaw struct {
	acknowledged, endToEnd load.Samples
	windows                []float64 // 99th percentiles of the producer
}

// newBrokerShare is what a broker has got, and how.
type newBrokerShare struct {
	before, during, after clientsSaw
	took                  time.Duration
	bytes                 int64
	replicas, leaders     int
}

// clusterNewBroker has a fourth broker join three that hold data, and the built-in balancer give it its share while clients go on.
func clusterNewBroker(ctx context.Context, o options) ([]verdict, error) {
	b, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if err := checkRoom(b.folder, 4*o.newBrokerGB); err != nil {
		return nil, err
	}
	began := time.Now()
	r := b.moldauCluster(clusterNodes+1, "moldau.balancer.disk.limit.percent=99")
	share, err := r.growBy(ctx, o.newBrokerGB)
	if err != nil {
		err = fmt.Errorf("%w; the end of its output:\n%s", err, r.outputEnd())
	}
	if err = errors.Join(err, r.down()); err != nil {
		return nil, err
	}
	about := fmt.Sprintf("%g GB in 24 partitions with 3 replicas on three nodes (%g GB of disk). A fourth broker joins (`start --join`), and the built-in balancer gives it its share, replicas and leaderships, at the pace that it finds. "+
		"Meanwhile %d records of 1,000 B a second are produced to 12 other partitions, acks=all, linger 0, which move, too, and consumed. Before: %s; during: from the start of its process until nothing is left to move; after: %s from then on. "+
		"All nodes share one disk, whose limit is 99 %% here. Moldau alone.", o.newBrokerGB, 3*o.newBrokerGB, newBrokerRate, quietWindows*newBrokerWindow, fourWindows*newBrokerWindow)
	return printFindings(o.out, "cluster-new-broker", about, share.rows(), time.Since(began)), nil
}

func (s *newBrokerShare) rows() []finding {
	before, during, after := s.before.acknowledged.Percentiles(), s.during.acknowledged.Percentiles(), s.after.acknowledged.Percentiles()
	seconds, moved := s.took.Seconds(), float64(s.bytes)
	rows := []finding{{title: newBrokerRatio, moldau: []float64{during.P99Ms / before.P99Ms}, target: fmt.Sprint(newBrokerTarget), median: newBrokerTarget}}
	add := func(title string, value ...float64) { rows = append(rows, finding{title: title, moldau: value}) }
	add("produce p50 before, ms", before.P50Ms)
	add("produce p50 during, ms", during.P50Ms)
	add("produce p50 after, with four nodes, ms", after.P50Ms)
	add("produce p99 before, ms", before.P99Ms)
	add("produce p99 during, ms", during.P99Ms)
	add("produce p99 after, with four nodes, ms", after.P99Ms)
	add("produce max before, ms", before.MaxMs)
	add("produce max during, ms", during.MaxMs)
	add(fmt.Sprintf("produce p99 of windows of %s before, ms", newBrokerWindow), s.before.windows...)
	add(fmt.Sprintf("produce p99 of windows of %s during, ms", newBrokerWindow), s.during.windows...)
	add(fmt.Sprintf("produce p99 of windows of %s after, with four nodes, ms", newBrokerWindow), s.after.windows...)
	add("end to end p99 before, ms", s.before.endToEnd.Percentiles().P99Ms)
	add("end to end p99 during, ms", s.during.endToEnd.Percentiles().P99Ms)
	add("from its start until it has its share, s", seconds)
	add("data on it then, GB", moved/1e9)
	add("pace, MB/s", moved/1e6/seconds)
	add("replicas on it, of 108", float64(s.replicas))
	add("partitions that it leads, of 36", float64(s.leaders))
	return rows
}

// checkRoom refuses what would fill the disk.
func checkRoom(folder string, gigabytes float64) error {
	var volume unix.Statfs_t
	if err := unix.Statfs(folder, &volume); err != nil {
		return err
	}
	if free := float64(volume.Bavail) * float64(volume.Bsize) / 1e9; free < gigabytes+1 {
		return fmt.Errorf("%s has %.0f GB of room and this takes %.0f: choose another folder with -dir, or less data with -new-broker-gb", folder, free, gigabytes+1)
	}
	return nil
}

func (r *run) growBy(ctx context.Context, gigabytes float64) (*newBrokerShare, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	if err := r.up(ctx, clusterNodes); err != nil {
		return nil, err
	}
	for topic, partitions := range map[string]int32{"filled": 24, "live": 12} {
		if err := createTopic(ctx, r.addr(), topic, partitions); err != nil {
			return nil, err
		}
	}
	progress("cluster-new-broker", "fills", gigabytes, "GB")
	fill := load.Order{Mode: load.Produce, Topic: "filled", Records: int(gigabytes * 1e6), ValueBytes: 1000, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none"}
	if _, err := r.do(ctx, fill); err != nil {
		return nil, err
	}
	// The disk has what the page cache must give it, and what is measured is neither that nor what is new to the clients.
	unix.Sync()
	clients, err := load.StartSteady(ctx, load.Order{Addr: r.addr(), Topic: "live", Rate: newBrokerRate, ValueBytes: 1000, Acks: "all", Codec: "none"})
	if err != nil {
		return nil, err
	}
	var dropped clientsSaw
	if err := dropped.watch(ctx, clients, newBrokerWindow); err != nil {
		return nil, err
	}
	share := &newBrokerShare{}
	for range quietWindows {
		if err := share.before.watch(ctx, clients, newBrokerWindow); err != nil {
			return nil, err
		}
	}
	progress("cluster-new-broker", "p99 before, ms", share.before.windows)
	if err := r.takeShare(ctx, clients, share); err != nil {
		return nil, err
	}
	for range fourWindows {
		if err := share.after.watch(ctx, clients, newBrokerWindow); err != nil {
			return nil, err
		}
	}
	progress("cluster-new-broker", "p99 after, ms", share.after.windows)
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return share, clients.Stop(ctx)
}

// takeShare starts the new broker and returns when nothing is left to move.
func (r *run) takeShare(ctx context.Context, clients *load.Steady, share *newBrokerShare) error {
	began := time.Now()
	m, err := startNode(r.nodes[clusterNodes])
	if err != nil {
		return err
	}
	r.process.members = append(r.process.members, m)
	finished := make(chan error, 1)
	go func() {
		err := r.awaitBalance(ctx)
		share.took = time.Since(began)
		finished <- err
	}()
	for isFinished := false; !isFinished; {
		if err := share.during.watch(ctx, clients, newBrokerWindow); err != nil {
			return err
		}
		replicas, leaders, err := r.carriedBy(ctx, clusterNodes+1)
		if err != nil {
			return err
		}
		share.replicas, share.leaders = replicas, leaders
		progress("cluster-new-broker", "p99 during, ms", share.during.windows, "replicas", replicas, "leaders", leaders)
		select {
		case err := <-finished:
			if err != nil {
				return err
			}
			isFinished = true
		default:
		}
	}
	share.bytes, err = folderBytes(r.nodes[clusterNodes].folder)
	return err
}

// watch takes what clients waited for in some time.
func (c *clientsSaw) watch(ctx context.Context, clients *load.Steady, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
	}
	acknowledged, endToEnd, err := clients.Take()
	if err != nil {
		return err
	}
	if len(acknowledged) == 0 {
		return fmt.Errorf("no record was acknowledged for %s", d)
	}
	c.acknowledged, c.endToEnd = append(c.acknowledged, acknowledged...), append(c.endToEnd, endToEnd...)
	c.windows = append(c.windows, acknowledged.Percentiles().P99Ms)
	return nil
}

// awaitBalance waits until the new broker is known and the balancer says that everybody has a share. It asks seldom: what is measured
// meanwhile runs on the same cores.
func (r *run) awaitBalance(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.nodes[0].addr()))
	if err != nil {
		return err
	}
	defer client.Close()
	said := ""
	for {
		status, err := balancerStatus(ctx, client)
		isKnown := slices.ContainsFunc(status.Brokers, func(b balance.BrokerStatus) bool { return b.Load.Broker == clusterNodes+1 && b.State == "active" })
		switch {
		case err == nil && isKnown && status.State == "idle" && len(status.Joining) == 0:
			return nil
		case err == nil && status.State == "stalled" && status.Why != said:
			said = status.Why
			progress("cluster-new-broker", "stalled:", said)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the new broker has not had its share: %w", errors.Join(err, ctx.Err()))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// balancerTag is the tagged field of DescribeCluster in which the balancer is asked for, and answers.
const balancerTag = 20000

func balancerStatus(ctx context.Context, client *kgo.Client) (s balance.Status, err error) {
	request := kmsg.NewPtrDescribeClusterRequest()
	request.UnknownTags.Set(balancerTag, []byte{0})
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return s, err
	}
	err = errors.New("there is no balancer")
	response.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == balancerTag {
			err = json.Unmarshal(value, &s)
		}
	})
	return s, err
}

// carriedBy counts the replicas and leaderships of a broker.
func (r *run) carriedBy(ctx context.Context, broker int32) (replicas, leaders int, err error) {
	all, err := r.replicasOf(ctx, 0, newBrokerTopics...)
	for i := range all {
		if slices.Contains(all[i].Replicas, broker) {
			replicas++
		}
		if all[i].Leader == broker {
			leaders++
		}
	}
	return replicas, leaders, err
}

func folderBytes(folder string) (all int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // its broker has just removed it
		}
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && strings.HasSuffix(entry.Name(), ".log") {
			all += info.Size()
		}
		return err
	})
	return all, err
}
