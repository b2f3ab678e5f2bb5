package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
)

var testSelf = quorum.VoterSpec{NodeID: 1, DirectoryID: kafka.UUID{5: 1}}

type testNode struct {
	*Node
	mu        sync.Mutex
	submitted []metadatahost.Batch
	faults    chan error
}

func startNode(t *testing.T, fsys vfs.FS) *testNode {
	t.Helper()
	n := &testNode{faults: make(chan error, 1)}
	var err error
	n.Node, err = Open(Options{
		FS: fsys, LogDir: "/data", Self: testSelf, Form: []quorum.VoterSpec{testSelf}, Clock: env.SystemClock{},
		Metrics: metrics.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SegmentBytes: 1 << 30, SnapshotMaxBytes: 2000,
		Image: func() *metadata.Image {
			image := *metadata.EmptyImage()
			image.Offset = n.HighWatermark() - 1
			return &image
		},
		Submit: func(_ context.Context, b metadatahost.Batch) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.submitted = append(n.submitted, b)
			return nil
		},
		OnLeadership: func(quorum.Leadership) {}, OnFault: func(err error) { n.faults <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Start(t.Context())
	t.Cleanup(n.Stop)
	synctest.Wait()
	return n
}

func newDisk(t *testing.T) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	return mem
}

func TestDoneFollowsTheOrderOfProposals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newDisk(t))
		office := n.Leadership().Office
		var done []string
		note := func(name string) func(int64, error) {
			return func(offset int64, err error) { done = append(done, fmt.Sprintf("%s %d %v", name, offset, err != nil)) }
		}
		for _, p := range []struct {
			name    string
			office  uint64
			records [][]byte
		}{
			{"first", office, [][]byte{{1}, {2}}},
			{"barrier", office, nil},
			{"old office", office - 1, [][]byte{{3}}},
			{"second", office, [][]byte{{4}}},
			{"end", office, nil},
		} {
			if err := n.ProposeAsync(t.Context(), p.office, p.records, note(p.name)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		at := 4 // with all of them in one group; the barrier is behind what was there when it was taken
		if len(done) > 1 && done[1] == "barrier 3 false" {
			at = 3
		}
		if want := []string{"first 3 false", fmt.Sprintf("barrier %d false", at), "old office 0 true", "second 4 false", "end 4 false"}; !slices.Equal(done, want) {
			t.Errorf("done: %q", done)
		}
		last := n.submitted[len(n.submitted)-1]
		if last.BaseOffset != 4 || last.LastOffset != 4 || len(last.Records) != 1 {
			t.Errorf("last batch: %+v", last)
		}
	})
}

func TestTooLargeAProposalIsRefusedAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, newDisk(t))
		_, _, err := n.Propose(t.Context(), [][]byte{make([]byte, quorum.MaxBatchBytes)})
		if !errors.Is(err, kafka.ErrRecordListTooLarge) {
			t.Errorf("too large: %v", err)
		}
		if offset, _, err := n.Propose(t.Context(), [][]byte{{1}}); err != nil || offset != 2 {
			t.Errorf("after it: %d, %v", offset, err)
		}
	})
}

func TestFailedDiskStopsTheNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		n := startNode(t, vfs.NewFault(newDisk(t), func(op vfs.Op, name string) error {
			if broken.Load() && op == vfs.OpSync && strings.HasSuffix(name, ".log") {
				return vfs.ErrInjected
			}
			return nil
		}))
		broken.Store(true)
		if _, _, err := n.Propose(t.Context(), [][]byte{{1}}); !errors.Is(err, kafka.ErrNotController) {
			t.Errorf("on the broken disk: %v", err)
		}
		if err := <-n.faults; !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("fault: %v", err)
		}
		if _, _, err := n.Propose(t.Context(), [][]byte{{2}}); !errors.Is(err, kafka.ErrNotController) {
			t.Errorf("after the fault: %v", err)
		}
	})
}

// TestFailedSnapshotIsTriedLater lets snapshots fail for a while: proposals go on, and the log is
// cut once one succeeds.
func TestFailedSnapshotIsTriedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		n := startNode(t, vfs.NewFault(newDisk(t), func(op vfs.Op, name string) error {
			if full.Load() && op == vfs.OpWrite && strings.HasSuffix(name, ".part") && !strings.Contains(name, "/00000000000000000000-") {
				return vfs.ErrInjected
			}
			return nil
		}))
		propose := func() {
			for range 20 {
				if _, _, err := n.Propose(t.Context(), [][]byte{make([]byte, 200)}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
		}
		propose()
		if written := n.meters.snapshots.Value(); written != 0 {
			t.Fatalf("%d snapshots on a full disk", written)
		}
		full.Store(false)
		propose()
		if written := n.meters.snapshots.Value(); written == 0 {
			t.Fatal("no snapshot was tried again")
		}
	})
}
