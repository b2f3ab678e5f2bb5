package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Streams are the three standard streams a tool works on.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// About is what the help of the tool that runs says about it.
	About About
	// Describe takes the help as data where completion asks for it; otherwise nil, and help is text.
	Describe func(Help)
}

// Println writes one line to standard output.
func (s Streams) Println(line string) { fmt.Fprintln(s.Out, line) }

// Printf writes to standard output.
func (s Streams) Printf(format string, args ...any) { fmt.Fprintf(s.Out, format, args...) }

// Errorln writes one line to standard error.
func (s Streams) Errorln(line string) { fmt.Fprintln(s.Err, line) }

// Errorf writes to standard error.
func (s Streams) Errorf(format string, args ...any) { fmt.Fprintf(s.Err, format, args...) }

// Log writes a line in the layout of Kafka's tool log, [time] LEVEL message (logger), to
// standard error. Kafka's tools report some failures only there.
func (s Streams) Log(level, message, logger string) {
	fmt.Fprintf(s.Err, "[%s] %s %s (%s)\n", time.Now().Format("2006-01-02 15:04:05,000"), level, message, logger)
}

// ExitError ends a tool with an exit code after everything the user should read has been
// printed. Any other error that a tool returns is printed by Exit.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Failed is the ExitError of an ordinary failure.
var Failed error = &ExitError{Code: 1}

// Exit turns a tool's result into its exit code, printing errors that nobody has printed yet.
func Exit(s Streams, err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*ExitError](err); ok {
		return exit.Code
	}
	s.Errorln(s.paint(s.Err)(red, err.Error()))
	return 1
}

// IsTerminal reports whether a stream is an interactive terminal.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	// The null device is a character device too, and nobody sits in front of it.
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
