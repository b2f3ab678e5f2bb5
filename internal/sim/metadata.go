package sim

import (
	"fmt"
	"hash/fnv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
)

// metadataPlane is what the hosts of quorum, controller and loader do, in one piece: requests
// are computed on the speculative image and proposed; some time later one call of Process
// stores and commits what has piled up; images are published, then the answers leave.
type metadataPlane struct {
	p     *process
	voter *quorum.Voter
	core  *controller.Controller
	image *metadata.Image // the last published one

	serving     quorum.Leadership
	speculative *metadata.Image // committed plus in flight
	nextOffset  int64
	waiting     []waitingChange // in the order of the proposals
	planned     bool            // a call of Process is
	snapshot    *quorum.SnapshotJob
}

// waitingChange is a request whose records, if any, are not committed yet.
type waitingChange struct {
	ticket uint64 // 0: nothing to store; it only waits for those before it
	done   func(err error)
}

// openVoter opens the metadata log as fsys has it.
func (p *process) openVoter(fsys vfs.FS) (*quorum.Voter, error) {
	self := quorum.VoterSpec{NodeID: p.node.id, DirectoryID: p.identity.DirectoryIDs[dataDir]}
	return quorum.Open(quorum.Options{FS: fsys, LogDir: dataDir, Self: self, Form: []quorum.VoterSpec{self},
		HeartbeatTicks: 1, ElectionTicks: 10, SegmentBytes: metadataSegmentBytes, Logger: quiet, NowMs: p.nowMs()})
}

func openMetadata(p *process) (*metadataPlane, error) {
	voter, err := p.openVoter(p.disk.FS)
	if err != nil {
		return nil, err
	}
	core := controller.New(controller.Options{ClusterID: p.identity.ClusterID, Features: controller.Features(), NodeID: p.node.id, Broker: p.static})
	return &metadataPlane{p: p, voter: voter, core: core, image: metadata.EmptyImage()}, nil
}

// begin loads the log and becomes the active controller.
func (m *metadataPlane) begin() error {
	if id := m.voter.Snapshot(); id.EndOffset > 0 {
		b := quorum.Batch{LastOffset: id.EndOffset - 1, Epoch: id.Epoch}
		err := m.voter.ReadSnapshot(func(record []byte) error {
			b.Records = append(b.Records, record)
			return nil
		})
		if err != nil {
			return err
		}
		if err := m.load(b); err != nil {
			return err
		}
	}
	if err := m.voter.Campaign(); err != nil {
		return err
	}
	if err := m.process(); err != nil {
		return err
	}
	w, l := m.p.node.w, m.voter.Leadership()
	if !l.IsSelf {
		return fmt.Errorf("the only voter does not lead after its campaign: %+v", l)
	}
	w.Check(w.metadata.Loaded(m.image.Offset))
	w.Check(w.levels.ObserveNew("the metadata epoch", int64(l.Epoch)))
	if m.image.Offset < l.StartOffset-1 {
		return fmt.Errorf("the image ends at %d, the controller starts at %d", m.image.Offset, l.StartOffset)
	}
	m.serving, m.speculative, m.nextOffset = l, m.image, l.StartOffset
	if err := m.core.CheckFeatures(m.image); err != nil {
		return err
	}
	if records := m.core.Bootstrap(controller.Input{Image: m.image}); len(records) > 0 {
		if err := m.propose(records, func(error) {}); err != nil {
			return err
		}
		return m.process()
	}
	return nil
}

// load publishes committed records.
func (m *metadataPlane) load(b quorum.Batch) error {
	delta := metadata.NewDelta(m.image)
	for _, data := range b.Records {
		record, err := metadata.Decode(data)
		if err == nil {
			err = delta.Replay(record)
		}
		if err != nil {
			return fmt.Errorf("committed metadata at offset %d: %w", b.BaseOffset, err)
		}
	}
	image := delta.Apply(b.LastOffset, b.Epoch)
	w := m.p.node.w
	print, err := Fingerprint(image)
	if err != nil {
		return err
	}
	w.Check(w.metadata.Published(image.Offset, print))
	m.p.publish(image, delta)
	m.image = image
	return nil
}

// process stores and commits what was proposed. Whoever waits hears of it after the image is
// published.
func (m *metadataPlane) process() error {
	out, err := m.voter.Process(m.p.nowMs())
	if err != nil {
		return err
	}
	for _, c := range out.Committed {
		if err := m.load(c.Batch); err != nil {
			return err
		}
		m.finishUnstored()
		if c.Ticket != 0 && len(m.waiting) > 0 && m.waiting[0].ticket == c.Ticket {
			m.finishFirst()
		}
	}
	m.finishUnstored()
	return nil
}

