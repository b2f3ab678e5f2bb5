//go:build !windows

package vfs

import (
	"errors"
	"syscall"
)

// A quota that is used up is a full disk too.
func isSystemFull(err error) bool { return errors.Is(err, syscall.EDQUOT) }
