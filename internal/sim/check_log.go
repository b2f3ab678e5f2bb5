package sim

import (
	"fmt"
	"slices"
)

// RecordID identifies a record that a simulated producer sends: the producer's number and a
// count that it never uses twice.
type RecordID struct {
	Producer int
	Number   int
}

// String shows the id in failures.
func (r RecordID) String() string { return fmt.Sprintf("%d/%d", r.Producer, r.Number) }

// Seen is a record as it was found in a log.
type Seen struct {
	Offset int64
	ID     RecordID
	Epoch  int32 // the partition leader epoch of its batch
}

// Ending is how the last process of a node ended.
type Ending int

// The ways a process ends.
const (
	StillRunning Ending = iota
	Killed              // kill -9, or a clean shutdown: whatever was written is there
	PowerLost           // what was not flushed may be gone
)

// LogHistory is what clients were promised of one partition and have read of it.
type LogHistory struct {
	name    string
	ordered func(producer int) bool // the producer's records must be in order
	start   int64
	end     int64 // after the last record that was acknowledged or read
	durable int64 // what the topic's flush.messages promised to survive power loss
	at      map[int64]RecordID
	offsets map[RecordID]int64
	sent    map[RecordID]bool
}

// NewLogHistory returns the history of an empty log. ordered says whose records must be in
// the order of their numbers: those of idempotent producers.
func NewLogHistory(name string, ordered func(producer int) bool) *LogHistory {
	return &LogHistory{name: name, ordered: ordered, at: map[int64]RecordID{}, offsets: map[RecordID]int64{}, sent: map[RecordID]bool{}}
}

// Sent notes records that reached the broker and may be in the log from now on.
func (h *LogHistory) Sent(ids []RecordID) {
	for _, id := range ids {
		h.sent[id] = true
	}
}

// Acked notes that the broker acknowledged records at base and after.
func (h *LogHistory) Acked(base int64, ids []RecordID) error {
	for i, id := range ids {
		if err := h.found(base+int64(i), id); err != nil {
			return fmt.Errorf("acknowledged: %w", err)
		}
	}
	return nil
}

// Promised notes that power loss may not take what lies below offset.
func (h *LogHistory) Promised(offset int64) { h.durable = max(h.durable, offset) }

