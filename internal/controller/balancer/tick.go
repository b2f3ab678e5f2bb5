package balancer

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// What the balancer is at, as its status says.
const (
	stateOff     = "off"
	stateIdle    = "idle"
	stateMoving  = "moving"
	stateStalled = "stalled"
)

// aheadSeconds is for how long copying what is under way to a broker may take, at its present pace, before more
// is begun. One move may always be under way.
const aheadSeconds = 60

// Tick returns what is to be done now.
func (b *Balancer) Tick(v View, nowMs int64) Step {
	if !b.active {
		return Step{}
	}
	b.watchAbsent(v, nowMs)
	var step Step
	b.followMoves(v, nowMs, &step)
	isAsked := !reflect.DeepEqual(v.Settings, b.settings)
	if nowMs < b.nextPlanMs && !isAsked || nowMs-b.plannedMs < soonMs {
		return step
	}
	b.plannedMs, b.nextPlanMs, b.settings = nowMs, nowMs+planMs, v.Settings
	b.forget(v.Image)
	b.plan(v, nowMs, &step)
	if b.state == stateOff || b.state == stateIdle {
		b.nextPlanMs = nowMs + idleMs
	}
	return step
}

// followMoves notices moves that have ended, takes back those to brokers that are lost or are to be emptied, and adopts
// those of controllers before this one.
func (b *Balancer) followMoves(v View, nowMs int64, step *Step) {
	for _, key := range b.underWay() {
		m := b.moves[key]
		var p *metadata.Partition
		if topic := v.Image.TopicByName(key.Topic); topic != nil && topic.ID == m.topic {
			p = topic.Partition(key.Partition)
		}
		switch {
		case p == nil || !p.IsReassigning() || !p.Balancing:
			delete(b.moves, key)
			b.nextPlanMs = 0
			if p != nil && p.Leader != p.Replicas[0] && slices.Equal(p.Replicas, m.To) {
				step.Elect = append(step.Elect, key)
			}
		case nowMs >= m.cancelMs && slices.ContainsFunc(p.AddingReplicas, func(id int32) bool { return b.isLost(v, p, id, nowMs) }):
			m.cancelMs = nowMs + cancelRetryMs
			step.Cancel = append(step.Cancel, key)
		}
	}
	if b.followed != v.Image {
		b.adoptMoves(v, nowMs)
		b.followed = v.Image
	}
}

// adoptMoves looks for moves that somebody else has begun in the topics that have changed since the last time.
func (b *Balancer) adoptMoves(v View, nowMs int64) {
	for topic := range v.Image.Topics() {
		if b.followed != nil && b.followed.TopicByID(topic.ID) == topic {
			continue
		}
		for _, p := range topic.Partitions {
			key := Key{Topic: topic.Name, Partition: p.ID}
			if !p.IsReassigning() || !p.Balancing || b.moves[key] != nil {
				continue
			}
			why := "begun by an earlier controller"
			if len(p.RemovingReplicas) == 0 {
				why = "the topic gets more replicas"
			}
			b.moves[key] = &move{topic: topic.ID, sinceMs: nowMs, Move: balance.Move{Topic: topic.Name, Partition: p.ID,
				From: without(p.Replicas, p.AddingReplicas), To: without(p.Replicas, p.RemovingReplicas), Why: why}}
		}
	}
}

// isLost reports whether nothing can be copied to a broker any more, or not to the log dir that it has chosen: with another
// one left it stays, and would never have the replica.
func (b *Balancer) isLost(v View, p *metadata.Partition, id int32, nowMs int64) bool {
	broker := v.Image.Broker(id)
	since, isAway := b.absentMs[id]
	return broker == nil || contains(v.Settings.Draining, id) || isAway && nowMs-since >= awayMs || broker.HasFailedDirectory(p)
}

func (v View) mayReceive(id int32) bool {
	broker := v.Image.Broker(id)
	return broker != nil && !broker.Fenced && !broker.IsCordoned() && !contains(v.Settings.Draining, id)
}

// underWay are the partitions with moves, in order.
func (b *Balancer) underWay() []Key {
	keys := make([]Key, 0, len(b.moves))
	for key := range b.moves {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y Key) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	return keys
}

func without(ids, gone []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return contains(gone, id) })
}

// options say what the balancer does by itself: what is drained, always; the rest as its mode says.
func (b *Balancer) options(v View) balance.Options {
	s := v.Settings
	o := balance.Options{TolerancePercent: s.TolerancePercent, DiskLimitPercent: s.DiskLimitPercent, Relieve: s.Mode != config.BalancerOff}
	for _, id := range s.Joining {
		if v.mayReceive(id) {
			o.Even, o.Targets = true, append(o.Targets, id)
		}
	}
	if s.Mode == config.BalancerContinuous {
		o.Even, o.Targets = true, nil
	}
	return o
}

func (b *Balancer) plan(v View, nowMs int64, step *Step) {
	o := b.options(v)
	if v.Settings.Mode == config.BalancerOff && len(v.Settings.Draining)+len(o.Targets)+len(b.moves) == 0 {
		b.blocked, b.pending = nil, 0
		b.tell(step, stateOff, "moldau.balancer.mode is off: only what is asked for is moved")
		return
	}
	if why := b.obstacle(v, nowMs); why != "" {
		b.blocked, b.pending = nil, 0
		if len(v.Settings.Draining)+len(v.Settings.Joining)+len(b.moves) > 0 || o.Even {
			b.tell(step, stateStalled, why)
		} else {
			b.tell(step, stateIdle, why)
		}
		return
	}
	c := b.cluster(v, nowMs)
	room := v.Settings.ConcurrentPartitions - len(b.moves)
	o.MaxMoves = max(room, 0) + 1 // one more tells that there are more
	plan := balance.New(c, o)
	b.blocked = append(plan.Blocked, b.held(c)...)
	b.start(plan, room, nowMs, v.Image, step)
	b.pending = len(plan.Moves) - len(step.Start)
	b.join(v, c, plan, step)
	b.conclude(plan, step)
}

