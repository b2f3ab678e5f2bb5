package storage

import "github.com/moldau/moldau/internal/metrics"

// dirMetrics are aggregates: ten thousand partitions are no reason for ten thousand series.
type dirMetrics struct {
	flushSeconds    *metrics.Histogram
	segmentsRolled  *metrics.Counter
	segmentsDeleted *metrics.Counter
	logsRecovered   *metrics.Counter
	truncatedBytes  *metrics.Counter
	offlineDirs     *metrics.Gauge
}

func newDirMetrics(r *metrics.Registry) *dirMetrics {
	return &dirMetrics{
		flushSeconds:    r.Histogram("log_flush_seconds", "Time to make one log's unflushed data durable.", metrics.LatencySeconds),
		segmentsRolled:  r.Counter("log_segments_rolled_total", "Segments closed because a new active segment began."),
		segmentsDeleted: r.Counter("log_segments_deleted_total", "Segments deleted by retention or truncation."),
		logsRecovered:   r.Counter("logs_recovered_total", "Logs whose unflushed part was checked after an unclean shutdown."),
		truncatedBytes:  r.Counter("log_truncated_bytes_total", "Bytes removed by recovery and truncation."),
		offlineDirs:     r.Gauge("log_dirs_offline", "Log dirs that failed and are not used."),
	}
}
