package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// election says who may become leader when a partition changes.
type election int8

const (
	// electClean keeps a leader that may stay; else the first replica in sync, or an eligible one.
	electClean election = iota
	// electPreferred makes the first of the replicas the leader if it may be, else as electClean.
	electPreferred
	// electUnclean takes any live replica before it leaves the partition without leader: acknowledged
	// records may be lost.
	electUnclean
)

// partitionChange is the one way in which a partition's leader, in-sync replicas, eligible leader
// replicas and assignment change. to begins as a copy of from; whoever wants a change sets the lists of
// to, and record works out what follows from it: a reassignment that is complete, who stays eligible,
// who leads, which epochs rise.
//
// The only replica of a partition never leaves the ISR: nobody else can have more than it.
type partitionChange struct {
	changes  *partitionChanges
	topic    *metadata.Topic
	from     *metadata.Partition
	to       metadata.Partition
	minISR   int // min.insync.replicas, 0 where it is not set
	election election
	// lost is a replica that may have lost acknowledged records, kafka.NoLeader for none.
	lost int32
	// renew begins a new leader epoch even if the leader stays: it is another incarnation of the broker.
	renew bool
	// assigned is the log dir that assignedTo has told of.
	assigned   kafka.UUID
	assignedTo int32
}

// leave takes a broker out of the ISR.
func (c *partitionChange) leave(broker int32) {
	if len(c.from.Replicas) > 1 {
		c.to.ISR = without(c.to.ISR, broker)
	}
}

// loseData takes a broker out of the ISR and out of the eligible replicas, since its disk may lack
// what it had acknowledged (KIP-966).
func (c *partitionChange) loseData(broker int32) {
	c.leave(broker)
	c.lost = broker
}

// record returns the change, nil if there is nothing to change.
func (c *partitionChange) record() *metadata.PartitionChangeRecord {
	c.leaveAbsent()
	c.completeReassignment()
	c.keepOnlyReplica()
	c.keepEligible()
	newEpoch := c.elect()
	c.keepLastInSync()

	r := metadata.NewPartitionChangeRecord(c.topic.ID, c.from.ID)
	changed := newEpoch
	if newEpoch {
		r.Leader = c.to.Leader
	}
	if c.to.LeaderRecoveryState != c.from.LeaderRecoveryState {
		r.LeaderRecoveryState, changed = c.to.LeaderRecoveryState, true
	}
	for _, list := range []struct {
		field    *[]int32
		from, to []int32
	}{
		{&r.ISR, c.from.ISR, c.to.ISR},
		{&r.Replicas, c.from.Replicas, c.to.Replicas},
		{&r.RemovingReplicas, c.from.RemovingReplicas, c.to.RemovingReplicas},
		{&r.AddingReplicas, c.from.AddingReplicas, c.to.AddingReplicas},
		{&r.EligibleLeaderReplicas, c.from.ELR, c.to.ELR},
		{&r.LastKnownELR, c.from.LastKnownELR, c.to.LastKnownELR},
	} {
		if !slices.Equal(list.from, list.to) {
			*list.field, changed = append([]int32{}, list.to...), true // nil would mean "as before"
		}
	}
	if c.changes.image.HasDirectories() {
		directories := make([]kafka.UUID, len(c.to.Replicas))
		for i, id := range c.to.Replicas {
			directories[i] = c.directory(id)
		}
		if !slices.Equal(directories, c.from.Directories) {
			r.Directories, changed = directories, true
		}
	}
	if isBalancing := c.to.Balancing && c.to.IsReassigning(); isBalancing != c.from.Balancing || r.AddingReplicas != nil || r.RemovingReplicas != nil {
		// The mark counts with these lists only.
		r.AddingReplicas, r.RemovingReplicas = append([]int32{}, c.to.AddingReplicas...), append([]int32{}, c.to.RemovingReplicas...)
		r.Balancing, changed = isBalancing, true
	}
	if !changed {
		return nil
	}
	return r
}

// leaveAbsent takes brokers out of the ISR that are not there: one that was the only replica gets others.
func (c *partitionChange) leaveAbsent() {
	if len(c.to.Replicas) == 1 {
		return
	}
	c.to.ISR = slices.DeleteFunc(slices.Clone(c.to.ISR), func(id int32) bool {
		b := c.changes.broker(id)
		return b == nil || !b.Active()
	})
}

// completeReassignment ends a reassignment whose new replicas are all in sync. One that lowers the
// replication factor waits for all that remain, so that it does not leave fewer in sync than it must.
func (c *partitionChange) completeReassignment() {
	if !c.to.IsReassigning() {
		return
	}
	isr, replicas := without(c.to.ISR, c.to.RemovingReplicas...), without(c.to.Replicas, c.to.RemovingReplicas...)
	switch {
	case len(isr) == 0 || len(replicas) == 0 || !containsAll(isr, c.to.AddingReplicas):
		return
	case len(c.to.AddingReplicas) < len(c.to.RemovingReplicas) && !containsAll(isr, replicas):
		return
	}
	c.to.ISR, c.to.Replicas, c.to.RemovingReplicas, c.to.AddingReplicas = isr, replicas, nil, nil
}

// keepOnlyReplica puts the replica that is left into the ISR, if it was eligible.
func (c *partitionChange) keepOnlyReplica() {
	if len(c.to.Replicas) == 1 && slices.Contains(c.from.ELR, c.to.Replicas[0]) {
		c.to.ISR = slices.Clone(c.to.Replicas)
	}
}

