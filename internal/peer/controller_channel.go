package peer

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
)

// Origin says on whose behalf a request goes to the controller.
type Origin = controller.Origin

// ControllerChannel sends requests to the active controller. Send returns when the change is
// committed and this node's own metadata shows it, so that a client that created a topic may
// produce to it at once. The error carries a kafka.ErrorCode (NOT_CONTROLLER, REQUEST_TIMED_OUT);
// errors about the request itself are in the response. req is not modified and must not be
// while Send runs; req's version selects how the response is filled.
type ControllerChannel interface {
	Send(ctx context.Context, origin Origin, req kmsg.Request) (kmsg.Response, error)
}
