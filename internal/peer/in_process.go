package peer

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	controllerhost "github.com/moldau/moldau/internal/controller/host"

	"github.com/moldau/moldau/internal/env"
)

// InProcess is the ControllerChannel of a node that is its cluster's only controller.
type InProcess struct {
	controller *controllerhost.Host
	// waitFor returns once this node's metadata includes an offset.
	waitFor func(ctx context.Context, offset int64) error
}

// NewInProcess returns a channel to controller; waitFor is the metadata Loader's WaitFor.
func NewInProcess(controller *controllerhost.Host, waitFor func(ctx context.Context, offset int64) error) *InProcess {
	return &InProcess{controller, waitFor}
}

// Send implements ControllerChannel. While the controller is not active yet, as during the first
// moments of a node, it waits.
func (c *InProcess) Send(ctx context.Context, origin Origin, req kmsg.Request) (kmsg.Response, error) {
	defer env.StartWait(ctx).End()
	if err := c.controller.WaitActive(ctx); err != nil {
		return nil, err
	}
	resp, offset, err := c.controller.Handle(ctx, origin, req)
	if err != nil {
		return nil, err
	}
	if err := c.waitFor(ctx, offset); err != nil {
		return nil, err
	}
	return resp, nil
}
