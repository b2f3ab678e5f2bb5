// Package dumplog is kafka-dump-log: it prints what stands in the files of a partition's folder and
// checks indexes against their log. The command table in internal/tools calls Run.
//
// It reads files and changes none, whether a broker uses them or not. The formats are those of record,
// segment, producerstate and metadata, which decode them; nothing of a broker runs here, and nothing
// starts a goroutine. Of a log one batch is in memory at a time.
package dumplog
