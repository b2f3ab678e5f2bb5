//go:build race

package storage

// underRace has tests in which nothing is concurrent, and which take minutes under the race detector, do less.
const underRace = true
