package kafka

import "testing"

func TestEffectiveMinISR(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ minInSyncReplicas, replicas, want int }{
		{0, 1, 1}, {0, 2, 1}, {0, 3, 2}, {0, 5, 2}, {1, 3, 1}, {2, 1, 1}, {2, 3, 2}, {4, 3, 3},
	} {
		if got := EffectiveMinISR(test.minInSyncReplicas, test.replicas); got != test.want {
			t.Errorf("min.insync.replicas %d of %d replicas: %d, want %d", test.minInSyncReplicas, test.replicas, got, test.want)
		}
	}
}
