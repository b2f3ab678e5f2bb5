package cluster

import (
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/sim"
)

// plan is what a seed draws: the cluster, the workload, the faults.
type plan struct {
	nodes int
	// voters is how many nodes vote from the beginning; wanted who does in the end. They are changed meanwhile if changesVoters.
	voters        int
	wanted        []int32
	changesVoters bool
	clusterID     string
	faultsMs      int64
	// flushed says that everything is flushed before it counts, so that every node may lose power.
	flushed bool
	topics  []topicPlan
	faults  []fault
	// kills is how many processes may be killed in the middle of a start.
	kills int
	// flips is how many bits may be turned on disks.
	flips int
	// beyond says that the fault budget may be exceeded.
	beyond bool
	// members and copiers say whether there are consumer groups, and consume-transform-produce.
	members, copiers bool
}

// isUnclean tells the topic that may be led by whoever is there.
func (w *World) isUnclean(topic string) bool { return w.options.Unclean && topic == "clicks" }

// mayForget reports whether a topic may lose what was acknowledged.
func (w *World) mayForget(topic string) bool { return w.budget.isExceeded || w.isUnclean(topic) }

type topicPlan struct {
	name       string
	partitions int32
	factor     int16
	configs    map[string]string
}

func (w *World) drawPlan() plan {
	p := plan{nodes: 3, faultsMs: w.between(3000, 7000), clusterID: kafka.UUID{0: 1, 15: 9}.String(), kills: 2}
	if w.oneIn(4) {
		p.nodes = 5
	}
	p.voters, p.changesVoters = p.nodes, w.oneIn(3)
	if p.changesVoters && p.nodes == 5 && w.oneIn(2) {
		p.voters = 3
	}
	for id := range int32(p.nodes) {
		p.wanted = append(p.wanted, id+1)
	}
	if p.changesVoters && p.nodes == 5 && w.oneIn(2) {
		w.random.Shuffle(p.nodes, func(i, j int) { p.wanted[i], p.wanted[j] = p.wanted[j], p.wanted[i] })
		p.wanted = p.wanted[:3]
		slices.Sort(p.wanted)
	}
	p.flushed = w.oneIn(3)
	p.beyond = !p.flushed && w.oneIn(6)
	p.flips = w.random.IntN(5)
	for _, name := range []string{"orders", "clicks"} {
		t := topicPlan{name: name, partitions: int32(w.between(1, 2)), factor: 3, configs: map[string]string{"min.insync.replicas": "2", "internal.segment.bytes": "3000", "index.interval.bytes": "300"}}
		if p.nodes == 5 && w.oneIn(3) {
			t.factor, t.configs["min.insync.replicas"] = 5, "3"
		}
		p.topics = append(p.topics, t)
	}
	add := func(name string, partitions int32, configs map[string]string) {
		t := topicPlan{name: name, partitions: partitions, factor: 3, configs: map[string]string{"min.insync.replicas": "2", "internal.segment.bytes": "4000"}}
		maps.Copy(t.configs, configs)
		p.topics = append(p.topics, t)
	}
	p.members = w.oneIn(2)
	p.copiers = w.oneIn(2)
	if p.members || p.copiers {
		add(kafka.ConsumerOffsetsTopic, sim.CoordinatorPartitions, map[string]string{"cleanup.policy": "compact"})
	}
	if p.copiers {
		add(kafka.TransactionStateTopic, sim.CoordinatorPartitions, map[string]string{"cleanup.policy": "compact"})
		add(sim.InputTopic, sim.Copiers, nil)
		add(sim.OutputTopic, sim.OutputPartitions, nil)
	}
	for i := range p.topics {
		if p.flushed {
			p.topics[i].configs["flush.messages"] = "1"
		}
	}
	p.faults = faultKinds
	if w.options.Unclean {
		p.flips = 0 // nobody could tell what is damaged from what is lost
		p.topics[1].configs["unclean.leader.election.enable"], p.topics[1].configs["min.insync.replicas"] = "true", "1"
	}
	return p
}
