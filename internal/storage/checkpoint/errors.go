package checkpoint

import (
	"errors"
	"fmt"
)

// ParseError says where a file is not what it should be.
type ParseError struct {
	Path     string
	Line     int // from 1; 0 where the file as a whole is wrong
	Expected string
	Got      string
}

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: expected %s, got %s", e.Path, e.Expected, e.Got)
	}
	return fmt.Sprintf("%s line %d: expected %s, got %q", e.Path, e.Line, e.Expected, e.Got)
}

// VersionError says that a file has a format version that is not understood.
type VersionError struct {
	Path  string
	Found string
	Want  int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has format version %q; this release reads version %d only", e.Path, e.Found, e.Want)
}

// NewerFolderError says that a newer release has written a log dir.
type NewerFolderError struct {
	Path  string
	Found int
}

func (e *NewerFolderError) Error() string {
	return fmt.Sprintf("%s: a newer release of Moldau has written this folder, in format %d; this release reads formats up to %d and has changed nothing: start the newer release, or give this one another folder (log.dirs)",
		e.Path, e.Found, FolderFormat)
}

// IsMalformed reports whether err says that a file was read and is not what it should be.
func IsMalformed(err error) bool {
	_, parse := errors.AsType[*ParseError](err)
	_, version := errors.AsType[*VersionError](err)
	_, newer := errors.AsType[*NewerFolderError](err)
	return parse || version || newer
}
