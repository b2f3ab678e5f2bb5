// Package sim is the seeded, deterministic simulation of a node: the real cores (storage,
// quorum and controller, replicas, the coordinators' runtime with its shards, the queue of markers, the cleaner) over a disk in memory, clients, and faults,
// all in one event loop that owns virtual time. There is no goroutine, clock or network; the
// same seed gives the same trace.
//
// A World owns time, randomness, the event queue, the clients and the checkers. A Node owns
// its disk and, while it is up, a process: the cores and what their hosts would do, driven
// synchronously. More nodes can join a World; each client talks to one through a connection
// whose loss is a fault like any other. A seed draws the configuration, the workload and the
// faults, within a stated Budget. After the faults the world heals, and everything that waits
// must get through.
//
// Half of the workload is consume-transform-produce in transactions of both versions, by clients
// that take each other's place without knowing. In worlds where its topics are flushed at every
// message, the copy must be exact through power loss, too; in others power loss makes it void, as
// markers and decisions may be gone, and only what needs no transaction is checked from then on.
//
// What a whole cluster needs as well is written for both: package cluster has the groups (Members), the copies (Copies) and the
// coordinators (Coordinators) of this package, over a Loop and Lines of its own.
//
// The checkers know nothing of the simulation: they are told what was promised and seen, and
// say what contradicts it. Only tests import this package.
package sim
