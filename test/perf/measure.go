package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moldau/moldau/test/perf/load"
)

// The figures of workloads. Their names are the keys of values.
const (
	produceCPU        = "produce, broker CPU per GB"
	produceThroughput = "produce, throughput"
	produceP50        = "produce, p50"
	produceP99        = "produce, p99"
	produceP999       = "produce, p99.9"
	produceClientCPU  = "produce, client CPU per GB"
	consumeCPU        = "consume, broker CPU per GB"
	consumeThroughput = "consume, throughput"
	consumeClientCPU  = "consume, client CPU per GB"
	consumeBothCPU    = "consume, CPU per GB of broker and client"
	endToEndP50       = "end to end, p50"
	endToEndP99       = "end to end, p99"
	endToEndP999      = "end to end, p99.9"
	brokerCPURecords  = "broker CPU per 100,000 records"
	peakMemory        = "peak memory (RSS)"
)

var latencyFigures = []figure{{name: produceP50, unit: "ms"}, {name: produceP99, unit: "ms"}, {name: produceP999, unit: "ms"}}

// figures are what a workload measures, in the order of its table.
func (w workload) figures() []figure {
	var all []figure
	switch {
	case w.backlog:
		all = append(all, figure{name: consumeCPU, unit: "s"}, figure{name: consumeThroughput, unit: "MB/s", larger: true}, figure{name: consumeClientCPU, unit: "s"}, figure{name: consumeBothCPU, unit: "s"})
		all = append(all, latencyFigures...)
	case w.java:
		all = append(all, figure{name: produceCPU, unit: "s"}, figure{name: produceThroughput, unit: "MB/s", larger: true})
		all = append(all, latencyFigures...)
	case w.order.Mode == load.Paced:
		all = append(all, latencyFigures...)
		all = append(all, figure{name: endToEndP50, unit: "ms"}, figure{name: endToEndP99, unit: "ms"}, figure{name: endToEndP999, unit: "ms"}, figure{name: brokerCPURecords, unit: "s"})
	default:
		all = append(all, figure{name: produceCPU, unit: "s"}, figure{name: produceThroughput, unit: "MB/s", larger: true})
		all = append(all, latencyFigures...)
		all = append(all, figure{name: produceClientCPU, unit: "s"})
		if !w.consumes {
			break
		}
		all = append(all, figure{name: consumeCPU, unit: "s"},
			figure{name: consumeThroughput, unit: "MB/s", larger: true}, figure{name: consumeClientCPU, unit: "s"}, figure{name: consumeBothCPU, unit: "s"})
	}
	return append(all, figure{name: peakMemory, unit: "MiB"})
}

func (v values) notePercentiles(p load.Percentiles, p50, p99, p999 string) {
	v[p50], v[p99], v[p999] = p.P50Ms, p.P99Ms, p.P999Ms
}

func (v values) noteProduced(r *load.Result) {
	v[produceCPU] = r.BrokerCPUSeconds / r.Gigabytes()
	v[produceClientCPU] = r.ClientCPUSeconds / r.Gigabytes()
	v[produceThroughput] = r.Gigabytes() * 1000 / r.Seconds
	v.notePercentiles(r.Acknowledged, produceP50, produceP99, produceP999)
}

func (v values) noteConsumed(r *load.Result) {
	v[consumeCPU] = r.BrokerCPUSeconds / r.Gigabytes()
	v[consumeClientCPU] = r.ClientCPUSeconds / r.Gigabytes()
	v[consumeBothCPU] = v[consumeCPU] + v[consumeClientCPU]
	v[consumeThroughput] = r.Gigabytes() * 1000 / r.Seconds
}

// measureTimeout is far above what any run takes: a broker that hangs costs its workload only.
const measureTimeout = 5 * time.Minute

