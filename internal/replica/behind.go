package replica

import (
	"cmp"
	"iter"
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
)

// maxBehind bounds the series of each kind that name a partition: the worst are shown.
const maxBehind = 100

// lacksReplicas reports whether replicas are out of sync, those not counted that a reassignment is only adding.
func lacksReplicas(a partition.Assignment) bool { return len(a.ISR) < len(a.Replicas)-a.Adding }

// behind names the partitions that are not as they should be: followed here and behind their leader, led here and lacking
// replicas in sync. The others have no series.
func (m *Manager) behind() []*metrics.Series {
	m.mu.RLock()
	defer m.mu.RUnlock()
	lags := worst(m.replicas.all(), func(r *Replica) int64 {
		if r.offline != nil || r.IsLeader() {
			return 0
		}
		return r.Lag()
	})
	lacking := worst(m.replicas.all(), func(r *Replica) int64 {
		if r.Usable() != nil || !r.IsLeader() || !lacksReplicas(r.Assignment()) {
			return 0
		}
		a := r.Assignment()
		return int64(len(a.Replicas) - a.Adding - len(a.ISR))
	})
	return append(
		seriesOf("kafka_server_fetcherlagmetrics_consumerlag", "Records that this broker has not fetched of what the partition's leader has committed; the 100 partitions furthest behind.", lags),
		seriesOf("kafka_cluster_partition_underreplicated", "Replicas that are not in sync, of partitions led here; the 100 that lack most.", lacking)...)
}

type behindBy struct {
	tp    kafka.TopicPartition
	count int64
}

// worst returns the replicas with the highest counts above 0.
func worst(replicas iter.Seq2[kafka.TopicPartition, *Replica], count func(*Replica) int64) (found []behindBy) {
	for tp, r := range replicas {
		if n := count(r); n > 0 {
			found = append(found, behindBy{tp, n})
		}
	}
	slices.SortFunc(found, func(a, b behindBy) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.tp.Topic, b.tp.Topic), cmp.Compare(a.tp.Partition, b.tp.Partition))
	})
	return found[:min(len(found), maxBehind)]
}

func seriesOf(name, help string, found []behindBy) (series []*metrics.Series) {
	for _, f := range found {
		series = append(series, &metrics.Series{Name: name, Help: help, Kind: metrics.KindGauge, Func: func() float64 { return float64(f.count) },
			Labels: []metrics.Label{{Name: "topic", Value: f.tp.Topic}, {Name: "partition", Value: strconv.Itoa(int(f.tp.Partition))}}})
	}
	return series
}
