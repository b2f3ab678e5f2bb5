package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	compactedKeys      = 50_000
	compactedMegabytes = 1000
	// foregroundPerSecond is what clients produce beside the compaction, at a steady pace.
	foregroundPerSecond = 1000
	quietFor            = 10 * time.Second
)

// compaction is how fast a log is compacted, and what that does to producers.
var compaction = scenario{
	name: "compaction",
	about: "One partition of 1 GB in segments of 64 MiB, records of 1,000 bytes, every key 20 times, is compacted at once: alone, and beside producers that send 1,000 records a second, " +
		"one at a time from each of 20, acks=all, to another topic. Its end is told by the cleaner's offset in the checkpoint file.",
	settings: []string{"log.cleaner.backoff.ms=100"},
	figures: []figure{
		{name: "alone: compacted a minute", unit: "GB", larger: true},
		{name: "alone: broker CPU per GB", unit: "s"},
		{name: "beside producers: compacted a minute", unit: "GB", larger: true},
		{name: "produce p50 without compaction", unit: "ms"},
		{name: "produce p99 without compaction", unit: "ms"},
		{name: "produce p50 beside compaction", unit: "ms"},
		{name: "produce p99 beside compaction", unit: "ms"},
	},
	measure: func(ctx context.Context, r *run) (values, error) {
		if err := r.start(); err != nil {
			return nil, err
		}
		if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
			return nil, err
		}
		v := values{}
		return v, errors.Join(compactAlone(ctx, r, v), compactBeside(ctx, r, v))
	},
}

func compactAlone(ctx context.Context, r *run, v values) error {
	topic := fmt.Sprintf("compacted-%d", r.pair)
	if err := fillCompacted(ctx, r, topic); err != nil {
		return err
	}
	var gigabytes float64
	cpu, wall, err := r.process.cost(func() (err error) {
		gigabytes, err = compactNow(ctx, r, topic)
		return err
	})
	if err != nil {
		return err
	}
	v["alone: compacted a minute"] = gigabytes / wall.Minutes()
	v["alone: broker CPU per GB"] = cpu.Seconds() / gigabytes
	return deleteTopic(ctx, r.addr(), topic)
}

func compactBeside(ctx context.Context, r *run, v values) error {
	topic, front := fmt.Sprintf("compacted-beside-%d", r.pair), fmt.Sprintf("front-%d", r.pair)
	if err := createTopic(ctx, r.addr(), front, 6); err != nil {
		return err
	}
	if err := fillCompacted(ctx, r, topic); err != nil {
		return err
	}
	load, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := startForeground(load, r.addr(), front)
	if err != nil {
		return err
	}
	time.Sleep(quietFor / 5) // until the clients are warm
	f.taken()
	time.Sleep(quietFor)
	quiet := f.taken()
	began := time.Now()
	gigabytes, err := compactNow(ctx, r, topic)
	if err != nil {
		return err
	}
	wall := time.Since(began)
	beside := f.taken()
	cancel()
	f.done.Wait()
	v["beside producers: compacted a minute"] = gigabytes / wall.Minutes()
	for name, took := range map[string][]time.Duration{"without": quiet, "beside": beside} {
		slices.Sort(took)
		if len(took) == 0 {
			return errors.New("no record was produced " + name + " compaction")
		}
		v["produce p50 "+name+" compaction"] = took[len(took)/2].Seconds() * 1000
		v["produce p99 "+name+" compaction"] = took[len(took)*99/100].Seconds() * 1000
	}
	return errors.Join(f.failure(), deleteTopic(ctx, r.addr(), topic), deleteTopic(ctx, r.addr(), front))
}

// fillCompacted makes a topic that is not compacted yet, and waits until it is flushed.
func fillCompacted(ctx context.Context, r *run, topic string) error {
	client, err := kgo.NewClient(seeds(r.addr()), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(5*time.Millisecond), kgo.ProducerBatchMaxBytes(128<<10),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return err
	}
	defer client.Close()
	compact, segment, never := "compact", strconv.Itoa(64<<20), "1"
	configs := map[string]*string{"cleanup.policy": &compact, "segment.bytes": &segment, "min.cleanable.dirty.ratio": &never}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, configs, topic); err != nil {
		return err
	}
	value := randomValue()
	var failed error
	var mu sync.Mutex
	for i := range r.amount(compactedMegabytes) * 1_000_000 / recordBytes {
		client.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i*7919%compactedKeys), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	time.Sleep(8 * time.Second) // Moldau compacts what is flushed, which happens within five seconds
	mu.Lock()
	defer mu.Unlock()
	return failed
}

// compactNow lets the topic be compacted and waits until all of its closed segments are. It returns
// how much they had.
func compactNow(ctx context.Context, r *run, topic string) (gigabytes float64, err error) {
	client, err := kgo.NewClient(seeds(r.addr()))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	logs, dir, err := logsOf(r.folder, topic)
	if err != nil {
		return 0, err
	}
	for _, name := range logs[:len(logs)-1] {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		gigabytes += float64(info.Size()) / 1e9
	}
	active, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(logs[len(logs)-1]), ".log"), 10, 64)
	if err != nil {
		return 0, err
	}
	always := "0"
	altered, err := kadm.NewClient(client).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "min.cleanable.dirty.ratio", Value: &always}}, topic)
	if err == nil {
		_, err = altered.On(topic, nil)
	}
	if err != nil {
		return 0, err
	}
	for {
		cleaned, err := cleanedTo(filepath.Join(dir, "cleaner-offset-checkpoint"), topic)
		if err != nil || cleaned >= active {
			return gigabytes, err
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s is compacted to %d of %d: %w", topic, cleaned, active, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// logsOf finds the segments of the topic's partition 0 and its log dir.
func logsOf(folder, topic string) (logs []string, dir string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == topic+"-0" {
			dir = filepath.Dir(path)
			logs, err = filepath.Glob(filepath.Join(path, "*.log"))
		}
		if errors.Is(err, fs.ErrNotExist) { // files come and go
			return nil
		}
		return err
	})
	if err == nil && len(logs) < 2 {
		err = fmt.Errorf("%s has %d segments", topic, len(logs))
	}
	return logs, dir, err
}

// cleanedTo reads the cleaner's offset of a topic from the checkpoint file, 0 if there is none.
func cleanedTo(path, topic string) (int64, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == topic {
			return strconv.ParseInt(fields[2], 10, 64)
		}
	}
	return 0, err
}

// foreground are producers that send at a steady pace.
type foreground struct {
	done sync.WaitGroup
	mu   sync.Mutex
	took []time.Duration
	err  error
}

// taken returns the times of the records since the last call.
func (f *foreground) taken() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	took := f.took
	f.took = nil
	return took
}

func (f *foreground) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func startForeground(ctx context.Context, addr, topic string) (*foreground, error) {
	const producers = 20
	f := &foreground{}
	for range producers {
		client, err := kgo.NewClient(seeds(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err != nil {
			return nil, err
		}
		f.done.Go(func() {
			defer client.Close()
			f.produce(ctx, client, producers*time.Second/foregroundPerSecond)
		})
	}
	return f, nil
}

// produce measures from when a record was due, so that a stall counts for all whom it held up.
func (f *foreground) produce(ctx context.Context, client *kgo.Client, every time.Duration) {
	value := randomValue()
	for due := time.Now(); ctx.Err() == nil; due = due.Add(every) {
		time.Sleep(time.Until(due))
		err := client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
		f.mu.Lock()
		f.took = append(f.took, time.Since(due))
		if err != nil && ctx.Err() == nil {
			f.err = err
		}
		f.mu.Unlock()
	}
}
