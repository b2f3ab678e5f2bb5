package handler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// silentController never answers, like one that is not active.
type silentController struct{}

func (silentController) Send(ctx context.Context, _ peer.Origin, _ kmsg.Request) (kmsg.Response, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestNobodyWaitsForeverForTheController: these requests carry no time-out, and while one of them
// waits its connection serves nothing else.
func TestNobodyWaitsForeverForTheController(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		coordinator := &FindCoordinator{Authorizer: security.AllowAll{}, Metadata: metadata.EmptyImage, Controller: silentController{}}
		began := time.Now()
		resp := handleGroup[*kmsg.FindCoordinatorResponse](&groupFixture{t: t}, coordinator, 4, findRequest(0, "g", "h"))
		if took := time.Since(began); took > defaultForwardWait {
			t.Errorf("FindCoordinator takes %s", took)
		}
		for _, found := range resp.Coordinators {
			wantCode(t, "FindCoordinator", found.ErrorCode, kafka.ErrCoordinatorNotAvailable)
		}
		ids := NewProducerIDs(1, func() int64 { return 1 }, silentController{})
		began = time.Now()
		if _, err := ids.Next(t.Context()); kafka.CodeOf(err) != kafka.ErrCoordinatorLoadInProgress {
			t.Errorf("InitProducerId answers %v", err)
		}
		if took := time.Since(began); took > producerIDWait {
			t.Errorf("InitProducerId takes %s", took)
		}
	})
}
