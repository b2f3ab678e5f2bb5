package forward

import (
	"errors"
	"fmt"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

// TestFailed: what has certainly not been done is sent again, and of what may have been done only what does no
// harm when it is done twice.
func TestFailed(t *testing.T) {
	t.Parallel()
	const createTopics = 19
	lost := errors.New("connection reset")
	for _, c := range []struct {
		name   string
		key    int16
		err    error
		lost   bool
		again  bool
		answer kafka.ErrorCode
	}{
		{"not reached", createTopics, fmt.Errorf("%w: no leader", ErrUnsent), false, true, kafka.ErrNone},
		{"not the controller", createTopics, kafka.ErrNotController, false, true, kafka.ErrNone},
		{"refused", createTopics, kafka.ErrPolicyViolation, false, false, kafka.ErrPolicyViolation},
		{"answer lost", createTopics, lost, true, false, kafka.ErrRequestTimedOut},
		{"answer to a heartbeat lost", wire.KeyBrokerHeartbeat, lost, true, true, kafka.ErrNone},
		{"answer to a change of in-sync replicas lost", wire.KeyAlterPartition, lost, true, true, kafka.ErrNone},
	} {
		again, answer := Failed(c.key, c.err, c.lost)
		if again != c.again || kafka.CodeOf(answer) != c.answer {
			t.Errorf("%s: again %v, %v", c.name, again, answer)
		}
	}
	if Pause(0) > Pause(1) || Pause(100) != maxPause {
		t.Errorf("pauses %v, %v, %v", Pause(0), Pause(1), Pause(100))
	}
}
