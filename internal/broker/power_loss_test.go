package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
)

// memoryNode is a broker whose disk is in memory.
type memoryNode struct {
	b    *broker
	addr string
}

func startOnMemory(t *testing.T, mem *vfs.Mem) *memoryNode {
	t.Helper()
	if err := errors.Join(mem.MkdirAll("/data"), mem.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.NewBroker(map[string]string{
		"log.dirs": "/data", "listeners": "PLAINTEXT://127.0.0.1:0", "http.listen": "", "log.flush.interval.messages": "1", "num.partitions": "3",
		"offsets.topic.num.partitions": "2", "transaction.state.log.num.partitions": "2",
	})
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(context.Background(), c)
	b.fs = mem
	if err := b.start(); err != nil {
		t.Fatal(errors.Join(err, b.stop()))
	}
	return &memoryNode{b, b.server.Addr("PLAINTEXT").String()}
}

func (n *memoryNode) client(t *testing.T, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(o, kgo.SeedBrokers(n.addr), kgo.AllowAutoTopicCreation(), kgo.MetadataMinAge(10*time.Millisecond), kgo.UnknownTopicRetries(20))...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPowerLossTakesNothingAcknowledged cuts the power of a busy node with flush.messages=1 again
// and again. Records, committed transactions and committed offsets that were acknowledged before
// are there, and aborted records stay hidden.
func TestPowerLossTakesNothingAcknowledged(t *testing.T) {
	mem := vfs.NewMem()
	want := map[string]bool{} // values that readers of committed records must see; false: must not
	offsets := map[int32]int64{}
	for round := range 4 {
		n := startOnMemory(t, mem)
		n.write(t, round, want)
		n.commitOffsets(t, round, offsets)
		// Not acknowledged, so that nobody knows: a transaction under way, and a record.
		open := n.client(t, kgo.TransactionalID("open"), kgo.DefaultProduceTopic("orders"))
		if err := open.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := open.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint("open ", round))).FirstErr(); err != nil {
			t.Fatal(err)
		}
		want[fmt.Sprint("open ", round)] = false
		mem = mem.CrashClone(env.NewSeededRandom(uint64(round)))
		open.CloseAllowingRebalance()
		if err := n.b.stop(); err != nil {
			t.Error(err)
		}
	}
	n := startOnMemory(t, mem)
	defer func() {
		if err := n.b.stop(); err != nil {
			t.Error(err)
		}
	}()
	n.check(t, want, offsets)
}

// write produces plain records and those of two transactions, one of which is aborted.
func (n *memoryNode) write(t *testing.T, round int, want map[string]bool) {
	t.Helper()
	plain := n.client(t, kgo.DefaultProduceTopic("orders"))
	defer plain.Close()
	for i := range 20 {
		value := fmt.Sprintf("plain %d %d", round, i)
		if err := plain.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		want[value] = true
	}
	transactional := n.client(t, kgo.TransactionalID("shop"), kgo.DefaultProduceTopic("orders"))
	defer transactional.Close()
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := transactional.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			value := fmt.Sprintf("transaction %d %v %d", round, commit, i)
			transactional.Produce(t.Context(), kgo.StringRecord(value), nil)
			want[value] = bool(commit)
		}
		if err := errors.Join(transactional.Flush(t.Context()), transactional.EndTransaction(t.Context(), commit)); err != nil {
			t.Fatal(err)
		}
	}
}

func (n *memoryNode) commitOffsets(t *testing.T, round int, offsets map[int32]int64) {
	t.Helper()
	client := n.client(t)
	defer client.Close()
	var commit kadm.Offsets
	for partition := range int32(3) {
		commit.Add(kadm.Offset{Topic: "orders", Partition: partition, At: int64(round + 1)})
		offsets[partition] = int64(round + 1)
	}
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), "billing", commit); err != nil {
		t.Fatal(err)
	}
}

func (n *memoryNode) check(t *testing.T, want map[string]bool, offsets map[int32]int64) {
	t.Helper()
	client := n.client(t, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer client.Close()
	// Fences the open transactions of the nodes that are gone: readers get past them.
	fence := n.client(t, kgo.TransactionalID("open"), kgo.DefaultProduceTopic("orders"))
	defer fence.Close()
	for partition := range int32(3) {
		if err := errors.Join(fence.BeginTransaction(), fence.ProduceSync(t.Context(), &kgo.Record{Value: []byte("end"), Partition: partition}).FirstErr(),
			fence.EndTransaction(t.Context(), kgo.TryCommit)); err != nil {
			t.Fatal(err)
		}
	}
	expected := 0
	for _, visible := range want {
		if visible {
			expected++
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for seen := 0; seen < expected; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d acknowledged records are there: %v", seen, expected, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			visible, known := want[string(r.Value)]
			switch {
			case string(r.Value) == "end":
			case !known:
				t.Errorf("%q was never written, or is there twice", r.Value)
			case !visible:
				t.Errorf("%q was aborted", r.Value)
			default:
				seen++
				delete(want, string(r.Value))
			}
		})
	}
	found, err := kadm.NewClient(client).FetchOffsets(ctx, "billing")
	if err != nil {
		t.Fatal(err)
	}
	for partition, at := range offsets {
		if o, ok := found.Lookup("orders", partition); !ok || o.At != at {
			t.Errorf("the committed offset of partition %d is %+v, want %d", partition, o.At, at)
		}
	}
}
