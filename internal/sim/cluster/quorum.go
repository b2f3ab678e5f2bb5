package cluster

import (
	"errors"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// As in quorum's host.
	tickMs                        = 10
	heartbeatTicks, electionTicks = 5, 50
	metadataSegmentBytes          = 3000
	snapshotCallMs                = 2000
)

// quorumPlane is what the hosts of quorum and loader do: it drives the voter, carries its messages, hands out what is
// committed and keeps who waits for that. What a node does that does not vote is in observe.go.
type quorumPlane struct {
	p        *process
	voter    *quorum.Voter
	known    quorum.Leadership // the last that was announced
	pending  []pendingProposal
	planned  bool // a call of Process is
	loading  []metadata.Batch
	loads    bool // a call of load is planned
	campaign quorum.Campaign
	round    int // of campaigns: what was planned for an older one is void
	links    map[int32]*conn
	job      *quorum.SnapshotJob

	puller quorum.Puller
	pulls  map[int32]*conn
	// fetches says that a snapshot is on its way.
	fetches bool
	// held are the pulls of others that wait for something to be committed, and observers how far those are.
	held      []func()
	observers map[kafka.UUID]*observer
}

type pendingProposal struct {
	ticket uint64 // 0: nothing is stored, it only waits for those before
	done   func(lastOffset int64, err error)
}

// openQuorum opens the metadata log. Those that vote from the beginning form the quorum, if they have none.
func openQuorum(p *process) (*quorumPlane, error) {
	var form []quorum.VoterSpec
	if int(p.node.id) <= p.w.plan.voters {
		for _, n := range p.w.nodes[:p.w.plan.voters] {
			form = append(form, n.spec())
		}
	}
	v, err := quorum.Open(quorum.Options{FS: p.disk.FS, LogDir: dataDir, Self: p.node.spec(), Form: form, HeartbeatTicks: heartbeatTicks, ElectionTicks: electionTicks,
		SegmentBytes: metadataSegmentBytes, Logger: quiet, NowMs: p.nowMs()})
	if err != nil {
		return nil, err
	}
	return &quorumPlane{p: p, voter: v, links: map[int32]*conn{}, pulls: map[int32]*conn{}, observers: map[kafka.UUID]*observer{}}, nil
}

// begin loads the newest snapshot and asks whether there is a leader.
func (q *quorumPlane) begin() error {
	if id := q.voter.Snapshot(); id.EndOffset > 0 {
		b := metadata.Batch{LastOffset: id.EndOffset - 1, Epoch: id.Epoch}
		err := q.voter.ReadSnapshot(func(record []byte) error {
			b.Records = append(b.Records, record)
			return nil
		})
		if err != nil {
			return err
		}
		q.loading = append(q.loading, b)
		q.load()
	}
	q.p.life.contact.SetVoters(q.voters(), q.p.w.nowMs)
	q.process() // who has not applied a change of the voters that it knows of may not campaign
	if !q.p.alive() {
		return nil
	}
	if q.voter.IsVoter() {
		q.startCampaign(kafka.NoLeader)
	}
	q.p.after(tickMs, q.tick)
	q.plan()
	return nil
}

// logEnd is where the metadata log ends, beyond everything as long as there is none.
func (q *quorumPlane) logEnd() int64 {
	if q == nil {
		return never
	}
	return q.voter.LogEndOffset()
}

func (q *quorumPlane) tick() {
	q.p.after(tickMs, q.tick)
	q.p.onDisk(func() {
		if q.failed(q.voter.Tick()) {
			return
		}
		q.puller.Tick(q.voter)
		q.process()
		q.pull()
	})
}

// failed reports whether err ended the process.
func (q *quorumPlane) failed(err error) bool {
	if err != nil && q.p.touch() {
		q.p.fault(err)
	}
	return err != nil
}

// plan has Process run soon, for everything that comes until then.
func (q *quorumPlane) plan() {
	if q.planned {
		return
	}
	q.planned = true
	q.p.after(q.p.w.between(0, 2), func() {
		q.planned = false
		q.p.onDisk(q.process)
	})
}

