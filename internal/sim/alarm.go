package sim

// Alarm runs something in a process at the earliest of the times that it is set to.
type Alarm struct {
	nowMs func() int64
	after func(delayMs int64, f func())
	run   func()
	set   bool
	atMs  int64
}

// NewAlarm returns one that is not set. after plans something in the process, in the time that nowMs tells.
func NewAlarm(nowMs func() int64, after func(delayMs int64, f func()), run func()) *Alarm {
	return &Alarm{nowMs: nowMs, after: after, run: run}
}

// In sets the alarm, unless it goes off before that anyway.
func (a *Alarm) In(delayMs int64) {
	nowMs := a.nowMs()
	at := nowMs + max(0, delayMs)
	if a.set && a.atMs <= at {
		return
	}
	a.set, a.atMs = true, at
	a.after(at-nowMs, func() {
		if a.set && a.atMs == at {
			a.set = false
			a.run()
		}
	})
}
