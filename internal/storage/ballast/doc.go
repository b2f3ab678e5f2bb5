// Package ballast keeps a file in each log dir to have something to give up: others can fill a volume to the
// last byte, and a start needs some bytes, for the metadata log's records of this start and for index entries of
// logs that a kill left incomplete. storage calls it at the start and when it looks at the free space.
package ballast
