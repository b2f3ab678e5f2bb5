package reassign

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	existingReassignment = "Cannot execute because there is an existing partition assignment.  Use --additional to override this and " +
		"create a new partition assignment in addition to the existing one. The --additional " +
		"flag can also be used to change the throttle by resubmitting the current reassignment."
	verifyPeriodically = "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
)

// retryMove is how long to wait for a replica to come to its broker before its log dir is asked for again.
const retryMove = 100 * time.Millisecond

// execution says how strict --execute is.
type execution struct{ additional, sameReplicas bool }

func (m *mover) execute(ctx context.Context, plan []assignment, limits limits, how execution) error {
	if err := checkPlan(plan); err != nil {
		return err
	}
	running, err := m.active(ctx, nil)
	if err != nil {
		return err
	}
	if !how.additional && len(running) > 0 {
		return &refusal{existingReassignment}
	}
	if err := m.checkBrokers(ctx, plan); err != nil {
		return err
	}
	current, err := m.currentOf(ctx, plan)
	if err != nil {
		return err
	}
	text, err := format(current)
	if err != nil {
		return err
	}
	m.Printf("Current partition replica assignment\n\n%s\n\nSave this to use as the --reassignment-json-file option during rollback\n", text)
	if err := m.limit(ctx, limits, plan, current, running); err != nil {
		return err
	}
	failed, err := m.alter(ctx, plan, how.sameReplicas)
	if err != nil {
		return err
	}
	if len(failed) > 0 {
		return &refusal{"Error reassigning partition(s):\n" + failures(failed)}
	}
	m.Printf("Successfully started partition reassignment%s for %s\n", plural(len(plan)), names(partitions(plan)))
	if moves := dirMoves(plan); len(moves) > 0 {
		return m.startMoves(ctx, moves)
	}
	return nil
}

func (m *mover) checkBrokers(ctx context.Context, plan []assignment) error {
	brokers, err := m.brokers(ctx)
	if err != nil {
		return err
	}
	for _, a := range plan {
		for _, id := range a.replicas {
			if _, ok := brokers[id]; !ok {
				return fmt.Errorf("Unknown broker id %d", id) //nolint:staticcheck // the words of Kafka's tools
			}
		}
	}
	return nil
}

// currentOf returns the assignments of a plan's partitions as they are now, with their log dirs.
func (m *mover) currentOf(ctx context.Context, plan []assignment) ([]assignment, error) {
	topics, err := m.topics(ctx, topicsOf(plan))
	if err != nil {
		return nil, err
	}
	var current []assignment
	var missing []kafka.TopicPartition
	for _, tp := range partitions(plan) {
		all := topics[tp.Topic].Partitions
		i := slices.IndexFunc(all, func(p client.Partition) bool { return p.Index == tp.Partition })
		if i < 0 {
			missing = append(missing, tp)
			continue
		}
		current = append(current, assignment{tp: tp, replicas: all[i].Replicas})
	}
	if len(missing) > 0 {
		message := "Unable to find partition: " + names(missing)
		return nil, client.FromCode(int16(kafka.ErrUnknownTopicOrPartition), &message)
	}
	return current, m.addDirs(ctx, current)
}

// addDirs fills in where the replicas lie.
func (m *mover) addDirs(ctx context.Context, assignments []assignment) error {
	var replicas []replica
	for _, a := range assignments {
		for _, broker := range a.replicas {
			replicas = append(replicas, replica{a.tp, broker})
		}
	}
	dirs, err := m.dirsOf(ctx, replicas)
	if err != nil {
		return err
	}
	for i := range assignments {
		a := &assignments[i]
		a.dirs = make([]string, len(a.replicas))
		for j, broker := range a.replicas {
			if a.dirs[j] = dirs[replica{a.tp, broker}].current; a.dirs[j] == "" {
				a.dirs[j] = anyDir
			}
		}
	}
	return nil
}

// startMoves has replicas moved to log dirs; one that is not on its broker yet is waited for.
func (m *mover) startMoves(ctx context.Context, moves map[replica]string) error {
	deadline := time.Now().Add(time.Duration(m.timeoutMs) * time.Millisecond)
	pending := maps.Clone(moves)
	for {
		begun, err := m.moveDirs(ctx, pending)
		if err != nil {
			return err
		}
		slices.SortFunc(begun, compareReplicas)
		for _, r := range begun {
			m.Printf("Successfully started moving log directory to %s for replica %s with broker %d \n", pending[r], r.tp, r.broker)
			delete(pending, r)
		}
		switch {
		case len(pending) == 0:
			return nil
		case time.Now().After(deadline):
			left := slices.SortedFunc(maps.Keys(pending), compareReplicas)
			texts := make([]string, len(left))
			for i, r := range left {
				texts[i] = r.String()
			}
			return &refusal{fmt.Sprintf("Timed out before log directory move%s could be started for: %s", plural(len(left)), strings.Join(texts, ","))}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryMove):
		}
	}
}

func plural(count int) string {
	if count == 1 {
		return ""
	}
	return "s"
}

func failures(failed map[kafka.TopicPartition]error) string {
	var lines []string
	for _, tp := range slices.SortedFunc(maps.Keys(failed), client.ComparePartitions) {
		lines = append(lines, tp.String()+": "+failed[tp].Error())
	}
	return strings.Join(lines, "\n")
}

func (m *mover) cancel(ctx context.Context, plan []assignment) error {
	running, err := m.active(ctx, partitions(plan))
	if err != nil {
		return err
	}
	var cancelled []assignment
	for _, tp := range slices.SortedFunc(maps.Keys(running), client.ComparePartitions) {
		if r := running[tp]; len(r.adding) > 0 || len(r.removing) > 0 {
			cancelled = append(cancelled, assignment{tp: tp})
		}
	}
	if len(cancelled) == 0 {
		m.Println("None of the specified partition reassignments are active.")
	} else if err := m.cancelAll(ctx, cancelled); err != nil {
		return err
	}
	states, err := m.moveStates(ctx, dirMoves(plan))
	if err != nil {
		return err
	}
	back := map[replica]string{}
	for r, dirs := range states {
		if dirs.future != "" {
			back[r] = dirs.current
		}
	}
	if len(back) == 0 {
		m.Printf("None of the specified partition moves are active.") // no end of line in Kafka's either
	} else if err := m.startMoves(ctx, back); err != nil {
		return err
	}
	if m.keepThrottles {
		return nil
	}
	return m.clearThrottles(ctx, plan)
}

func (m *mover) cancelAll(ctx context.Context, cancelled []assignment) error {
	failed, err := m.alter(ctx, cancelled, false)
	if err != nil {
		return err
	}
	if len(failed) > 0 {
		return &refusal{fmt.Sprintf("Error cancelling partition reassignment%s for:\n%s", plural(len(failed)), failures(failed))}
	}
	m.Printf("Successfully cancelled partition reassignment%s for: %s\n", plural(len(cancelled)), names(partitions(cancelled)))
	return nil
}
