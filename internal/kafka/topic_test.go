package kafka

import "testing"

// The partitions are those that Apache Kafka computes; the hash of the first three is negative.
func TestCoordinatorPartition(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{"console-consumer": 40, "my-group": 12, "zzzzzz": 14, "payments": 13, "connect-sink": 22, "": 0, "polygenelubricants": 0} {
		if got := CoordinatorPartition(key, 50); got != want {
			t.Errorf("%q belongs to partition %d, not %d", key, want, got)
		}
	}
}
