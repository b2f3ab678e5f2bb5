package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestRecordsAreSentOutOfFiles consumes records of all sizes in order, of which most come out of the files
// that they lie in, and after a restart does so again.
func TestRecordsAreSentOutOfFiles(t *testing.T) {
	n := newConfigNode(t, map[string]string{"num.partitions": "1", "log.segment.bytes": "3000000"})
	value := func(i int) []byte {
		v := bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 1+i*i%40_000)
		return binary.BigEndian.AppendUint32(v, uint32(i))
	}
	const records = 300
	var batch []*kgo.Record
	for i := range records {
		batch = append(batch, &kgo.Record{Topic: "t", Value: value(i)})
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(n.b.server.Addr("PLAINTEXT").String()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	consume := func() (fromFiles int64) {
		t.Helper()
		fromFiles = -n.b.metrics.Counter("moldau_bytes_out_from_files_total", "").Value()
		c, err := kgo.NewClient(kgo.SeedBrokers(n.b.server.Addr("PLAINTEXT").String()), kgo.ConsumeTopics("t"), kgo.FetchMaxPartitionBytes(300_000))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for seen := 0; seen < records; {
			fetches := c.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if r.Offset != int64(seen) || !bytes.Equal(r.Value, value(seen)) {
					t.Fatalf("offset %d with %d bytes after %d records", r.Offset, len(r.Value), seen)
				}
				seen++
			})
		}
		return fromFiles + n.b.metrics.Counter("moldau_bytes_out_from_files_total", "").Value()
	}
	log, err := filepath.Glob(filepath.Join(n.dir, "t-0", "*.log"))
	if err != nil || len(log) < 3 {
		t.Fatalf("%d segments, %v", len(log), err)
	}
	var sizeBytes int64
	for _, path := range log {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		sizeBytes += info.Size()
	}
	if got := consume(); got < sizeBytes/2 {
		t.Errorf("%d bytes of %d were sent out of files", got, sizeBytes)
	}
	n.stop()
	n.start(nil)
	if got := consume(); got > sizeBytes/10 {
		t.Errorf("%d bytes of %d were sent that nobody has checked", got, sizeBytes)
	}
	if got := consume(); got < sizeBytes/2 {
		t.Errorf("%d bytes of %d were sent out of files again", got, sizeBytes)
	}
}

// TestFollowersGetPartsOfFiles has two brokers replicate batches that come out of the leader's files, before they are committed.
func TestFollowersGetPartsOfFiles(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.start(0, 1, 2)
	var seeds []string
	for _, b := range c.running {
		seeds = append(seeds, b.server.Addr("PLAINTEXT").String())
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 3, 3, nil, "t"); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Partition: int32(i % 3), Value: bytes.Repeat([]byte{byte(i), byte(i >> 2), 7}, 1+i*4_000)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var sizeBytes, fromFiles int64
	for p := range 3 {
		var first []byte
		for i := range c.running {
			path := filepath.Join(c.folder(i), fmt.Sprintf("t-%d", p), "00000000000000000000.log")
			log, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = log
			}
			if len(log) == 0 || !bytes.Equal(log, first) {
				t.Errorf("%s has %d bytes, other than the %d of node 1", path, len(log), len(first))
			}
			sizeBytes += int64(len(log))
		}
	}
	for _, b := range c.running {
		fromFiles += b.metrics.Counter("moldau_bytes_out_from_files_total", "").Value()
	}
	if followers := sizeBytes / 3 * 2; fromFiles < followers/2 {
		t.Errorf("%d bytes of %d that followers got were sent out of files", fromFiles, followers)
	}
}
