package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
)

type clusterNode struct {
	c        *cluster
	at       int // in cluster.nodes
	spec     VoterSpec
	mem      *vfs.Mem
	disk     *vfs.FailAt
	voter    *Voter // nil while the process is down
	restart  int    // when it comes back
	paused   int    // until then
	state    []string
	next     int64 // offset after what is in state
	tickets  map[uint64]string
	office   office
	fetch    *fetchUnderWay
	pulls    int // when to pull next
	job      *SnapshotJob
	fallBack bool // the next pull asks from what is known to be committed
}

// office is what a controller believes that has proposed: where the next of its records goes, and where
// those are that are not committed yet.
type office struct {
	Leadership
	next    int64
	offsets map[uint64]int64 // by ticket
}

func ignored([]byte) error { return nil }

type fetchUnderWay struct {
	to   *ReceivedSnapshot
	from *clusterNode
}

// open starts the process. Every fourth has a disk that fails, in a while.
func (n *clusterNode) open(form []VoterSpec) error {
	n.disk = &vfs.FailAt{N: 1 << 40}
	if !n.c.healing && n.c.oneIn(4) && form == nil {
		n.disk = &vfs.FailAt{N: 1 + n.c.random.Int64N(60), Torn: n.c.oneIn(2)}
	}
	v, err := Open(Options{FS: vfs.NewFault(n.mem, n.disk.Decide), LogDir: "/data", Self: n.spec, Form: form, SegmentBytes: 4096, HeartbeatTicks: 2, ElectionTicks: 20,
		Logger: slog.New(slog.DiscardHandler), NowMs: testNowMs})
	if err != nil {
		return err
	}
	n.voter, n.tickets, n.fetch, n.job, n.office = v, map[uint64]string{}, nil, nil, office{}
	n.c.note("node %d starts: term %d, voters %s, commit %d, last %+v, snapshot %+v", n.spec.NodeID, v.log.state.term, namesOf(v.Voters()), v.committed, v.LastPosition(), v.Snapshot())
	return n.loadSnapshot()
}

// loadSnapshot makes the state what the newest snapshot says.
func (n *clusterNode) loadSnapshot() error {
	n.state, n.next = nil, n.voter.Snapshot().EndOffset
	if n.next == 0 {
		return nil
	}
	return n.voter.ReadSnapshot(func(r []byte) error { n.state = append(n.state, string(r)); return nil })
}

// crash ends the process; what its disk has is left as after kill -9 or a power loss.
func (n *clusterNode) crash() {
	if n.c.oneIn(2) {
		n.mem = n.mem.KillClone()
	} else {
		n.mem = n.mem.CrashClone(env.NewSeededRandom(n.c.random.Uint64()))
	}
	n.voter, n.restart = nil, n.c.now+1+n.c.random.IntN(60)
	n.c.count["crash"]++
	n.c.note("node %d crashes, its disk has failed: %v", n.spec.NodeID, n.disk.Failed())
}

// failed reports whether err ended the process, which is right only if its disk has failed.
func (n *clusterNode) failed(err error) bool {
	if err == nil {
		return false
	}
	if !n.disk.Failed() {
		n.c.check(fmt.Errorf("step %d: node %d: %w", n.c.now, n.spec.NodeID, err))
	}
	n.crash()
	return true
}

func (n *clusterNode) start() {
	n.c.count["start"]++
	err := n.open(nil)
	if errors.Is(err, ErrNotFormed) {
		n.join()
		return
	}
	if err != nil {
		if n.voter != nil {
			n.failed(err)
			return
		}
		if !n.disk.Failed() {
			n.c.check(fmt.Errorf("step %d: node %d does not start: %w", n.c.now, n.spec.NodeID, err))
		}
		n.crash()
		return
	}
	n.process()
}

// join fetches the newest snapshot of a node that is up.
func (n *clusterNode) join() {
	n.restart = n.c.now + 5
	from := n.c.nodes[n.c.random.IntN(len(n.c.nodes))]
	if from.voter == nil || n.c.cut[[2]int{from.at, n.at}] {
		return
	}
	page, err := from.voter.Committed(NoPosition, 500)
	if from.failed(err) {
		return
	}
	r, err := Receive(vfs.NewFault(n.mem, n.disk.Decide), "/data", *page.Snapshot)
	if err == nil {
		for err == nil {
			var data []byte
			var size int64
			if data, size, err = (SnapshotFile{from.mem, "/data"}).ReadAt(r.ID(), r.Position(), 100); err == nil {
				if r.Position() == size {
					break
				}
				err = r.Write(data)
			}
		}
		if err == nil {
			if err = r.Check(ignored); err == nil {
				err = r.Join()
			}
		}
	}
	if err != nil && !n.disk.Failed() {
		n.c.check(err)
	}
	if err != nil {
		n.crash()
	}
	n.c.count["join"]++
}

