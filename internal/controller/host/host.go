package host

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
)

// Host is the controller of this process.
type Host struct{}

// Handle computes req, waits until its records are committed and returns the response with the
// offset of the last record on which it depends: a reader that has applied that offset sees the
// change. req is one of the kmsg requests listed in controller.Handles.
func (h *Host) Handle(ctx context.Context, origin controller.Origin, req kmsg.Request) (kmsg.Response, int64, error) {
	return nil, 0, nil
}

// Stop ends the event loop; waiting requests get NOT_CONTROLLER.
func (h *Host) Stop() {}
