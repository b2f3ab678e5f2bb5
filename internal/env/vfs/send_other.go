//go:build !linux

package vfs

// CanSend says whether files of OS are Senders.
const CanSend = false
