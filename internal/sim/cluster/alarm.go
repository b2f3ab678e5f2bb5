package cluster

// alarm runs something in a process at the earliest of the times that it is set to.
type alarm struct {
	p    *process
	run  func()
	set  bool
	atMs int64
}

func newAlarm(p *process, run func()) *alarm { return &alarm{p: p, run: run} }

// in sets the alarm, unless it goes off before that anyway.
func (a *alarm) in(delayMs int64) {
	at := a.p.w.nowMs + max(0, delayMs)
	if a.set && a.atMs <= at {
		return
	}
	a.set, a.atMs = true, at
	a.p.after(at-a.p.w.nowMs, func() {
		if a.set && a.atMs == at {
			a.set = false
			a.run()
		}
	})
}
