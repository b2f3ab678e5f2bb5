// Package isr takes the changes of in-sync replicas that leaders propose to the controller. The Sender
// collects them into AlterPartition requests, of which one is under way at a time, and tells the
// partitions what was refused; what was made, or may have been made, comes to them with the metadata.
//
// It is a deterministic core with one owner: the goroutine of isr/host, or a test.
package isr
