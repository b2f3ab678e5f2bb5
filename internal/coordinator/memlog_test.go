package coordinator

import (
	"bytes"
	"cmp"
	"sync"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
)

// memLog is a Log in memory. By default it commits what it appends at once, as with one replica.
type memLog struct {
	mu         sync.Mutex
	partitions map[kafka.TopicPartition]*memPartition
	epoch      int32
	manual     bool          // commit moves the high watermarks
	appendErr  error         // of the next appends
	refusal    error         // foreseen for the next appends, and theirs
	readErr    error         // of the next reads
	gate       chan struct{} // Append passes through it, if set
	reading    chan struct{} // Read passes through it, if set
	appends    int
}

type memPartition struct {
	data      []byte
	endOffset int64
	committed int64
	waiters   []memWaiter
}

type memWaiter struct {
	endOffset int64
	done      func(error)
}

func newMemLog() *memLog { return &memLog{partitions: map[kafka.TopicPartition]*memPartition{}} }

func (l *memLog) partition(tp kafka.TopicPartition) *memPartition {
	p := l.partitions[tp]
	if p == nil {
		p = &memPartition{}
		l.partitions[tp] = p
	}
	return p
}

func (l *memLog) check(leaderEpoch int32) error {
	if leaderEpoch != l.epoch {
		return kafka.ErrNotLeaderOrFollower
	}
	return nil
}

func (l *memLog) Bounds(tp kafka.TopicPartition, leaderEpoch int32) (int64, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, l.partition(tp).endOffset, l.check(leaderEpoch)
}

func (l *memLog) Read(tp kafka.TopicPartition, leaderEpoch int32, offset int64, maxBytes int) ([]byte, error) {
	l.mu.Lock()
	reading := l.reading
	l.mu.Unlock()
	if reading != nil {
		<-reading
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(leaderEpoch); err != nil {
		return nil, err
	}
	if l.readErr != nil {
		return nil, l.readErr
	}
	data := l.partition(tp).data
	var out []byte
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil {
			return nil, err
		}
		if b.LastOffset() >= offset && (len(out) == 0 || len(out)+len(b) <= maxBytes) {
			out = append(out, b...)
		}
		data = rest
	}
	return out, nil
}

func (l *memLog) CheckAppend(_ kafka.TopicPartition, leaderEpoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(leaderEpoch); err != nil {
		return err
	}
	return l.refusal
}

func (l *memLog) AppendTransactional(tp kafka.TopicPartition, leaderEpoch int32, batch []byte, _ replica.TransactionalAppend) (int64, error) {
	return l.Append(tp, leaderEpoch, batch)
}

func (l *memLog) Append(tp kafka.TopicPartition, leaderEpoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate != nil {
		<-gate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(leaderEpoch); err != nil {
		return 0, err
	}
	if err := cmp.Or(l.refusal, l.appendErr); err != nil {
		return 0, err
	}
	l.appends++
	p := l.partition(tp)
	b := record.Batch(batch)
	b.SetBaseOffset(p.endOffset)
	b.SetPartitionLeaderEpoch(leaderEpoch)
	p.data, p.endOffset = append(p.data, b...), b.NextOffset()
	if !l.manual {
		p.committed = p.endOffset
	}
	return p.endOffset, nil
}

func (l *memLog) WhenCommitted(tp kafka.TopicPartition, leaderEpoch int32, endOffset int64, done func(error)) {
	l.mu.Lock()
	p := l.partition(tp)
	err := l.check(leaderEpoch)
	over := err != nil || p.committed >= endOffset
	if !over {
		p.waiters = append(p.waiters, memWaiter{endOffset, done})
	}
	l.mu.Unlock()
	if over {
		done(err)
	}
}

// commit moves every high watermark to the log end offset.
func (l *memLog) commit() {
	l.mu.Lock()
	var waiters []memWaiter
	for _, p := range l.partitions {
		p.committed = p.endOffset
		waiters, p.waiters = append(waiters, p.waiters...), nil
	}
	l.mu.Unlock()
	for _, w := range waiters {
		w.done(nil)
	}
}

// lose has the broker lose the leadership: it is somebody else's until it is elected in epoch.
func (l *memLog) lose(epoch int32) {
	l.mu.Lock()
	l.epoch = epoch
	var waiters []memWaiter
	for _, p := range l.partitions {
		waiters, p.waiters = append(waiters, p.waiters...), nil
	}
	l.mu.Unlock()
	for _, w := range waiters {
		w.done(kafka.ErrNotLeaderOrFollower)
	}
}

func (l *memLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// appendRaw puts a batch of somebody else into the log.
func (l *memLog) appendRaw(t *testing.T, tp kafka.TopicPartition, b record.Batch, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(tp, l.epoch, b); err != nil {
		t.Fatal(err)
	}
}

// batches returns how many batches a partition has.
func (l *memLog) batches(tp kafka.TopicPartition) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	data := l.partition(tp).data
	for len(data) > 0 {
		_, data, _ = record.Next(data)
		count++
	}
	return count
}

// noteShard is a small shard for tests of the runtime: it keeps the keys of its records in order.
type noteShard struct {
	notes    []string
	deadline int64
	ticks    int
	active   bool
	parked   []shard.Token
	dropped  *int
}

func (s *noteShard) Replay(_ shard.Position, r shard.Record) error {
	if bytes.Equal(r.Key, []byte("bad")) {
		return kafka.Errorf(kafka.ErrCorruptMessage, "a bad note")
	}
	s.notes = append(s.notes, string(r.Key))
	return nil
}

func (s *noteShard) ReplayEndTransaction(producerID int64, committed bool) {
	if committed {
		s.notes = append(s.notes, "commit")
	} else {
		s.notes = append(s.notes, "abort")
	}
}

func (s *noteShard) Activate(int64) shard.Effects { s.active = true; return shard.Effects{} }
func (s *noteShard) NextDeadlineMs() int64        { return s.deadline }
func (s *noteShard) Deactivate()                  { *s.dropped++ }

func (s *noteShard) ShiftDeadlines(byMs int64) {
	if s.deadline != shard.NoDeadline {
		s.deadline += byMs
	}
}

func (s *noteShard) Tick(int64) shard.Effects {
	s.ticks++
	s.deadline = shard.NoDeadline
	out := shard.Effects{}
	for _, token := range s.parked {
		out.Responses = append(out.Responses, shard.Response{Token: token, Value: "tick"})
	}
	s.parked = nil
	return out
}

// note is a step that records keys and answers with all notes so far.
func note(keys ...string) Step[*noteShard] {
	return func(s *noteShard, token shard.Token, _ int64) shard.Effects {
		out := shard.Effects{}
		for _, key := range keys {
			s.notes = append(s.notes, key)
			out.Records = append(out.Records, shard.Record{Key: []byte(key)})
		}
		if token != 0 {
			out.Responses = []shard.Response{{Token: token, Value: append([]string(nil), s.notes...)}}
		}
		return out
	}
}

// park is a step that answers at the tick after afterMs.
func park(afterMs int64) Step[*noteShard] {
	return func(s *noteShard, token shard.Token, nowMs int64) shard.Effects {
		s.parked = append(s.parked, token)
		s.deadline = nowMs + afterMs
		return shard.Effects{}
	}
}
