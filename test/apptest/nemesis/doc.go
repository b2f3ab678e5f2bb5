// Package nemesis runs a cluster of real processes under faults, with unmodified clients on it, and checks what the
// clients saw (package history). Each node is in a network namespace of its own (package fault). A mix of faults is
// re-rolled every few seconds from a seed; in the end everything is healed and every consumer reads to the end.
//
// `go test` runs a short mix. `make faults` runs long ones and writes docs/fault-report.md. Linux only, for root.
//
// The test's goroutine drives the faults; each process of the workload is a goroutine with a client of its own.
package nemesis
