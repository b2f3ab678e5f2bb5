package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moldau/moldau/test/perf/load"
)

// profileAll profiles Moldau in each of the chosen workloads and prints the top of each profile.
func profileAll(ctx context.Context, o options, chosen []item) error {
	if err := os.MkdirAll(o.profilesDir, 0o755); err != nil {
		return err
	}
	var failures error
	for _, i := range chosen {
		if i.workload == nil || i.workload.java || ctx.Err() != nil {
			continue
		}
		if err := profileOne(ctx, o, *i.workload); err != nil {
			failures = errors.Join(failures, fmt.Errorf("%s: %w", i.name, err))
		}
	}
	return failures
}

// profiler runs a workload again and again on a broker that profiles itself.
type profiler struct {
	*fleet
	options
	w    workload
	http string
}

func profileOne(ctx context.Context, o options, w workload) (err error) {
	folder, err := os.MkdirTemp(o.dir, "moldau-perf-")
	if err != nil {
		return err
	}
	p := profiler{fleet: &fleet{folder: folder, script: o.kafka}, options: o, w: w, http: fmt.Sprintf("127.0.0.1:%d", freePort())}
	s := newMoldau(o.profiled, filepath.Join(folder, "moldau"), fleetSettings)
	plain := s.nodes[0].command
	s.nodes[0].command = func() *exec.Cmd {
		cmd := plain()
		cmd.Env = append(os.Environ(), "MOLDAU_PROFILING="+p.http)
		return cmd
	}
	r := &run{system: s, scale: o.scale}
	p.fleet.moldau = r
	defer func() { err = errors.Join(err, r.stop(), os.RemoveAll(folder)) }()
	if err := os.MkdirAll(r.folder, 0o755); err != nil {
		return err
	}
	if err := r.start(); err != nil {
		return err
	}
	if err := p.answers(ctx, r); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "### %s\n\n%s.\n\n", w.name, w.about)
	if w.backlog {
		if err := p.fill(ctx, w, r); err != nil {
			return err
		}
		return p.take(ctx, load.CatchUp)
	}
	if w.order.Mode == load.Paced {
		return p.take(ctx, load.Paced)
	}
	return errors.Join(p.take(ctx, load.Produce), p.take(ctx, load.Consume))
}

// take profiles one mode: first the CPU, then with contention recorded.
func (p *profiler) take(ctx context.Context, mode load.Mode) error {
	for _, kind := range []string{"cpu", "contention"} {
		if kind == "contention" {
			if _, err := p.get(ctx, "contention"); err != nil {
				return err
			}
		}
		before := p.file(mode, "allocs-before")
		if err := p.save(ctx, "allocs", before); err != nil {
			return err
		}
		result, err := p.work(ctx, mode, kind)
		if err != nil {
			return err
		}
		if kind == "cpu" {
			fmt.Fprintf(p.out, "%s: %.2f CPU seconds per GB, %.0f MB/s, while profiled.\n\n", mode, result.BrokerCPUSeconds/result.Gigabytes(), result.Gigabytes()*1000/result.Seconds)
			allocs := p.file(mode, "allocs")
			if err := p.save(ctx, "allocs", allocs); err != nil {
				return err
			}
			err = errors.Join(p.top(ctx, mode, "CPU", p.file(mode, "cpu")), p.top(ctx, mode, "CPU, with what is called", p.file(mode, "cpu"), "-cum"),
				p.top(ctx, mode, "bytes allocated", allocs, "-sample_index=alloc_space", "-base="+before),
				p.top(ctx, mode, "objects allocated", allocs, "-sample_index=alloc_objects", "-base="+before))
			if err != nil {
				return err
			}
			continue
		}
		for _, kind := range []string{"mutex", "block"} {
			if err := p.save(ctx, kind, p.file(mode, kind)); err != nil {
				return err
			}
			if err := p.top(ctx, mode, kind, p.file(mode, kind), "-cum"); err != nil {
				return err
			}
		}
	}
	return nil
}

// work runs the mode once for the CPU profile, which it saves, or without one.
func (p *profiler) work(ctx context.Context, mode load.Mode, kind string) (*load.Result, error) {
	r, o := p.fleet.moldau, p.w.order
	o.Mode = mode
	o.Records = r.amount(o.Records) * 3 // a profile wants more samples than a figure
	var err error
	if o.Topic, err = p.newTopic(ctx, r, p.w.name, p.w.partitions); err != nil {
		return nil, err
	}
	defer func() { _ = deleteTopic(ctx, r.addr(), o.Topic) }() // the folder goes in the end in any case
	switch mode {
	case load.Consume:
		produce := o
		produce.Mode = load.Produce
		if _, err := r.do(ctx, produce); err != nil {
			return nil, err
		}
	case load.CatchUp:
		o.LiveTopic, o.Topic, o.Records = o.Topic, keptTopic, r.amount(p.w.order.Records)
		if err := dropFromPageCache(r.folder, keptTopic); err != nil {
			return nil, err
		}
	}
	if kind != "cpu" {
		return r.do(ctx, o)
	}
	if _, err := p.get(ctx, "start"); err != nil {
		return nil, err
	}
	result, err := r.do(ctx, o)
	return result, errors.Join(err, p.save(ctx, "stop", p.file(mode, "cpu")))
}

func (p *profiler) file(mode load.Mode, kind string) string {
	return filepath.Join(p.profilesDir, fmt.Sprintf("%s-%s-%s.pprof", p.w.name, mode, kind))
}

// save takes a profile from the broker.
func (p *profiler) save(ctx context.Context, profile, path string) error {
	content, err := p.get(ctx, profile)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// get asks the broker for something of its profiles.
func (p *profiler) get(ctx context.Context, what string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.http+"/debug/pprof/"+what, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("profile %s: %s: %s", what, response.Status, content)
	}
	return content, err
}

// top prints the first functions of a profile.
func (p *profiler) top(ctx context.Context, mode load.Mode, title, path string, args ...string) error {
	args = append([]string{"tool", "pprof", "-top", "-nodecount=35"}, append(args, path)...)
	cmd := exec.CommandContext(ctx, "go", args...)
	var failure strings.Builder
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w: %s", err, failure.String())
	}
	fmt.Fprintf(p.out, "#### %s %s: %s\n\n```\n%s```\n\n", p.w.name, mode, title, out)
	return nil
}
