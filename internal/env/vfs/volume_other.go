//go:build !linux

package vfs

import "errors"

func openVolume(string) (Volume, error) { return nil, errors.ErrUnsupported }
