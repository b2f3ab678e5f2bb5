package broker

import (
	"cmp"
	"math"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/wire"
)

const (
	// reportPartitions bounds the partitions of one request.
	reportPartitions = 5_000
	// noticeableBytes and noticeableRate are changes that are told, where they are also more than a
	// noticeablePart of what was told before.
	noticeableBytes = 1 << 20
	noticeableRate  = 16 << 10
	noticeablePart  = 10
	// rateMs is the time over which rates of production are averaged.
	rateMs = 30_000
	// minProduces is of how many requests a percentile is told.
	minProduces = 20
)

// loadReport makes the reports of what this broker carries, of which the active controller has the last. It has
// one owner.
type loadReport struct {
	nodeID int32
	// told is what the controller knows; nil where it has to be told all.
	told     map[kafka.TopicIDPartition]wire.PeerPartitionLoad
	measured map[kafka.TopicIDPartition]measuredRate
	atMs     int64
	produces []int64 // cumulative counts of the last look
}

type measuredRate struct {
	bytes     int64 // counted so far
	perSecond float64
}

// replicaLoad is one replica at the time of a report.
type replicaLoad struct {
	storage.LogDescription
	volume int8
	// producedBytes counts what was produced, -1 where the broker does not lead.
	producedBytes int64
	topicID       kafka.UUID
}

// partitions returns what of the present loads is to be told, and all of it where the controller knows nothing.
func (l *loadReport) partitions(present []replicaLoad, nowMs int64) (news []wire.PeerPartitionLoad, isFull bool) {
	isFull = l.told == nil
	if isFull {
		l.told = map[kafka.TopicIDPartition]wire.PeerPartitionLoad{}
	}
	elapsedMs := nowMs - l.atMs
	l.atMs = nowMs
	measured := make(map[kafka.TopicIDPartition]measuredRate, len(present))
	seen := make(map[kafka.TopicIDPartition]bool, len(present))
	for i := range present {
		r := &present[i]
		key := kafka.TopicIDPartition{TopicID: r.topicID, TopicPartition: r.TopicPartition}
		seen[key] = true
		load := wire.PeerPartitionLoad{TopicID: r.topicID, Partition: r.TopicPartition.Partition, Volume: r.volume, SizeBytes: r.SizeBytes}
		if r.producedBytes >= 0 {
			rate := measuredRate{bytes: r.producedBytes}
			if before, known := l.measured[key]; known && elapsedMs > 0 && r.producedBytes >= before.bytes {
				latest := float64(r.producedBytes-before.bytes) * 1000 / float64(elapsedMs)
				rate.perSecond = before.perSecond + (latest-before.perSecond)*(1-math.Exp(-float64(elapsedMs)/rateMs))
			}
			measured[key] = rate
			load.BytesPerSecond = int64(rate.perSecond)
		}
		if before, known := l.told[key]; !known || isNoticeable(before, load) {
			l.told[key] = load
			news = append(news, load)
		}
	}
	l.measured = measured
	for key, before := range l.told {
		if !seen[key] {
			delete(l.told, key)
			before.SizeBytes = -1
			news = append(news, before)
		}
	}
	slices.SortFunc(news, func(a, b wire.PeerPartitionLoad) int {
		return cmp.Or(slices.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
	})
	return news, isFull
}

func isNoticeable(before, now wire.PeerPartitionLoad) bool {
	differs := func(a, b, least int64) bool {
		change := max(a-b, b-a)
		return change > least && change > a/noticeablePart
	}
	return before.Volume != now.Volume || differs(before.SizeBytes, now.SizeBytes, noticeableBytes) || differs(before.BytesPerSecond, now.BytesPerSecond, noticeableRate)
}

// requests cuts a report into pieces.
func (l *loadReport) requests(first wire.PeerLoadRequest, news []wire.PeerPartitionLoad, isFull bool) (all []*wire.PeerLoadRequest) {
	for {
		req := first
		req.IsFull = isFull && len(all) == 0
		req.Partitions = news[:min(len(news), reportPartitions)]
		news = news[len(req.Partitions):]
		req.HasMore = len(news) > 0
		all = append(all, &req)
		if !req.HasMore {
			return all
		}
	}
}

// latencyMicros is the 99th percentile of what was counted since the last time, -1 if that is little. Within a bucket
// it counts as even: the pace of copying follows differences that are smaller than the buckets.
func (l *loadReport) latencyMicros(cumulative []int64, bounds []float64) int64 {
	before := l.produces
	l.produces = slices.Clone(cumulative)
	if len(before) != len(cumulative) || len(cumulative) == 0 {
		return -1
	}
	last := len(cumulative) - 1
	count := cumulative[last] - before[last]
	if count < minProduces {
		return -1
	}
	below, lower := int64(0), 0.0
	for i, upper := range bounds {
		upTo := cumulative[i] - before[i]
		if upTo*100 >= count*99 {
			part := (float64(count)*0.99 - float64(below)) / float64(upTo-below)
			return int64((lower + (upper-lower)*part) * 1e6)
		}
		below, lower = upTo, upper
	}
	return int64(bounds[len(bounds)-1] * 2e6)
}

// volumesOf finds the file systems of log dirs: those of the same size and free space are one. What waits for
// file.delete.delay.ms counts as free: it is when something else has been copied, and the disk does not wait if it is full.
func volumesOf(dirs []storage.DirDescription) (volumes []wire.PeerVolume, ofDir []int8) {
	var deleted []int64
	for _, d := range dirs {
		if d.Err != nil || d.TotalBytes <= 0 {
			ofDir = append(ofDir, -1)
			continue
		}
		used := d.TotalBytes - d.UsableBytes
		at := slices.IndexFunc(volumes, func(v wire.PeerVolume) bool {
			return v.CapacityBytes == d.TotalBytes && max(v.UsedBytes-used, used-v.UsedBytes) < d.TotalBytes/100
		})
		if at < 0 {
			at = len(volumes)
			volumes, deleted = append(volumes, wire.PeerVolume{CapacityBytes: d.TotalBytes, UsedBytes: used}), append(deleted, 0)
		}
		deleted[at] += d.DeletedBytes
		ofDir = append(ofDir, int8(min(at, math.MaxInt8)))
	}
	for i := range volumes {
		volumes[i].UsedBytes = max(volumes[i].UsedBytes-deleted[i], 0)
	}
	return volumes, ofDir
}