// start begins moves from the front of the plan: those that copy nothing all, others as far as there is room.
func (b *Balancer) start(plan balance.Plan, room int, nowMs int64, image *metadata.Image, step *Step) {
	ahead := map[int32]int64{}
	for _, m := range b.moves {
		for _, id := range without(m.To, m.From) {
			ahead[id] += m.Bytes
		}
	}
	for _, m := range plan.Moves {
		added := without(m.To, m.From)
		if len(added) == 0 {
			step.Start = append(step.Start, m)
			continue
		}
		key := Key{Topic: m.Topic, Partition: m.Partition}
		isAhead := slices.ContainsFunc(added, func(id int32) bool {
			return ahead[id] > 0 && ahead[id]+m.Bytes/int64(len(added)) > aheadSeconds*b.paceOf(id)
		})
		if room <= 0 || isAhead || b.moves[key] != nil {
			continue
		}
		room--
		for _, id := range added {
			ahead[id] += max(m.Bytes/int64(len(added)), 1)
		}
		b.moves[key] = &move{Move: m, topic: image.TopicByName(m.Topic).ID, sinceMs: nowMs}
		step.Start = append(step.Start, m)
	}
}

func (b *Balancer) paceOf(id int32) int64 {
	if load := b.loads[id]; load != nil {
		return load.pace.bytesPerSecond
	}
	return leastBytesPerSecond
}

// held says which partitions of brokers that are to be emptied are left alone: nobody can copy from them, or a
// replica on another broker does not follow.
func (b *Balancer) held(c balance.Cluster) (all []balance.Blocked) {
	for _, broker := range c.Brokers {
		if broker.State != balance.Gone && broker.State != balance.Leaving {
			continue
		}
		found := balance.Blocked{Broker: broker.ID}
		for i := range c.Partitions {
			p := &c.Partitions[i]
			if !p.IsMoving || !contains(p.Replicas, broker.ID) || b.moves[Key{Topic: p.Topic, Partition: p.ID}] != nil {
				continue
			}
			switch {
			case found.Partitions > 0:
			case p.Leader == kafka.NoLeader:
				found.Why = fmt.Sprintf("%s-%d has no leader to copy from: bring a broker back that has it, elect an unclean leader, or delete the topic", p.Topic, p.ID)
			default:
				found.Why = fmt.Sprintf("%s-%d is not in sync on all of its brokers: wait until it is, or mend the log dir or the broker that does not follow", p.Topic, p.ID)
			}
			found.Partitions++
		}
		if found.Partitions > 0 {
			all = append(all, found)
		}
	}
	return all
}

// join takes brokers out of the list of those that join once they have their share, which cannot be told while
// replicas still catch up and their partitions are left alone. Those whose disks are too full for it wait for room. It puts those in whose replicas are made anew
// elsewhere: if they come back, they will be empty.
func (b *Balancer) join(v View, c balance.Cluster, plan balance.Plan, step *Step) {
	joining := slices.Clone(v.Settings.Joining)
	lags := func(p balance.Partition) bool { return p.IsMoving && p.Leader != kafka.NoLeader }
	isDone := len(b.moves) == 0 && !plan.More && !slices.ContainsFunc(c.Partitions, lags) && !slices.ContainsFunc(plan.Moves, func(m balance.Move) bool { return m.Goal == balance.Even })
	joining = slices.DeleteFunc(joining, func(id int32) bool {
		return v.Image.Broker(id) == nil || contains(v.Settings.Draining, id) || isDone && v.mayReceive(id) && !contains(plan.Full, id)
	})
	for _, m := range plan.Moves {
		for _, broker := range c.Brokers {
			isDead := broker.State == balance.Gone && v.Image.Broker(broker.ID) != nil && !contains(v.Settings.Draining, broker.ID)
			if isDead && m.Goal == balance.Evacuate && contains(m.From, broker.ID) && !contains(joining, broker.ID) {
				joining = append(joining, broker.ID)
			}
		}
	}
	if !slices.Equal(joining, v.Settings.Joining) {
		step.Joining, step.IsJoiningChanged = joining, true
	}
}

// conclude says what the balancer is at.
func (b *Balancer) conclude(plan balance.Plan, step *Step) {
	switch {
	case len(b.moves) > 0 || len(step.Start) > 0:
		b.tell(step, stateMoving, b.purpose(plan))
	case len(b.blocked) > 0:
		b.tell(step, stateStalled, b.blocked[0].Why)
	default:
		b.tell(step, stateIdle, "nothing to move")
	}
}

// purpose is why most is being moved: the first reason.
func (b *Balancer) purpose(plan balance.Plan) string {
	for _, m := range plan.Moves {
		return m.Why
	}
	for _, key := range b.underWay() {
		return b.moves[key].Why
	}
	return ""
}

// tell notes what the balancer is at, and has it logged where the state is another one, or why it stalls.
func (b *Balancer) tell(step *Step, state, why string) {
	if state != b.state || state == stateStalled && why != b.why {
		step.News = state + ": " + why
	}
	b.state, b.why = state, why
}
