// Package record reads, checks and writes record batches of Kafka's format version 2, the
// unit in which records are sent, stored and fetched.
//
// Storage validates and iterates batches, the quorum and the coordinators build them, tools
// print them. It is the only package that knows the compression libraries. Nothing here
// keeps state between calls except pools of decompressors; a Batch is a view of bytes that
// the caller owns, and whoever mutates those bytes must be their only user.
package record
