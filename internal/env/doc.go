// Package env is what the deterministic cores see of the world besides their input: a
// clock, randomness, and for hosts the Spawner that owns goroutines. Disk is env/vfs.
package env
