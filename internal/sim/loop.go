package sim

import "github.com/moldau/moldau/internal/kafka"

// Loop is a world as its clients and processes see it: its time and chance, the trace, and the checkers' verdict. The worlds
// of one node and of a cluster are ones.
type Loop interface {
	NowMs() int64
	// After plans f.
	After(delayMs int64, f func())
	// Between draws from low to high, both included.
	Between(low, high int64) int64
	// OneIn is true once in n times.
	OneIn(n int) bool
	// Note adds an event to the trace.
	Note(format string, args ...any)
	// Check ends the run if a checker of groups or transactions objects to what holds as long as not too much is lost.
	Check(err error) bool
	// Fail ends the run.
	Fail(format string, args ...any)
	// IsHealing says that faults are over, and that nothing new is to be asked for.
	IsHealing() bool
}

// Line is a client's way to the nodes.
type Line interface {
	// Reaches reports whether the client knows who leads a partition. Where not it asks, and again runs some time later.
	Reaches(tp kafka.TopicPartition, again func()) bool
	// LeaderEpoch is the one in which the client believes a partition to be led, kafka.NoLeaderEpoch if it does not care.
	LeaderEpoch(tp kafka.TopicPartition) int32
	// Ask has handle run where a partition is led; it calls answer once. done gets that here. Where the answer is a
	// kafka.ErrorCode, or gets lost, again runs instead, some time later.
	Ask(tp kafka.TopicPartition, name string, handle func(at *Coordinators, answer func(any)), done func(any), again func())
}

func coordinatorPartition(topic, key string) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: topic, Partition: kafka.CoordinatorPartition(key, CoordinatorPartitions)}
}

func errorOf(code kafka.ErrorCode) error {
	if code == kafka.ErrNone {
		return nil
	}
	return code
}
