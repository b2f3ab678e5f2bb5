// Package fault does to real processes what networks, clocks and disks do: it runs each in a network namespace of
// its own, carries their packets, and drops or delays them by direction; it steps the wall clock that one process
// sees; it gives each a small file system and fills it. The processes are unmodified. Linux only, for root.
//
// The namespaces are joined by tunnel devices whose other ends this process holds: a kernel needs neither a
// bridge, a packet filter nor netem for it. One goroutine per namespace forwards what it sends.
package fault
