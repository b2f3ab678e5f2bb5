package apptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafkatest"
)

// TestRollingRestart stops each node of a loaded cluster in turn and starts it again when all replicas are in sync: no
// client sees an error, nothing is lost or doubled, and the time without an acknowledged record is short.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	l := c.startLoad()
	rounds := 1
	if full() {
		rounds = 5
	}
	for range rounds {
		for id := int32(1); id <= clusterSize; id++ {
			l.roll(id, "")
		}
	}
	l.finish()
}

// TestRollingUpgrade begins with the binary of the previous commit, replaces it on one node after the other, and
// takes one node back, all under load. It builds a second binary, so that it runs with MOLDAU_APPTEST=full only;
// TestRollingRestart is the same without another release.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	if !full() {
		t.Skip("MOLDAU_APPTEST=full builds the previous commit and runs this")
	}
	previous := previousBinary(t)
	c := startClusterOf(t, previous)
	l := c.startLoad()
	for id := int32(1); id <= clusterSize; id++ {
		l.roll(id, "")
	}
	l.roll(2, previous)
	l.roll(3, previous) // perhaps the active controller: the older release decides what the newer one asks
	l.roll(2, "")
	l.roll(3, "")
	l.finish()
}

// previousBinary builds the binary of the commit before this one; MOLDAU_PREVIOUS_BINARY names one that is there.
func previousBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("MOLDAU_PREVIOUS_BINARY"); path != "" {
		return path
	}
	git := func(args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Stderr = nil
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	top, err := git("rev-parse", "--show-toplevel")
	if err != nil {
		t.Skip("SKIPPED: NO ROLLING UPGRADE WAS TESTED: this is no git repository, so there is no previous commit")
	}
	commit, err := git("rev-parse", "--verify", "HEAD^")
	if err != nil {
		t.Skip("SKIPPED: NO ROLLING UPGRADE WAS TESTED: the repository has no commit before this one (a shallow clone?): git fetch --unshallow")
	}
	folder := t.TempDir()
	source := filepath.Join(folder, "source")
	if out, err := exec.Command("git", "-C", top, "worktree", "add", "--detach", source, commit).CombinedOutput(); err != nil {
		t.Fatalf("checking out %s: %v\n%s", commit, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("git", "-C", top, "worktree", "remove", "--force", source).CombinedOutput(); err != nil {
			t.Errorf("removing the checkout: %v\n%s", err, out)
		}
	})
	path := filepath.Join(folder, "moldau-previous")
	build := exec.Command("go", "build", "-o", path, "./cmd/moldau")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", commit, err, out)
	}
	t.Logf("the previous binary is of %s", commit)
	return path
}

// load is what clients do while nodes come and go: idempotent producers (acks=all), a group that consumes what
// they write, and a transactional producer.
type load struct {
	c        *cluster
	produced *workload
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	gaps     []time.Duration // of each partition and step

	mu        sync.Mutex
	consumed  map[int32]map[int64]bool // offsets that the group has seen, by partition
	handled   int
	committed map[string]bool // values of transactions that were committed
	aborted   map[string]bool
}

func (c *cluster) startLoad() *load {
	c.t.Helper()
	minISR := "2"
	for _, topic := range []string{"t", "x"} {
		if resp, err := c.admin.CreateTopic(c.t.Context(), clusterSize, clusterSize, map[string]*string{"min.insync.replicas": &minISR}, topic); err != nil || resp.Err != nil {
			c.t.Fatal(resp, err)
		}
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	l := &load{c: c, cancel: cancel, consumed: map[int32]map[int64]bool{}, committed: map[string]bool{}, aborted: map[string]bool{}}
	for range 2 {
		l.wg.Go(func() { l.consume(ctx) })
	}
	l.wg.Go(func() { l.transact(ctx) })
	l.produced = c.produce("t", clusterSize)
	l.awaitProgress()
	return l
}

// consume is one member of the group.
func (l *load) consume(ctx context.Context) {
	client := l.c.newClient(l.c.seeds(), kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.KeepControlRecords(),
		kgo.BlockRebalanceOnPoll())
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			l.c.t.Errorf("consuming %s-%d: %v", topic, partition, err)
		})
		l.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			if l.consumed[r.Partition] == nil {
				l.consumed[r.Partition] = map[int64]bool{}
			}
			l.consumed[r.Partition][r.Offset] = true
			l.handled++
		})
		l.mu.Unlock()
		if err := client.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
			l.c.t.Logf("a commit of offsets is made again: %v", err) // as of a member that is being rebalanced
		}
		client.AllowRebalance()
	}
}

