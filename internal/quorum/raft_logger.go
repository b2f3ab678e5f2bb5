package quorum

import (
	"fmt"
	"log/slog"
)

// raftLogger passes on what the Raft library says. What it calls info is about elections and
// entries, which the host reports in the project's own words.
type raftLogger struct{ logger *slog.Logger }

// raftPanic is what the library panics with through its logger.
type raftPanic struct{ message string }

func (p raftPanic) String() string { return "BUG: raft: " + p.message }

func (l raftLogger) Debug(...any)          {}
func (l raftLogger) Debugf(string, ...any) {}
func (l raftLogger) Info(v ...any)         { l.logger.Debug("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Infof(format string, v ...any) {
	l.logger.Debug("raft: " + fmt.Sprintf(format, v...))
}
func (l raftLogger) Warning(v ...any) { l.logger.Warn("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Warningf(format string, v ...any) {
	l.logger.Warn("raft: " + fmt.Sprintf(format, v...))
}
func (l raftLogger) Error(v ...any) { l.logger.Error("raft: " + fmt.Sprint(v...)) }
func (l raftLogger) Errorf(format string, v ...any) {
	l.logger.Error("raft: " + fmt.Sprintf(format, v...))
}
func (l raftLogger) Fatal(v ...any)                 { panic(raftPanic{fmt.Sprint(v...)}) }
func (l raftLogger) Fatalf(format string, v ...any) { panic(raftPanic{fmt.Sprintf(format, v...)}) }
func (l raftLogger) Panic(v ...any)                 { panic(raftPanic{fmt.Sprint(v...)}) }
func (l raftLogger) Panicf(format string, v ...any) { panic(raftPanic{fmt.Sprintf(format, v...)}) }
