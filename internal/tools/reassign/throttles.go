package reassign

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// The configs that hold throttles.
const (
	leaderRate       = "leader.replication.throttled.rate"
	followerRate     = "follower.replication.throttled.rate"
	dirRate          = "replica.alter.log.dirs.io.max.bytes.per.second"
	leaderReplicas   = "leader.replication.throttled.replicas"
	followerReplicas = "follower.replication.throttled.replicas"
)

// limits are in bytes a second; negative: none.
type limits struct{ between, dirs int64 }

// limit sets the throttles of a plan that is about to be executed.
func (m *mover) limit(ctx context.Context, l limits, plan, current []assignment, running map[kafka.TopicPartition]reassignment) error {
	if l.between < 0 && l.dirs < 0 {
		return nil
	}
	m.Println(verifyPeriodically)
	if l.between >= 0 {
		moves := movesOf(plan, current, running)
		if err := m.alterConfigs(ctx, kmsg.ConfigResourceTypeTopic, throttledReplicas(moves)); err != nil {
			return err
		}
		rate := strconv.FormatInt(l.between, 10)
		changes := map[string]map[string]*string{}
		for _, move := range moves {
			for _, id := range slices.Concat(move.sources, move.destinations) {
				changes[brokerName(id)] = map[string]*string{leaderRate: &rate, followerRate: &rate}
			}
		}
		if err := m.alterConfigs(ctx, kmsg.ConfigResourceTypeBroker, changes); err != nil {
			return err
		}
		m.Printf("The inter-broker throttle limit was set to %d B/s\n", l.between)
	}
	if l.dirs < 0 {
		return nil
	}
	rate := strconv.FormatInt(l.dirs, 10)
	changes := map[string]map[string]*string{}
	for r := range dirMoves(plan) {
		changes[brokerName(r.broker)] = map[string]*string{dirRate: &rate}
	}
	if err := m.alterConfigs(ctx, kmsg.ConfigResourceTypeBroker, changes); err != nil {
		return err
	}
	m.Printf("The replica-alter-dir throttle limit was set to %d B/s\n", l.dirs)
	return nil
}

// move is between which brokers a partition's data flows.
type move struct{ sources, destinations []int32 }

// movesOf are the moves under way and those of the plan.
func movesOf(plan, current []assignment, running map[kafka.TopicPartition]reassignment) map[kafka.TopicPartition]move {
	moves := map[kafka.TopicPartition]move{}
	without := func(ids, others []int32) []int32 {
		return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return slices.Contains(others, id) })
	}
	for tp, r := range running {
		moves[tp] = move{without(r.replicas, r.adding), r.adding}
	}
	sources := map[kafka.TopicPartition][]int32{}
	for _, a := range current {
		sources[a.tp] = a.replicas
	}
	for _, a := range plan {
		from := sources[a.tp]
		if active, ok := moves[a.tp]; ok {
			from = active.sources
		}
		moves[a.tp] = move{from, without(a.replicas, from)}
	}
	return moves
}

// throttledReplicas are the configs of topics that name the replicas to slow down.
func throttledReplicas(moves map[kafka.TopicPartition]move) map[string]map[string]*string {
	leaders, followers := map[string][]string{}, map[string][]string{}
	for tp, move := range moves {
		entries := func(ids []int32) (list []string) {
			for _, id := range ids {
				list = append(list, brokerName(tp.Partition)+":"+brokerName(id))
			}
			return list
		}
		leaders[tp.Topic] = append(leaders[tp.Topic], entries(move.sources)...)
		followers[tp.Topic] = append(followers[tp.Topic], entries(move.destinations)...)
	}
	changes := map[string]map[string]*string{}
	for topic := range leaders {
		slices.Sort(leaders[topic])
		slices.Sort(followers[topic])
		leader, follower := strings.Join(leaders[topic], ","), strings.Join(followers[topic], ",")
		changes[topic] = map[string]*string{leaderReplicas: &leader, followerReplicas: &follower}
	}
	return changes
}

// clearThrottles removes every throttle of the plan's topics and of all brokers: which brokers
// earlier reassignments set them on is not known.
func (m *mover) clearThrottles(ctx context.Context, plan []assignment) error {
	known, err := m.brokers(ctx)
	if err != nil {
		return err
	}
	ids := slices.Collect(maps.Keys(known))
	for _, a := range plan {
		ids = append(ids, a.replicas...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	m.Printf("Clearing broker-level throttles on broker%s %s\n", plural(len(ids)), joined(ids, ","))
	changes := map[string]map[string]*string{}
	for _, id := range ids {
		changes[brokerName(id)] = map[string]*string{leaderRate: nil, followerRate: nil, dirRate: nil}
	}
	if err := m.alterConfigs(ctx, kmsg.ConfigResourceTypeBroker, changes); err != nil {
		return err
	}
	topics := topicsOf(plan)
	m.Printf("Clearing topic-level throttles on topic%s %s\n", plural(len(topics)), strings.Join(topics, ","))
	changes = map[string]map[string]*string{}
	for _, topic := range topics {
		changes[topic] = map[string]*string{leaderReplicas: nil, followerReplicas: nil}
	}
	return m.alterConfigs(ctx, kmsg.ConfigResourceTypeTopic, changes)
}
