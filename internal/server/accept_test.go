package server

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/metrics"
)

// TestConnectionCreationRate lets connections in as fast as max.connection.creation.rate allows,
// after a burst of one second's worth.
func TestConnectionCreationRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Metrics: metrics.NewRegistry(), Limits: Limits{ConnectionsPerSecond: 10, RequestMemoryBytes: 1}})
		began := time.Now()
		for i := range 31 {
			if !s.waitForSlot(t.Context()) {
				t.Fatal("the wait ended")
			}
			s.mu.Lock()
			s.payForConnection()
			s.mu.Unlock()
			if i == 10 && time.Since(began) > 100*time.Millisecond {
				t.Errorf("eleven connections took %s", time.Since(began))
			}
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("31 connections took %s, want 2s", took)
		}
	})
}
