// Package reassign is kafka-reassign-partitions: it proposes, starts, watches and cancels moves of
// partitions between brokers and between log dirs. The command table in internal/tools calls Run;
// nothing here starts a goroutine.
package reassign
