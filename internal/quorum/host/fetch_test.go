package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
)

// TestASnapshotWaitsForTheNodesOwn lets one of another node arrive while this node writes one: both are in
// one folder, and the older one must not be taken for the newest afterwards.
func TestASnapshotWaitsForTheNodesOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		leader, _ := c.elected()
		var slow *member
		for _, m := range c.members {
			if m != leader {
				slow = m
			}
		}
		slow.kill()
		gate := make(chan struct{})
		var writes atomic.Int32
		slow.wrap = func(fsys vfs.FS) vfs.FS {
			return vfs.NewFault(fsys, func(op vfs.Op, name string) error {
				if op == vfs.OpWrite && strings.HasSuffix(name, ".checkpoint.part") {
					writes.Add(1)
					<-gate
				}
				return nil
			})
		}
		slow.open(nil)
		for writes.Load() == 0 {
			c.create(10)
			c.elected()
		}
		c.isolate(slow, true)
		c.create(300)
		c.isolate(slow, false)
		c.until("the snapshot is there", func() bool { return slow.fetched.Load() })
		<-time.After(time.Second)
		if slow.node.meters.installed.Value() != 0 {
			t.Error("it is installed while another one is written")
		}
		close(gate)
		c.until("it is installed", func() bool { return slow.node.meters.installed.Value() == 1 })
		c.agreed(300)
		slow.kill()
		slow.open(nil)
		c.agreed(300)
	})
}

// TestWhoCannotJoinSaysSoNowAndThen: the operator hears of it, but not ten times a second.
func TestWhoCannotJoinSaysSoNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		o := newCluster(t).newMember(4, 0, true).options()
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.Pull = func(context.Context, quorum.VoterSpec, PullRequest) (quorum.Page, error) {
			return quorum.Page{}, errors.New("refused")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 59*time.Second+joinPause/2)
		defer cancel()
		if err := Join(ctx, o, []quorum.VoterSpec{{NodeID: 1}, {NodeID: 2}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if said := strings.Count(log.String(), "cannot join"); said != 2 {
			t.Errorf("said %d times in a minute", said)
		}
	})
}

// TestTheLogSaysWhoIsActive, and since which epoch, for who looks back later.
func TestTheLogSaysWhoIsActive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := newCluster(t).newMember(7, 0, true)
		o := m.options()
		o.Form, o.Logger = []quorum.VoterSpec{m.spec}, slog.New(slog.NewTextHandler(&log, nil))
		o.Submit, o.Image = func(context.Context, metadatahost.Batch) error { return nil }, metadata.EmptyImage
		o.Metrics = metrics.NewRegistry()
		n, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		n.Start(context.Background())
		synctest.Wait()
		n.Stop()
		if want := fmt.Sprintf("nodeId=7 epoch=%d", n.Leadership().Epoch); strings.Count(log.String(), "is active from now on") != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, &log)
		}
	})
}

// TestADamagedSnapshotIsFetchedAgain also asks a node that is away, and one whose snapshot has gone.
func TestADamagedSnapshotIsFetchedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		leader, _ := c.elected()
		c.create(50)
		m := c.newMember(4, 0, true)
		o, calls := m.options(), 0
		o.FetchSnapshot = func(ctx context.Context, from quorum.VoterSpec, id quorum.SnapshotID, position int64, maxBytes int) ([]byte, int64, error) {
			calls++
			data, size, err := m.fetch(ctx, from, id, position, maxBytes)
			data = slices.Clone(data)
			switch {
			case calls == 1:
				return nil, 0, kafka.Errorf(kafka.ErrSnapshotNotFound, "gone")
			case calls == 2:
				return data, size - 1000, err
			case calls == 3:
				return nil, size, err
			case calls < 10 && err == nil:
				data[len(data)-1] ^= 1
			}
			return data, size, err
		}
		away := quorum.VoterSpec{NodeID: 9, DirectoryID: kafka.UUID{9}}
		if err := Join(t.Context(), o, []quorum.VoterSpec{away, leader.spec}); err != nil || calls < 10 {
			t.Fatalf("after %d pieces: %v", calls, err)
		}
		entries, err := m.mem.ReadDir("/data/" + quorum.MetadataFolder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".part") {
				t.Errorf("%s is left", e.Name())
			}
		}
		m.listed = []quorum.VoterSpec{leader.spec}
		m.open(nil)
		c.agreed(50)

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := Join(short, c.newMember(5, 0, true).options(), []quorum.VoterSpec{away}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody is there: %v", err)
		}
		if _, _, err := leader.node.HandleSnapshot(quorum.SnapshotID{EndOffset: 1}, 0, 100); !errors.Is(err, kafka.ErrSnapshotNotFound) {
			t.Errorf("no such snapshot: %v", err)
		}
	})
}

// TestALongGapIsOneWake: who was stopped does not know whether the leader is gone. A timer that is a little early makes no less ticks.
func TestALongGapIsOneWake(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	clock := raftClock{last: began}
	for _, step := range []struct {
		at   time.Duration
		want int
	}{
		{4 * time.Millisecond, 0}, {49_900 * time.Microsecond, 5}, {100_100 * time.Microsecond, 5}, {102 * time.Millisecond, 0}, {149_900 * time.Microsecond, 5},
		{250 * time.Millisecond, 10}, {356 * time.Millisecond, wakeTicks}, {time.Hour, wakeTicks}, {time.Hour + 50*time.Millisecond, wakeTicks},
	} {
		if got := clock.passed(began.Add(step.at)); got != step.want {
			t.Errorf("at %s: %d ticks, expected %d", step.at, got, step.want)
		}
	}
}