// process does what the voter asks for.
func (n *clusterNode) process() {
	c := n.c
	out, err := n.voter.Process(testNowMs)
	for _, b := range out.Committed {
		c.check(n.commit(b))
	}
	if out.VotersChanged && n.voter != nil {
		c.note("node %d has voters %s at %d", n.spec.NodeID, namesOf(n.voter.Voters()), n.voter.log.sets[len(n.voter.log.sets)-1].index)
	}
	if n.failed(err) {
		return
	}
	for _, m := range out.Messages {
		for range 1 + c.random.IntN(8)/7 { // some come twice
			c.queue = append(c.queue, inFlight{c.now + 1 + c.random.IntN(4)*c.random.IntN(4), n.at, m.To, m.Data})
		}
	}
	if l := n.voter.Leadership(); l.IsSelf {
		if other, ok := c.leaderOf[l.Epoch]; ok && other != n.spec.NodeID {
			c.check(fmt.Errorf("nodes %d and %d lead in epoch %d", other, n.spec.NodeID, l.Epoch))
		}
		if c.leaderOf[l.Epoch] == 0 {
			c.note("node %d leads in epoch %d by voters %s, last %+v", n.spec.NodeID, l.Epoch, namesOf(n.voter.Voters()), n.voter.LastPosition())
		}
		c.leaderOf[l.Epoch] = n.spec.NodeID
	} else if out.LeadershipChanged && (l.LeaderID != n.office.LeaderID || l.Epoch != n.office.Epoch) {
		clear(n.tickets)
	}
	if offer := out.Snapshot; offer != nil && n.fetch == nil {
		i := slices.IndexFunc(c.nodes, func(o *clusterNode) bool { return PeerID(o.spec.DirectoryID) == offer.From })
		if i >= 0 {
			n.beginFetch(c.nodes[i], offer.ID)
		}
	}
}

func (n *clusterNode) commit(b Committed) error {
	c := n.c
	if b.BaseOffset != n.next {
		return fmt.Errorf("node %d: offset %d committed after offset %d", n.spec.NodeID, b.BaseOffset, n.next-1)
	}
	n.next = b.LastOffset + 1
	seen := committedBatch{b.BaseOffset, b.LastOffset, b.Epoch, fmt.Sprintf("%q", b.Records)}
	at, ok := c.byOffset[b.BaseOffset]
	if !ok {
		c.byOffset[b.BaseOffset] = len(c.history)
		c.history = append(c.history, seen)
	} else if c.history[at] != seen {
		return fmt.Errorf("node %d has committed %+v, before it was %+v", n.spec.NodeID, seen, c.history[at])
	}
	for _, r := range b.Records {
		if string(r) != string(electionRecord) {
			n.state = append(n.state, string(r))
		}
	}
	if offset, ok := n.office.offsets[b.Ticket]; ok && offset != b.BaseOffset {
		return fmt.Errorf("node %d: the controller's change is at offset %d, in office %+v it should be at %d", n.spec.NodeID, b.BaseOffset, n.office.Leadership, offset)
	}
	if value, ok := n.tickets[b.Ticket]; ok {
		delete(n.tickets, b.Ticket)
		if !slices.Contains(n.state, value) {
			return fmt.Errorf("node %d: ticket %d is done, but %q is not there", n.spec.NodeID, b.Ticket, value)
		}
		c.acked[value] = true
	}
	return nil
}

func (n *clusterNode) beginFetch(from *clusterNode, id SnapshotID) {
	r, err := Receive(vfs.NewFault(n.mem, n.disk.Decide), "/data", id)
	if n.failed(err) {
		return
	}
	n.fetch = &fetchUnderWay{r, from}
}

// goOnFetching gets a piece of a snapshot, or gives up where the other node does not answer.
func (n *clusterNode) goOnFetching() {
	f := n.fetch
	if f.from.voter == nil || n.c.cut[[2]int{f.from.at, n.at}] {
		n.fetch = nil
		n.failed(f.to.Discard())
		return
	}
	data, size, err := SnapshotFile{f.from.mem, "/data"}.ReadAt(f.to.ID(), f.to.Position(), 1000)
	if errors.Is(err, fs.ErrNotExist) { // it has a newer one
		n.fetch = nil
		n.failed(f.to.Discard())
		return
	}
	if f.to.Position() < size {
		if n.failed(f.to.Write(data)) {
			return
		}
	}
	if f.to.Position() < size {
		return
	}
	n.fetch = nil
	if n.job != nil {
		n.failed(f.to.Discard())
		return
	}
	if n.failed(f.to.Check(ignored)) {
		return
	}
	installed, err := n.voter.Install(f.to)
	if n.failed(err) || !installed || n.failed(n.loadSnapshot()) {
		return
	}
	n.c.count["install"]++
	n.c.note("node %d has installed %+v: voters %s", n.spec.NodeID, n.voter.Snapshot(), namesOf(n.voter.Voters()))
	n.process()
}

