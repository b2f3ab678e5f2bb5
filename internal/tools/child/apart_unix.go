//go:build unix

package child

import "syscall"

// apart keeps Ctrl-C on the terminal from the broker, which has to outlive what the program does with it.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
