// Package controller decides changes of the cluster's metadata: a request, the speculative
// Image, the time and randomness go in; metadata records and the response come out. It is
// deterministic and keeps no state of its own: everything it knows is in the Image.
//
// controller/office keeps the speculative image that it computes on. controller/host owns the event loop that calls
// both, one request at a time, and releases each
// response when its records are committed. One request makes one atomic batch of records.
package controller
