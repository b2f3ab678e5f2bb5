package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// TestLostLogDirIsFilledAgain: one log dir of a leader comes back empty, and so does the whole folder of a node that is a broker
// only. They have everything again, from others, before they are in sync; what has no other replica stays offline.
func TestLostLogDirIsFilledAgain(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.prepare = func(i int, properties map[string]string) func(b *broker) {
		dir := c.folder(i)
		properties["log.dirs"], properties["metadata.log.dir"] = filepath.Join(dir, "a")+","+filepath.Join(dir, "b"), filepath.Join(dir, "m")
		return func(*broker) {}
	}
	c.start(0, 1, 2)
	const partitions, records = 6, 20
	c.create("t", partitions, 1, 2, 3)
	c.create("alone", 2, 1)
	isKnown := func(id kafka.UUID) bool { return !id.IsZero() && id != kafka.DirectoryUnassigned }
	inSync := func(image *metadata.Image) bool {
		topic := image.TopicByName("t")
		return topic != nil && !slices.ContainsFunc(topic.Partitions, func(p *metadata.Partition) bool {
			return len(p.ISR) != 3 || !isKnown(p.Directories[0]) || !isKnown(p.Directories[1]) || !isKnown(p.Directories[2])
		})
	}
	c.awaitMetadata(1, "all are in sync", inSync)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.running[1].server.Addr("PLAINTEXT").String()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range partitions * records {
		client.Produce(t.Context(), &kgo.Record{Topic: "t", Partition: int32(i % partitions), Value: fmt.Append(nil, i)}, nil)
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	lostID := c.running[0].dirs.DirectoryIDs[filepath.Join(c.folder(0), "a")]
	aloneLost := map[int32]bool{}
	for _, p := range c.running[1].loader.Current().TopicByName("alone").Partitions {
		aloneLost[p.ID] = p.Directories[0] == lostID
	}
	for i, lost := range []string{0: filepath.Join(c.folder(0), "a"), 2: c.folder(2)} {
		if lost == "" {
			continue
		}
		c.stop(i)
		if err := os.RemoveAll(lost); err != nil {
			t.Fatal(err)
		}
		c.start(i)
		c.awaitMetadata(1, fmt.Sprintf("all are in sync after node %d lost %s", i+1, lost), func(image *metadata.Image) bool {
			b := image.Broker(int32(i + 1))
			return inSync(image) && b != nil && !b.Fenced && !slices.ContainsFunc(image.TopicByName("t").Partitions, func(p *metadata.Partition) bool {
				return !slices.Contains(b.LogDirs, p.Directories[i])
			})
		})
		for p := range int32(partitions) {
			tp := kafka.TopicPartition{Topic: "t", Partition: p}
			if r, err := c.running[i].replicas.Lookup(tp); err != nil || r.Log().LogEndOffset() != records {
				t.Errorf("node %d, %s: %v", i+1, tp, err)
			}
		}
	}
	for p, lost := range aloneLost {
		_, err := c.running[0].replicas.Lookup(kafka.TopicPartition{Topic: "alone", Partition: p})
		if (kafka.CodeOf(err) == kafka.ErrKafkaStorageError) != lost {
			t.Errorf("partition %d without another replica, in the lost log dir %v: %v", p, lost, err)
		}
	}
}
