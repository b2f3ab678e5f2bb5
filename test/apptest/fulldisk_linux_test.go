package apptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// smallVolume mounts a file system of its own.
func smallVolume(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small file system; a full disk is not tried with the broker")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("SKIPPED: no small file system can be mounted here; a full disk is not tried with the broker: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// fullDisk is a broker on a volume of its own.
type fullDisk struct {
	*testing.T
	volume string
	broker *kafkatest.Broker
}

func soon(int) time.Duration { return 10 * time.Millisecond }

// produceUntilRefused returns how many records went in before the broker refused one.
func (f fullDisk) produceUntilRefused(topic string) int {
	f.Helper()
	client := f.broker.Client(kgo.RecordRetries(1), kgo.MetadataMinAge(10*time.Millisecond), kgo.RetryBackoffFn(soon), kgo.MaxBufferedRecords(1), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer client.Close()
	for n := range 10_000 {
		err := client.ProduceSync(f.Context(), &kgo.Record{Topic: topic, Value: make([]byte, 100_000)}).FirstErr()
		if errors.Is(err, kerr.KafkaStorageError) {
			return n
		}
		if err != nil {
			f.Fatalf("record %d is refused with %v", n, err)
		}
	}
	f.Fatal("produce was never refused")
	return 0
}

// readAll consumes a topic from its start to its end as a reader of committed records.
func (f fullDisk) readAll(topic string) int {
	f.Helper()
	ends, err := kadm.NewClient(f.broker.Client()).ListCommittedOffsets(f.Context(), topic)
	if err != nil {
		f.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	client := f.broker.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords())
	defer client.Close()
	n := 0
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(f.Context())
		if err := fetches.Err(); err != nil {
			f.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				n++
			}
		})
	}
	return n
}

// fillVolume lets another process fill the volume to the last byte.
func (f fullDisk) fillVolume() (path string) {
	f.Helper()
	path = filepath.Join(f.volume, "others")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		if n, err := file.Write(make([]byte, size)); err != nil && n == 0 {
			size /= 2
		}
	}
	if free := freeBytes(f.T, f.volume); free > 0 {
		f.Fatalf("%d bytes are left", free)
	}
	return path
}

// commit commits an offset of a group, which a full disk must not keep from it.
func (f fullDisk) commit(offset int64) {
	f.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset("filler", 0, offset, -1)
	admin := kadm.NewClient(f.broker.Client())
	if err := admin.CommitAllOffsets(f.Context(), "readers", offsets); err != nil {
		f.Fatalf("offsets cannot be committed: %v", err)
	}
	got, err := admin.FetchOffsets(f.Context(), "readers")
	if o, _ := got.Lookup("filler", 0); err != nil || o.At != offset {
		f.Fatalf("committed %d, fetched %d: %v", offset, o.At, err)
	}
}

// TestFullDisk fills the volume under a running broker, first through Produce and then to the last
// byte by somebody else. Produce alone is refused; readers, groups, transactions under way, deletions
// and restarts after a kill go on, and appends resume by themselves when there is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	f := fullDisk{T: t, volume: smallVolume(t, "24m")}
	f.broker = kafkatest.NewBroker(t, "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1", "log.segment.bytes=1048576",
		"log.retention.check.interval.ms=500")
	f.broker.DataDir = filepath.Join(f.volume, "data")
	f.broker.Start()
	admin := kadm.NewClient(f.broker.Client())
	if _, err := admin.CreateTopics(t.Context(), 1, 1, nil, "filler", "transactional", "later"); err != nil {
		t.Fatal(err)
	}
	f.commit(1)
	transaction := f.broker.Client(kgo.TransactionalID("under way"), kgo.DefaultProduceTopic("transactional"))
	if err := transaction.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := transaction.ProduceSync(t.Context(), kgo.StringRecord("begun before the disk was full")).FirstErr(); err != nil {
		t.Fatal(err)
	}

	written := f.produceUntilRefused("filler")
	if free := freeBytes(t, f.volume); free < 24<<20/20 || written == 0 {
		t.Fatalf("after %d records only %d bytes are free", written, free)
	}
	if !strings.Contains(f.broker.Output(), "nearly full: appends of clients are refused until there is space") {
		t.Errorf("the log does not tell:\n%s", f.broker.Output())
	}
	f.commit(2)
	if n := f.readAll("filler"); n != written {
		t.Fatalf("read %d records of %d", n, written)
	}
	if err := transaction.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatalf("a transaction cannot end on a full disk: %v", err)
	}
	if n := f.readAll("transactional"); n != 1 {
		t.Fatalf("%d records of the transaction", n)
	}

	for range 2 {
		f.broker.Kill()
		f.broker.Start()
		f.commit(3)
		if n := f.readAll("filler"); n != written {
			t.Fatalf("after a kill on a full disk: %d records of %d", n, written)
		}
		if n := f.produceUntilRefused("filler"); n > 0 {
			t.Fatalf("%d records were taken by a full disk", n)
		}
	}

	others := f.fillVolume()
	for round := range 3 {
		f.broker.Kill()
		f.fillVolume() // what the kill has freed, if anything
		f.broker.Start()
		if n := f.readAll("filler"); n != written {
			t.Fatalf("round %d on a volume that others filled: %d records of %d", round, n, written)
		}
		if n := f.produceUntilRefused("filler"); n > 0 {
			t.Fatalf("round %d: %d records were taken by a full disk", round, n)
		}
	}

	// The oldest records go, then the topic; both make space, and produce resumes by itself.
	waiting := f.broker.Client(kgo.RecordDeliveryTimeout(time.Minute), kgo.RetryBackoffFn(soon), kgo.MetadataMinAge(10*time.Millisecond))
	produced := make(chan error, 1)
	go func() {
		produced <- waiting.ProduceSync(t.Context(), &kgo.Record{Topic: "later", Value: []byte("waits for space")}).FirstErr()
	}()
	var before kadm.Offsets
	before.AddOffset("filler", 0, int64(written/2), -1)
	if _, err := admin.DeleteRecords(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteTopics(t.Context(), "filler"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case err := <-produced:
		if err != nil {
			t.Fatalf("produce did not resume: %v", err)
		}
	case <-ctx.Done():
		t.Fatal("produce did not resume")
	}
	if err := os.Remove(others); err != nil {
		t.Fatal(err)
	}
	f.broker.Stop()
	f.broker.Start()
	if n := f.readAll("later"); n != 1 {
		t.Fatalf("%d records after all", n)
	}
	fmt.Fprintln(os.Stderr, "a full disk: produce was refused after", written, "records of 100 kB on 24 MB")
}