// pull is what an observer does.
func (n *clusterNode) pull() {
	c := n.c
	from := c.nodes[c.random.IntN(len(c.nodes))]
	n.pulls = c.now + 1 + c.random.IntN(4)
	if n.voter.IsVoter() {
		n.pulls += 60
	}
	if from == n || from.voter == nil || c.cut[[2]int{from.at, n.at}] || c.cut[[2]int{n.at, from.at}] || from.paused > c.now {
		return
	}
	after := n.voter.LastPosition()
	if n.fallBack {
		after = n.voter.CommittedPosition()
	}
	page, err := from.voter.Committed(after, 500)
	if from.failed(err) {
		return
	}
	n.fallBack = page.Diverging
	if page.Snapshot != nil && n.fetch == nil && n.voter.Needs(*page.Snapshot) {
		n.beginFetch(from, *page.Snapshot)
		return
	}
	if n.failed(n.voter.Observe(page)) {
		return
	}
	n.process()
	c.count["pull"]++
}

// snapshot writes one, or finishes the one that was written in the step before.
func (n *clusterNode) snapshot() {
	if n.job != nil {
		job := n.job
		n.job = nil
		n.failed(n.voter.FinishSnapshot(job))
		return
	}
	job, err := n.voter.BeginSnapshot(n.next - 1)
	if n.failed(err) || job == nil {
		return
	}
	state := slices.Clone(n.state)
	err = job.Write(testNowMs, func(emit func([]byte) error) error {
		for _, value := range state {
			if err := emit([]byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if n.failed(err) {
		return
	}
	n.job = job
	n.c.count["snapshot"]++
}

// act lets a node do something that clients or operators ask for.
func (n *clusterNode) act() {
	c := n.c
	if n.job != nil || n.fetch == nil && c.oneIn(60) {
		n.snapshot()
	}
	if n.voter == nil || !n.voter.Leadership().IsSelf {
		return
	}
	if c.oneIn(3) {
		value := fmt.Sprintf("value-%d", c.nextValue)
		c.nextValue++
		n.propose(value)
	}
	if !c.healing && c.oneIn(40) {
		n.changeVoters()
	}
	if !c.healing && c.oneIn(200) {
		c.check(n.voter.TransferLeadership(PeerID(c.nodes[c.random.IntN(len(c.nodes))].spec.DirectoryID)))
		c.count["transfer"]++
		if c.offices {
			n.propose(fmt.Sprintf("value-%d", c.nextValue)) // which must be refused, or be behind those before
			c.nextValue++
		}
	}
}

// propose is what a controller does: it begins each office with all that is committed.
func (n *clusterNode) propose(value string) {
	if l := n.voter.Leadership(); l.IsSelf && l != n.office.Leadership {
		if l.StartOffset != n.next {
			n.c.check(fmt.Errorf("node %d: office %+v begins, offset %d is the last that is committed", n.spec.NodeID, l, n.next-1))
		}
		n.office = office{l, l.StartOffset, map[uint64]int64{}}
		n.c.count["office"]++
	}
	at := n.office.next
	n.office.next += 2 // what comes next rests on this, before it is known whether it was taken
	ticket, err := n.voter.Propose([][]byte{[]byte(value), []byte("and " + value)}, testNowMs)
	if err != nil {
		n.c.count["refused"]++
		return
	}
	n.tickets[ticket], n.office.offsets[ticket] = value, at
}

func (n *clusterNode) changeVoters() {
	c := n.c
	voters := n.voter.Voters()
	other := c.nodes[c.random.IntN(len(c.nodes))]
	var err error
	switch {
	case len(voters) > 3 || len(voters) > 1 && c.oneIn(3):
		gone := voters[c.random.IntN(len(voters))]
		// Who has lost its disk goes first.
		for _, v := range voters {
			if c.nodes[v.NodeID-1].spec.DirectoryID != v.DirectoryID {
				gone = v
			}
		}
		_, err = n.voter.RemoveVoter(gone.NodeID, gone.DirectoryID, testNowMs)
	case other.voter != nil && other.next > n.next-20: // it has caught up
		_, err = n.voter.AddVoter(other.spec, testNowMs)
	default:
		updated := voters[c.random.IntN(len(voters))]
		updated.Listeners = []VoterListener{{Name: "CONTROLLER", Host: "localhost", Port: uint16(c.random.IntN(1 << 16))}}
		_, err = n.voter.UpdateVoter(updated, testNowMs)
	}
	if err == nil {
		c.count["voters changed"]++
		c.note("node %d proposes a change of the voters %s behind %+v", n.spec.NodeID, namesOf(voters), n.voter.LastPosition())
	}
}
