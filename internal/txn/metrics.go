package txn

import "github.com/moldau/moldau/internal/metrics"

// Metrics count what the shards of a broker do.
type Metrics struct {
	transactions [stateCount]*metrics.Gauge
	started      *metrics.Counter
	committed    *metrics.Counter
	aborted      *metrics.Counter
	timedOut     *metrics.Counter
	fenced       *metrics.Counter
	expired      *metrics.Counter
	skipped      *metrics.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r *metrics.Registry) *Metrics {
	m := &Metrics{
		started:   r.Counter("moldau_transactions_started_total", "Transactions that got their first partition."),
		committed: r.Counter("moldau_transactions_committed_total", "Transactions that were committed."),
		aborted:   r.Counter("moldau_transactions_aborted_total", "Transactions that were aborted, for whatever reason."),
		timedOut:  r.Counter("moldau_transactions_timed_out_total", "Transactions that were aborted because they took longer than their producer's time-out."),
		fenced:    r.Counter("moldau_transactions_fenced_total", "Requests of producers that another instance with the same transactional id has fenced."),
		expired:   r.Counter("moldau_transactional_ids_expired_total", "Transactional ids that were forgotten because nobody used them."),
		skipped:   r.Counter("moldau_transaction_records_skipped_total", "Records of __transaction_state of a kind that is not known."),
	}
	for i := range m.transactions {
		m.transactions[i] = r.Gauge("moldau_transactional_ids", "Transactional ids by the state of their transaction.", "state", State(i).String())
	}
	return m
}
