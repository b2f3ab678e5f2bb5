//go:build race

package wire

// The race detector's build takes append(a, make([]T, n)...) literally, so decoding allocates its
// slices twice.
func init() { allocationFactor = 2 }
