package cluster

import (
	"errors"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// As in quorum's host, but for pages that are smaller.
	pullWaitMs  = int64(500)
	pullGraceMs = int64(1000)
	pullBytes   = 2000
	joinPauseMs = int64(100)
)

// observer is how far a node is that pulls from this one, as its host keeps it.
type observer struct {
	lastIndex  uint64 // of this node's log when it asked last
	askedMs    int64
	caughtUpMs int64
}

// join has a node that has no metadata log yet begin with the snapshot of another one.
func (p *process) join() {
	w := p.w
	var id quorum.SnapshotID
	link := w.dial("join", p.node.id, p, int32(w.between(1, int64(w.plan.voters))))
	link.call(snapshotCallMs, func(at *process, answer func(any)) {
		if at.quorum == nil {
			answer(nil)
			return
		}
		id = at.quorum.voter.Snapshot()
		data, _, err := (quorum.SnapshotFile{FS: at.disk.FS, LogDir: dataDir}).ReadAt(id, 0, 1<<20)
		if err != nil {
			data = nil
		}
		answer(data)
	}, func(answer any, err error) {
		link.close()
		data, _ := answer.([]byte)
		if err != nil || data == nil {
			p.after(joinPauseMs, p.join)
			return
		}
		p.onDisk(func() {
			err := p.beginWith(id, data)
			w.note("node %d joins with %s: %v", p.node.id, id.FileName(), err)
			w.count["joined"]++
			if err != nil && p.touch() {
				p.fault(err)
			}
		})
	})
}

// beginWith starts what needs the metadata log, with a snapshot of another node.
func (p *process) beginWith(id quorum.SnapshotID, data []byte) error {
	received, err := quorum.Receive(p.disk.FS, dataDir, id)
	if err != nil {
		return err
	}
	err = errors.Join(received.Write(data), received.Check(func([]byte) error { return nil }))
	if err == nil {
		err = received.Join()
	}
	if err != nil {
		return err
	}
	return p.startQuorum()
}

// voters are the nodes that vote, as far as this one knows.
func (q *quorumPlane) voters() (ids []int32) {
	for _, v := range q.voter.Voters() {
		ids = append(ids, v.NodeID)
	}
	slices.Sort(ids)
	return ids
}

func (q *quorumPlane) votersChanged() {
	w := q.p.w
	w.note("to node %d the voters are %v", q.p.node.id, q.voters())
	q.p.life.contact.SetVoters(q.voters(), w.nowMs)
	w.count["voters changed"]++
	for _, v := range q.voter.Voters() {
		delete(q.observers, v.DirectoryID)
	}
}

// pull asks another node for what is committed, where there is need.
func (q *quorumPlane) pull() {
	p, w := q.p, q.p.w
	if q.fetches || p.failing {
		return
	}
	pull, ok := q.puller.Next(q.voter, nil)
	if !ok {
		return
	}
	waitMs := int64(0)
	if pull.MayWait {
		waitMs = pullWaitMs
	}
	from := pull.From.NodeID
	link := q.pulls[from]
	if link == nil || link.closed {
		link = w.dial("pull", p.node.id, p, from)
		link.onBroken = func() { p.lost(link) }
		q.pulls[from] = link
	}
	link.call(waitMs+pullGraceMs, func(at *process, answer func(any)) {
		if at.quorum == nil {
			answer(nil)
			return
		}
		at.quorum.pulled(p.node.directoryID(), pull.After, waitMs, func(page quorum.Page) { answer(page) })
	}, func(answer any, err error) {
		p.onDisk(func() {
			page, ok := answer.(quorum.Page)
			if err != nil || !ok {
				q.puller.Failed()
				return
			}
			q.observe(from, page)
		})
	})
}

// observe takes the answer to a pull.
func (q *quorumPlane) observe(from int32, page quorum.Page) {
	snapshot, err := q.puller.Take(q.voter, page)
	switch {
	case errors.Is(err, quorum.ErrMessage):
		q.p.w.fail("node %d cannot observe what node %d says: %w", q.p.node.id, from, err)
		return
	case q.failed(err):
		return
	case snapshot != nil:
		q.fetchFrom(from, *snapshot)
		return
	}
	q.p.w.count["pages"]++
	q.process()
	q.pull()
}

// pulled answers another node's pull: at once if there is something to say, else with the next news, or when it does not
// want to wait any longer.
func (q *quorumPlane) pulled(by kafka.UUID, after quorum.Position, waitMs int64, answer func(quorum.Page)) {
	over := false
	look := func(mayWait bool) {
		q.p.onDisk(func() {
			if over {
				return
			}
			q.note(by, after)
			page, err := q.voter.Committed(after, pullBytes)
			if q.failed(err) || mayWait && len(page.Batches) == 0 && !page.Diverging && page.Snapshot == nil {
				return
			}
			over = true
			answer(page)
		})
	}
	if look(waitMs > 0); !over && waitMs > 0 {
		q.held = append(q.held, func() { look(false) })
		q.p.after(waitMs, func() { look(false) })
	}
}

// wake has the pulls answered that wait.
func (q *quorumPlane) wake() {
	held := q.held
	q.held = nil
	if len(held) > 0 {
		q.p.after(0, func() {
			for _, look := range held {
				look()
			}
		})
	}
}

// note remembers how far an observer is.
func (q *quorumPlane) note(by kafka.UUID, after quorum.Position) {
	if slices.ContainsFunc(q.voter.Voters(), func(v quorum.VoterSpec) bool { return v.DirectoryID == by }) {
		return
	}
	o, last, nowMs := q.observers[by], q.voter.LastPosition().Index, q.p.w.nowMs
	if o == nil {
		o = &observer{}
		q.observers[by] = o
	}
	switch {
	case after.Index >= last:
		o.caughtUpMs = nowMs
	case o.lastIndex > 0 && after.Index >= o.lastIndex:
		o.caughtUpMs = o.askedMs
	}
	o.lastIndex, o.askedMs = last, nowMs
}
