// Package cluster is kafka-cluster and kafka-broker-api-versions: what a cluster says about
// itself. The command table in internal/tools calls Run and RunAPIVersions; nothing here starts
// a goroutine.
package cluster