// process stores, sends and commits what is waiting.
func (q *quorumPlane) process() {
	p := q.p
	if p.failing {
		return
	}
	out, err := q.voter.Process(p.nowMs())
	if q.failed(err) || !p.alive() {
		return
	}
	if out.VotersChanged {
		q.votersChanged()
	}
	for _, m := range out.Messages {
		q.send(m)
	}
	for _, c := range out.Committed {
		q.loading = append(q.loading, metadata.Batch{BaseOffset: c.BaseOffset, LastOffset: c.LastOffset, Epoch: c.Epoch, Records: c.Records})
		q.finishUnstored(c.BaseOffset - 1)
		if len(q.pending) > 0 && q.pending[0].ticket == c.Ticket {
			first := q.pending[0]
			q.pending = q.pending[1:]
			first.done(c.LastOffset, nil)
		}
		q.finishUnstored(c.LastOffset)
	}
	if out.LeadershipChanged {
		q.leadershipChanged()
	}
	if out.LeadershipChanged || len(out.Committed) > 0 {
		q.wake()
	}
	if len(q.loading) > 0 {
		q.planLoad()
	}
	if out.Snapshot != nil {
		q.fetchSnapshot(*out.Snapshot)
	}
}

func (q *quorumPlane) finishUnstored(offset int64) {
	for len(q.pending) > 0 && q.pending[0].ticket == 0 {
		first := q.pending[0]
		q.pending = q.pending[1:]
		first.done(offset, nil)
	}
}

func (q *quorumPlane) leadershipChanged() {
	p, l := q.p, q.voter.Leadership()
	p.w.note("node %d: leader %d of epoch %d, itself %v", p.node.id, l.LeaderID, l.Epoch, l.IsSelf)
	if l.LeaderID != kafka.NoLeader {
		q.campaign.End()
		p.w.check.leads(l)
	}
	if before := q.known; l.LeaderID != p.node.id || l.Epoch != before.Epoch {
		pending := q.pending
		q.pending = nil
		for _, waiting := range pending {
			waiting.done(0, kafka.ErrNotController)
		}
	}
	q.known = l
	p.controller.leadershipChanged(l)
	p.forward.leaderChanged()
}

// propose appends records as one batch, if the controller's office is still this one; without any, done waits for those before.
func (q *quorumPlane) propose(office uint64, records [][]byte, done func(lastOffset int64, err error)) {
	change := pendingProposal{done: done}
	refuse := func(err error) { change.done = func(int64, error) { done(0, err) } }
	if l := q.voter.Leadership(); !l.IsSelf || office != l.Office {
		refuse(kafka.ErrNotController)
	} else if len(records) > 0 {
		ticket, err := q.voter.Propose(records, q.p.nowMs())
		if change.ticket = ticket; err != nil {
			refuse(err)
		}
	}
	if change.ticket == 0 && len(q.pending) == 0 {
		change.done(q.voter.EndOffset(q.voter.CommittedPosition().Index)-1, nil)
		return
	}
	q.pending = append(q.pending, change)
	q.plan()
}

// planLoad has the image follow what is committed: soon, or now and then late.
func (q *quorumPlane) planLoad() {
	if q.loads {
		return
	}
	q.loads = true
	w, delay := q.p.w, q.p.w.between(0, 4)
	if !w.healing && w.oneIn(40) {
		delay = w.between(20, 400)
	}
	q.p.after(delay, func() {
		q.loads = false
		q.p.onDisk(q.load)
	})
}

func (q *quorumPlane) load() {
	p := q.p
	if len(q.loading) == 0 || !p.alive() {
		return
	}
	r := metadata.NewReplay(p.image)
	for _, b := range q.loading {
		if err := r.Add(b); err != nil {
			p.w.fail("node %d: %w", p.node.id, err)
			return
		}
	}
	q.loading = nil
	p.publish(r.End())
}

// send takes a message to another voter, in order and without any promise.
func (q *quorumPlane) send(m quorum.Message) {
	p, w := q.p, q.p.w
	i := slices.IndexFunc(w.nodes, func(n *Node) bool { return quorum.PeerID(n.directoryID()) == m.To })
	if i < 0 {
		return
	}
	to := w.nodes[i].id
	link := q.links[to]
	if link == nil || link.closed {
		link = w.dial("raft", p.node.id, p, to)
		link.onBroken = func() { p.lost(link) }
		q.links[to] = link
	}
	if !w.healing && w.oneIn(200) {
		return // dropped where too many wait, or with a connection
	}
	data := slices.Clone(m.Data)
	copies := 1
	if !w.healing && w.oneIn(200) {
		copies = 2
	}
	for range copies {
		link.post(func(at *process) { at.quorum.step(data) })
	}
}

