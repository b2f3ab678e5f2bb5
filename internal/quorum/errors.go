package quorum

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
)

// CorruptLogError says that a file of the metadata log holds something that no crash leaves
// behind. The voter refuses to start: cutting the log there could lose acknowledged changes.
type CorruptLogError struct {
	Path     string
	Position int64  // of the first bad byte; 0 where the file as a whole is wrong
	Problem  string // what is wrong there
}

func (e *CorruptLogError) Error() string {
	return fmt.Sprintf("the metadata log is damaged: %s at position %d: %s. This node does not start, so that no acknowledged change is lost silently. "+
		"Check the disk, then restore the folder of the metadata log from a backup",
		e.Path, e.Position, e.Problem)
}

// ErrNotFormed says that the folder of the metadata log is empty and that there are no voters to
// form a quorum with.
var ErrNotFormed = errors.New("there is no metadata log yet")

// errNotLeader is what proposals get that this node cannot take or see through.
func errNotLeader() error {
	return kafka.Errorf(kafka.ErrNotController, "this node is not the active controller")
}
