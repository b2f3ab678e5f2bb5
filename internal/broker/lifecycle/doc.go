// Package lifecycle decides what a broker says to the controller from its start to its end: it
// registers, is fenced until its metadata has caught up and it hosts its partitions, runs, and leaves when the controller has
// moved its leaderships away. It is a deterministic core with one owner; package host drives it. Beside it, a Contact decides
// whether the broker may believe what it knows of who leads; broker's sessions drive that.
package lifecycle
