package follower

import "github.com/moldau/moldau/internal/metrics"

// Metrics count what all Fetchers of a broker do.
type Metrics struct {
	fetches          *metrics.Counter
	failed           *metrics.Counter
	bytes            *metrics.Counter
	truncations      *metrics.Counter
	damaged          *metrics.Counter
	retried          *metrics.Counter
	failedPartitions *metrics.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		fetches:          r.Counter("kafka_server_replicafetcher_requests_total", "Fetches from other brokers that were answered."),
		failed:           r.Counter("kafka_server_replicafetcher_failed_requests_total", "Fetches from other brokers that were not sent, not answered, or refused as a whole."),
		bytes:            r.Counter("kafka_server_brokertopicmetrics_replicationbytesin_total", "Bytes of record batches fetched from other brokers and appended."),
		truncations:      r.Counter("kafka_server_replicafetcher_truncations_total", "Answers upon which a follower cut off what its leader does not have."),
		damaged:          r.Counter("kafka_server_replicafetcher_refused_batches_total", "Answers with record batches that are damaged or out of order; they are fetched again."),
		retried:          r.Counter("kafka_server_replicafetcher_retried_partitions_total", "Answers for partitions that will be asked for again, as a change of leaders brings about."),
		failedPartitions: r.Counter("kafka_server_replicafetcher_failed_partitions_total", "Other failures to fetch a partition."),
	}
}
