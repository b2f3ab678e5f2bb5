//go:build linux && !amd64

package fault

import (
	"errors"
	"os/exec"
	"time"
)

// Clock cannot be skewed on this architecture.
type Clock struct{}

// Step fails.
func (c *Clock) Step(time.Duration) error {
	return errors.New("the wall clock of a process can be stepped on amd64 only")
}

func (c *Clock) start(cmd *exec.Cmd) error { return cmd.Start() }
