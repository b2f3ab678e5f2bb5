//go:build unix

package demo

import "syscall"

// apart keeps Ctrl-C on the terminal from the broker, which has to outlive the demo's clients.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
