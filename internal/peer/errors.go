package peer

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// MismatchError says that the node at an address is not the one that was expected there.
type MismatchError struct {
	Address Address
	// What differs, such as "cluster.id"; Want is this node's side of it and Got the other's.
	What, Want, Got string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s has %s %s, but this node expects %s: check that both belong to the same cluster, and the address", e.Address, e.What, e.Got, e.Want)
}

// LostError says that a request was sent and not answered: it may have been done or not.
type LostError struct {
	Address Address
	Cause   error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("no answer from %s, which may have done what was asked: %v", e.Address, e.Cause)
}

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Cause }

// The reasons why this side ends a connection.
var (
	errClosed   = errors.New("the connection was closed")
	errStopping = errors.New("the node is stopping")
)

// isCut reports whether err says that the other side has ended the connection, or that its process is
// gone. A time-out is neither: nobody knows what became of the node.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isRefused reports whether err says that nobody listens where the node did.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
