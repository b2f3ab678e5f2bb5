package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// flipTopics are the topics of the folder whose files lose a bit, with how many records each.
var flipTopics = []string{"plain", "transactional", "compacted"}

// flipProperties keep the folder small and its files many.
var flipProperties = map[string]string{
	"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1", "log.roll.ms": "20", "log.index.interval.bytes": "200",
	"log.reserve.bytes": "0", "log.cleaner.enable": "false",
}

// flipFolder has a node write data of every kind, and returns its folder as a kill and as a clean stop
// leave it.
func flipFolder(t *testing.T) (killed, stopped string, want map[string][]string) {
	t.Helper()
	dir := t.TempDir()
	killed = filepath.Join(t.TempDir(), "killed")
	n := run(t, dir, freePort(t), flipProperties)
	starting := n.client(t)
	defer starting.Close()
	for starting.Ping(t.Context()) != nil {
		select {
		case err := <-n.ended:
			t.Fatal(err)
		default:
		}
	}
	admin := kadm.NewClient(starting)
	compact, ratio := "compact", "0.01"
	if _, err := admin.CreateTopics(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &compact, "min.cleanable.dirty.ratio": &ratio}, "compacted"); err != nil {
		t.Fatal(err)
	}
	plain := n.client(t, kgo.ProducerLinger(0))
	defer plain.Close()
	transactional := n.client(t, kgo.TransactionalID("t"), kgo.ProducerLinger(0))
	defer transactional.Close()
	for i := range 40 {
		for _, topic := range []string{"plain", "compacted"} {
			r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, i%7), Value: fmt.Appendf(nil, "%s %d, long enough to fill segments", topic, i)}
			if err := plain.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if i%4 == 0 {
			if err := transactional.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			r := &kgo.Record{Topic: "transactional", Value: fmt.Appendf(nil, "in transaction %d", i)}
			if err := transactional.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := transactional.EndTransaction(t.Context(), kgo.TransactionEndTry(i%8 == 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	awaitMarkers(t, admin, "transactional", 20)
	want = map[string][]string{}
	for _, topic := range flipTopics {
		got, unreadable, err := readTopic(t, n, topic)
		if err != nil || unreadable > 0 {
			t.Fatal(topic, unreadable, err)
		}
		want[topic] = got
	}
	if err := errors.Join(copyRunning(killed, dir), n.end(t)); err != nil {
		t.Fatal(err)
	}
	return killed, dir, want
}

// awaitMarkers waits until readers of committed records reach an offset: a transaction's end is answered when it is decided,
// and its marker written after that.
func awaitMarkers(t *testing.T, admin *kadm.Client, topic string, end int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		stable, err := admin.ListCommittedOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		if at, _ := stable.Lookup(topic, 0); at.Err != nil || at.Offset > end {
			t.Fatalf("committed up to %d, want %d: %v", at.Offset, end, at.Err)
		} else if at.Offset == end {
			return
		}
	}
}

// copyRunning copies the folder of a node that runs. A file that is replaced meanwhile may be gone
// when its turn comes: then the copy begins again.
func copyRunning(to, from string) error {
	for {
		err := os.CopyFS(to, os.DirFS(from))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// readTopic reads committed records from offset to offset, past those that the node refuses as
// damaged, and returns them by offset and how many offsets were refused.
func readTopic(t *testing.T, n *node, topic string) (got []string, refused int, err error) {
	t.Helper()
	c := n.client(t)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	admin := kadm.NewClient(c)
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	end, _ := ends.Lookup(topic, 0)
	if end.Err != nil {
		return nil, 0, end.Err
	}
	details, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	for offset := int64(0); offset < end.Offset; {
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MaxBytes, req.IsolationLevel = 1, 1<<20, 1
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = topic, details[topic].ID
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.FetchOffset, rp.PartitionMaxBytes = offset, 1<<20
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp, err := req.RequestWith(ctx, c)
		if err != nil {
			return nil, 0, err
		}
		p := resp.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(p.ErrorCode); errors.Is(err, kerr.CorruptMessage) {
			refused++
			offset++
			continue
		} else if err != nil {
			return nil, refused, fmt.Errorf("fetch at %d: %w", offset, err)
		}
		fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: topic, Offset: offset, IsolationLevel: kgo.ReadCommitted()}, &p, kgo.DefaultDecompressor(), nil)
		if fp.Err != nil {
			return nil, refused, fp.Err
		}
		for _, r := range fp.Records {
			got = append(got, fmt.Sprintf("%d %s %s", r.Offset, r.Key, r.Value))
		}
		if next <= offset {
			return got, refused, fmt.Errorf("%w at %d of %d", errNothingToFetch, offset, end.Offset)
		}
		offset = next
	}
	return got, refused, nil
}

var errNothingToFetch = errors.New("nothing to fetch")

// TestOneFlippedBitInAnyFile starts a node on folders in which one bit was flipped. Nobody reads
// anything that was not written; a damaged batch is refused and those behind it can be read; the other
// topics are as they were, and all take records. Only the metadata log and meta.properties keep the
// node from starting, and say which file it is.
func TestOneFlippedBitInAnyFile(t *testing.T) {
	killed, stopped, want := flipFolder(t)
	seed, flips := rand.Uint64(), 12
	if os.Getenv("MOLDAU_APPTEST") == "full" {
		flips = 600
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for _, source := range []string{killed, stopped} {
		byKind := map[string][]string{}
		err := filepath.WalkDir(source, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || e.Name() == ".lock" {
				return err
			}
			kind := cmp.Or(filepath.Ext(path), e.Name())
			if info, err := e.Info(); err != nil || info.Size() == 0 {
				return err
			}
			byKind[kind] = append(byKind[kind], path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		kinds := slices.Sorted(maps.Keys(byKind))
		for i := range flips {
			paths := byKind[kinds[(i+random.IntN(2))%len(kinds)]]
			checkFlippedFolder(t, source, paths[random.IntN(len(paths))], random, want)
		}
	}
}

func checkFlippedFolder(t *testing.T, source, path string, random *rand.Rand, want map[string][]string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name, err := filepath.Rel(source, path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bit := random.IntN(8 * len(data))
	data[bit/8] ^= 1 << (bit % 8)
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	what := fmt.Sprintf("%s, bit %d of byte %d", name, bit%8, bit/8)
	n := run(t, dir, freePort(t), flipProperties)
	c := n.client(t)
	defer c.Close()
	for c.Ping(t.Context()) != nil {
		select {
		case err := <-n.ended:
			needed := strings.HasPrefix(name, "__cluster_metadata-0") || filepath.Base(name) == "meta.properties"
			if !needed || err == nil || !strings.Contains(err.Error(), filepath.Dir(filepath.Join(dir, name))) {
				t.Errorf("%s: the node ends with %v", what, err)
			}
			return
		default:
		}
	}
	for _, topic := range flipTopics {
		got, refused, err := readTopic(t, n, topic)
		isHit := strings.HasPrefix(name, topic+"-0") && strings.HasSuffix(name, ".log")
		if isHit && topic == "transactional" && errors.Is(err, errNothingToFetch) {
			err = nil // a marker was hit: its transaction is open again, and readers of committed records wait
		}
		if err != nil || refused > 0 && !isHit || len(got) < len(want[topic]) && !isHit {
			t.Errorf("%s: %d of %d records of %s, %d offsets refused: %v", what, len(got), len(want[topic]), topic, refused, err)
			continue
		}
		for _, r := range got {
			if !slices.Contains(want[topic], r) {
				t.Errorf("%s: read %q from %s, which was never written there", what, r, topic)
			}
		}
		if !slices.IsSorted(indexes(got, want[topic])) {
			t.Errorf("%s: %s is out of order", what, topic)
		}
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("after")}).FirstErr(); err != nil {
			t.Errorf("%s: %s takes no records: %v", what, topic, err)
		}
	}
	if err := n.end(t); err != nil {
		t.Errorf("%s: the stop: %v", what, err)
	}
}

func indexes(got, want []string) (at []int) {
	for _, r := range got {
		at = append(at, slices.Index(want, r))
	}
	return at
}
