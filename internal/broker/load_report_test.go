package broker

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/wire"
)

func loadOf(partition int32, sizeBytes, producedBytes int64) replicaLoad {
	return replicaLoad{LogDescription: storage.LogDescription{TopicPartition: kafka.TopicPartition{Topic: "t", Partition: partition}, SizeBytes: sizeBytes},
		producedBytes: producedBytes, topicID: kafka.UUID{1}}
}

// TestLoadReports tells all at first, then what has changed noticeably or is gone, in pieces.
func TestLoadReports(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	l := &loadReport{}
	expect := func(what string, wantFull bool, news []wire.PeerPartitionLoad, isFull bool, want ...wire.PeerPartitionLoad) {
		t.Helper()
		for i := range want {
			want[i].TopicID = kafka.UUID{1}
		}
		if isFull != wantFull || !slices.Equal(news, want) {
			t.Errorf("%s: full %v, %+v", what, isFull, news)
		}
	}
	news, isFull := l.partitions([]replicaLoad{loadOf(0, 100*mib, 0), loadOf(1, 5, -1)}, 0)
	expect("at first", true, news, isFull, wire.PeerPartitionLoad{SizeBytes: 100 * mib}, wire.PeerPartitionLoad{Partition: 1, SizeBytes: 5})
	news, isFull = l.partitions([]replicaLoad{loadOf(0, 105*mib, 1000), loadOf(1, 500_000, -1)}, 10_000)
	expect("a little more", false, news, isFull)
	news, isFull = l.partitions([]replicaLoad{loadOf(0, 120*mib, 1000), loadOf(1, 3*mib, -1)}, 20_000)
	expect("much more", false, news, isFull, wire.PeerPartitionLoad{SizeBytes: 120 * mib, BytesPerSecond: l.told[kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t"}}].BytesPerSecond},
		wire.PeerPartitionLoad{Partition: 1, SizeBytes: 3 * mib})
	news, isFull = l.partitions([]replicaLoad{loadOf(0, 120*mib, 1000+600*mib)}, 50_000)
	if isFull || len(news) != 2 || news[0].BytesPerSecond < 10*mib || news[0].BytesPerSecond > 20*mib || news[1].SizeBytes != -1 {
		t.Errorf("produced to, and gone: %+v", news)
	}
	many := make([]wire.PeerPartitionLoad, 2*reportPartitions+1)
	requests := l.requests(wire.PeerLoadRequest{NodeID: 3}, many, true)
	if len(requests) != 3 || !requests[0].IsFull || requests[1].IsFull || !requests[1].HasMore || requests[2].HasMore || len(requests[2].Partitions) != 1 || requests[2].NodeID != 3 {
		t.Errorf("%d requests", len(requests))
	}
	if requests := l.requests(wire.PeerLoadRequest{}, nil, false); len(requests) != 1 || requests[0].HasMore {
		t.Errorf("nothing new: %d requests", len(requests))
	}
}

func TestLatencyOfALoadReport(t *testing.T) {
	t.Parallel()
	l, bounds := &loadReport{}, []float64{0.001, 0.01, 0.1}
	for _, c := range []struct {
		cumulative []int64
		want       int64
	}{
		{[]int64{10, 10, 10, 10}, -1}, {[]int64{20, 20, 20, 20}, -1}, {[]int64{120, 120, 120, 120}, 990}, {[]int64{200, 220, 220, 220}, 9550},
		{[]int64{200, 220, 220, 320}, 200_000},
	} {
		if got := l.latencyMicros(c.cumulative, bounds); got != c.want {
			t.Errorf("%v: %d µs", c.cumulative, got)
		}
	}
}

func TestVolumesOfLogDirs(t *testing.T) {
	t.Parallel()
	volumes, ofDir := volumesOf([]storage.DirDescription{{TotalBytes: 1000, UsableBytes: 400, DeletedBytes: 50}, {TotalBytes: 1000, UsableBytes: 401, DeletedBytes: 150}, {TotalBytes: 1000, UsableBytes: 900, DeletedBytes: 200},
		{Err: kafka.ErrKafkaStorageError}, {TotalBytes: -1}})
	if !slices.Equal(ofDir, []int8{0, 0, 1, -1, -1}) || !slices.Equal(volumes, []wire.PeerVolume{{CapacityBytes: 1000, UsedBytes: 400}, {CapacityBytes: 1000, UsedBytes: 0}}) {
		t.Errorf("%v %v", volumes, ofDir)
	}
}
