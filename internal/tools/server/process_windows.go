//go:build windows

package server

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lock does nothing: on Windows a file that is open cannot be removed, which isHeld relies on.
func lock(*os.File) (locked bool, err error) { return true, nil }

// isHeld reports whether a living process has a run file open; a file of nobody is removed.
func isHeld(path string) (bool, error) {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return err != nil, nil
}

const detachedProcess = 0x8

// detached lets a child outlive the console that it was started from.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | detachedProcess}
}

// signals are those that kafka-server-stop can send; Windows knows only the end.
var signals = map[string]os.Signal{"TERM": os.Kill, "KILL": os.Kill}

func signalProcess(pid int, s os.Signal) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Signal(s)
}
