// Package partition is one replica of one partition: who leads it in which epoch, the in-sync
// replicas, and how far records are committed. It decides whether an append or read is
// allowed, lets storage do it, and moves the high watermark. A leader notes what its followers have
// (followers.go) and says which changes of the in-sync replicas it wants; a follower appends what
// it has fetched, and cuts off what its leader does not have (following.go).
//
// replica owns the Partitions and applies the metadata to them; handlers and the coordinator
// call Append, Read and the lookups from any goroutine. It is a shared core: Partition.mu is
// taken before the log's mutex, appends hold it for reading so that leadership cannot change
// under them, and reads take no lock.
package partition
