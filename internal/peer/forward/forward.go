// Package forward decides whether a request for the active controller is to be sent again. It is a core:
// peer.Controllers asks it after every attempt that has failed.
package forward

import (
	"errors"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

const (
	// Grace is how long a node that leads no longer may take to answer what it was sent.
	Grace = 500 * time.Millisecond
	// maxPause is the longest pause before the controller is looked for again, if no change of the leader
	// ends it.
	maxPause = 64 * time.Millisecond
)

// ErrUnsent is under the errors of attempts that have certainly not reached a controller that acts.
var ErrUnsent = errors.New("the controller was not reached")

// repeatable are the requests that do no harm when they are made twice.
var repeatable = map[int16]bool{
	wire.KeyBrokerHeartbeat: true, wire.KeyBrokerRegistration: true, wire.KeyAlterPartition: true,
	wire.KeyAssignReplicasToDirs: true, wire.KeyAllocateProducerIDs: true, wire.KeyElectLeaders: true, wire.KeyControllerRegistration: true, wire.KeyUpdateRaftVoter: true,
	wire.KeyPeerLoad: true, wire.KeyPeerBalancer: true,
}

// Failed says what follows from an attempt to have the controller handle a request of an API key: it is sent again,
// or answered with the error. lost says that the attempt's answer got lost, so that it may have been handled, or
// may still be.
func Failed(key int16, err error, lost bool) (again bool, answer error) {
	switch {
	case lost && !repeatable[key]:
		return false, &kafka.Error{Code: kafka.ErrRequestTimedOut, Message: "the connection to the controller was lost; the change may have been made, or may still be", Cause: err}
	case !lost && !errors.Is(err, ErrUnsent) && !errors.Is(err, kafka.ErrNotController):
		return false, err
	}
	return true, nil
}

// Pause is how long to wait after so many failures in a row, counted from 0.
func Pause(failures int) time.Duration { return min(time.Millisecond<<min(failures, 30), maxPause) }
