// Package host runs the controller core: one goroutine ("controller") takes requests from a
// bounded queue, has controller/office compute each on the speculative image (committed plus in-flight batches),
// proposes its records to the quorum and releases the response when they are committed. When
// leadership is lost the speculative image is dropped and waiting requests get NOT_CONTROLLER.
package host