func (q *quorumPlane) step(data []byte) {
	if q == nil {
		return // it has no metadata log yet
	}
	in, err := quorum.DecodeMessage(data, q.p.node.directoryID())
	if err != nil {
		q.p.w.fail("node %d: %w", q.p.node.id, err)
		return
	}
	q.p.onDisk(func() {
		if q.campaign.Ignores(in) {
			return
		}
		if err := q.voter.Step(in); err != nil && !errors.Is(err, quorum.ErrMessage) {
			q.failed(err)
			return
		}
		q.campaign.Stepped(q.voter, in)
		q.process()
	})
}

// peerDied elects another leader if that was it.
func (q *quorumPlane) peerDied(nodeID int32) {
	if q == nil {
		return
	}
	q.p.onDisk(func() {
		if l := q.voter.Leadership(); l.LeaderID != nodeID || nodeID == q.p.node.id || !q.voter.IsVoter() {
			return
		}
		if q.failed(q.voter.ForgetLeader()) {
			return
		}
		q.process()
		q.startCampaign(nodeID)
	})
}

func (q *quorumPlane) startCampaign(dead int32) {
	q.round++
	round := q.round
	wait := q.campaign.Begin(q.voter, dead)
	var due func()
	due = func() {
		if q.round != round || !q.campaign.IsActive() {
			return
		}
		q.p.onDisk(func() {
			asks := q.campaign.Due(q.voter)
			if !q.campaign.IsActive() {
				return
			}
			q.p.after(quorum.CampaignPause.Milliseconds(), due)
			if asks && !q.failed(q.voter.Campaign()) {
				q.process()
			}
		})
	}
	q.p.after(wait.Milliseconds(), due)
}

// takeSnapshot writes a snapshot now and makes it the newest one later, as the host does.
func (q *quorumPlane) takeSnapshot() error {
	p := q.p
	if q.job != nil {
		return nil
	}
	job, err := q.voter.BeginSnapshot(p.image.Offset)
	if err != nil || job == nil {
		return err
	}
	image := p.image
	err = job.Write(p.nowMs(), func(emit func([]byte) error) error {
		return image.WriteTo(func(r metadata.Record) error { return emit(metadata.Encode(r)) })
	})
	if err != nil {
		return nil // only reported, as by the host: the next one is tried later
	}
	q.job = job
	p.after(p.w.between(0, 200), func() {
		p.onDisk(func() {
			q.job = nil
			if !q.failed(q.voter.FinishSnapshot(job)) {
				p.w.count["snapshots"]++
			}
		})
	})
	return nil
}

// fetchSnapshot takes over a snapshot of the leader, since its log does not go back to where this one ends.
func (q *quorumPlane) fetchSnapshot(offer quorum.SnapshotOffer) {
	i := slices.IndexFunc(q.p.w.nodes, func(n *Node) bool { return quorum.PeerID(n.directoryID()) == offer.From })
	if i >= 0 {
		q.fetchFrom(q.p.w.nodes[i].id, offer.ID)
	}
}

func (q *quorumPlane) fetchFrom(node int32, id quorum.SnapshotID) {
	p, w := q.p, q.p.w
	if q.job != nil || q.fetches {
		return
	}
	q.fetches = true
	link := w.dial("snapshot", p.node.id, p, node)
	link.call(snapshotCallMs, func(at *process, answer func(any)) {
		data, _, err := (quorum.SnapshotFile{FS: at.disk.FS, LogDir: dataDir}).ReadAt(id, 0, 1<<20)
		if err != nil {
			data = nil
		}
		answer(data)
	}, func(answer any, err error) {
		q.fetches = false
		if data, _ := answer.([]byte); err == nil && data != nil {
			p.onDisk(func() { q.install(id, data) })
		} else {
			q.puller.Pause()
		}
		link.close()
	})
}

func (q *quorumPlane) install(id quorum.SnapshotID, data []byte) {
	p := q.p
	if q.job != nil || !q.voter.Needs(id) {
		return
	}
	b := metadata.Batch{Replaces: true, LastOffset: id.EndOffset - 1, Epoch: id.Epoch}
	received, err := quorum.Receive(p.disk.FS, dataDir, id)
	if err == nil {
		err = received.Write(data)
	}
	if err == nil {
		err = received.Check(func(record []byte) error {
			b.Records = append(b.Records, record)
			return nil
		})
	}
	if q.failed(err) {
		return
	}
	installed, err := q.voter.Install(received)
	if q.failed(err) || !installed {
		return
	}
	p.w.count["installed snapshots"]++
	p.w.note("node %d installs the snapshot %s", p.node.id, id.FileName())
	q.loading = append(q.loading, b)
	q.planLoad()
	q.process()
}
