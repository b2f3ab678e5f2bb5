package plan

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// Role is what a broker is to a partition.
type Role int

// In the order in which they are carried out: a name must be free before another topic gets it, and clients wait
// for leaders.
const (
	Stop   Role = iota // it has no replica any more
	Lead               // it leads
	Follow             // it follows the leader
	Wait               // it has a replica, and nobody leads
)

// Step is what is to be done about one partition.
type Step struct {
	metadata.PartitionChange
	Role Role
	// IsNew says that the broker had no replica before.
	IsNew bool
	// IsElected says that the broker begins to lead a partition that others follow, or gets a follower more: they hear of it at the
	// same time and want to fetch at once.
	IsElected bool
}

// Steps returns the steps of broker nodeID, in the order in which they are to be done.
func Steps(nodeID int32, changes []metadata.PartitionChange) []Step {
	steps := make([]Step, 0, len(changes))
	for _, c := range changes {
		s := Step{PartitionChange: c, Role: Of(nodeID, c.New)}
		s.IsNew = s.Role != Stop && (c.Old == nil || !slices.Contains(c.Old.Replicas, nodeID))
		s.IsElected = s.Role == Lead && len(c.New.Replicas) > 1 && (c.Old == nil || c.Old.LeaderEpoch != c.New.LeaderEpoch || !slices.Equal(c.Old.Replicas, c.New.Replicas))
		if s.Role != Stop || c.Old != nil && slices.Contains(c.Old.Replicas, nodeID) {
			steps = append(steps, s)
		}
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.Role, b.Role) })
	return steps
}

// Of is what broker nodeID is to a partition; nil stands for one that is gone.
func Of(nodeID int32, p *metadata.Partition) Role {
	switch {
	case p == nil || !slices.Contains(p.Replicas, nodeID):
		return Stop
	case p.Leader == nodeID:
		return Lead
	case p.Leader == kafka.NoLeader:
		return Wait
	}
	return Follow
}
