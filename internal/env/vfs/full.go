package vfs

import (
	"errors"
	"syscall"
)

// IsFull reports whether err says that the disk has no room. What was to be written is not
// there, and everything else is as before: the same call may succeed later.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || isSystemFull(err) }
