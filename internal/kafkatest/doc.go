// Package kafkatest runs the moldau binary for tests: it builds it once per test process,
// starts brokers as child processes on loopback, and ends them by their pid. It also listens
// for brokers that a test plays itself. Only tests import it.
package kafkatest
