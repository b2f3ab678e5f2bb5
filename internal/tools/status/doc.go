// Package status is moldau status: one screen that says how a cluster is, what is wrong with it and what to do. gather
// asks the cluster, Assess judges what it said, which is all there is to test. The command in cmd/moldau
// calls Run; nothing here starts a goroutine.
package status
