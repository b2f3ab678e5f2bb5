package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/config"
)

// TestFaultsAtOnceEndAStart: a disk that fails may be met by several parts at the same time.
func TestFaultsAtOnceEndAStart(t *testing.T) {
	t.Parallel()
	c, _, err := config.NewBroker(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(t.Context(), c)
	ctx, cancel := b.untilFault()
	defer cancel()
	patience := time.NewTimer(10 * time.Second)
	defer patience.Stop()
	for ctx.Err() == nil {
		select {
		case b.faults <- errors.New("fault"):
		case <-ctx.Done():
		case <-patience.C:
			<-b.faults // or the spawner would not stop
			t.Fatal("the start goes on in spite of faults")
		}
	}
	b.spawner.Stop()
	select {
	case <-b.faults:
	default:
		t.Error("the fault is lost")
	}
}
