package broker

import (
	"context"
	"log/slog"
	"time"
)

// followIsolation is a goroutine: it notices that most of the controllers do not hear this broker any more. It is fenced
// then, and whoever waits here for what only other replicas can confirm had better look for their new leader.
func (b *broker) followIsolation(ctx context.Context) {
	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	var since time.Time // zero while it is not isolated
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		isolated := b.cluster.sessions.isIsolated()
		if b.replicas.NoteAbandoned() {
			b.groups.CheckLogs()
			b.transactions.CheckLogs()
		}
		switch id := b.config.NodeID; {
		case b.stopping.Load(): // the others may be stopping, too
		case isolated && since.IsZero():
			since = time.Now()
			slog.Warn("most of the controllers have not answered this broker within its session, or its process was stopped; it counts as fenced, and clients that wait for its other replicas are sent to look for another leader: check its network and whether its machine was paused",
				"nodeId", id, "sessionMs", b.config.BrokerSessionTimeoutMs)
		case !isolated && !since.IsZero():
			slog.Warn("most of the controllers answer this broker again, and it knows what they have decided", "nodeId", id, "afterMs", time.Since(since).Milliseconds())
			since = time.Time{}
		}
	}
}