// measure is one run of one broker.
func (f *fleet) measure(ctx context.Context, w workload, r *run) (values, error) {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	if err := r.process.forgetPeak(); err != nil {
		return nil, err
	}
	v := values{}
	var err error
	switch {
	case w.backlog:
		err = f.measureCatchUp(ctx, w, r, v)
	case w.java:
		err = f.measureJava(ctx, w, r, v)
	case w.order.Mode == load.Paced:
		err = f.measurePaced(ctx, w, r, v)
	default:
		w.order.Records = r.amount(w.order.Records)
		// The first records of a partition create its files: some go to each before the clocks start.
		w.order.WarmUp = max(w.order.Records/10, 10*int(w.partitions))
		var produced, consumed *load.Result
		if produced, consumed, err = f.throughput(ctx, r, w); err == nil {
			v.noteProduced(produced)
			if consumed != nil {
				v.noteConsumed(consumed)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	peak, err := r.process.peakBytes()
	v[peakMemory] = peak / (1 << 20)
	return v, err
}

func (f *fleet) measurePaced(ctx context.Context, w workload, r *run, v values) (err error) {
	o := w.order
	o.Seconds = max(2, r.amount(o.Seconds))
	if o.Topic, err = f.newTopic(ctx, r, w.name, w.partitions); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.deleteAll(ctx, r, o.Topic)) }()
	result, err := r.do(ctx, o)
	if err != nil {
		return err
	}
	v.notePercentiles(result.Acknowledged, produceP50, produceP99, produceP999)
	v.notePercentiles(result.EndToEnd, endToEndP50, endToEndP99, endToEndP999)
	v[brokerCPURecords] = result.BrokerCPUSeconds / float64(result.Records) * 100_000
	return nil
}

// keptTopic is there for all runs of a workload.
const keptTopic = "kept"

// fill makes the kept topic, and writes what a catch-up reads.
func (f *fleet) fill(ctx context.Context, w workload, r *run) error {
	if err := createTopic(ctx, r.addr(), keptTopic, w.partitions); err != nil || !w.backlog {
		return err
	}
	o := w.order
	o.Mode, o.Topic, o.Records = load.Produce, keptTopic, r.amount(o.Records)
	_, err := r.do(ctx, o)
	return err
}

func (f *fleet) measureCatchUp(ctx context.Context, w workload, r *run, v values) (err error) {
	if err := dropFromPageCache(r.folder, keptTopic); err != nil {
		return err
	}
	o := w.order
	o.Topic, o.Records = keptTopic, r.amount(o.Records)
	if o.LiveTopic, err = f.newTopic(ctx, r, "live", w.partitions); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.deleteAll(ctx, r, o.LiveTopic)) }()
	result, err := r.do(ctx, o)
	if err != nil {
		return err
	}
	v.noteConsumed(result)
	v.notePercentiles(result.Acknowledged, produceP50, produceP99, produceP999)
	return nil
}

// dropFromPageCache syncs the files of a topic's partitions and has the kernel forget them.
func dropFromPageCache(folder, topic string) error {
	dropped := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // of a topic that is being deleted
			return nil
		}
		if err != nil || entry.IsDir() || !strings.Contains(path, "/"+topic+"-") {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := file.Sync(); err != nil {
			return err
		}
		dropped++
		return unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
	if err == nil && dropped == 0 {
		return fmt.Errorf("no file of topic %s lies in %s", topic, folder)
	}
	return err
}

// runWorkload measures a workload in pairs. An error comes with what was measured before it.
func (f *fleet) runWorkload(ctx context.Context, w workload, pairs int) (sheet, error) {
	began := time.Now()
	s := sheet{workload: w, scale: f.moldau.scale, loadBefore: loadAverage()}
	if err := f.startMissing(ctx); err != nil {
		return s, err
	}
	if w.backlog || w.oneTopic {
		defer func() {
			for _, r := range f.all() {
				_ = f.deleteAll(ctx, r, keptTopic) // the folders go in the end in any case
			}
		}()
		for _, r := range f.all() {
			if err := f.fill(ctx, w, r); err != nil {
				return s, fmt.Errorf("filling %s: %w", r.name, err)
			}
		}
	}
	// The pair before the first warms up what only this workload does.
	for pair := -1; pair < pairs; pair++ {
		all := map[*run]values{}
		for _, r := range f.order(pair & 1) {
			v, err := f.measure(ctx, w, r)
			if err != nil {
				return s, fmt.Errorf("pair %d, %s: %w; the end of its output:\n%s", pair+1, r.name, err, r.outputEnd())
			}
			fmt.Fprintf(os.Stderr, "%s, pair %d, %s: %v\n", w.name, pair+1, r.name, v)
			all[r] = v
		}
		if pair >= 0 {
			s.moldau, s.kafka, s.probe = append(s.moldau, all[f.moldau]), append(s.kafka, all[f.kafka]), append(s.probe, all[f.probe])
		}
		s.took, s.loadAfter = time.Since(began), loadAverage()
	}
	return s, nil
}

// loadAverage is how many threads wanted a core in the last minute, others' included.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
