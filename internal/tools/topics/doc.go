// Package topics is kafka-topics: create, list, describe, alter and delete topics. The command
// table in internal/tools calls Run; nothing here starts a goroutine.
package topics
