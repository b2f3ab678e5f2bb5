package server

import (
	"log/slog"
	"sync"
	"time"
)

// limitedLog writes at most one line a second for each kind of event, so that hostile clients
// cannot fill the disk with log lines; the next line says how many were left out.
type limitedLog struct {
	logger *slog.Logger

	mu    sync.Mutex
	kinds map[string]*logKind
}

type logKind struct {
	last    time.Time
	omitted int
}

func newLimitedLog(logger *slog.Logger) *limitedLog {
	return &limitedLog{logger: logger, kinds: map[string]*logKind{}}
}

func (l *limitedLog) warn(kind, message string, attributes ...any) {
	now := time.Now()
	l.mu.Lock()
	k := l.kinds[kind]
	if k == nil {
		k = &logKind{}
		l.kinds[kind] = k
	}
	if now.Sub(k.last) < time.Second {
		k.omitted++
		l.mu.Unlock()
		return
	}
	omitted := k.omitted
	k.last, k.omitted = now, 0
	l.mu.Unlock()
	if omitted > 0 {
		attributes = append(attributes, "omitted", omitted)
	}
	l.logger.Warn(message, attributes...)
}
