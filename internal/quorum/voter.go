package quorum

import (
	"encoding/binary"
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
	// Self is this node. An empty folder bootstraps with it as the one voter.
	Self VoterSpec
	// SegmentBytes is metadata.log.segment.bytes.
	SegmentBytes int64
	Logger       *slog.Logger
	NowMs        int64
}

// Committed is a committed batch; Ticket is Propose's result if this voter proposed it, else 0.
type Committed struct {
	Batch
	Ticket uint64
}

// Output is what Process found out.
type Output struct {
	Committed []Committed
	// LeadershipChanged says that Leadership has another value now. When this voter leads no
	// longer, none of its outstanding tickets will appear.
	LeadershipChanged bool
}

// Voter is one member of the metadata quorum. Its owner calls one method at a time; after an
// error of Process the Voter is of no more use than to be closed.
type Voter struct {
	log        *metadataLog
	node       *raft.RawNode
	self       VoterSpec
	leadership Leadership
	// changeTerm is the term for which this voter proposed a LeaderChange, changeTicket its ticket.
	changeTerm   uint64
	changeTicket uint64
	proposals    []proposal // not yet committed, in order
	lastTicket   uint64
}

// proposal is a batch that this voter has proposed as leader.
type proposal struct {
	ticket uint64
	index  uint64 // 0 until Raft hands the entry out for storing
}

// Open recovers the voter of a log dir, or bootstraps an empty one.
func Open(o Options) (*Voter, error) {
	log, err := openLog(o)
	if err != nil {
		return nil, err
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID:      raftID(o.Self.DirectoryID),
		Storage: log,
		Applied: log.newest.RaftIndex,
		// Ticks matter only between voters; one voter campaigns when its host tells it to.
		ElectionTick:              10,
		HeartbeatTick:             1,
		MaxSizePerMsg:             1 << 20,
		MaxCommittedSizePerReady:  applyBytes,
		MaxUncommittedEntriesSize: maxUncommittedBytes,
		MaxInflightMsgs:           256,
		CheckQuorum:               true,
		PreVote:                   true,
		// Only what this node's controller computed on its own image may be proposed here.
		DisableProposalForwarding: true,
		Logger:                    raftLogger{o.Logger},
	})
	if err != nil {
		return nil, errors.Join(err, log.close())
	}
	v := &Voter{log: log, node: node, self: o.Self}
	v.leadership = Leadership{LeaderID: kafka.NoLeader, Epoch: int32(log.state.term)}
	return v, nil
}

// raftID folds a directory id into Raft's 64 bits. A voter whose disk was replaced has another
// directory id and so is another member to Raft: ids are never used again.
func raftID(directory kafka.UUID) uint64 {
	id := binary.BigEndian.Uint64(directory[:8]) ^ binary.BigEndian.Uint64(directory[8:])
	if id == raft.None || raft.IsLocalMsgTarget(id) {
		id = uint64(directory[15]) + 1
	}
	return id
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

// Campaign asks for leadership now, without waiting for an election time-out.
func (v *Voter) Campaign() error { return v.node.Campaign() }

// Propose hands Raft a batch of encoded metadata records to be committed as a whole, and
// returns the ticket with which Process will report it. Process must run before it is stored.
func (v *Voter) Propose(records [][]byte, nowMs int64) (uint64, error) {
	if !v.leadership.IsSelf {
		return 0, errNotLeader()
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
	v.lastTicket++
	v.proposals = append(v.proposals, proposal{ticket: v.lastTicket})
	return v.lastTicket, nil
}

// Process stores what Raft wants stored, in one fsync where several entries are waiting, and
// returns what became committed. It returns when Raft has nothing more to do.
func (v *Voter) Process(nowMs int64) (out Output, err error) {
	defer func() {
		// The library panics when its storage fails; the failure itself is in the log.
		if r := recover(); r != nil {
			if _, fromRaft := r.(raftPanic); !fromRaft || v.log.failure == nil {
				panic(r)
			}
			err = v.log.failure
		}
	}()
	before := v.leadership
	for v.node.HasReady() {
		if err := v.store(&out); err != nil {
			return out, err
		}
		if err := v.announceLeadership(nowMs); err != nil {
			return out, err
		}
	}
	out.LeadershipChanged = v.leadership != before
	return out, nil
}

// store carries out one Ready: term and vote, then entries, then what is committed.
func (v *Voter) store(out *Output) error {
	ready := v.node.Ready()
	if !raft.IsEmptyHardState(ready.HardState) {
		if err := v.log.state.save(ready.GetTerm(), ready.GetVote()); err != nil {
			v.log.failure = errors.Join(v.log.failure, err)
			return err
		}
	}
	if len(ready.Entries) > 0 {
		v.matchProposals(ready.Entries)
		if err := v.log.append(ready.Entries); err != nil {
			return err
		}
	}
	for _, entry := range ready.CommittedEntries {
		if err := v.commit(entry, out); err != nil {
			return err
		}
	}
	v.node.Advance(ready)
	return nil
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
	if len(entry.GetData()) > 0 {
		b := record.Batch(entry.GetData())
		if !b.IsControl() {
			c.Records = make([][]byte, 0, b.Count())
			for r, err := range b.Records(math.MaxInt32) {
				if err != nil {
					return fmt.Errorf("metadata batch at offset %d: %w", info.baseOffset, err)
				}
				c.Records = append(c.Records, append([]byte(nil), r.Value...))
			}
		}
	}
	if c.Ticket != 0 && c.Ticket == v.changeTicket && v.changeTerm == uint64(info.epoch) && v.leadership.Epoch == info.epoch && v.leadership.LeaderID == v.self.NodeID {
		v.leadership.IsSelf, v.leadership.StartOffset = true, c.LastOffset+1
	}
	out.Committed = append(out.Committed, c)
	return nil
}

// announceLeadership notices a change of leader; a new leader at once proposes the LeaderChange
// that Kafka's log has, so that it is stored together with Raft's own first entry.
func (v *Voter) announceLeadership(nowMs int64) error {
	status := v.node.BasicStatus()
	leader := v.nodeOf(status.Lead)
	if term := int32(status.GetTerm()); leader != v.leadership.LeaderID || term != v.leadership.Epoch {
		v.leadership = Leadership{LeaderID: leader, Epoch: term}
		v.proposals = nil
	}
	if status.RaftState != raft.StateLeader || v.changeTerm == status.GetTerm() {
		return nil
	}
	v.changeTerm = status.GetTerm()
	var voters []record.LeaderChangeVoter
	for _, voter := range v.log.newest.Voters {
		voters = append(voters, record.LeaderChangeVoter{ID: voter.NodeID, DirectoryID: voter.DirectoryID})
	}
	// Raft does not tell which voters granted their vote; in a quorum of one it is all of them.
	// Version 0, as in Kafka, whose reader knows no other although there is one (4.3).
	change := record.LeaderChange{Version: 0, LeaderID: v.self.NodeID, Voters: voters, GrantingVoters: voters}
	batch, err := record.BuildControl(record.NoProducer(record.CodecNone), nowMs, record.ControlLeaderChange, change.Encode())
	if err != nil {
		return err
	}
	v.changeTicket, err = v.propose(batch)
	return err
}

func (v *Voter) nodeOf(id uint64) int32 {
	for _, voter := range v.log.newest.Voters {
		if id != raft.None && raftID(voter.DirectoryID) == id {
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
