package child

import "syscall"

// apart keeps Ctrl-C on the console from the broker, which has to outlive what the program does with it.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
