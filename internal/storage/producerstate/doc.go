// Package producerstate remembers, for one log, what each idempotent producer wrote last: its
// epoch and its last five batches. With it a batch that was sent again is answered with its
// first offset, and a gap in the sequence numbers is refused. It also reads and writes the
// snapshots of that state in Kafka's .snapshot format.
//
// A storage.Log owns one Manager and calls it under its lock; nothing here does I/O.
package producerstate
