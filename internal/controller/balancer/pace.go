package balancer

const (
	// firstBytesPerSecond is how fast a broker begins to copy, leastBytesPerSecond what it is slowed down to at most.
	firstBytesPerSecond = 8 << 20
	leastBytesPerSecond = 1 << 20
	// minorMicros is a time that clients do not mind, whatever they wait else.
	minorMicros = 2_000
	// calmReports is after how many reports at the least pace what clients see is taken for what they see without copying.
	calmReports = 3
)

// pace is how fast a broker copies what it is given. Clients go before: where Produce takes noticeably longer on the
// broker, or on those it copies from, than it does while nothing is moved, copying is slowed down.
type pace struct {
	bytesPerSecond int64
	quietMicros    int64 // while nothing is moved, or at the least pace; -1 before that is known
	isPressed      bool
	// isUnsure says that clients produce and nobody knows how long that takes while nothing is moved, as after a
	// change of the controller: then copying goes at the least pace until that is known.
	isUnsure bool
	// slow is how many reports have come since it is at the least pace.
	slow int
}

func newPace(most int64) pace {
	return pace{bytesPerSecond: min(most, firstBytesPerSecond), quietMicros: -1}
}

// latency takes in what Produce took lately; -1 for too little of it to tell.
func (p *pace) latency(micros int64, isQuiet bool) {
	switch {
	case micros < 0:
		p.isPressed = false
	case isQuiet && p.quietMicros < 0:
		p.quietMicros = micros
	case isQuiet:
		p.quietMicros += (micros - p.quietMicros) / 8
	default:
		p.isPressed = p.quietMicros >= 0 && micros > p.quietMicros*3/2+minorMicros
	}
	if isQuiet {
		p.isPressed = false
	}
	p.isUnsure = micros >= 0 && p.quietMicros < 0
}

func (p *pace) adjust(isPressed, isUnsure bool, most int64) {
	switch {
	case isUnsure:
		p.bytesPerSecond = leastBytesPerSecond
	case isPressed:
		p.bytesPerSecond = max(leastBytesPerSecond, p.bytesPerSecond*6/10)
	default:
		p.bytesPerSecond += p.bytesPerSecond/4 + 1<<20
	}
	p.bytesPerSecond = min(p.bytesPerSecond, most)
	if p.slow++; p.bytesPerSecond > leastBytesPerSecond {
		p.slow = 0
	}
}

// isCalm reports whether so little is copied, since some time, that what clients see does not come from it. So it becomes known
// what they are used to where a controller has taken over, and what they wait for all the same does not slow copying down for ever.
func (b *Balancer) isCalm(v View) bool {
	for _, m := range b.moves {
		for _, id := range without(m.To, m.From) {
			if pace := b.clientsOf(v, id); pace != nil && pace.slow < calmReports {
				return false
			}
		}
	}
	return true
}

// clientsOf is the pace of a broker, which knows what its clients see, nil where it is not there: what they saw last before
// it died would count for ever, and slow down the copies of what it had.
func (b *Balancer) clientsOf(v View, id int32) *pace {
	load, registered := b.loads[id], v.Image.Broker(id)
	if load == nil || registered == nil || registered.Fenced || registered.Epoch != load.epoch {
		return nil
	}
	return &load.pace
}

// incoming is what producers write to the partitions that a broker is given: what is copied has to be more, or the
// replica would never catch up.
func (b *Balancer) incoming(id int32) (bytesPerSecond int64) {
	for _, m := range b.moves {
		if !contains(m.To, id) || contains(m.From, id) {
			continue
		}
		latest := int64(0)
		for _, load := range b.loads {
			latest = max(latest, load.partitions[partitionKey{m.topic, m.Partition}].bytesPerSecond)
		}
		bytesPerSecond += latest
	}
	return bytesPerSecond
}

// adjustPace sets how fast a broker goes on copying.
func (b *Balancer) adjustPace(v View, id int32) {
	isPressed, isUnsure := b.loads[id].pace.isPressed, b.loads[id].pace.isUnsure
	for _, m := range b.moves {
		if !contains(m.To, id) || contains(m.From, id) {
			continue
		}
		for _, source := range m.From {
			if pace := b.clientsOf(v, source); pace != nil {
				isPressed, isUnsure = isPressed || pace.isPressed, isUnsure || pace.isUnsure
			}
		}
	}
	b.loads[id].pace.adjust(isPressed, isUnsure, v.Settings.CopyBytesPerSecond)
}
