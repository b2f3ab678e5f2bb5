//go:build unix

package apptest

import "syscall"

// ownGroup gives a process a group of its own, as a shell does, so that a test can do what Ctrl-C
// on a terminal does: signal all of it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func signalGroup(leader int, s syscall.Signal) error { return syscall.Kill(-leader, s) }
