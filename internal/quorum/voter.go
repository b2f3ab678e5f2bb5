package quorum

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

const (
	// MaxBatchBytes is the largest batch that Propose takes: Kafka's limit for the metadata log.
	MaxBatchBytes = 8 << 20
	// maxUncommittedBytes bounds what a leader holds that a quorum has not confirmed.
	maxUncommittedBytes = 64 << 20
	// applyBytes bounds how much of the log one step of the replay reads into memory.
	applyBytes = 4 << 20
)

// Options is what a Voter needs.
type Options struct {
	FS vfs.FS
	// LogDir is metadata.log.dir, or the first of log.dirs; the log is in MetadataFolder below it.
	LogDir string
	// Self is this node.
	Self VoterSpec
	// Form are the voters that an empty folder begins a new quorum with. Without them Open of an
	// empty folder fails with ErrNotFormed: the node has to learn of the quorum that is there (Receive).
	Form []VoterSpec
	// SegmentBytes is metadata.log.segment.bytes.
	SegmentBytes int64
	// HeartbeatTicks and ElectionTicks say after how many calls of Tick a leader tells that it is
	// there, and a voter that has not heard of it campaigns.
	HeartbeatTicks int
	ElectionTicks  int
	Logger         *slog.Logger
	NowMs          int64
}

// Committed is a committed batch; Ticket is Propose's result if this voter proposed it, else 0.
type Committed struct {
	Batch
	Ticket uint64
}

// Output is what Process found out.
type Output struct {
	Committed []Committed
	// Messages are to be sent; everything that they rest on is durable.
	Messages []Message
	// LeadershipChanged says that Leadership has another value now. When this voter leads no
	// longer, none of its outstanding tickets will appear.
	LeadershipChanged bool
	// VotersChanged says that Voters has another value now.
	VotersChanged bool
	// Snapshot is one that has to be fetched (Receive) and installed (Install). The one that is being
	// fetched may be offered again.
	Snapshot *SnapshotOffer
}

// Voter is one member of the metadata quorum, or an observer of it. Its owner calls one method at a
// time; after an error of Process the Voter is of no more use than to be closed.
type Voter struct {
	o          Options
	log        *metadataLog
	node       *raft.RawNode
	leadership Leadership
	// leadershipChanged and votersChanged are for the next Output.
	leadershipChanged bool
	votersChanged     bool
	committed         uint64 // index of the last entry that was handed out
	// changeTerm is the term for which this voter proposed a LeaderChange.
	changeTerm uint64
	lastOffice uint64
	// transferTo is the voter that is to take over once what was proposed is committed; 0 for none.
	transferTo uint64
	// votersTicket is that of the change of the voters that is not committed yet.
	votersTicket uint64
	proposals    []proposal // not yet committed, in order
	lastTicket   uint64
	grants       grants
	// snapshotsSent counts the ticks since a voter was offered a snapshot.
	snapshotsSent map[uint64]int
	holdsBack     bool
	offer         *SnapshotOffer  // for the next Output
	offered       *raftpb.Message // Raft's message of it
}

// proposal is a batch that this voter has proposed as leader.
type proposal struct {
	ticket uint64
	index  uint64 // 0 until Raft hands the entry out for storing
}

// Open recovers the voter of a log dir, or forms a quorum in an empty one.
func Open(o Options) (*Voter, error) {
	v := &Voter{o: o}
	if err := v.open(); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Voter) open() error {
	log, err := openLog(v.o)
	if err != nil {
		return err
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID:                        PeerID(v.o.Self.DirectoryID),
		Storage:                   log,
		Applied:                   log.newest.RaftIndex,
		ElectionTick:              v.o.ElectionTicks,
		HeartbeatTick:             v.o.HeartbeatTicks,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  applyBytes,
		MaxUncommittedEntriesSize: maxUncommittedBytes,
		MaxInflightMsgs:           256,
		CheckQuorum:               true,
		PreVote:                   true,
		StepDownOnRemoval:         true,
		// Only what this node's controller computed on its own image may be proposed here.
		DisableProposalForwarding: true,
		Logger:                    raftLogger{v.o.Logger},
	})
	if err != nil {
		return errors.Join(err, log.close())
	}
	v.log, v.node, v.committed, v.snapshotsSent = log, node, log.newest.RaftIndex, map[uint64]int{}
	v.proposals, v.votersTicket, v.transferTo, v.offer = nil, 0, raft.None, nil
	v.leadership = Leadership{LeaderID: kafka.NoLeader, Epoch: int32(log.state.term)}
	return nil
}

