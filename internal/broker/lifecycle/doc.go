// Package lifecycle decides what a broker says to the controller from its start to its end: it
// registers, is fenced until its metadata has caught up and it hosts its partitions, runs, and leaves when the controller has
// moved its leaderships away. It is a deterministic core with one owner; package host drives it.
package lifecycle
