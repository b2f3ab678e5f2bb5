package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// scenario is one thing that is measured in pairs.
type scenario struct {
	name, about string
	settings    []string // server properties, k=v, the same for both systems
	moldauOnly  bool
	figures     []figure
	// prepare fills the data folder, once per system, before the first pair; may be nil.
	prepare func(context.Context, *run) error
	// measure is one run of one system. The folder is as the run before left it.
	measure func(context.Context, *run) (values, error)
	// judge compares with the targets; may be nil.
	judge func(moldau, kafka []values) []verdict
}

// scenarios start brokers anew for each run, with a data folder that is there already.
var scenarios = []scenario{flush, restart, partitions, transactions, compaction, many}

// figure is one measured quantity.
type figure struct {
	name, unit string
	larger     bool // larger is better
}

func (f figure) title() string { return f.name + ", " + f.unit }

// values are what one run measured, by the figures' names.
type values map[string]float64

// run is a system in a scenario, with its data folder.
type run struct {
	system
	scale    float64
	pair     int
	process  *process // the broker that runs, nil if none does
	measured []values
}

// amount is n scaled, and at least 1.
func (r *run) amount(n int) int { return max(1, int(float64(n)*r.scale)) }

// start starts the broker; the caller waits until it serves.
func (r *run) start() (err error) {
	r.process, err = start(r.system)
	return err
}

// stop ends the broker as an operator would, if one runs.
func (r *run) stop() error {
	if r.process == nil {
		return nil
	}
	p := r.process
	r.process = nil
	return p.stop()
}

// kill ends the broker with SIGKILL.
func (r *run) kill() error {
	p := r.process
	r.process = nil
	return p.kill()
}

// compare measures a scenario in pairs and prints its table. Its data is deleted.
func (sc scenario) compare(ctx context.Context, o options) ([]verdict, error) {
	folder, err := os.MkdirTemp(o.dir, "moldau-perf-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	runs := []*run{{system: newMoldau(o.moldau, filepath.Join(folder, "moldau"), sc.settings), scale: o.scale}}
	if !sc.moldauOnly {
		runs = append(runs, &run{system: newKafka(o.kafka, filepath.Join(folder, "kafka"), sc.settings), scale: o.scale})
	}
	began := time.Now()
	for _, r := range runs {
		if err := sc.fill(ctx, r); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
	}
	for pair := range o.pairs {
		order := slices.Clone(runs)
		if pair%2 == 1 {
			slices.Reverse(order)
		}
		for _, r := range order {
			r.pair = pair
			v, err := sc.measureOnce(ctx, r)
			if err != nil {
				return nil, fmt.Errorf("pair %d, %s: %w; the end of its output:\n%s", pair+1, r.name, err, r.outputEnd())
			}
			fmt.Fprintf(os.Stderr, "%s, pair %d, %s: %v\n", sc.name, pair+1, r.name, v)
			r.measured = append(r.measured, v)
		}
	}
	sc.print(o.out, runs, time.Since(began))
	if sc.judge == nil || sc.moldauOnly {
		return nil, nil
	}
	return sc.judge(runs[0].measured, runs[1].measured), nil
}

const runTimeout = 20 * time.Minute

// fill makes the system's data folder and what the scenario wants in it, so that no
// measured run pays for it.
func (sc scenario) fill(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	if err := os.MkdirAll(r.folder, 0o755); err != nil {
		return err
	}
	if err := r.format(ctx); err != nil {
		return err
	}
	if sc.prepare == nil {
		return nil
	}
	return errors.Join(sc.prepare(ctx, r), r.stop())
}

func (sc scenario) measureOnce(ctx context.Context, r *run) (values, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	v, err := sc.measure(ctx, r)
	return v, errors.Join(err, r.stop())
}