// keepEligible works out the eligible leader replicas: those that left the ISR while it was below the
// minimum. The high watermark has not moved since, so that they have every acknowledged record.
func (c *partitionChange) keepEligible() {
	switch {
	case !c.changes.elr:
		if len(c.to.ISR) > 0 {
			c.to.ELR = nil
		}
		return
	case c.highWatermarkMoves():
		c.to.ELR = nil
		return
	}
	c.to.ELR = nil
	for _, id := range c.to.Replicas {
		had := slices.Contains(c.from.ISR, id) || slices.Contains(c.from.ELR, id)
		if had && id != c.lost && !slices.Contains(c.to.ISR, id) {
			c.to.ELR = append(c.to.ELR, id)
		}
	}
}

func (c *partitionChange) highWatermarkMoves() bool {
	return len(c.to.ISR) >= kafka.EffectiveMinISR(c.minISR, len(c.to.Replicas)-len(c.to.AddingReplicas))
}

// elect decides who leads and reports whether a new leader epoch begins.
func (c *partitionChange) elect() (newEpoch bool) {
	leader, unclean := c.chooseLeader()
	switch {
	case leader == kafka.NoLeader:
	case unclean:
		c.to.ISR, c.to.ELR, c.to.LeaderRecoveryState = []int32{leader}, nil, metadata.RecoveringLeader
	case !slices.Contains(c.to.ISR, leader): // one of the eligible
		c.to.ISR, c.to.ELR = []int32{leader}, without(c.to.ELR, leader)
		if c.highWatermarkMoves() { // the minimum was lowered while nobody led
			c.to.ELR = nil
		}
	}
	c.to.Leader = leader
	c.to.LastKnownELR = c.lastKnown()
	// A replica that was taken off the partition must not fetch on as if nothing had happened.
	return leader != c.from.Leader || unclean || c.renew && leader != kafka.NoLeader || !containsAll(c.to.Replicas, c.from.Replicas)
}

// lastKnown remembers who led last while nobody does; if that one was taken off the partition, somebody else
// who was eligible.
func (c *partitionChange) lastKnown() []int32 {
	switch last := only(c.from.LastKnownELR, c.to.Replicas); {
	case c.to.Leader != kafka.NoLeader:
		return nil
	case len(last) > 0 || !c.changes.elr:
		return last
	case len(c.from.LastKnownELR) == 0 && slices.Contains(c.to.Replicas, c.from.Leader):
		return []int32{c.from.Leader}
	case len(c.to.ELR) > 0:
		return c.to.ELR[:1:1]
	}
	return nil
}

func (c *partitionChange) chooseLeader() (leader int32, unclean bool) {
	if first := c.to.Replicas[0]; c.election == electPreferred && c.mayLeadCleanly(first) {
		return first, false
	}
	if c.mayLeadCleanly(c.from.Leader) {
		return c.from.Leader, false
	}
	for _, id := range c.to.Replicas {
		if c.mayLeadCleanly(id) {
			return id, false
		}
	}
	// Nobody is left who has everything for certain. The last leader is the best there is, and Kafka
	// takes it without being asked (KIP-966).
	if c.changes.elr && len(c.to.ISR)+len(c.to.ELR) == 0 && len(c.from.LastKnownELR) == 1 {
		if last := c.from.LastKnownELR[0]; slices.Contains(c.to.Replicas, last) && c.mayLead(last) {
			return last, true
		}
	}
	if c.election == electUnclean {
		for _, id := range c.to.Replicas {
			if c.mayLead(id) {
				return id, true
			}
		}
	}
	return kafka.NoLeader, false
}

func (c *partitionChange) mayLeadCleanly(id int32) bool {
	return (slices.Contains(c.to.ISR, id) || len(c.to.ISR) == 0 && slices.Contains(c.to.ELR, id)) && c.mayLead(id)
}

// mayLead reports whether a replica is on a broker that is there, in a log dir that is there.
func (c *partitionChange) mayLead(id int32) bool {
	b := c.changes.broker(id)
	return b != nil && b.Active() && b.HasOnlineDirectory(c.directory(id))
}

// keepLastInSync leaves the last in-sync replica in the ISR where the cluster has no eligible leader
// replicas: it is all that tells who has the data.
func (c *partitionChange) keepLastInSync() {
	if len(c.to.ISR) > 0 || c.changes.elr {
		return
	}
	if c.to.ISR = only(c.from.ISR, c.to.Replicas); len(c.to.ISR) == 0 {
		c.to.ISR = c.to.Replicas[:1]
	}
}

// directory returns the log dir of one of the replicas.
func (c *partitionChange) directory(id int32) kafka.UUID {
	if id == c.assignedTo {
		return c.assigned
	}
	if directory, ok := c.from.Directory(id); ok {
		return directory
	}
	return firstDirectory(c.changes.broker(id))
}

// firstDirectory is where a new replica will lie, as far as the controller knows: with several log
// dirs the broker chooses, and tells later.
func firstDirectory(b *metadata.Broker) kafka.UUID {
	if b != nil && len(b.LogDirs) == 1 {
		return b.LogDirs[0]
	}
	return kafka.DirectoryUnassigned
}

func without(list []int32, ids ...int32) []int32 {
	return slices.DeleteFunc(slices.Clone(list), func(id int32) bool { return slices.Contains(ids, id) })
}

func only(list, ids []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(list), func(id int32) bool { return !slices.Contains(ids, id) })
}

func containsAll(list, ids []int32) bool { return len(without(ids, list...)) == 0 }
