// Package quorum keeps the metadata log: etcd's Raft (RawNode) over a log, snapshots and hard
// state in Apache Kafka's formats. It is the only package that imports the Raft library.
//
// A Voter is a single-owner core: quorum/host's goroutine owns it, feeds it proposals, ticks and
// messages, and carries out what Process returns. Nothing is acknowledged, sent or committed
// before it is fsynced. A node that is not among the voters observes: it pulls pages of what is
// committed (Committed, Observe) and keeps the same log.
//
// How Raft maps to Kafka's log `__cluster_metadata-0`:
//   - one Raft entry is exactly one v2 record batch; the term is the partition leader epoch, and
//     the base offset of an entry is the one after its predecessor's last record. Index and
//     offset differ; the log keeps the mapping in memory and rebuilds it by counting batches;
//   - the empty entry of an election is a batch of one NoOpRecord with the timestamp of the batch
//     before it; the new leader then proposes a LeaderChange control batch;
//   - a snapshot is `<end offset>-<epoch>.checkpoint`: SnapshotHeader (Raft's index in a tagged
//     field), KRaftVersion, Voters, the image's records, SnapshotFooter;
//   - a change of the voters is a KRaftVoters control batch, with what Raft needs in a tagged field;
//   - term, vote and a commit index live in `raft-state`, in two alternating slots with checksums,
//     beside the durable end of the log. The commit index is as new as the last change of the voters
//     demands, not always the newest.
//
// A snapshot that another node sends (Receive, Check, Install) takes the place of the log only where
// the log lacks something of it: what follows it may have been committed with this voter's help.
//
// Recovery cuts the log only where a final write was incomplete. Every other bad batch is
// corruption: Open fails with a *CorruptLogError that says where and what to do.
package quorum
