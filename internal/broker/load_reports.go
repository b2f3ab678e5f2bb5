package broker

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/wire"
)

const (
	// firstReport is when the controller hears of this broker's load first, reportRetry when it is told again what it
	// could not be told.
	firstReport = time.Second
	reportRetry = 2 * time.Second
	reportWait  = 10 * time.Second
)

// copyWindow is over what time the copying for the balancer is held to its pace: a short one, since the pace
// follows what clients see, of short samples, since as much as one allows comes at once, as fast as the disk gives it,
// where one that is over counts no more.
var copyWindow = quota.Window{Samples: 10, Sample: 100 * time.Millisecond}

// firstCopyRate is the pace before the controller has said one.
const firstCopyRate = 8 << 20

// reportLoads tells the active controller what this broker carries, for its balancer, and copies replicas at the pace
// that it says.
func (b *broker) reportLoads(ctx context.Context) {
	report := &loadReport{nodeID: b.config.NodeID}
	produce := b.metrics.Histogram("moldau_request_duration_seconds", "Time from a request's last byte to its response's.", metrics.LatencySeconds, "api", "Produce")
	timer := time.NewTimer(firstReport)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next, err := b.reportLoad(ctx, report, produce)
		if err != nil {
			report.told = nil
			next = reportRetry
			if ctx.Err() == nil {
				slog.Debug("the controller does not know this broker's load yet; it is told again", "error", err)
			}
		}
		timer.Reset(next)
	}
}

// reportLoad makes one report and returns when the next is due.
func (b *broker) reportLoad(ctx context.Context, report *loadReport, produce *metrics.Histogram) (time.Duration, error) {
	if b.loader.Current().BrokerCount() < 2 { // nobody to share with
		report.told = nil
		return firstReport, nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportWait)
	defer cancel()
	first := wire.PeerLoadRequest{NodeID: b.config.NodeID, BrokerEpoch: b.epoch()}
	present := b.replicaLoads(&first)
	cumulative, _, _ := produce.Snapshot()
	first.LatencyMicros = report.latencyMicros(cumulative, produce.Bounds())
	news, isFull := report.partitions(present, b.clock.Now().UnixMilli())
	next := reportRetry
	for _, req := range report.requests(first, news, isFull) {
		resp, err := b.channel.Send(ctx, self, req)
		if err != nil {
			return 0, err
		}
		answer := resp.(*wire.PeerLoadResponse)
		switch {
		case answer.ErrorCode != 0:
			return 0, kafka.ErrorCode(answer.ErrorCode)
		case answer.WantsFull:
			report.told = nil
			return 0, nil
		}
		if answer.CopyBytesPerSecond > 0 {
			b.throttles.balancer.SetLimit(answer.CopyBytesPerSecond)
		}
		next = max(time.Duration(answer.NextMs)*time.Millisecond, 100*time.Millisecond)
	}
	return next, nil
}

// replicaLoads looks at the replicas of this broker, and fills in the volumes.
func (b *broker) replicaLoads(req *wire.PeerLoadRequest) (loads []replicaLoad) {
	dirs := b.storage.DescribeDirs(func(kafka.TopicPartition) bool { return true })
	volumes, ofDir := volumesOf(dirs)
	req.Volumes = volumes
	image := b.replicas.Image()
	for i := range dirs {
		for _, log := range dirs[i].Logs {
			topic := image.TopicByName(log.TopicPartition.Topic)
			if log.IsFuture || topic == nil {
				continue
			}
			load := replicaLoad{LogDescription: log, volume: ofDir[i], producedBytes: -1, topicID: topic.ID}
			if p := topic.Partition(log.TopicPartition.Partition); p != nil && p.Leader == b.config.NodeID {
				if r, err := b.replicas.Lookup(log.TopicPartition); err == nil {
					load.producedBytes = r.ProducedBytes()
				}
			}
			loads = append(loads, load)
		}
	}
	return loads
}

// publishCopies holds the replicas that the balancer gives this broker to its pace, on the loader's goroutine.
func (b *broker) publishCopies(image *metadata.Image, delta *metadata.Delta) {
	done := map[string]bool{}
	for _, change := range delta.ChangedPartitions() {
		if done[change.Topic] {
			continue
		}
		done[change.Topic] = true
		var copied quota.ThrottledReplicas
		if topic := image.TopicByName(change.Topic); topic != nil {
			for _, p := range topic.Partitions {
				if p.Balancing && slices.Contains(p.AddingReplicas, b.config.NodeID) {
					copied.Partitions = append(copied.Partitions, p.ID)
				}
			}
		}
		b.throttles.balancer.SetReplicas(change.Topic, copied)
	}
}
