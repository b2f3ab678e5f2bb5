// Package apptest runs the real binary and does to it what production does: kill -9 under
// load, bad input on its port, full restarts. `make apptest` runs the same for longer.
package apptest
