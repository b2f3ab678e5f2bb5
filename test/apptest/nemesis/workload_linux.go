package nemesis

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/apptest/history"
)

const (
	topic      = "log"
	partitions = 6
	group      = "readers"
	eosGroup   = "transactions"
)

// workload is a set of processes that send and poll, each in a goroutine with a client of its own that it replaces
// now and then, and records what they saw.
type workload struct {
	c        *cluster
	recorder history.Recorder
	began    time.Time
	cancel   context.CancelFunc
	ctx      context.Context
	wg       sync.WaitGroup

	processes atomic.Int64 // numbers given
	values    atomic.Int64

	mu     sync.Mutex
	probes map[int]bool // processes that send one record after the other, by which unavailability is measured
	errors map[string]int
}

// process is one client's life in the history.
type process struct {
	w          *workload
	id         int
	rng        *rand.Rand
	client     *kgo.Client
	group      string
	lost       bool // a broker said that the position is outside of the log: see position
	rebalanced struct {
		sync.Mutex
		keys []history.Key
	}
}

func (c *cluster) work(seed uint64) *workload {
	ctx, cancel := context.WithCancel(c.t.Context())
	w := &workload{c: c, began: time.Now(), ctx: ctx, cancel: cancel, probes: map[int]bool{}, errors: map[string]int{}}
	for p := range history.Key(partitions) {
		w.run(seed, func(s *process) { s.probe(p) })
	}
	for range 2 {
		w.run(seed, func(s *process) { s.sender(false) })
		w.run(seed, (*process).assigned)
		w.run(seed, (*process).subscribed)
	}
	w.run(seed, func(s *process) { s.sender(true) })
	for i := range 2 {
		w.run(seed, func(s *process) { s.transactions(fmt.Sprintf("assigned-%d", i)) })
		w.run(seed, func(s *process) { s.consumeTransform(fmt.Sprintf("subscribed-%d", i)) })
	}
	return w
}

// run lives one process after the other until the workload ends.
func (w *workload) run(seed uint64, live func(*process)) {
	rng := rand.New(rand.NewPCG(seed, uint64(w.processes.Add(1))))
	w.wg.Go(func() {
		for w.ctx.Err() == nil {
			live(&process{w: w, id: int(w.processes.Add(1)), rng: rng})
		}
	})
}

// stop ends all processes, and reports whether they did within patience.
func (w *workload) stop(patience time.Duration) bool {
	w.cancel()
	ended := make(chan struct{})
	go func() {
		w.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-time.After(patience):
		return false
	}
}

func (w *workload) now() time.Duration { return time.Since(w.began) }

// pause waits between two operations.
func (w *workload) pause(d time.Duration) {
	select {
	case <-w.ctx.Done():
	case <-time.After(d):
	}
}

// failed counts an error that an operation met. Under faults they are expected; the report lists them.
func (w *workload) failed(what string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := what + ": " + err.Error()
	if w.errors[text]++; w.errors[text] == 1 && len(w.errors) < 200 {
		w.c.t.Logf("%8.3f s: %s", w.now().Seconds(), text)
	}
}

func (s *process) open(opts ...kgo.Opt) {
	s.client = s.w.c.newClient(opts...)
}

// operation begins one.
func (s *process) operation(kind history.Kind) *history.Operation {
	return &history.Operation{Process: s.id, Kind: kind, Began: s.w.now(), Group: s.group}
}

func (s *process) done(o *history.Operation, outcome history.Outcome) {
	o.Ended, o.Outcome = s.w.now(), outcome
	s.w.recorder.Add(o)
}

func record(key history.Key, value int64) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: int32(key), Value: binary.BigEndian.AppendUint64(nil, uint64(value))}
}

// send sends to several keys at once and reports whether all were acknowledged. What was sent is waited for, since
// an idempotent producer may not give it up.
func (s *process) send(o *history.Operation, keys ...history.Key) bool {
	first := len(o.Actions)
	var wg sync.WaitGroup
	var refused atomic.Int64
	for _, key := range keys {
		o.Actions = append(o.Actions, history.Action{Sent: &history.Message{Key: key, Offset: history.Unknown, Value: s.w.values.Add(1)}})
	}
	for i := range keys {
		wg.Add(1)
		action := &o.Actions[first+i]
		s.client.Produce(context.WithoutCancel(s.w.ctx), record(action.Sent.Key, action.Sent.Value), func(r *kgo.Record, err error) {
			defer wg.Done()
			if err != nil {
				refused.Add(1)
				s.w.failed("send", err)
				return
			}
			action.Acked, action.Sent.Offset = true, r.Offset
		})
	}
	wg.Wait()
	return refused.Load() == 0
}