// transact commits and aborts one transaction after the other, each with a record for every partition.
func (l *load) transact(ctx context.Context) {
	producer := l.c.newClient(l.c.seeds(), kgo.TransactionalID("load"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic("x"), kgo.ProducerLinger(0))
	for i := 0; ctx.Err() == nil; i++ {
		value, commits := fmt.Sprintf("x-%d", i), i%4 != 0
		if err := l.transaction(context.WithoutCancel(ctx), producer, value, commits); err != nil {
			l.c.t.Errorf("transaction %s: %v", value, err)
			return
		}
		l.mu.Lock()
		if commits {
			l.committed[value] = true
		} else {
			l.aborted[value] = true
		}
		l.mu.Unlock()
	}
}

func (l *load) transaction(ctx context.Context, producer *kgo.Client, value string, commits bool) error {
	if err := producer.BeginTransaction(); err != nil {
		return err
	}
	for p := range int32(clusterSize) {
		if err := producer.ProduceSync(ctx, &kgo.Record{Partition: p, Value: []byte(value)}).FirstErr(); err != nil {
			return errors.Join(err, producer.EndTransaction(ctx, kgo.TryAbort))
		}
	}
	return producer.EndTransaction(ctx, kgo.TransactionEndTry(commits))
}

// awaitProgress waits until every kind of client has got on.
func (l *load) awaitProgress() {
	l.c.t.Helper()
	state := func() (handled, transactions int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.handled, len(l.committed) + len(l.aborted)
	}
	handled, transactions := state()
	l.produced.awaitProgress()
	l.c.eventually("consumers and transactions go on", func() error {
		if h, x := state(); h < handled+20 || x < transactions+2 {
			return fmt.Errorf("%d records consumed since, %d transactions", h-handled, x-transactions)
		}
		return nil
	})
}

// roll restarts a node, with another binary perhaps, and waits until all replicas are in sync again.
func (l *load) roll(id int32, program string) {
	t := l.c.t
	t.Helper()
	l.produced.takeGaps()
	began := time.Now()
	l.c.nodes[id].Stop()
	stopped := time.Since(began)
	l.awaitProgress()
	l.c.nodes[id].Program = program
	l.c.nodes[id].Launch()
	l.c.await(id)
	l.c.awaitAllInSync()
	l.awaitProgress()
	gaps := l.produced.takeGaps()
	l.gaps = append(l.gaps, gaps...)
	t.Logf("node %d: stopped in %s, all in sync again after %s; longest times without an acknowledged record: %s", id, stopped.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), gaps)
}

// awaitAllInSync waits until every partition of every topic has all its replicas in sync.
func (c *cluster) awaitAllInSync() {
	c.t.Helper()
	c.eventually("all replicas of all topics in sync", func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		topics, err := c.admin.ListTopicsWithInternal(ctx)
		if err != nil {
			return err
		}
		for _, topic := range topics {
			for _, p := range topic.Partitions {
				if len(p.ISR) != len(p.Replicas) || p.Leader < 0 || len(p.Replicas) != clusterSize {
					return fmt.Errorf("%s-%d: %+v", topic.Topic, p.Partition, p)
				}
			}
		}
		return nil
	})
}

// finish stops the clients and checks what they have seen.
func (l *load) finish() {
	t := l.c.t
	t.Helper()
	slices.Sort(l.gaps)
	t.Logf("times without an acknowledged record, of each partition in each step: p50 %s, max %s", l.gaps[len(l.gaps)/2], l.gaps[len(l.gaps)-1])
	l.produced.stop()
	l.c.checkAll(l.produced)
	// What was produced is consumed by the group, too: it skips nothing.
	ends, err := l.c.admin.ListEndOffsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	l.c.eventually("the group has consumed everything", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for p := range int32(clusterSize) {
			end, _ := ends.Lookup("t", p)
			if missing := end.Offset - int64(len(l.consumed[p])); missing > 0 {
				return fmt.Errorf("%d records of partition %d are missing", missing, p)
			}
		}
		return nil
	})
	l.cancel()
	l.wg.Wait()
	l.checkTransactions()
	for id, n := range l.c.nodes {
		for line := range strings.Lines(n.Output()) {
			if strings.Contains(line, "level=ERROR") || strings.Contains(line, "BUG") {
				t.Errorf("node %d says: %s", id, line)
			}
		}
	}
}

// checkTransactions reads what is committed: every value of a committed transaction once in every partition, none of
// an aborted one.
func (l *load) checkTransactions() {
	t := l.c.t
	t.Helper()
	client := l.c.newClient(l.c.seeds(), kgo.ConsumeTopics("x"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx, cancel := context.WithTimeout(t.Context(), kafkatest.ReadyTimeout)
	defer cancel()
	seen := map[string]int{}
	for left := len(l.committed) * clusterSize; left > 0; {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Errorf("%d records of committed transactions cannot be read", left)
			break
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen[fmt.Sprintf("%s in %d", r.Value, r.Partition)]++
			if l.aborted[string(r.Value)] {
				t.Errorf("%s was aborted and is read in partition %d", r.Value, r.Partition)
			}
			left--
		})
	}
	for value := range l.committed {
		for p := range clusterSize {
			if n := seen[fmt.Sprintf("%s in %d", value, p)]; n != 1 {
				t.Errorf("%s was committed and is %d times in partition %d", value, n, p)
			}
		}
	}
	t.Logf("%d transactions committed, %d aborted", len(l.committed), len(l.aborted))
}
