package host

import (
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
)

type meters struct {
	queued          *metrics.Gauge
	epoch           *metrics.Gauge
	leader          *metrics.Gauge
	roles           map[quorum.Role]*metrics.Gauge
	logEnd          *metrics.Gauge
	logEndEpoch     *metrics.Gauge
	commit          *metrics.Gauge
	voters          *metrics.Gauge
	observers       *metrics.Gauge
	votersChange    *metrics.Gauge
	storeSeconds    *metrics.Histogram
	electionSeconds *metrics.Histogram
	groupEntries    *metrics.Histogram
	snapshots       *metrics.Counter
	installed       *metrics.Counter
	messages        *metrics.Gauge
	dropped         *metrics.Counter
	undelivered     *metrics.Gauge
	failedPulls     *metrics.Counter
}

func newMeters(r *metrics.Registry) meters {
	m := meters{
		queued:          r.Gauge("kafka_raft_proposal_queue_size", "Metadata changes that wait to be stored."),
		epoch:           r.Gauge("kafka_raft_current_epoch", "Epoch of the metadata quorum."),
		leader:          r.Gauge("kafka_raft_current_leader", "Node that leads the metadata quorum, -1 for none."),
		roles:           map[quorum.Role]*metrics.Gauge{},
		logEnd:          r.Gauge("kafka_raft_log_end_offset", "Offset after the last record of the metadata log."),
		logEndEpoch:     r.Gauge("kafka_raft_log_end_epoch", "Epoch of the last record of the metadata log."),
		commit:          r.Gauge("kafka_raft_high_watermark", "Offset after the last committed record of the metadata log."),
		voters:          r.Gauge("kafka_raft_number_of_voters", "Nodes that vote on the metadata."),
		observers:       r.Gauge("kafka_raft_number_of_observers", "Nodes that do not vote and have pulled the metadata log from this one lately."),
		votersChange:    r.Gauge("kafka_raft_uncommitted_voter_change", "1 while this leader has a change of the voters that is not committed."),
		storeSeconds:    r.Histogram("kafka_raft_commit_latency_seconds", "Time to store and commit one group of metadata changes.", metrics.LatencySeconds),
		electionSeconds: r.Histogram("kafka_raft_election_latency_seconds", "Time from when a leader was missed until the next one was known.", metrics.LatencySeconds),
		groupEntries:    r.Histogram("kafka_raft_group_size", "Metadata changes stored with one sync.", []float64{1, 2, 4, 8, 16, 64, 256, 1024, 4096}),
		snapshots:       r.Counter("kafka_raft_snapshots_written_total", "Snapshots of the metadata log written."),
		installed:       r.Counter("kafka_raft_snapshots_installed_total", "Snapshots of other nodes that took the place of the metadata log."),
		messages:        r.Gauge("kafka_raft_message_queue_size", "Messages of other voters that wait."),
		dropped:         r.Counter("kafka_raft_dropped_messages_total", "Messages of other voters that were dropped because too many waited."),
		undelivered:     r.Gauge("kafka_raft_undelivered_batches", "Committed metadata batches that the loader has no room for yet."),
		failedPulls:     r.Counter("kafka_raft_failed_pulls_total", "Pulls of the metadata log, and fetches of snapshots, that failed."),
	}
	for _, role := range quorum.Roles {
		m.roles[role] = r.Gauge("kafka_raft_current_state", "1 for what this node does in the metadata quorum.", "state", string(role))
	}
	return m
}

// showRole sets the gauges of the roles.
func (m *meters) showRole(role quorum.Role) {
	for each, gauge := range m.roles {
		value := int64(0)
		if each == role {
			value = 1
		}
		gauge.Set(value)
	}
}
