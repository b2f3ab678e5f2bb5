package storage

import (
	"sync/atomic"

	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/storage/cleaner"
)

// dirMetrics are aggregates: ten thousand partitions are no reason for ten thousand series.
type dirMetrics struct {
	flushSeconds    *metrics.Histogram
	commitSeconds   *metrics.Histogram
	commitLogs      *metrics.Counter
	segmentsRolled  *metrics.Counter
	segmentsDeleted *metrics.Counter
	logsRecovered   *metrics.Counter
	truncatedBytes  *metrics.Counter
	offlineDirs     *metrics.Gauge
	stalledDirs     *metrics.Gauge
	lowDirs         *metrics.Gauge
	refusedAppends  *metrics.Counter
	damagedBatches  *metrics.Counter
	damagedLogs     *metrics.Gauge

	cleanSeconds                           *metrics.Histogram
	cleanedRecordsRead, cleanedRecordsKept *metrics.Counter
	cleanedBytesRead, cleanedBytesWritten  *metrics.Counter
	cleanedWithoutKey                      *metrics.Counter
	cleanerMapBytes                        *metrics.Gauge
	recopyPercent, mapUsedPercent          *metrics.Gauge
}

// cleanGauges are what the last look at the logs to compact has shown.
type cleanGauges struct {
	maxDirtyPercent, maxDelaySeconds, uncleanable atomic.Int64
}

func (g *cleanGauges) register(r *metrics.Registry) {
	gauge := func(name, help string, v *atomic.Int64) {
		r.GaugeFunc(name, help, func() float64 { return float64(v.Load()) })
	}
	gauge("log_cleaner_max_dirty_percent", "Share of bytes not yet compacted in the log where it is largest.", &g.maxDirtyPercent)
	gauge("log_cleaner_max_compaction_delay_seconds", "How long the log that waits longest is past its max.compaction.lag.ms.", &g.maxDelaySeconds)
	gauge("log_cleaner_uncleanable_partitions", "Partitions that are not compacted because their data is damaged.", &g.uncleanable)
}

func (m *dirMetrics) noteClean(s *cleaner.Stats, seconds float64) {
	m.cleanSeconds.Observe(seconds)
	m.cleanedRecordsRead.Add(s.RecordsRead)
	m.cleanedRecordsKept.Add(s.RecordsKept)
	m.cleanedWithoutKey.Add(s.RecordsWithoutKey)
	m.cleanedBytesRead.Add(s.BytesRead)
	m.cleanedBytesWritten.Add(s.BytesWritten)
	m.cleanerMapBytes.Set(s.MapBytes)
	m.mapUsedPercent.Set(s.MapUsedPercent)
	m.recopyPercent.Set(100 * s.BytesWritten / max(s.BytesRead, 1))
}

func newDirMetrics(r *metrics.Registry) *dirMetrics {
	return &dirMetrics{
		flushSeconds:        r.Histogram("log_flush_seconds", "Time to make one log's unflushed data durable.", metrics.LatencySeconds),
		commitSeconds:       r.Histogram("log_group_commit_seconds", "Time to make a group of logs durable that acknowledgements wait for.", metrics.LatencySeconds),
		commitLogs:          r.Counter("log_group_commit_logs_total", "Logs made durable by group commits; log_group_commit_seconds counts the groups."),
		segmentsRolled:      r.Counter("log_segments_rolled_total", "Segments closed because a new active segment began."),
		segmentsDeleted:     r.Counter("log_segments_deleted_total", "Segments deleted by retention or truncation."),
		logsRecovered:       r.Counter("logs_recovered_total", "Logs whose unflushed part was checked after an unclean shutdown."),
		truncatedBytes:      r.Counter("log_truncated_bytes_total", "Bytes removed by recovery and truncation."),
		lowDirs:             r.Gauge("log_dirs_low_on_space", "Log dirs that refuse appends of clients because they are nearly full."),
		refusedAppends:      r.Counter("log_appends_refused_total", "Appends refused because a log dir is nearly full."),
		damagedBatches:      r.Counter("log_damaged_batches_total", "Damaged batches met in logs by reads and by starts."),
		damagedLogs:         r.Gauge("logs_damaged_offline", "Logs that cannot be opened because their files are damaged."),
		cleanSeconds:        r.Histogram("log_cleaner_seconds", "Time to compact one log.", []float64{0.01, 0.1, 1, 10, 60, 600}),
		cleanedRecordsRead:  r.Counter("log_cleaner_records_read_total", "Records that compaction has read."),
		cleanedRecordsKept:  r.Counter("log_cleaner_records_kept_total", "Records that compaction has kept."),
		cleanedWithoutKey:   r.Counter("log_cleaner_records_without_key_total", "Records that compaction dropped because they have no key."),
		cleanedBytesRead:    r.Counter("log_cleaner_bytes_read_total", "Bytes of segments that compaction has replaced."),
		cleanedBytesWritten: r.Counter("log_cleaner_bytes_written_total", "Bytes that compaction has written."),
		cleanerMapBytes:     r.Gauge("log_cleaner_map_bytes", "Memory of the key map of the last compaction."),
		recopyPercent:       r.Gauge("log_cleaner_recopy_percent", "Share of the bytes that the last compaction read and wrote again."),
		mapUsedPercent:      r.Gauge("log_cleaner_max_buffer_utilization_percent", "How full the key map of the last compaction became."),
		stalledDirs:         r.Gauge("log_dirs_stalled", "Log dirs whose disk does not answer at the moment."),
		offlineDirs:         r.Gauge("log_dirs_offline", "Log dirs that failed and are not used."),
	}
}