// poll polls once, for a moment.
func (s *process) poll(o *history.Operation, patience time.Duration) {
	ctx, cancel := context.WithTimeout(s.w.ctx, patience)
	defer cancel()
	fetches := s.client.PollRecords(ctx, 500)
	action := history.Action{At: s.w.now()}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil && ctx.Err() == nil {
			s.w.failed("poll", p.Err)
			s.lost = s.lost || errors.Is(p.Err, kerr.OffsetOutOfRange)
		}
		for _, r := range p.Records {
			action.Read = append(action.Read, history.Message{Key: history.Key(r.Partition), Offset: r.Offset, Value: int64(binary.BigEndian.Uint64(r.Value))})
		}
	})
	o.Actions = append(o.Actions, action)
	s.rebalanced.Lock()
	defer s.rebalanced.Unlock()
	o.Rebalanced = append(o.Rebalanced, s.rebalanced.keys...)
	s.rebalanced.keys = nil
}

// position says where consumers start, and that they do not start anew when a broker says that they are outside of
// its log. A leader that is cut off, and does not know yet that another one leads, says so to who has read from the
// other, in Kafka too; with `auto.offset.reset` other than `none` a consumer would go back to the start then.
var position = []kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(200 * time.Millisecond), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
	kgo.ConsumeResetOffset(kgo.NoResetOffset())}

func (s *process) keys(most int) (keys []history.Key) {
	for range 1 + s.rng.IntN(most) {
		keys = append(keys, history.Key(s.rng.IntN(partitions)))
	}
	return keys
}

func outcome(ok bool) history.Outcome {
	if ok {
		return history.OK
	}
	return history.Info
}

// probe sends one record after the other to one partition.
func (s *process) probe(key history.Key) {
	s.w.mu.Lock()
	s.w.probes[s.id] = true
	s.w.mu.Unlock()
	s.open()
	defer s.client.Close()
	for ok := true; ok && s.w.ctx.Err() == nil; s.w.pause(25 * time.Millisecond) {
		o := s.operation(history.Send)
		ok = s.send(o, key)
		s.done(o, outcome(ok))
	}
}

// sender sends a few records at a time, one of them maybe several times to one partition.
func (s *process) sender(repeats bool) {
	opts := []kgo.Opt{kgo.RecordDeliveryTimeout(15 * time.Second)}
	if repeats {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	s.open(opts...)
	defer s.client.Close()
	for range 200 {
		o := s.operation(history.Send)
		o.Repeats = repeats
		s.done(o, outcome(s.send(o, s.keys(4)...)))
		s.w.pause(time.Duration(s.rng.IntN(60)) * time.Millisecond)
		if s.w.ctx.Err() != nil {
			return
		}
	}
}

// assignment is a subset of the keys, consumed from the start or the end.
func (s *process) assignment() (opt kgo.Opt, keys []history.Key) {
	offset := kgo.NewOffset().AtEnd()
	if s.rng.IntN(4) == 0 {
		offset = kgo.NewOffset().AtStart()
	}
	assigned := map[int32]kgo.Offset{}
	for _, key := range s.keys(partitions) {
		assigned[int32(key)] = offset
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assigned}), keys
}

func (s *process) assign(opts ...kgo.Opt) {
	o := s.operation(history.Assign)
	opt, keys := s.assignment()
	o.Keys = keys
	s.open(slices.Concat(opts, position, []kgo.Opt{opt})...)
	s.done(o, history.OK)
}

// assigned polls partitions that it chose itself.
func (s *process) assigned() {
	s.assign()
	defer s.client.Close()
	for range 100 + s.rng.IntN(100) {
		o := s.operation(history.Poll)
		s.poll(o, 300*time.Millisecond)
		s.done(o, history.OK)
		s.w.pause(time.Duration(s.rng.IntN(50)) * time.Millisecond)
		if s.lost || s.w.ctx.Err() != nil {
			return
		}
	}
}

