// Package broker puts a node together from its parts, starts them in order, and stops them in
// the opposite order. Run is called by the command line on the main goroutine and returns when
// the context ends or the node cannot go on. The package starts no goroutine of its own but
// through the Spawner that it hands to the parts; it owns the locks of the log dirs.
package broker
