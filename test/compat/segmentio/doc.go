// Package segmentio runs segmentio's kafka-go, a pure Go client, against the broker that BOOTSTRAP names: its
// writers and readers, and the calls of its Client.
package segmentio
