package main

import "context"

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
}

// scenarios are all there are, in the order in which they run.
var scenarios = []scenario{basic, flush, restart, partitions, transactions, compaction, many}

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
