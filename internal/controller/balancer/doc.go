// Package balancer carries out the plans of package balance while its controller is active: it gathers what
// brokers report of their load, decides when nothing may be moved and says why, begins few moves at a
// time, takes back those whose broker has died, and slows copying down where clients wait longer for it.
//
// It is a deterministic core with one owner, the goroutine of controller/host. What it knows goes with the active
// controller: a new one waits for the reports of all brokers before it plans. What must outlast a controller is in
// the metadata: which brokers drain or join (configs), and which reassignments are the balancer's.
package balancer
