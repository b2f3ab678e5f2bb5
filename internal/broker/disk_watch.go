package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/env/vfs"
)

// diskLimits say when a disk hangs. Time is counted in ticks of the watch, so that a machine which
// was asleep, or a process that was stopped, does not take its disks for hung.
type diskLimits struct {
	tick time.Duration
	// stalledTicks is how long a call may take that is mostly served from memory: then the log dir is
	// held back, until it answers.
	stalledTicks int64
	// hungTicks is how long any call may take, an fsync too: then the log dir is offline for good.
	// Cloud disks that are short of credit take many seconds for an fsync, which is no fault.
	hungTicks int64
	// stopStep is how long a step of the stop waits for a disk that hangs.
	stopStep time.Duration
}

var usualDiskLimits = diskLimits{tick: 250 * time.Millisecond, stalledTicks: 8, hungTicks: 120, stopStep: 3 * time.Second}

// errDiskHangs is why a log dir is taken offline, or a stop does not wait any longer.
var errDiskHangs = errors.New("the disk hangs")

// watchDisks follows the calls in flight on each log dir, from when the logs are loaded.
func (b *broker) watchDisks() {
	b.spawner.Go("disk-watch", func(ctx context.Context) {
		ticker := time.NewTicker(b.diskLimits.tick)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				b.watch.Tick()
				b.lookAtDisks()
			}
		}
	})
}

func (b *broker) lookAtDisks() {
	for _, dir := range b.config.LogDirs {
		if err := b.hung(dir); err != nil {
			b.storage.FailDir(dir, err)
			b.storage.SetStalled(dir, false) // only now: in between its partitions would seem to be usable
		} else if stalls := b.stalls(dir); b.storage.SetStalled(dir, stalls) {
			if !stalls {
				b.answers.Store(true)
			}
			b.signalDirs()
		}
	}
	if dir := b.config.MetadataLogDir; !slices.Contains(b.config.LogDirs, dir) && !b.faulted.Load() {
		if err := b.hung(dir); err != nil {
			b.logDirFailed(dir, err)
		}
	}
}

// hung returns an error if a call on dir has taken so long that none is waited for any more.
func (b *broker) hung(dir string) error {
	op, age := b.watch.Oldest(dir, func(vfs.Op) bool { return true })
	if age < b.diskLimits.hungTicks {
		return nil
	}
	return fmt.Errorf("%w: a call (%s) has not returned for %s", errDiskHangs, op, time.Duration(age)*b.diskLimits.tick)
}

func (b *broker) stalls(dir string) bool {
	_, age := b.watch.Oldest(dir, func(op vfs.Op) bool { return !op.MayTakeLong() })
	return age >= b.diskLimits.stalledTicks
}

// runStop runs a step of the stop. Where a disk hangs nothing ends the calls on it: then the step is
// left to itself after a while, and the process ends without it.
func (b *broker) runStop(step stopStep) error {
	done := make(chan error, 1)
	b.stopper.Go("stop-step", func(context.Context) { done <- step.run() })
	timer := time.NewTimer(b.diskLimits.stopStep)
	defer timer.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-timer.C:
			for _, dir := range b.config.LogDirs {
				if b.hangs(dir) {
					return fmt.Errorf("not waited for any longer: %s: %w", dir, errDiskHangs)
				}
			}
			if b.hangs(b.config.MetadataLogDir) {
				return fmt.Errorf("not waited for any longer: %s: %w", b.config.MetadataLogDir, errDiskHangs)
			}
			timer.Reset(b.diskLimits.stopStep)
		}
	}
}

// hangs is for a stop, which does not wait as long as clients do.
func (b *broker) hangs(dir string) bool {
	return b.watch != nil && (b.stalls(dir) || b.hung(dir) != nil)
}
