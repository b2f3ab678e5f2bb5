package apptest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafkatest"
)

// TestBitFlipsAreMended flips bits in a sealed segment and in the active one of each of three replicas, at different places, one node after the other: whoever
// leads then serves all that was acknowledged and nothing else, and in the end all three have the same bytes.
func TestBitFlipsAreMended(t *testing.T) {
	t.Parallel()
	const topic, records = "rot", 280
	c := startCluster(t)
	segmentBytes := strconv.Itoa(1 << 20)
	if resp, err := c.admin.CreateTopic(t.Context(), 1, clusterSize, map[string]*string{"segment.bytes": &segmentBytes}, topic); err != nil || resp.Err != nil {
		t.Fatal(resp, err)
	}
	producer := c.newClient(c.seeds(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	var batch []*kgo.Record
	for i := range records {
		batch = append(batch, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%06d %s", i, strings.Repeat(string(rune('a'+i%26)), 10_000))})
	}
	for some := range slices.Chunk(batch, 4) {
		if err := producer.ProduceSync(t.Context(), some...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitInSync(topic)
	for id := int32(1); id <= clusterSize; id++ {
		n := c.nodes[id]
		n.Stop()
		files := c.logFiles(id, topic)
		if len(files) < 3 {
			t.Fatalf("%d segments", len(files))
		}
		flip(t, files[1], 100_000*int64(id))
		flip(t, files[len(files)-1], 20_000*int64(id))
		n.Launch()
		c.await(id)
		c.awaitInSync(topic)
		c.lead(topic, id)
		c.readsAll(topic, batch)
	}
	c.eventually("all replicas have the same bytes", func() error {
		first := c.logFiles(1, topic)
		for id := int32(2); id <= clusterSize; id++ {
			others := c.logFiles(id, topic)
			if len(others) != len(first) {
				return fmt.Errorf("node %d has %d segments, node 1 %d", id, len(others), len(first))
			}
			for i := range first {
				a, err := os.ReadFile(first[i])
				if err != nil {
					return err
				}
				b, err := os.ReadFile(others[i])
				if err != nil || !bytes.Equal(a, b) {
					return fmt.Errorf("%s and %s differ: %w", first[i], others[i], err)
				}
			}
		}
		return nil
	})
}

// logFiles are the .log files of partition 0 of a topic, in order.
func (c *cluster) logFiles(id int32, topic string) []string {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.nodes[id].DataDir, topic+"-0", "*.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

func flip(t *testing.T, path string, position int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, position); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, position); err != nil {
		t.Fatal(err)
	}
}

// lead makes a node the preferred leader of a topic's partition, and the leader.
func (c *cluster) lead(topic string, id int32) {
	c.t.Helper()
	replicas := []int32{id}
	for other := int32(1); other <= clusterSize; other++ {
		if other != id {
			replicas = append(replicas, other)
		}
	}
	var move kadm.AlterPartitionAssignmentsReq
	move.Assign(topic, 0, replicas)
	if _, err := c.admin.AlterPartitionAssignments(c.t.Context(), move); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("the preferred leader leads", func() error {
		req := kmsg.NewPtrElectLeadersRequest()
		req.TimeoutMillis = 5000
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: []int32{0}}}
		if _, err := req.RequestWith(c.t.Context(), c.client); err != nil {
			return err
		}
		if leader := c.leader(topic, 0); leader != id {
			return fmt.Errorf("node %d leads", leader)
		}
		return nil
	})
}

// readsAll reads a topic and finds exactly what was produced.
func (c *cluster) readsAll(topic string, want []*kgo.Record) {
	c.t.Helper()
	client := c.newClient(c.seeds(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), kafkatest.ReadyTimeout)
	defer cancel()
	for read := 0; read < len(want); {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) { c.t.Fatalf("after %d records: %v", read, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != int64(read) || !bytes.Equal(r.Value, want[read].Value) {
				c.t.Fatalf("record %d is at offset %d: %.20q", read, r.Offset, r.Value)
			}
			read++
		})
	}
}
