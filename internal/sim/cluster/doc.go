// Package cluster is the seeded, deterministic simulation of a whole cluster: three to five nodes, each a disk
// in memory and, while it is up, a process of the real cores, a network between them and to clients, and faults,
// all in one event loop that owns virtual time. It goes with package sim, which simulates one node deeply, and
// shares its disks, checkers, coordinators, and the clients of groups and transactions.
//
// A World owns time, randomness, the queue of events, the network, the clients and the checkers. A process does
// what the hosts of its cores would do, driven by events: it may be killed at any disk operation, paused, slow or
// cut off. A seed draws the size of the cluster, the workload and the faults, within the fault budget: of every partition
// fewer replicas than its effective min ISR lose unsynced data before all are in sync and flushed again. Where
// everything is flushed before it counts, every node may. Beyond the budget, which some seeds go, only what was
// not flushed may be lost. After the faults the world heals, and everything must converge.
//
// Real are the voters with their campaigns and who pulls from them, the controller with its office and sessions, metadata replay, storage, partitions,
// replica managers with their planner, fetchers and the handler of Fetch, the sender of in-sync replicas, the mender of damaged data, the lifecycle
// with its contact to the voters, the rules of forwarding and of suspects, the coordinators' runtime with its shards, and the sender of markers. What the hosts
// around them do is done here by events: carrying requests, waiting, timers.
//
// Bits are turned in what a node has stored, of any byte of a batch that another replica has, too, but for its leader epoch. Consumers that read from the
// beginning meet the damage; it must not be served nor get to another node, and has to be mended, or given up and fetched again: in the end all
// replicas have the same bytes. In some seeds voters of the metadata quorum are removed and added under the other faults, also nodes that
// have only observed before; in the end those vote that were asked for. How nodes find each other before there is a quorum, and
// voters that lose their disks, are simulated in package quorum.
//
// The checkers know nothing of the simulation: they are told what was promised and seen. Only tests import
// this package. Raft draws its time-outs from crypto/rand, which a test has to seed.
package cluster