// Read notes what a consumer read from offset from on: from there, without a gap.
func (h *LogHistory) Read(from int64, seen []Seen) error {
	for i, s := range seen {
		if s.Offset != from+int64(i) {
			return fmt.Errorf("%s: a read from %d returned offset %d where %d should be", h.name, from, s.Offset, from+int64(i))
		}
		if err := h.found(s.Offset, s.ID); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	return nil
}

func (h *LogHistory) found(offset int64, id RecordID) error {
	if before, known := h.at[offset]; known && before != id {
		return fmt.Errorf("%s: offset %d held record %s and now holds %s", h.name, offset, before, id)
	}
	if before, known := h.offsets[id]; known && before != offset {
		return fmt.Errorf("%s: record %s is at offset %d and at %d", h.name, id, before, offset)
	}
	if !h.sent[id] {
		return fmt.Errorf("%s: record %s at offset %d was never sent", h.name, id, offset)
	}
	h.at[offset], h.offsets[id] = id, offset
	h.end = max(h.end, offset+1)
	return nil
}

// LogContent is everything that a log holds.
type LogContent struct {
	Start, End int64
	Records    []Seen
	// Flushed is how far the process that has ended had found the log durable.
	Flushed int64
}

// Audit compares the history with the whole log, after an Ending or in between. The number
// of records that power loss took is returned.
func (h *LogHistory) Audit(ending Ending, c LogContent) (lost int64, err error) {
	if c.Start < h.start {
		return 0, fmt.Errorf("%s: the log start offset went from %d to %d", h.name, h.start, c.Start)
	}
	h.start = c.Start
	if c.End < c.Flushed {
		return 0, fmt.Errorf("%s: the log ends at %d, but was flushed up to %d", h.name, c.End, c.Flushed)
	}
	if c.End < h.durable {
		return 0, fmt.Errorf("%s: the log ends at %d, but was acknowledged as flushed up to %d", h.name, c.End, h.durable)
	}
	if c.End < h.end {
		if ending != PowerLost {
			return 0, fmt.Errorf("%s: the log ends at %d, but records up to %d were acknowledged or read", h.name, c.End, h.end)
		}
		lost = h.end - c.End
		h.forgetFrom(c.End)
	}
	for offset := range h.at {
		if offset < c.Start {
			delete(h.at, offset) // retention; the record must not come back elsewhere
		}
	}
	if err := h.auditRecords(c); err != nil {
		return lost, err
	}
	return lost, h.auditOrder(c.Records)
}

// forgetFrom drops what power loss took: these offsets will be given out again.
func (h *LogHistory) forgetFrom(end int64) {
	for offset := range h.at {
		if offset >= end {
			delete(h.at, offset)
		}
	}
	for id, offset := range h.offsets {
		if offset >= end {
			delete(h.offsets, id)
		}
	}
	h.end = end
}

func (h *LogHistory) auditRecords(c LogContent) error {
	next := c.Start
	for _, s := range c.Records {
		if s.Offset != next {
			return fmt.Errorf("%s: offset %d follows where %d should be, in a log from %d to %d", h.name, s.Offset, next, c.Start, c.End)
		}
		next++
		if err := h.found(s.Offset, s.ID); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
	}
	if next != c.End {
		return fmt.Errorf("%s: the records end at %d, the log at %d", h.name, next, c.End)
	}
	return nil
}

func (h *LogHistory) auditOrder(records []Seen) error {
	last := map[int]RecordID{}
	epoch := int32(-1)
	for _, s := range records {
		if s.Epoch < epoch {
			return fmt.Errorf("%s: offset %d has leader epoch %d after %d", h.name, s.Offset, s.Epoch, epoch)
		}
		epoch = s.Epoch
		if before, ok := last[s.ID.Producer]; ok && h.ordered(s.ID.Producer) && before.Number >= s.ID.Number {
			return fmt.Errorf("%s: record %s at offset %d comes after %s", h.name, s.ID, s.Offset, before)
		}
		last[s.ID.Producer] = s.ID
	}
	return nil
}

// Levels checks values that must never fall: offsets, epochs, generations.
type Levels struct{ last map[string]int64 }

// NewLevels returns a checker without values.
func NewLevels() *Levels { return &Levels{last: map[string]int64{}} }

// Observe notes a value.
func (l *Levels) Observe(name string, value int64) error {
	if before, known := l.last[name]; known && value < before {
		return fmt.Errorf("%s went from %d to %d", name, before, value)
	}
	l.last[name] = value
	return nil
}

// ObserveNew notes a value that must be larger than all before.
func (l *Levels) ObserveNew(name string, value int64) error {
	if before, known := l.last[name]; known && value <= before {
		return fmt.Errorf("%s is %d, and was %d before", name, value, before)
	}
	l.last[name] = value
	return nil
}

// Forget lets a value fall, as power loss may.
func (l *Levels) Forget(name string) { delete(l.last, name) }

// Answers checks that every request that reached a process is answered exactly once.
type Answers struct{ waiting map[uint64]parked }

type parked struct {
	name    string
	sinceMs int64
}

// NewAnswers returns a checker without requests.
func NewAnswers() *Answers { return &Answers{waiting: map[uint64]parked{}} }

// Arrived notes a request.
func (a *Answers) Arrived(id uint64, name string, nowMs int64) { a.waiting[id] = parked{name, nowMs} }

// Answered notes its answer.
func (a *Answers) Answered(id uint64) error {
	if _, ok := a.waiting[id]; !ok {
		return fmt.Errorf("request %d is answered twice", id)
	}
	delete(a.waiting, id)
	return nil
}

// ProcessEnded forgets the requests that died with their process.
func (a *Answers) ProcessEnded() { clear(a.waiting) }

// ClockJumped forgives a jump of the clock to those who wait.
func (a *Answers) ClockJumped(ms int64) {
	for id, p := range a.waiting {
		p.sinceMs += ms
		a.waiting[id] = p
	}
}

// Overdue returns an error if a request has waited longer than limitMs.
func (a *Answers) Overdue(nowMs, limitMs int64) error {
	var overdue []uint64
	for id, p := range a.waiting {
		if nowMs-p.sinceMs > limitMs {
			overdue = append(overdue, id)
		}
	}
	if len(overdue) == 0 {
		return nil
	}
	first := slices.Min(overdue)
	return fmt.Errorf("request %d (%s) has waited %d ms for its answer, and %d others", first, a.waiting[first].name, nowMs-a.waiting[first].sinceMs, len(overdue)-1)
}
