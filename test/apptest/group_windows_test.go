package apptest

import (
	"errors"
	"syscall"
)

func ownGroup(bool) *syscall.SysProcAttr { return nil }

func signalGroup(int, syscall.Signal) error { return errors.New("there are no signals") }
