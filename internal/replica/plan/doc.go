// Package plan says what a broker has to do about partitions that the metadata has changed: lead,
// follow, wait for a leader, or give up its replica. It is pure: the replica manager carries it out.
package plan
