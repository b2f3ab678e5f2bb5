package group

import "github.com/moldau/moldau/internal/metrics"

// Metrics are what all shards of a broker count together.
type Metrics struct {
	groups          [stateCount]*metrics.Gauge
	offsets         *metrics.Gauge
	rebalances      *metrics.Counter
	commits         *metrics.Counter
	expirations     *metrics.Counter
	deletions       *metrics.Counter
	skippedRecords  *metrics.Counter
	expiredSessions *metrics.Counter
}

// NewMetrics registers the metrics of groups.
func NewMetrics(r *metrics.Registry) *Metrics {
	m := &Metrics{
		offsets:         r.Gauge("group_offsets", "Committed offsets in memory."),
		rebalances:      r.Counter("group_rebalances_total", "Rebalances of classic groups that ended with an assignment."),
		commits:         r.Counter("group_offset_commits_total", "Offsets committed, one per partition."),
		expirations:     r.Counter("group_offset_expirations_total", "Committed offsets removed because their retention had passed."),
		deletions:       r.Counter("group_offset_deletions_total", "Committed offsets removed on request or with their topic or group."),
		skippedRecords:  r.Counter("group_skipped_records_total", "Records of other kinds of groups that were skipped while loading."),
		expiredSessions: r.Counter("group_expired_sessions_total", "Members removed because their session timed out."),
	}
	for state := range stateCount {
		m.groups[state] = r.Gauge("group_count", "Groups by type and state.", "type", "classic", "state", state.String())
	}
	return m
}
