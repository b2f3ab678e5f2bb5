package coordinator

import "github.com/moldau/moldau/internal/metrics"

type runtimeMetrics struct {
	queued        *metrics.Gauge
	parked        *metrics.Gauge
	refused       *metrics.Counter
	partitions    [stateCount]*metrics.Gauge
	queueSeconds  *metrics.Histogram
	loads         *metrics.Counter
	loadFailures  *metrics.Counter
	loadSeconds   *metrics.Histogram
	loadedRecords *metrics.Counter
	appends       *metrics.Counter
	appendRecords *metrics.Counter
	appendFailure *metrics.Counter
	appendSeconds *metrics.Histogram
}

func newRuntimeMetrics(r *metrics.Registry, name string) *runtimeMetrics {
	label := []string{"coordinator", name}
	m := &runtimeMetrics{
		queued:        r.Gauge("coordinator_queued_requests", "Requests that wait for their shard.", label...),
		parked:        r.Gauge("coordinator_waiting_requests", "Requests whose shard has taken them up and whose answer is outstanding.", label...),
		refused:       r.Counter("coordinator_refused_requests_total", "Requests refused because the queue of their shard was full.", label...),
		queueSeconds:  r.Histogram("coordinator_queue_seconds", "How long requests wait for their shard.", metrics.LatencySeconds, label...),
		loads:         r.Counter("coordinator_loads_total", "Shards loaded from their log.", label...),
		loadFailures:  r.Counter("coordinator_load_failures_total", "Attempts to load a shard that failed.", label...),
		loadSeconds:   r.Histogram("coordinator_load_seconds", "How long loading a shard takes.", metrics.LatencySeconds, label...),
		loadedRecords: r.Counter("coordinator_loaded_records_total", "Records replayed while loading.", label...),
		appends:       r.Counter("coordinator_appends_total", "Batches appended to the coordinator's log.", label...),
		appendRecords: r.Counter("coordinator_append_records_total", "Records appended to the coordinator's log.", label...),
		appendFailure: r.Counter("coordinator_append_failures_total", "Appends that failed; the shard is loaded again.", label...),
		appendSeconds: r.Histogram("coordinator_append_seconds", "How long an append to the local log takes.", metrics.LatencySeconds, label...),
	}
	for s := range stateCount {
		m.partitions[s] = r.Gauge("coordinator_partitions", "Partitions of the coordinator's log led here, by state of their shard.", "coordinator", name, "state", s.String())
	}
	return m
}