// transactions sends and polls in transactions of several, of which some are aborted.
func (s *process) transactions(id string) {
	s.assign(kgo.TransactionalID(id), kgo.TransactionTimeout(10*time.Second))
	defer s.client.Close()
	for range 50 + s.rng.IntN(100) {
		if err := s.client.BeginTransaction(); err != nil {
			s.w.failed("begin", err)
			s.w.pause(100 * time.Millisecond)
			return
		}
		o := s.operation(history.Txn)
		o.Transactional = true
		sent := s.actions(o)
		result := history.Fail
		commit := kgo.TransactionEndTry(sent && s.rng.IntN(5) > 0)
		if commit {
			o.Committing = s.w.now()
			result = history.OK
		}
		err := s.client.EndTransaction(context.WithoutCancel(s.w.ctx), commit)
		if err != nil {
			s.w.failed("end", err)
			if commit {
				result = history.Info
			}
		}
		s.done(o, result)
		if err != nil || s.lost || s.w.ctx.Err() != nil {
			return
		}
		s.w.pause(time.Duration(s.rng.IntN(50)) * time.Millisecond)
	}
}

// actions are one to four sends and polls of a transaction. The first send that is refused ends them.
func (s *process) actions(o *history.Operation) (sent bool) {
	for range 1 + s.rng.IntN(4) {
		if s.rng.IntN(2) == 0 {
			s.poll(o, 50*time.Millisecond)
		} else if !s.send(o, s.keys(3)...) {
			return false
		}
	}
	return true
}

func (s *process) subscription(name string) []kgo.Opt {
	s.group = name
	note := func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
		s.rebalanced.Lock()
		defer s.rebalanced.Unlock()
		for _, p := range moved[topic] {
			s.rebalanced.keys = append(s.rebalanced.keys, history.Key(p))
		}
	}
	return append([]kgo.Opt{kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(note), kgo.OnPartitionsRevoked(note), kgo.OnPartitionsLost(note),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(500 * time.Millisecond), kgo.RebalanceTimeout(10 * time.Second)}, position...)
}

func (s *process) subscribe() {
	o := s.operation(history.Subscribe)
	for key := range history.Key(partitions) {
		o.Keys = append(o.Keys, key)
	}
	s.done(o, history.OK)
}

// subscribed polls what its group gives it, and commits after every poll.
func (s *process) subscribed() {
	s.open(s.subscription(group)...)
	defer s.client.CloseAllowingRebalance()
	s.subscribe()
	for range 100 + s.rng.IntN(200) {
		o := s.operation(history.Poll)
		s.poll(o, 300*time.Millisecond)
		ctx, cancel := context.WithTimeout(s.w.ctx, 5*time.Second)
		if err := s.client.CommitUncommittedOffsets(ctx); err != nil && s.w.ctx.Err() == nil {
			s.w.failed("commit", err)
		}
		cancel()
		s.done(o, history.OK)
		s.client.AllowRebalance()
		s.w.pause(time.Duration(s.rng.IntN(50)) * time.Millisecond)
		if s.lost || s.w.ctx.Err() != nil {
			return
		}
	}
}

// consumeTransform consumes what its group gives it and sends as much as it likes, in transactions that commit both.
func (s *process) consumeTransform(id string) {
	opts := append(s.subscription(eosGroup), kgo.TransactionalID(id), kgo.TransactionTimeout(10*time.Second))
	session, err := kgo.NewGroupTransactSession(append(s.w.c.clientOptions(), opts...)...)
	if err != nil {
		s.w.c.t.Error(err)
		s.w.cancel()
		return
	}
	defer session.CloseAllowingRebalance()
	s.client = session.Client()
	s.subscribe()
	for range 50 + s.rng.IntN(100) {
		if err := session.Begin(); err != nil {
			s.w.failed("begin", err)
			s.w.pause(100 * time.Millisecond)
			return
		}
		o := s.operation(history.Txn)
		o.Transactional = true
		s.poll(o, 100*time.Millisecond)
		sent := s.send(o, s.keys(3)...)
		try := kgo.TransactionEndTry(sent && s.rng.IntN(5) > 0)
		if try {
			o.Committing = s.w.now()
		}
		session.AllowRebalance() // End waits for a heartbeat, and that for a rebalance; a rebalance aborts
		committed, err := session.End(context.WithoutCancel(s.w.ctx), try)
		switch {
		case err != nil:
			s.w.failed("end", err)
			s.done(o, map[bool]history.Outcome{true: history.Info, false: history.Fail}[bool(try)])
		case committed:
			s.done(o, history.OK)
		default:
			s.done(o, history.Fail)
		}
		if err != nil || s.lost || s.w.ctx.Err() != nil {
			return
		}
		s.w.pause(time.Duration(s.rng.IntN(50)) * time.Millisecond)
	}
}
