package segment

import (
	"errors"
	"fmt"
)

// ErrFailed says that a write or sync of the segment failed in a way that leaves its tail
// unknown. Nothing may be appended any more; the log dir should go offline and the segment
// be recovered.
var ErrFailed = errors.New("the segment has failed and takes no more appends")

// ErrInUse says that a segment cannot be removed yet because readers hold it.
var ErrInUse = errors.New("the segment is still being read")

// CorruptionError says where a file holds something else than it should.
type CorruptionError struct {
	Path     string
	Position int64
	Cause    error
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s is corrupt at position %d: %v", e.Path, e.Position, e.Cause)
}

// Unwrap returns the cause.
func (e *CorruptionError) Unwrap() error { return e.Cause }