func (m *metadataPlane) finishFirst() {
	first := m.waiting[0]
	m.waiting = m.waiting[1:]
	first.done(nil)
}

func (m *metadataPlane) finishUnstored() {
	for len(m.waiting) > 0 && m.waiting[0].ticket == 0 {
		m.finishFirst()
	}
}

// plan has Process run soon, for everything that is proposed until then.
func (m *metadataPlane) plan() {
	if m.planned || !m.p.serving {
		return
	}
	m.planned = true
	w := m.p.node.w
	w.After(w.Between(0, 8), func() {
		m.planned = false
		if !m.p.touch() {
			return
		}
		err := m.process()
		if m.p.touch() && err != nil {
			m.fail(err)
		}
	})
}

// fail answers everybody: the log has failed, and the process ends.
func (m *metadataPlane) fail(err error) {
	waiting := m.waiting
	m.waiting, m.serving = nil, quorum.Leadership{}
	for _, c := range waiting {
		c.done(kafka.ErrNotController)
	}
	m.p.fault(err)
}

// handle computes req; done is called when its records are committed.
func (m *metadataPlane) handle(req kmsg.Request, done func(resp kmsg.Response, err error)) {
	if !m.serving.IsSelf {
		done(nil, kafka.ErrNotController)
		return
	}
	result, err := m.core.Handle(controller.Input{Image: m.speculative, NextOffset: m.nextOffset, Random: m.p.random}, req)
	if err != nil {
		done(nil, err)
		return
	}
	if err := m.propose(result.Records, func(err error) { done(result.Response, err) }); err != nil {
		done(nil, err)
		return
	}
	m.plan()
}

// do is handle for who can wait: the process itself while it starts and stops.
func (m *metadataPlane) do(req kmsg.Request) (resp kmsg.Response, err error) {
	answered := false
	m.handle(req, func(r kmsg.Response, failure error) { resp, err, answered = r, failure, true })
	if !answered {
		if err := m.process(); err != nil {
			return nil, err
		}
	}
	if !answered {
		return nil, fmt.Errorf("%T is not answered although everything is committed", req)
	}
	return resp, err
}

func (m *metadataPlane) propose(records []metadata.Record, done func(error)) error {
	change := waitingChange{done: done}
	if len(records) > 0 {
		encoded := make([][]byte, len(records))
		delta := metadata.NewDelta(m.speculative)
		for i, r := range records {
			encoded[i] = metadata.EncodeAt(r, delta.MetadataVersion())
			if err := delta.Replay(r); err != nil {
				m.p.node.w.Fail("the controller made a record that does not apply: %s: %w", r.Type(), err)
				return err
			}
		}
		ticket, err := m.voter.Propose(encoded, m.p.nowMs())
		if err != nil {
			return err
		}
		change.ticket = ticket
		m.nextOffset += int64(len(records))
		m.speculative = delta.Apply(m.nextOffset-1, m.serving.Epoch)
	}
	m.waiting = append(m.waiting, change)
	return nil
}

// takeSnapshot writes a snapshot now and makes it the newest one later, as the host does.
func (m *metadataPlane) takeSnapshot() error {
	if m.snapshot != nil || !m.serving.IsSelf {
		return nil
	}
	job, err := m.voter.BeginSnapshot(m.image.Offset)
	if err != nil || job == nil {
		return err
	}
	image := m.image
	err = job.Write(m.p.nowMs(), func(emit func([]byte) error) error {
		return image.WriteTo(func(r metadata.Record) error { return emit(metadata.EncodeAt(r, image.MetadataVersion())) })
	})
	if err != nil {
		return nil // only reported, as by the host: the next one is tried later
	}
	m.snapshot = job
	w := m.p.node.w
	w.After(w.Between(0, 300), func() {
		if !m.p.touch() {
			return
		}
		m.snapshot = nil
		if !m.serving.IsSelf {
			return
		}
		err := m.voter.FinishSnapshot(job)
		w.Note("snapshot %s: %v", job.ID().FileName(), err)
		w.stats.Snapshots++
		if m.p.touch() && err != nil {
			m.fail(err)
		}
	})
	return nil
}

// Fingerprint is a hash of everything that an image says.
func Fingerprint(image *metadata.Image) (uint64, error) {
	h := fnv.New64a()
	err := image.WriteTo(func(r metadata.Record) error {
		_, err := h.Write(metadata.Encode(r))
		return err
	})
	return h.Sum64(), err
}
