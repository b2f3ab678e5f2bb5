//go:build unix

package apptest

import "syscall"

// ownGroup gives a process a group of its own, as a shell does, so that a test can do what Ctrl-C
// on a terminal does: signal all of it.
func ownGroup(asNobody bool) *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if asNobody {
		attributes.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	return attributes
}

func signalGroup(leader int, s syscall.Signal) error { return syscall.Kill(-leader, s) }
