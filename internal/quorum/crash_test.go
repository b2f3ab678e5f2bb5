package quorum

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
)

// workload runs a voter through elections, groups of proposals, snapshots and restarts, and
// calls acked for each value when it is committed. It ends at the first disk fault.
func workload(fsys vfs.FS, acked func(value string)) (err error) {
	next := 0
	for range 3 {
		v, err := openVoter(fsys)
		if err != nil {
			return err
		}
		for step := range 4 {
			done := len(v.committed)
			var group []string
			for range 1 + 3*(step%2) {
				group = append(group, fmt.Sprintf("value-%03d-%s", next, strings.Repeat("x", 40*(next%40))))
				next++
			}
			if err := v.propose(group...); err != nil {
				return err
			}
			for _, c := range v.committed[done:] {
				for _, r := range c.Records {
					acked(string(r))
				}
			}
			if step == 2 {
				if err := takeSnapshot(v); err != nil {
					return err
				}
			}
		}
		if err := v.Close(); err != nil {
			return err
		}
	}
	return nil
}

// takeSnapshot writes a snapshot of everything committed.
func takeSnapshot(v *testVoter) error {
	values := v.values()
	job, err := v.BeginSnapshot(v.LogEndOffset() - 1)
	if err != nil {
		return err
	}
	err = job.Write(testNowMs, func(emit func([]byte) error) error {
		for _, value := range values {
			if err := emit([]byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := v.FinishSnapshot(job); err != nil {
		return err
	}
	v.snapshot, v.committed = values, nil
	return nil
}

// checkRecovered opens the log and checks that it begins with acked, in order, and that what
// follows was at least proposed.
func checkRecovered(t *testing.T, fsys vfs.FS, acked []string, what string) {
	t.Helper()
	v, err := openVoter(fsys)
	if err != nil {
		t.Fatalf("%s: does not start: %v", what, err)
	}
	got := v.values()
	if len(got) < len(acked) || !slices.Equal(got[:len(acked)], acked) {
		t.Fatalf("%s: acknowledged %d values, recovered %d: %.200q", what, len(acked), len(got), got)
	}
	for i, value := range got {
		if !strings.HasPrefix(value, fmt.Sprintf("value-%03d-", i)) {
			t.Fatalf("%s: value %d is %.40q", what, i, value)
		}
	}
	if err := v.propose(fmt.Sprintf("value-%03d-", len(got))); err != nil {
		t.Fatalf("%s: cannot go on: %v", what, err)
	}
	if err := v.Close(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestFailAtN lets every changing disk call of the workload fail in turn, whole or torn, and then
// kills the process or cuts the power: no acknowledged value may be lost, and the log must start.
func TestFailAtN(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := env.NewSeededRandom(seed)
	for _, torn := range []bool{false, true} {
		for n := int64(1); ; n++ {
			mem := vfs.NewMem()
			mustMkdir(t, mem)
			if err := mem.SyncDir("/"); err != nil {
				t.Fatal(err)
			}
			fault := &vfs.FailAt{N: n, Torn: torn}
			var acked []string
			err := workload(vfs.NewFault(mem, fault.Decide), func(value string) { acked = append(acked, value) })
			if err == nil && !fault.Failed() {
				break
			}
			if err != nil && !errors.Is(err, vfs.ErrInjected) {
				t.Fatalf("call %d, torn %v: %v", n, torn, err)
			}
			acked = slices.DeleteFunc(acked, func(value string) bool { return value == string(electionRecord) })
			slices.Sort(acked) // a restart in the workload commits again what it finds
			acked = slices.Compact(acked)
			checkRecovered(t, mem.KillClone(), acked, fmt.Sprintf("call %d, torn %v, kill", n, torn))
			for range 3 {
				checkRecovered(t, mem.CrashClone(random), acked, fmt.Sprintf("call %d, torn %v, power loss, seed %d", n, torn, seed))
			}
		}
	}
}

// TestSnapshotAfterAFailure: a snapshot that was being written when the log failed does not go on in a file that follows nothing.
func TestSnapshotAfterAFailure(t *testing.T) {
	t.Parallel()
	mem, fails := vfs.NewMem(), false
	mustMkdir(t, mem)
	v, err := openVoter(vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if fails && op == vfs.OpWrite && strings.HasSuffix(name, ".log") {
			return vfs.ErrInjected
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.propose("value-000-"); err != nil {
		t.Fatal(err)
	}
	job, err := v.BeginSnapshot(v.LogEndOffset() - 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := job.Write(testNowMs, func(emit func([]byte) error) error { return emit([]byte("value-000-")) }); err != nil {
		t.Fatal(err)
	}
	fails = true
	if err := v.propose("value-001-"); !errors.Is(err, vfs.ErrInjected) {
		t.Fatal(err)
	}
	_, before, _ := listLog(mem, v.log.dir.Path())
	if err := v.FinishSnapshot(job); !errors.Is(err, vfs.ErrInjected) {
		t.Errorf("after the log has failed: %v", err)
	}
	if _, after, _ := listLog(mem, v.log.dir.Path()); !slices.Equal(before, after) {
		t.Errorf("the log has the files %v, and had %v", after, before)
	}
}
