package quorum

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// threeVoters opens the first of three voters, whose messages come from nowhere.
func threeVoters(t testing.TB) *Voter {
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	o := testOptions(mem)
	for i := range byte(2) {
		o.Form = append(o.Form, VoterSpec{NodeID: int32(i) + 2, DirectoryID: kafka.UUID{0: 0x22 + i, 6: 0x40, 8: 0x80, 15: 7}})
	}
	v, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// FuzzStep feeds what comes from a socket to a voter: nothing may end the process, and what makes no
// sense is an ErrMessage.
func FuzzStep(f *testing.F) {
	v := threeVoters(f)
	for range 30 {
		if err := v.Tick(); err != nil {
			f.Fatal(err)
		}
		out, err := v.Process(testNowMs)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range out.Messages {
			f.Add(m.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v := threeVoters(t)
		defer v.Close()
		in, err := DecodeMessage(data, v.o.Self.DirectoryID)
		if err == nil && in.m.GetCommit() > 0 {
			return // the voter ends where the leader knows more of its log than there is
		}
		if err == nil {
			err = v.Step(in)
		}
		if err != nil && !errors.Is(err, ErrMessage) {
			t.Fatal(err)
		}
		if _, err := v.Process(testNowMs); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzObserve feeds pages to an observer.
func FuzzObserve(f *testing.F) {
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		f.Fatal(err)
	}
	source, err := openVoter(mem)
	if err != nil {
		f.Fatal(err)
	}
	if err := source.propose("a", "b"); err != nil {
		f.Fatal(err)
	}
	page, err := source.Committed(Position{}, 1000)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page.Batches, uint64(4), int32(1))
	f.Fuzz(func(t *testing.T, batches []byte, commit uint64, epoch int32) {
		v := threeVoters(t)
		defer v.Close()
		err := v.Observe(Page{Batches: batches, CommitIndex: commit, Epoch: epoch})
		if err != nil && !errors.Is(err, ErrMessage) {
			t.Fatal(err)
		}
		if _, err := v.Process(testNowMs); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMessagesThatMakeNoSense: what the Raft library and the log take for granted is checked before they get it, also where it would be
// found out later only, when the entry is committed or the voter is started again.
func TestMessagesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	v := threeVoters(t)
	defer v.Close()
	from := PeerID(v.Voters()[1].DirectoryID)
	data := func(m *raftpb.Message) []byte {
		m.To, m.From, m.Term = new(PeerID(v.o.Self.DirectoryID)), new(from), new(uint64(1))
		encoded, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	for _, kind := range []raftpb.EntryType{raftpb.EntryConfChangeV2, raftpb.EntryConfChange} {
		entries := []*raftpb.Entry{{Index: new(uint64(1)), Term: new(uint64(1)), Type: kind.Enum()}}
		if _, err := DecodeMessage(data(&raftpb.Message{Type: raftpb.MsgApp.Enum(), Entries: entries, Commit: new(uint64(1))}), v.o.Self.DirectoryID); !errors.Is(err, ErrMessage) {
			t.Errorf("an election of type %v, with which the process would end: %v", kind, err)
		}
	}
	snapshot := &raftpb.Snapshot{Data: encodeSnapshotID(SnapshotID{}), Metadata: &raftpb.SnapshotMetadata{ConfState: v.log.voters, Index: new(uint64(5)), Term: new(uint64(1))}}
	in, err := DecodeMessage(data(&raftpb.Message{Type: raftpb.MsgSnap.Enum(), Snapshot: snapshot}), v.o.Self.DirectoryID)
	if err == nil {
		err = v.Step(in)
	}
	if !errors.Is(err, ErrMessage) {
		t.Errorf("a snapshot whose file is not the one that Raft is told of: %v", err)
	}
	if _, err := v.Process(testNowMs); err != nil {
		t.Error(err)
	}
}

// TestAPageOfAnEarlierEpoch: no batch is of a later epoch than the voter that sends it, or the log would not open again.
func TestAPageOfAnEarlierEpoch(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	source := mustOpen(t, mem)
	defer source.Close()
	page, err := source.Committed(Position{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	page.Epoch--
	v := threeVoters(t)
	defer v.Close()
	if err := v.Observe(page); !errors.Is(err, ErrMessage) {
		t.Errorf("%v", err)
	}
}