// Snapshot names the newest snapshot.
func (v *Voter) Snapshot() SnapshotID { return v.log.newest.ID }

// ReadSnapshot emits the metadata records of the newest snapshot, checking the whole file.
func (v *Voter) ReadSnapshot(emit func(record []byte) error) error {
	_, err := readSnapshot(v.log.fs, v.log.dir.Path(), v.log.newest.ID, emit)
	return err
}

// Leadership says who leads as far as this voter knows.
func (v *Voter) Leadership() Leadership { return v.leadership }

// LogEndOffset is the offset after the last record of the log.
func (v *Voter) LogEndOffset() int64 { return v.log.nextOffset }

// BytesSinceSnapshot is the size of the log after the newest snapshot.
func (v *Voter) BytesSinceSnapshot() int64 { return v.log.bytesSinceSnapshot }

// Campaign asks for leadership now, without waiting for an election time-out. With pre-vote it does
// no harm where the others hear from a leader.
func (v *Voter) Campaign() error { return v.guard(v.node.Campaign) }

// ForgetLeader makes this voter ready to vote at once, because its leader is known to be dead.
func (v *Voter) ForgetLeader() error { return v.guard(v.node.ForgetLeader) }

// TransferLeadership ends the controller's office and, once everything that it has proposed is committed,
// asks another voter to take over. If that does not within an election time-out, another office begins here.
func (v *Voter) TransferLeadership(to uint64) error {
	if v.node.BasicStatus().RaftState == raft.StateLeader {
		v.transferTo = to
		v.endOffice()
	}
	return nil
}

// endOffice makes the controller begin again from what is committed: because something else gets into the
// log, or because a proposal of it did not, on which it rests later ones.
func (v *Voter) endOffice() {
	if v.leadership.IsSelf {
		v.leadership = Leadership{LeaderID: v.leadership.LeaderID, Epoch: v.leadership.Epoch}
		v.leadershipChanged = true
	}
}

// takeOffice lets the controller act, where this voter leads and nothing in its log is uncommitted.
func (v *Voter) takeOffice() {
	status := v.node.BasicStatus()
	if v.leadership.IsSelf || status.RaftState != raft.StateLeader || v.changeTerm != status.GetTerm() || len(v.proposals) > 0 || status.LeadTransferee != raft.None {
		return
	}
	v.lastOffice++
	v.leadership.IsSelf, v.leadership.StartOffset, v.leadership.Office = true, v.log.nextOffset, v.lastOffice
}

// handOver asks the voter that is to take over, when nothing waits any more.
func (v *Voter) handOver() (asked bool) {
	if v.transferTo == raft.None || len(v.proposals) > 0 {
		return false
	}
	v.node.TransferLeader(v.transferTo)
	v.transferTo = raft.None
	return true
}

// Tick tells that time has passed.
func (v *Voter) Tick() error {
	return v.guard(func() error {
		v.node.Tick()
		v.retrySnapshots()
		return nil
	})
}

// Propose hands Raft a batch of encoded metadata records to be committed as a whole, and
// returns the ticket with which Process will report it. Process must run before it is stored. An error
// ends the office of Leadership.
func (v *Voter) Propose(records [][]byte, nowMs int64) (ticket uint64, err error) {
	if !v.leadership.IsSelf {
		return 0, errNotLeader()
	}
	defer func() {
		if err != nil {
			v.endOffice()
		}
	}()
	if len(records) == 1 && string(records[0]) == string(electionRecord) {
		return 0, errors.New("BUG: a batch of one NoOpRecord is what begins an epoch")
	}
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	for _, r := range records {
		b.Append(nowMs, nil, r, nil)
	}
	if b.UncompressedBytes() > MaxBatchBytes {
		return 0, kafka.Errorf(kafka.ErrRecordListTooLarge,
			"the change needs a metadata batch of %d bytes; at most %d are allowed: split the request", b.UncompressedBytes(), MaxBatchBytes)
	}
	batch, err := b.Build()
	if err != nil {
		return 0, err
	}
	return v.propose(batch)
}

func (v *Voter) propose(batch record.Batch) (uint64, error) {
	if err := v.node.Propose(batch); err != nil {
		return 0, errors.Join(errNotLeader(), err)
	}
	return v.proposed(), nil
}

