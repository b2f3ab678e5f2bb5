package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// move asks for a move as an admin client does.
func (n *diskNode) move(topic string, partition int32, dir string) error {
	n.t.Helper()
	req := kmsg.NewPtrAlterReplicaLogDirsRequest()
	req.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: topic, Partitions: []int32{partition}}}}}
	return kerr.ErrorForCode(n.request(req).(*kmsg.AlterReplicaLogDirsResponse).Topics[0].Partitions[0].ErrorCode)
}

func (n *diskNode) awaitIn(topic string, partition int32, dir string) {
	n.t.Helper()
	n.eventually("the replica is moved", func() error {
		if got := n.dirOf(topic, partition); got != dir {
			return fmt.Errorf("it is in %s", got)
		}
		if got := n.loader.Current().Partition(topic, partition).Directories[0]; got != n.dirs.DirectoryIDs[dir] {
			return fmt.Errorf("the metadata says %s", got)
		}
		return nil
	})
}

// TestReplicasMoveUnderLoad moves a partition around the log dirs while transactions are written to
// it and read from it, beside the partitions of both coordinators.
func TestReplicasMoveUnderLoad(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	n := d.start()
	n.create("t", 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var working sync.WaitGroup
	var want []string
	written := make(chan int, 1)
	working.Go(func() {
		client, err := kgo.NewClient(kgo.SeedBrokers(n.server.Addr("PLAINTEXT").String()), kgo.TransactionalID("moving"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		for i := 0; ctx.Err() == nil; i++ {
			commit := kgo.TransactionEndTry(i%3 != 0)
			err := client.BeginTransaction()
			var values []string
			for j := range 5 {
				value := fmt.Sprintf("%d-%d", i, j)
				values = append(values, value)
				client.Produce(context.Background(), &kgo.Record{Topic: "t", Value: []byte(value)}, func(_ *kgo.Record, produceErr error) {
					if produceErr != nil {
						t.Error(produceErr)
					}
				})
			}
			err = errors.Join(err, client.Flush(context.Background()), client.EndTransaction(context.Background(), commit))
			if err != nil {
				t.Error(err)
				return
			}
			if commit {
				want = append(want, values...)
			}
			select {
			case written <- i:
			default:
			}
		}
	})
	var got []string
	working.Go(func() {
		client, err := kgo.NewClient(kgo.SeedBrokers(n.server.Addr("PLAINTEXT").String()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
	})
	n.eventually("the topics of the coordinators are there", func() error {
		_, groups := n.replicas.Lookup(kafka.TopicPartition{Topic: kafka.ConsumerOffsetsTopic, Partition: 2})
		_, transactions := n.replicas.Lookup(kafka.TopicPartition{Topic: kafka.TransactionStateTopic, Partition: 2})
		return errors.Join(groups, transactions)
	})
	for i, name := range []string{"a", "c", "b"} {
		<-written // some more since the last move
		if err := n.move("t", 0, d.dir(name)); err != nil {
			t.Fatal(err)
		}
		n.awaitIn("t", 0, d.dir(name))
		for p := range int32(3) {
			for _, topic := range []string{"__consumer_offsets", "__transaction_state"} {
				to := d.dir([]string{"a", "b", "c"}[(i+int(p))%3])
				if err := n.move(topic, p, to); err != nil {
					t.Fatal(err)
				}
				n.awaitIn(topic, p, to)
			}
		}
	}
	cancel()
	working.Wait()
	check := func(when string) {
		t.Helper()
		client, err := kgo.NewClient(kgo.SeedBrokers(n.server.Addr("PLAINTEXT").String()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().AtStart()}}))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		var all []string
		for len(all) < len(want) {
			client.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) { all = append(all, string(r.Value)) })
		}
		if !slices.Equal(all, want) {
			t.Errorf("%s: %d committed records instead of %d, or others", when, len(all), len(want))
		}
	}
	check("after the moves")
	if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
		t.Errorf("the consumer beside the moves got %d records of %d, or others", len(got), len(want))
	}
	t.Logf("%d committed records, %d read beside the moves", len(want), len(got))
	n.stop()
	n = d.start()
	defer n.stop()
	if dir := n.dirOf("t", 0); dir != d.dir("b") || n.loader.Current().Partition("t", 0).Directories[0] != n.dirs.DirectoryIDs[dir] {
		t.Errorf("after a restart it is in %s", dir)
	}
	check("after a restart")
}

// TestMoveAndFailedLogDirs has the source or the target of a move fail on the way, and asks for
// moves that are not possible.
func TestMoveAndFailedLogDirs(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	n := d.start()
	n.create("t", 3)
	for p := range int32(3) {
		for i := range 20 {
			if err := n.produce("t", p, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	in := func(name string) int32 { return n.partitionIn("t", d.dir(name)) }
	a, b, c := in("a"), in("b"), in("c")
	if err := n.move("t", a, d.dir("nowhere")); !errors.Is(err, kerr.LogDirNotFound) {
		t.Error(err)
	}
	if err := n.move("later", 0, d.dir("c")); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Error(err)
	}
	n.create("later", 1)
	if got := n.dirOf("later", 0); got != d.dir("c") {
		t.Errorf("created in %s instead of the preferred log dir", got)
	}
	d.breakDir(d.dir("b"))
	if err := n.move("t", a, d.dir("b")); err != nil && !errors.Is(err, kerr.KafkaStorageError) {
		t.Error(err)
	}
	n.eventually("the log dir goes offline", func() error {
		if len(n.storage.OfflineDirs()) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	if err := n.produce("t", a, "20"); err != nil || n.dirOf("t", a) != d.dir("a") {
		t.Errorf("with a failed target: %v, in %s", err, n.dirOf("t", a))
	}
	for partition, dir := range map[int32]string{a: d.dir("b"), b: d.dir("c"), c: d.dir("a")} {
		if err := n.move("t", partition, dir); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("moving %d: %v", partition, err)
		}
	}
	if err := n.move("t", a, d.dir("a")); err != nil {
		t.Errorf("to where it is: %v", err)
	}
	n.stop()
	d.repair()
	n = d.start()
	defer n.stop()
	for _, p := range []int32{a, b, c} {
		if got := len(n.values("t", p)); got < 20 || p == a && got != 21 {
			t.Errorf("partition %d has %d records", p, got)
		}
	}
}
