package sim

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/txn"
)

// The topics of consume-transform-produce.
const (
	InputTopic  = "input"
	OutputTopic = "output"
	// Copiers is how many transactional ids there are; each has two clients that take turns without
	// knowing of each other, so that there is always one that may be a zombie.
	Copiers = 2
	// outputsPerCopier partitions get the same records: a transaction must be whole.
	outputsPerCopier = 2
	OutputPartitions = Copiers * outputsPerCopier
)

// CopiesOptions are what consume-transform-produce needs of its world.
type CopiesOptions struct {
	Loop    Loop
	Levels  *Levels
	NewLine func(name string) Line
	// Produce has an idempotent producer write to a partition of the input.
	Produce func(tp kafka.TopicPartition)
	// LedAt is the process that leads a partition, nil if none does.
	LedAt func(tp kafka.TopicPartition) *Coordinators
	// IsVoid says that so much is lost that nothing holds of the copies any more.
	IsVoid func() bool
	// TakeAborted has readers take what was aborted, too.
	TakeAborted bool
}

// Copies is consume-transform-produce in transactions: its clients, and what they have made.
type Copies struct {
	CopiesOptions
	copiers   []*copier
	readers   []*copyReader // one per partition of the output
	histories []*CopyHistory
	begun     int64 // transactions
	Ended     int   // answered without error
	Read      int   // records
}

// NewCopies returns the workload before its start.
func NewCopies(o CopiesOptions) *Copies {
	c := &Copies{CopiesOptions: o}
	for i := range OutputPartitions {
		c.histories = append(c.histories, NewCopyHistory(fmt.Sprintf("%s-%d", OutputTopic, i)))
	}
	return c
}

// Start starts the clients: two for each transactional id, which take each other's place without knowing.
func (c *Copies) Start() {
	for i := range Copiers {
		c.Produce(kafka.TopicPartition{Topic: InputTopic, Partition: int32(i)})
		// One transactional id has clients of transaction version 2 and the other of version 1, or they are mixed, as
		// during a rolling upgrade of clients.
		first, second := txn.Version2, txn.Version0
		if mixed := c.Loop.OneIn(3); !mixed {
			second = first
			if i == 1 {
				first, second = txn.Version0, txn.Version0
			}
		}
		c.addCopier(i, first)
		c.addCopier(i, second)
	}
	for i := range int32(OutputPartitions) {
		c.addReader(i)
	}
}

func (c *Copies) addCopier(number int, version int16) {
	name := fmt.Sprintf("copier-%d-%d", number, len(c.copiers))
	one := &copier{Copies: c, line: c.NewLine(name), name: name, number: number, version: version}
	c.copiers = append(c.copiers, one)
	one.plan(0, 300)
}

// Unfinished tells what of the input is not in the output, "" if everything is.
func (c *Copies) Unfinished() string {
	if c.IsVoid() {
		return ""
	}
	for _, r := range c.readers {
		at := c.LedAt(r.tp)
		if at == nil {
			return fmt.Sprintf("%s is not led", r.tp)
		}
		l, err := at.Replicas.Lookup(r.tp)
		if err != nil || r.position < l.Log().HighWatermark() {
			return r.name + " has not reached the end of " + r.tp.String()
		}
		if log := l.Log(); log.LastStableOffset() < log.LogEndOffset() {
			return fmt.Sprintf("a transaction hangs in %s: it is stable up to %d, and ends at %d", r.tp, log.LastStableOffset(), log.LogEndOffset())
		}
	}
	for _, one := range c.copiers {
		at := c.LedAt(one.input())
		if at == nil {
			return fmt.Sprintf("%s is not led", one.input())
		}
		l, err := at.Replicas.Lookup(one.input())
		if err != nil || c.committed(one) < l.Log().LogEndOffset() {
			return one.name + " has not copied all of " + one.input().String()
		}
	}
	return ""
}

// Finish checks, when nothing is unfinished, that everything is there once.
func (c *Copies) Finish() {
	for _, one := range c.copiers {
		for i := range outputsPerCopier {
			if !c.IsVoid() {
				c.Loop.Check(one.history(i).Finished(c.committed(one)))
			}
		}
	}
}

// committed is the place in the input that a copier's group has, as its shard says.
func (c *Copies) committed(one *copier) int64 {
	tp := coordinatorPartition(kafka.ConsumerOffsetsTopic, one.group())
	at := c.LedAt(tp)
	if at == nil {
		return 0
	}
	g, ok := at.Groups.Loaded(tp.Partition)
	if !ok {
		return 0
	}
	for _, r := range g.FetchOffsets(1, one.offsetsRequest(), true, at.Clock.Now().UnixMilli()).Responses {
		if answer := r.Value.(*kmsg.OffsetFetchResponseGroup).Topics[0].Partitions[0]; answer.ErrorCode == 0 {
			return max(0, answer.Offset)
		}
	}
	return 0
}