func (v *Voter) proposed() (ticket uint64) {
	v.lastTicket++
	v.proposals = append(v.proposals, proposal{ticket: v.lastTicket})
	return v.lastTicket
}

// guard turns the library's panics into errors: it has no other way to say that its storage fails,
// the reason of which is in the log, or that what it was told cannot be.
func (v *Voter) guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			p, fromRaft := r.(raftPanic)
			if !fromRaft {
				panic(r)
			}
			if err = v.log.failure; err == nil {
				err = fmt.Errorf("the metadata quorum's state makes no sense: %s", p.message)
			}
		}
	}()
	return f()
}

// Process stores what Raft wants stored, in one fsync where several entries are waiting, and
// returns what became committed and what is to be sent. It returns when Raft has nothing more to do.
func (v *Voter) Process(nowMs int64) (out Output, err error) {
	before := v.leadership
	err = v.guard(func() error {
		for v.node.HasReady() || v.handOver() {
			if !v.node.HasReady() {
				continue
			}
			if err := v.store(&out); err != nil {
				return err
			}
			if err := v.announceLeadership(nowMs); err != nil {
				return err
			}
		}
		v.takeOffice()
		return nil
	})
	out.LeadershipChanged = v.leadership != before || v.leadershipChanged
	out.VotersChanged, out.Snapshot = v.votersChanged, v.offer
	v.offer, v.leadershipChanged, v.votersChanged = nil, false, false
	return out, err
}

// store carries out one Ready: term and vote, then entries, then what may leave, then what is committed.
func (v *Voter) store(out *Output) error {
	ready := v.node.Ready()
	if !raft.IsEmptySnap(ready.Snapshot) {
		return errors.New("BUG: Raft restores a snapshot by itself")
	}
	commit := v.node.BasicStatus().GetCommit()
	if !raft.IsEmptyHardState(ready.HardState) {
		if err := v.log.state.save(ready.GetTerm(), ready.GetVote(), commitBefore(ready.Entries, commit)); err != nil {
			v.log.failure = errors.Join(v.log.failure, err)
			return err
		}
	}
	if err := v.append(ready.Entries, commit); err != nil {
		return err
	}
	if err := v.send(ready.Messages, out); err != nil {
		return err
	}
	for _, entry := range ready.CommittedEntries {
		if err := v.commit(entry, out); err != nil {
			return err
		}
	}
	v.node.Advance(ready)
	return nil
}

// commitBefore is how far the log is committed before entries are appended: they may replace others.
func commitBefore(entries []*raftpb.Entry, commit uint64) uint64 {
	if len(entries) == 0 {
		return commit
	}
	return min(commit, entries[0].GetIndex()-1)
}

// append stores entries. The commit index is made durable before a change of the voters is stored:
// the leader proposes one only after it has applied the one before, so that is committed, and a restart
// counts votes as after one of the last two changes. With two changes more between them, quorums need not overlap.
func (v *Voter) append(entries []*raftpb.Entry, commit uint64) error {
	for len(entries) > 0 {
		if changesVoters(entries[0]) {
			if err := v.saveCommit(commitBefore(entries, commit)); err != nil {
				return err
			}
		}
		end := 1
		for end < len(entries) && !changesVoters(entries[end]) {
			end++
		}
		v.matchProposals(entries[:end])
		if err := v.log.append(entries[:end]); err != nil {
			return err
		}
		entries = entries[end:]
	}
	return nil
}

func changesVoters(e *raftpb.Entry) bool { return e.GetType() == raftpb.EntryConfChangeV2 }

func (v *Voter) saveCommit(index uint64) error {
	err := v.log.state.saveCommit(index)
	v.log.failure = errors.Join(v.log.failure, err)
	return err
}

// matchProposals gives the proposals their index. Raft hands entries out once and in order; those
// of an epoch in which this voter leads are its own proposals, except the empty one.
func (v *Voter) matchProposals(entries []*raftpb.Entry) {
	next := 0
	for next < len(v.proposals) && v.proposals[next].index != 0 {
		next++
	}
	for _, e := range entries {
		if next < len(v.proposals) && len(e.GetData()) > 0 && e.GetTerm() == v.changeTerm {
			v.proposals[next].index = e.GetIndex()
			next++
		}
	}
}

