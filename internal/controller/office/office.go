package office

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/record"
)

const (
	// divideRecords is where a divisible answer is cut into batches.
	divideRecords = 10_000
	// recordFramingBytes is at least what a record in a batch needs besides its value.
	recordFramingBytes = 24
)

// Done is told when a change is committed, or why it is not.
type Done func(lastOffset int64, err error)

// Options is what an Office needs.
type Options struct {
	Controller *controller.Controller
	Random     env.Random
	// Voters returns the nodes of the quorum; nil for none.
	Voters func() []int32
	// Propose appends a batch in an office, or with no records waits for the batches before it. Within the call done may
	// be called, but must not use the Office.
	Propose func(office uint64, records [][]byte, done Done) error

	// BalanceIntervalMs is the time between elections of preferred leaders, UncleanIntervalMs that between
	// unclean elections where topics allow them, GrowIntervalMs that between looks at internal topics that could have more
	// replicas. 0 turns each off.
	BalanceIntervalMs, UncleanIntervalMs, GrowIntervalMs int64
}

// Office is one after the other that this node holds.
type Office struct {
	o          Options
	held       quorum.Leadership // IsSelf false: none
	image      *metadata.Image   // committed plus in flight
	nextOffset int64
	balanceAt  int64 // when the next elections are due
	uncleanAt  int64
	growAt     int64
}

// New returns an Office that is not held.
func New(o Options) *Office { return &Office{o: o} }

// Held is the leadership of the office that is held; IsSelf false says that none is.
func (f *Office) Held() quorum.Leadership { return f.held }

// Image is the speculative image, nil where no office is held.
func (f *Office) Image() *metadata.Image { return f.image }

// Begin takes office on an image that has everything below where it starts. The error says that the cluster needs what this
// release does not have.
func (f *Office) Begin(l quorum.Leadership, image *metadata.Image, nowMs int64) error {
	if err := f.o.Controller.CheckFeatures(image); err != nil {
		return err
	}
	f.held, f.image, f.nextOffset = l, image, l.StartOffset
	f.balanceAt, f.uncleanAt, f.growAt = nowMs+f.o.BalanceIntervalMs, nowMs+f.o.UncleanIntervalMs, nowMs+f.o.GrowIntervalMs
	return nil
}

// Bootstrap proposes what a cluster begins with, if that is not there.
func (f *Office) Bootstrap() error {
	if records := f.o.Controller.Bootstrap(f.Input()); len(records) > 0 {
		return f.propose(records, nobodyWaits)
	}
	return nil
}

func nobodyWaits(int64, error) {}

// End drops the image. Changes in flight are answered by the quorum.
func (f *Office) End() { f.held, f.image = quorum.Leadership{}, nil }

// Input is what the controller computes on.
func (f *Office) Input() controller.Input {
	in := controller.Input{Image: f.image, NextOffset: f.nextOffset, Random: f.o.Random}
	if f.o.Voters != nil {
		in.Voters = f.o.Voters()
	}
	return in
}

// IsAboutSessions reports whether Decide uses the sessions for a request.
func IsAboutSessions(req kmsg.Request) bool {
	switch req.(type) {
	case *kmsg.BrokerHeartbeatRequest, *kmsg.BrokerRegistrationRequest:
		return true
	}
	return false
}

// Decide computes a request. Those about sessions see them, if there are any.
func (f *Office) Decide(req kmsg.Request, origin controller.Origin, sessions *controller.Sessions, nowMs int64) (controller.Result, error) {
	in := f.Input()
	in.Permit = origin.Permit
	if beat, ok := req.(*kmsg.BrokerHeartbeatRequest); ok && sessions != nil {
		sessions.Applied(beat.BrokerID, beat.BrokerEpoch, beat.CurrentMetadataOffset, nowMs)
	}
	if IsAboutSessions(req) {
		in.Sessions = sessions
	}
	return f.o.Controller.Handle(in, req)
}

// Carry proposes the records of a result.
func (f *Office) Carry(r controller.Result, done Done) error {
	if r.Divisible {
		return f.proposeInPieces(r.Records, done)
	}
	return f.propose(r.Records, done)
}

// ProposeOwn proposes what nobody waits for. Where that fails, the leadership is lost or the node stops.
func (f *Office) ProposeOwn(records []metadata.Record) error {
	if len(records) == 0 || !f.held.IsSelf {
		return nil
	}
	return f.proposeInPieces(records, nobodyWaits)
}

func (f *Office) proposeInPieces(records []metadata.Record, done Done) error {
	for len(records) > divideRecords {
		if err := f.propose(records[:divideRecords], nobodyWaits); err != nil {
			return err
		}
		records = records[divideRecords:]
	}
	return f.propose(records, done)
}

// propose applies records to the speculative image and queues them for the quorum. Without records
// done is called when everything before is committed: an answer must not show what may yet be lost.
func (f *Office) propose(records []metadata.Record, done Done) error {
	encoded := make([][]byte, len(records))
	delta := metadata.NewDelta(f.image)
	size := record.BatchOverhead
	for i, r := range records {
		encoded[i] = metadata.EncodeAt(r, delta.MetadataVersion())
		size += len(encoded[i]) + recordFramingBytes
		if err := delta.Replay(r); err != nil {
			return fmt.Errorf("BUG: the controller made a record that does not apply: %s: %w", r.Type(), err)
		}
	}
	if size > quorum.MaxBatchBytes {
		return kafka.Errorf(kafka.ErrPolicyViolation,
			"The request makes %d bytes of metadata; at most %d fit into one change: split the request.", size, quorum.MaxBatchBytes)
	}
	if err := f.o.Propose(f.held.Office, encoded, done); err != nil {
		return err
	}
	if len(records) > 0 {
		f.nextOffset += int64(len(records))
		f.image = delta.Apply(f.nextOffset-1, f.held.Epoch)
	}
	return nil
}

// Watch fences brokers that are gone, and holds the elections that are due.
func (f *Office) Watch(gone []int32, nowMs int64) (err error) {
	c := f.o.Controller
	for _, id := range gone {
		err = errors.Join(err, f.ProposeOwn(c.Fence(f.Input(), id)))
	}
	elect := func(at *int64, intervalMs int64, round func(controller.Input) ([]metadata.Record, bool)) {
		if intervalMs == 0 || nowMs < *at {
			return
		}
		records, more := round(f.Input())
		err = errors.Join(err, f.ProposeOwn(records))
		if *at = nowMs + intervalMs; more {
			*at = nowMs
		}
	}
	elect(&f.balanceAt, f.o.BalanceIntervalMs, c.BalanceLeaders)
	elect(&f.uncleanAt, f.o.UncleanIntervalMs, c.ElectUncleanLeaders)
	elect(&f.growAt, f.o.GrowIntervalMs, func(in controller.Input) ([]metadata.Record, bool) { return c.GrowInternalTopics(in), false })
	return err
}
