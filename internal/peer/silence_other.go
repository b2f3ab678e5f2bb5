//go:build !linux

package peer

import "syscall"

// limitSilence leaves it to keep-alive, and to the system's own patience, where there is no such option.
func limitSilence(_, _ string, _ syscall.RawConn) error { return nil }
