// Package demo is moldau demo.
package demo

import (
	"context"
	"errors"
	"time"

	"github.com/moldau/moldau/internal/tools/cli"
)

// DefaultDuration is how long the demo runs.
const DefaultDuration = 10 * time.Second

// Options say what to run.
type Options struct {
	Program   string
	Bootstrap string
	Duration  time.Duration
}

// Run runs the demo.
func Run(ctx context.Context, s cli.Streams, o Options) error { return errors.New("not yet") }
