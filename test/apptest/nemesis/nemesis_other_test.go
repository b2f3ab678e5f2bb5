//go:build !linux

package nemesis

import "testing"

// TestFaults needs Linux.
func TestFaults(t *testing.T) {
	t.Skip("SKIPPED: network namespaces are Linux's; a cluster of real processes is not tried under faults of the network")
}
