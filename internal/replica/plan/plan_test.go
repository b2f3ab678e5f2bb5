package plan

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

func state(leader, epoch int32, replicas ...int32) *metadata.Partition {
	return &metadata.Partition{Replicas: replicas, Leader: leader, LeaderEpoch: epoch}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		old, now  *metadata.Partition
		role      Role
		new       bool
		elected   bool
		isNothing bool
	}{
		{name: "a topic of one replica is created", now: state(1, 0, 1), role: Lead, new: true},
		{name: "a topic of three is created, led here", now: state(1, 0, 1, 2, 3), role: Lead, new: true, elected: true},
		{name: "a topic of three is created, led elsewhere", now: state(2, 0, 2, 1, 3), role: Follow, new: true},
		{name: "a topic is created elsewhere", now: state(2, 0, 2, 3), isNothing: true},
		{name: "a topic elsewhere is deleted", old: state(2, 0, 2, 3), isNothing: true},
		{name: "a topic is deleted", old: state(2, 0, 2, 1), role: Stop},
		{name: "the replica moves away", old: state(1, 0, 1, 2), now: state(2, 1, 2, 3), role: Stop},
		{name: "a replica moves to here", old: state(2, 0, 2, 3), now: state(2, 0, 2, 3, 1), role: Follow, new: true},
		{name: "it is elected", old: state(2, 0, 2, 1), now: state(1, 1, 2, 1), role: Lead, elected: true},
		{name: "it is elected again", old: state(1, 0, 1, 2), now: state(1, 1, 1, 2), role: Lead, elected: true},
		{name: "it gets a follower more", old: state(1, 0, 1, 2), now: state(1, 0, 1, 2, 3), role: Lead, elected: true},
		{name: "the in-sync replicas change", old: state(1, 4, 1, 2), now: state(1, 4, 1, 2), role: Lead},
		{name: "another is elected", old: state(1, 0, 1, 2), now: state(2, 1, 1, 2), role: Follow},
		{name: "nobody leads", old: state(2, 0, 2, 1), now: state(kafka.NoLeader, 1, 2, 1), role: Wait},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			steps := Steps(1, []metadata.PartitionChange{{Topic: "t", Old: c.old, New: c.now}})
			if c.isNothing {
				if len(steps) != 0 {
					t.Errorf("%+v", steps)
				}
				return
			}
			if len(steps) != 1 || steps[0].Role != c.role || steps[0].IsNew != c.new || steps[0].IsElected != c.elected {
				t.Errorf("%+v", steps)
			}
		})
	}
}

// TestOrderOfSteps: who deletes comes first, since a topic of the same name may come; then who leads, since clients wait.
func TestOrderOfSteps(t *testing.T) {
	t.Parallel()
	changes := []metadata.PartitionChange{
		{Topic: "a", ID: 0, New: state(kafka.NoLeader, 0, 1, 2)},
		{Topic: "a", ID: 1, New: state(2, 0, 1, 2)},
		{Topic: "b", ID: 0, New: state(1, 0, 1, 2)},
		{Topic: "b", ID: 1, New: state(2, 0, 1, 2)},
		{Topic: "b", ID: 2, New: state(1, 0, 1, 2)},
		{Topic: "c", ID: 0, Old: state(1, 0, 1)},
	}
	var got []string
	for _, s := range Steps(1, changes) {
		got = append(got, kafka.TopicPartition{Topic: s.Topic, Partition: s.ID}.String())
	}
	if want := []string{"c-0", "b-0", "b-2", "a-1", "b-1", "a-0"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
