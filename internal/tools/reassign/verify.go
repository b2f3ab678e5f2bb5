package reassign

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
)

// verify shows how far a plan is and, when it is done, removes the throttles.
func (m *mover) verify(ctx context.Context, plan []assignment) error {
	running, err := m.active(ctx, nil)
	if err != nil {
		return err
	}
	if err := m.showPartitions(ctx, plan, running); err != nil {
		return err
	}
	moves := dirMoves(plan)
	states, err := m.moveStates(ctx, moves)
	if err != nil {
		return err
	}
	var lines []string
	moving := false
	for _, r := range slices.SortedFunc(maps.Keys(moves), compareReplicas) {
		lines = append(lines, moveState(r, states[r], moves[r]))
		moving = moving || states[r].future != ""
	}
	m.Println(strings.Join(lines, "\n"))
	if len(running) > 0 || moving || m.keepThrottles {
		return nil
	}
	return m.clearThrottles(ctx, plan)
}

func (m *mover) showPartitions(ctx context.Context, plan []assignment, running map[kafka.TopicPartition]reassignment) error {
	var waiting []assignment
	for _, a := range plan {
		if _, ok := running[a.tp]; !ok {
			waiting = append(waiting, a)
		}
	}
	cluster, err := m.admin.Metadata(ctx, append([]string{}, topicsOf(waiting)...), "describeTopics")
	if err != nil {
		return err
	}
	m.Println("Status of partition reassignment:")
	sorted := slices.SortedFunc(slices.Values(plan), func(a, b assignment) int { return client.ComparePartitions(a.tp, b.tp) })
	for _, a := range sorted {
		if _, ok := running[a.tp]; ok {
			m.Printf("Reassignment of partition %s is still in progress.\n", a.tp)
			continue
		}
		var current []int32 // none of a partition that does not exist
		if topic, ok := cluster.Find(a.tp.Topic); ok {
			if i := slices.IndexFunc(topic.Partitions, func(p client.Partition) bool { return p.Index == a.tp.Partition }); i >= 0 {
				current = topic.Partitions[i].Replicas
			}
		}
		if slices.Equal(current, a.replicas) {
			m.Printf("Reassignment of partition %s is completed.\n", a.tp)
		} else {
			m.Printf("There is no active reassignment of partition %s, but replica set is %s rather than %s.\n", a.tp, joined(current, ","), joined(a.replicas, ","))
		}
	}
	return nil
}

// moveStates returns where the replicas that shall be in certain log dirs are.
func (m *mover) moveStates(ctx context.Context, moves map[replica]string) (map[replica]replicaDirs, error) {
	return m.dirsOf(ctx, slices.SortedFunc(maps.Keys(moves), compareReplicas))
}

func moveState(r replica, dirs replicaDirs, target string) string {
	switch {
	case dirs.current == "":
		return fmt.Sprintf("Partition %s is not found in any live log dir on broker %d. There is likely an offline log directory on the broker.", r.tp, r.broker)
	case dirs.future == "" && dirs.current == target:
		return fmt.Sprintf("Reassignment of replica %s completed successfully.", r)
	case dirs.future == "":
		return fmt.Sprintf("Partition %s on broker %d is not being moved from log dir %s to %s.", r.tp, r.broker, dirs.current, target)
	case dirs.future == target:
		return fmt.Sprintf("Reassignment of replica %s is still in progress.", r)
	}
	return fmt.Sprintf("Partition %s on broker %d is being moved to log dir %s instead of %s.", r.tp, r.broker, dirs.future, target)
}

// list shows the reassignments that the controller is carrying out.
func (m *mover) list(ctx context.Context) error {
	running, err := m.active(ctx, nil)
	if err != nil {
		return err
	}
	if len(running) == 0 {
		m.Println("No partition reassignments found.")
		return nil
	}
	m.Println("Current partition reassignments:")
	for _, tp := range slices.SortedFunc(maps.Keys(running), client.ComparePartitions) {
		r := running[tp]
		line := fmt.Sprintf("%s: replicas: %s.", tp, joined(r.replicas, ","))
		if len(r.adding) > 0 {
			line += " adding: " + joined(r.adding, ",") + "."
		}
		if len(r.removing) > 0 {
			line += " removing: " + joined(r.removing, ",") + "."
		}
		m.Println(line)
	}
	return nil
}
