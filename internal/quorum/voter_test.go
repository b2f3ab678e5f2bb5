package quorum

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

const testNowMs = 1_700_000_000_000

var testSelf = VoterSpec{NodeID: 1, DirectoryID: kafka.UUID{0: 0x11, 6: 0x40, 8: 0x80, 15: 7},
	Listeners: []VoterListener{{Name: "CONTROLLER", Host: "localhost", Port: 9093}}}

func testOptions(fsys vfs.FS) Options {
	return Options{FS: fsys, LogDir: "/data", Self: testSelf, Form: []VoterSpec{testSelf}, HeartbeatTicks: 1, ElectionTicks: 10, SegmentBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler), NowMs: testNowMs}
}

func mustMkdir(t *testing.T, fsys vfs.FS) {
	t.Helper()
	if err := fsys.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
}

// testVoter is a voter with what it has committed since it was opened.
type testVoter struct {
	*Voter
	snapshot  []string // the values of the newest snapshot at the start
	committed []Committed
}

func openVoter(fsys vfs.FS) (*testVoter, error) {
	v, err := Open(testOptions(fsys))
	if err != nil {
		return nil, err
	}
	tv := &testVoter{Voter: v}
	if err := v.ReadSnapshot(func(r []byte) error { tv.snapshot = append(tv.snapshot, string(r)); return nil }); err != nil {
		return nil, err
	}
	if err := v.Campaign(); err != nil {
		return tv, err
	}
	return tv, tv.process()
}

func mustOpen(t *testing.T, fsys vfs.FS) *testVoter {
	t.Helper()
	v, err := openVoter(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if l := v.Leadership(); !l.IsSelf {
		t.Fatalf("does not lead after the start: %+v", l)
	}
	return v
}

func (v *testVoter) process() error {
	out, err := v.Process(testNowMs)
	v.committed = append(v.committed, out.Committed...)
	return err
}

// propose commits one batch per value.
func (v *testVoter) propose(values ...string) error {
	for _, value := range values {
		if _, err := v.Propose([][]byte{[]byte(value)}, testNowMs); err != nil {
			return err
		}
	}
	return v.process()
}

// values are the record values of the snapshot and of what was committed, without elections.
func (v *testVoter) values() []string {
	all := slices.Clone(v.snapshot)
	for _, c := range v.committed {
		for _, r := range c.Records {
			if string(r) != string(electionRecord) {
				all = append(all, string(r))
			}
		}
	}
	return all
}

func TestBootstrapCommitAndRestart(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	v := mustOpen(t, mem)
	if l := v.Leadership(); l.Epoch != 1 || l.LeaderID != 1 || l.StartOffset != 2 {
		t.Fatalf("first leadership is %+v", l)
	}
	if err := v.propose("a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(v.values()); got != "[a b c]" {
		t.Fatalf("committed %s", got)
	}
	last := v.committed[len(v.committed)-1]
	if last.BaseOffset != 4 || last.LastOffset != 4 || last.Epoch != 1 || last.Ticket == 0 {
		t.Fatalf("last batch is %+v", last)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for restart := 2; restart < 5; restart++ {
		v = mustOpen(t, mem)
		if got := fmt.Sprint(v.values()); got != "[a b c]" {
			t.Fatalf("after restart %d: committed %s", restart, got)
		}
		if l := v.Leadership(); l.Epoch != int32(restart) {
			t.Fatalf("after restart %d: %+v", restart, l)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
