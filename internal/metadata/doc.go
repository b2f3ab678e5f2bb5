// Package metadata is the cluster's metadata: the records of the metadata log in Apache
// Kafka 4.3's schemas, the immutable Image they add up to, and the Delta between two images.
//
// The controller computes records on an Image; the quorum stores them; metadata/host.Loader
// replays them and hands Image and Delta to the subsystems. Everything here is
// deterministic and free of locks: an Image never changes once it is built and may be read by
// any number of goroutines; a Delta belongs to the goroutine that made it until it is
// published, and is only read from then on.
package metadata
