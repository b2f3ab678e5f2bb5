//go:build !windows

package vfs

import (
	"errors"
	"syscall"
)

// errorCorrupted is Linux' EUCLEAN: a file system that has found itself damaged.
const errorCorrupted = syscall.Errno(117)

func isSystemFailure(err error) bool { return errors.Is(err, errorCorrupted) }
