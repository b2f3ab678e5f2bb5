// Package peer carries requests between the nodes of a cluster. Handlers reach the active
// controller through the ControllerChannel seam; on a single node it calls the controller in
// process.
package peer
