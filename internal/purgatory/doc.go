// Package purgatory holds operations that wait for something to happen to a partition: a
// fetch for enough bytes, a produce or a coordinator's append for the high watermark.
//
// replica keeps a List per partition and notifies it; handlers and the coordinator watch.
// The package owns no goroutine: an operation is completed on the goroutine that notifies,
// or given up by the one that waits, and exactly one of the two happens. A parked fetch
// costs its connection's goroutine, an Operation and a timer.
package purgatory
