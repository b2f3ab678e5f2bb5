// Package peer carries requests between the nodes of a cluster. Handlers reach the active
// controller through the ControllerChannel seam; on a single node it calls the controller in
// process, in a cluster it finds out who that is. Conn is one connection to another node; Raft sends the
// quorum's messages over one per voter, and Watch finds out whether nodes live whose connections have
// ended. Goroutines belong to the Spawner that each is given.
package peer
