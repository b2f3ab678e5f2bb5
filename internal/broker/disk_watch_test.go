package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/env/vfs"
)

// hang has the writes of records below dir wait until release is called; hung is closed when one does.
func (d *disks) hang(dir string) (hung <-chan struct{}, release func()) {
	open, begun := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	hangs := func(op vfs.Op, name string) error {
		if strings.HasPrefix(name, dir) && op == vfs.OpWrite && strings.HasSuffix(name, ".log") {
			begin()
			<-open
		}
		return nil
	}
	d.broken.Store(&hangs)
	return begun, sync.OnceFunc(func() {
		d.broken.Store(nil)
		close(open)
	})
}

// tick has the node look at its disks as if that much time had passed that a call which is still going on stalls.
func (n *diskNode) tick() {
	for range n.diskLimits.stalledTicks {
		n.watch.Tick()
	}
	n.lookAtDisks()
}

// produceAlone produces on a connection of its own: what follows on it has to wait, too.
func (n *diskNode) produceAlone(ctx context.Context, partition int32, value string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(n.server.Addr("PLAINTEXT").String()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(2))
	if err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, client.Close)() // a record that may have been written is not given up by its context
	return client.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: partition, Value: []byte(value)}).FirstErr()
}

// TestStalledLogDirComesBack has a disk not answer for a while. What lies there is refused at once,
// everything else works, and afterwards nothing is lost.
func TestStalledLogDirComesBack(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	n := d.start(func(b *broker) {
		b.diskLimits.tick = time.Hour // it looks when the test says so: nothing else stalls because the machine has much to do
		b.diskLimits.hungTicks = math.MaxInt64
	})
	defer n.stop()
	n.create("t", 3)
	for p := range int32(3) {
		if err := n.produce("t", p, "first"); err != nil {
			t.Fatal(err)
		}
	}
	held, other := n.partitionIn("t", d.dir("b")), n.partitionIn("t", d.dir("a"))
	hung, release := d.hang(d.dir("b"))
	defer release()
	waiting := make(chan error, 1)
	go func() { waiting <- n.produceAlone(t.Context(), held, "second") }()
	<-hung
	n.eventually("the log dir is held back, and no other", func() error {
		n.tick()
		if stalled := n.metric("log_dirs_stalled"); stalled != 1 {
			return fmt.Errorf("%v log dirs stall", stalled)
		}
		if err := n.listCode("t", held); !errors.Is(err, kerr.KafkaStorageError) {
			return fmt.Errorf("ListOffsets answers %w", err)
		}
		return nil
	})
	for what, err := range map[string]error{"Produce": n.produceCode("t", held), "Fetch": n.fetchCode("t", held)} {
		if !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%s answers %v", what, err)
		}
	}
	if stalled := n.metric("log_dirs_stalled"); stalled != 1 || n.partitionOf("t", held).Leader != 1 {
		t.Errorf("%v log dirs stall, %+v", stalled, n.partitionOf("t", held))
	}
	dirs, err := n.admin.DescribeAllLogDirs(t.Context(), nil)
	if err != nil || !errors.Is(dirs[1][d.dir("b")].Err, kerr.KafkaStorageError) || dirs[1][d.dir("a")].Err != nil {
		t.Errorf("described as %+v, %v", dirs, err)
	}
	if err := n.produce("t", other, "second"); err != nil {
		t.Error(err)
	}
	n.create("new", 4)
	for p := range int32(4) {
		if got := n.dirOf("new", p); got == d.dir("b") {
			t.Errorf("partition %d is created on the disk that does not answer", p)
		}
	}
	release()
	n.eventually("the log dir answers again", func() error {
		n.tick()
		return n.listCode("t", held)
	})
	if err := <-waiting; err != nil {
		t.Errorf("the produce that waited: %v", err)
	}
	if err := n.produce("t", held, "third"); err != nil {
		t.Error(err)
	}
	if got := n.values("t", held); !slices.Equal(got, []string{"first", "second", "third"}) {
		t.Errorf("got %q", got)
	}
	if n.metric("log_dirs_stalled") != 0 || n.metric("log_dirs_offline") != 0 {
		t.Error("the metrics still show it")
	}
}

// TestHungLogDirGoesOffline has a disk never answer again. The log dir goes offline for good, and
// the node can be stopped while the call is still waiting.
func TestHungLogDirGoesOffline(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	n := d.start(func(b *broker) {
		b.diskLimits.tick, b.diskLimits.hungTicks, b.diskLimits.stopStep = 10*time.Millisecond, 100, 100*time.Millisecond
	})
	n.create("t", 3)
	for p := range int32(3) {
		if err := n.produce("t", p, "first"); err != nil {
			t.Fatal(err)
		}
	}
	hung, other := n.partitionIn("t", d.dir("b")), n.partitionIn("t", d.dir("a"))
	_, release := d.hang(d.dir("b"))
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() { _ = n.produceAlone(ctx, hung, "second") })
	defer waiting.Wait()
	defer cancel()
	n.eventually("the log dir goes offline", func() error {
		if got := n.storage.OfflineDirs(); !slices.Equal(got, []string{d.dir("b")}) {
			return fmt.Errorf("offline: %v", got)
		}
		return nil
	})
	checkOffline(n, d.dir("b"), "t", hung)
	if err := n.produce("t", other, "second"); err != nil {
		t.Error(err)
	}
	n.kgo.Close()
	began := time.Now()
	if err := n.broker.stop(); !errors.Is(err, errDiskHangs) {
		t.Errorf("the stop says %v", err)
	}
	if took := time.Since(began); took > stopTimeout {
		t.Errorf("the stop took %s", took)
	}
	release()
	n.eventually("the rest of the stop ends", func() error {
		done := make(chan struct{})
		go func() { n.stopper.Stop(); n.spawner.Stop(); close(done) }()
		<-done
		return nil
	})
}