func (v *Voter) commit(entry *raftpb.Entry, out *Output) error {
	index := entry.GetIndex()
	info := v.log.entry(index)
	c := Committed{Batch: Batch{BaseOffset: info.baseOffset, LastOffset: v.log.endOffset(index) - 1, Epoch: info.epoch}}
	if len(v.proposals) > 0 && v.proposals[0].index == index {
		c.Ticket = v.proposals[0].ticket
		v.proposals = v.proposals[1:]
	}
	v.committed = index
	data, err := batchOf(entry)
	if err != nil {
		return err
	}
	if b := data; len(b) > 0 && !b.IsControl() {
		c.Records = make([][]byte, 0, b.Count())
		for r, err := range b.Records(math.MaxInt32) {
			if err != nil {
				return fmt.Errorf("metadata batch at offset %d: %w", info.baseOffset, err)
			}
			c.Records = append(c.Records, append([]byte(nil), r.Value...))
		}
	}
	if changesVoters(entry) {
		change, err := parseVoterChange(data)
		if err != nil {
			return fmt.Errorf("metadata batch at offset %d: %w", info.baseOffset, err)
		}
		if err := v.saveCommit(index); err != nil {
			return err
		}
		v.applyVoters(index, change)
		if c.Ticket == v.votersTicket {
			v.votersTicket = 0
		}
	}
	out.Committed = append(out.Committed, c)
	return nil
}

// announceLeadership notices a change of leader; a new leader at once proposes the LeaderChange
// that Kafka's log has, so that it is stored together with Raft's own first entry.
func (v *Voter) announceLeadership(nowMs int64) error {
	status := v.node.BasicStatus()
	if status.Lead == raft.None && !v.IsVoter() && v.leadership.LeaderID != v.o.Self.NodeID {
		// Observe knows the leader, unless there has been a later one: this node's pages are of the epoch that it knows,
		// which none of their batches may exceed.
		if last := v.LastPosition().Epoch; v.leadership.Epoch < last {
			v.leadership = Leadership{LeaderID: kafka.NoLeader, Epoch: last}
		}
		return nil
	}
	leader := v.nodeOf(status.Lead)
	if term := int32(status.GetTerm()); leader != v.leadership.LeaderID || term != v.leadership.Epoch {
		v.leadership = Leadership{LeaderID: leader, Epoch: term}
		v.proposals, v.votersTicket, v.transferTo = nil, 0, raft.None
	}
	if status.RaftState != raft.StateLeader || v.changeTerm == status.GetTerm() {
		return nil
	}
	v.changeTerm = status.GetTerm()
	var voters, granting []record.LeaderChangeVoter
	for _, voter := range v.Voters() {
		one := record.LeaderChangeVoter{ID: voter.NodeID, DirectoryID: voter.DirectoryID}
		voters = append(voters, one)
		if id := PeerID(voter.DirectoryID); voter.DirectoryID == v.o.Self.DirectoryID || v.grants.term == v.changeTerm && v.grants.from[id] {
			granting = append(granting, one)
		}
	}
	// Version 0, as in Kafka, whose reader knows no other although there is one (4.3).
	change := record.LeaderChange{Version: 0, LeaderID: v.o.Self.NodeID, Voters: voters, GrantingVoters: granting}
	batch, err := record.BuildControl(record.NoProducer(record.CodecNone), nowMs, record.ControlLeaderChange, change.Encode())
	if err != nil {
		return err
	}
	_, err = v.propose(batch)
	return err
}

func (v *Voter) nodeOf(id uint64) int32 {
	for _, voter := range v.Voters() {
		if id != raft.None && PeerID(voter.DirectoryID) == id {
			return voter.NodeID
		}
	}
	return kafka.NoLeader
}

// BeginSnapshot prepares a snapshot of an image whose last record is at lastOffset. It returns nil
// if the newest snapshot is as new already.
func (v *Voter) BeginSnapshot(lastOffset int64) (*SnapshotJob, error) {
	return v.log.beginSnapshot(lastOffset + 1)
}

// FinishSnapshot is called when the job's Write has succeeded: older snapshots and the log before
// the oldest one kept are removed.
func (v *Voter) FinishSnapshot(job *SnapshotJob) error { return v.log.finishSnapshot(job.info) }

// Close makes the log's end durable and closes the files.
func (v *Voter) Close() error { return v.log.close() }
