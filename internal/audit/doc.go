// Package audit verifies a data folder whose broker does not run, and changes nothing: batches,
// CRCs, offsets, records, indexes, transaction indexes, producer snapshots, checkpoint files,
// leader epochs and the metadata log. cmd/moldau calls it for moldau audit; it runs on the
// caller's goroutine.
package audit
