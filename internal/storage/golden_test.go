package storage

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// unpack puts a log dir that Apache Kafka 4.3.1 wrote into memory.
func unpack(t *testing.T, archive string) *vfs.Mem {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	mem := newMem(t)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return mem
		}
		if err != nil {
			t.Fatal(err)
		}
		path := testDir + "/" + h.Name
		if h.Typeflag == tar.TypeDir {
			if err := mem.MkdirAll(path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		put(t, mem, path, data)
	}
}

var golden0 = kafka.TopicPartition{Topic: "golden", Partition: 0}

// TestOpensWhatKafkaWrote covers five codecs, idempotent and transactional producers, markers,
// index files with and without Kafka's zero padding, with and without a clean shutdown.
func TestOpensWhatKafkaWrote(t *testing.T) {
	t.Parallel()
	cases := []struct {
		archive             string
		brokerEpoch         int64
		end, highWatermark  int64
		producers, segments int
		latestEpoch         int32
	}{
		{"testdata/kafka-killed.tar.gz", -1, 104, 60, 6, 1, 0},
		{"testdata/kafka-stopped.tar.gz", 264, 109, 109, 7, 1, 2},
	}
	for _, c := range cases {
		t.Run(c.archive, func(t *testing.T) {
			t.Parallel()
			mem := unpack(t, c.archive)
			config := DefaultLogConfig()
			m := open(t, mem, config)
			l := m.Log(golden0)
			// Nobody vouches for the folders of __transaction_state that the archives leave out.
			if l == nil || m.brokerEpoch != c.brokerEpoch || m.CleanShutdownBrokerEpoch() != -1 || l.TopicID().IsZero() {
				t.Fatalf("broker epoch %d", m.brokerEpoch)
			}
			if l.LogEndOffset() != c.end || l.HighWatermark() != c.highWatermark || l.LogStartOffset() != 0 || l.SegmentCount() != c.segments {
				t.Fatalf("log %d to %d, high watermark %d, %d segments", l.LogStartOffset(), l.LogEndOffset(), l.HighWatermark(), l.SegmentCount())
			}
			if l.LatestEpoch() != c.latestEpoch || l.LastStableOffset() != l.HighWatermark() {
				t.Fatalf("epoch %d, stable %d", l.LatestEpoch(), l.LastStableOffset())
			}
			checkKafkaRecords(t, l, c.producers)
			if _, err := l.DeleteOldSegments(startMs); err != nil {
				t.Fatal(err)
			}
			if err := m.Shutdown(300); err != nil {
				t.Fatal(err)
			}
			// And again after our own shutdown.
			checkKafkaRecords(t, open(t, mem, config).Log(golden0), c.producers)
		})
	}
}

func checkKafkaRecords(t *testing.T, l *Log, producers int) {
	t.Helper()
	if l.ProducerCount() != producers {
		t.Fatalf("%d producers, want %d: %+v", l.ProducerCount(), producers, l.producers.Entries())
	}
	codecs := map[record.Codec]int{}
	next, control := l.LogStartOffset(), 0
	var largest int64
	for _, b := range readAll(t, l) {
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			if b.BaseOffset()+int64(r.OffsetDelta) != next {
				t.Fatalf("record at %d, want %d", b.BaseOffset()+int64(r.OffsetDelta), next)
			}
			next++
			largest = max(largest, r.Timestamp)
			codecs[b.Codec()]++
		}
		if b.IsControl() {
			control++
		}
	}
	if next != l.LogEndOffset() || control == 0 || len(codecs) != 5 {
		t.Fatalf("%d records, %d markers, codecs %v", next, control, codecs)
	}
	first, found, err := l.OffsetForTimestamp(0, next)
	if err != nil || !found || first.Offset != 0 {
		t.Fatalf("%+v %v %v", first, found, err)
	}
	last, found, err := l.MaxTimestampOffset(next)
	if err != nil || !found || last.TimestampMs != largest {
		t.Fatalf("%+v %v %v, want timestamp %d", last, found, err, largest)
	}
	// The last batch of the first console producer, sent again.
	e := l.producers.Entries()[0]
	if e.ProducerID != 0 || e.LastSequence() != 11 || e.LastOffset() != 11 {
		t.Fatalf("%+v", e)
	}
	b := idempotent(0, 0, 8, 4)
	r, err := produce(l, b.build(t, 0), 9, startMs)
	if err != nil || !r.Duplicate || r.BaseOffset != 8 || r.LastOffset != 11 {
		t.Fatalf("%+v, %v", r, err)
	}
}
