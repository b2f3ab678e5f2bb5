package cluster

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/kafka"
)

// budget is which nodes have lost unsynced data and may not be made up for yet.
type budget struct {
	// suspects are those, until everything is in sync and flushed again.
	suspects map[int32]bool
	// flipped are the nodes that may have damaged data which is not mended.
	flipped map[int32]bool
	// isExceeded says that more was lost than acknowledged records can bear.
	isExceeded bool
}

// fault is something that may happen, and how likely it is compared with others.
type fault struct {
	name   string
	weight int
	run    func(w *World, n *Node)
}

var faultKinds = []fault{
	{"kill", 6, (*World).kill},
	{"power", 4, (*World).cutPower},
	{"pause", 3, func(w *World, n *Node) { n.pause(w.between(10, 2500)) }},
	{"hang", 2, func(w *World, n *Node) { n.hang(w.between(50, 1200)) }},
	{"slow", 2, func(w *World, n *Node) { n.slowMs = w.between(0, 1) * w.between(1, 8) }},
	{"isolate", 3, (*World).isolate},
	{"cut", 4, (*World).cutOne},
	{"heal cuts", 5, func(w *World, _ *Node) { clear(w.network.cut) }},
	{"reset", 5, func(w *World, _ *Node) { w.network.reset() }},
	{"disk", 2, (*World).failDisk},
	{"shutdown", 3, (*World).shutDown},
	{"flip", 4, (*World).flip},
	{"clock", 1, func(w *World, n *Node) { n.clock.aheadMs += w.between(-20_000, 20_000) }},
}

// begin makes the nodes, the clients and the plan of faults.
func (w *World) begin() {
	w.budget.suspects, w.budget.flipped = map[int32]bool{}, map[int32]bool{}
	for id := range w.plan.nodes {
		w.nodes = append(w.nodes, newNode(w, int32(id+1)))
	}
	for _, n := range w.nodes {
		w.after(w.between(0, 50), n.start)
	}
	w.addAdmin()
	w.every(20, 120, func() {
		for _, n := range w.nodes {
			if n.process != nil && w.oneIn(2) {
				w.check.observe(n.process)
			}
		}
	})
	w.after(1500, func() { w.every(5, 500, w.injectFault) })
}

// addClients starts the workload, once.
func (w *World) addClients() {
	if len(w.producers) > 0 {
		return
	}
	for _, t := range w.plan.topics {
		if t.name != "orders" && t.name != "clicks" {
			continue
		}
		for i := range t.partitions {
			tp := kafka.TopicPartition{Topic: t.name, Partition: i}
			w.addProducer(true, -1, tp)
			w.addProducer(false, -1, tp)
			w.addReader(tp)
		}
	}
	w.addProducer(false, -1, kafka.TopicPartition{Topic: temporaryTopic})
	w.addProducer(false, 1, kafka.TopicPartition{Topic: "orders"})
	w.addProducer(false, 0, kafka.TopicPartition{Topic: "clicks"})
	if w.plan.members {
		w.members.Start(groupName)
	}
	if w.plan.copiers {
		w.copies.Start()
	}
}

func (w *World) injectFault() {
	if w.healing {
		return
	}
	total := 0
	for _, f := range w.plan.faults {
		total += f.weight
	}
	pick := w.random.IntN(total)
	for _, f := range w.plan.faults {
		if pick -= f.weight; pick < 0 {
			n := w.nodes[w.random.IntN(len(w.nodes))]
			w.note("fault: %s on node %d", f.name, n.id)
			w.count["fault "+f.name]++
			f.run(w, n)
			return
		}
	}
}

// kill kills the process: now, or in the middle of a disk operation that is to come.
func (w *World) kill(n *Node) {
	if n.process == nil {
		return
	}
	if w.oneIn(2) {
		n.crash(false)
		return
	}
	n.process.disk.DieIn = w.between(1, 60)
}

// cutPower takes what a node has not synced, if the fault budget allows for it, or the seed is to go beyond it.
func (w *World) cutPower(n *Node) {
	w.restore()
	if w.plan.beyond && w.oneIn(2) {
		w.note("the power fails everywhere")
		w.exceed()
		for _, other := range w.nodes {
			other.crash(true)
		}
		return
	}
	if w.isUnsafe() && !w.mayLose(n) {
		return
	}
	if w.isUnsafe() {
		w.budget.suspects[n.id] = true
	}
	n.crash(true)
}

// isUnsafe reports whether who loses power may lose what is committed: not where everything is flushed. But a replica that lacks what
// a bit has damaged cannot be told from the others, once they have lost power, too.
func (w *World) isUnsafe() bool { return !w.plan.flushed || len(w.budget.flipped) > 0 }

// failDisk has some calls of the disk fail, soon. What was written and not synced may be lost then: the broker does not
// count on it, and neither does the fault budget.
func (w *World) failDisk(n *Node) {
	w.restore()
	if n.process == nil || w.isUnsafe() && !w.mayLose(n) {
		return
	}
	if w.isUnsafe() {
		w.budget.suspects[n.id] = true
	}
	n.process.disk.FailIn, n.process.disk.FailFor = w.between(1, 60), w.between(1, 3)
}

// exceed notes that more is lost than acknowledged records can bear. What is flushed on all replicas stays.
func (w *World) exceed() {
	if w.budget.isExceeded {
		return
	}
	w.note("beyond the fault budget")
	w.count["exceeded"]++
	w.budget.isExceeded = true
	for _, n := range w.nodes {
		if n.process != nil {
			w.check.noteFlushed(n.process)
		}
	}
	for _, tp := range w.check.names {
		h := w.check.histories[tp]
		h.limit = 0
		if p := w.latest.Partition(tp.Topic, tp.Partition); p != nil && w.latest.TopicByID(tp.TopicID) != nil {
			h.limit = h.end
			for _, id := range p.Replicas {
				h.limit = min(h.limit, w.check.flushed[flushedKey{id, tp}])
			}
		}
	}
}

// shutDown stops a process cleanly; its machine may be turned off then.
func (w *World) shutDown(n *Node) {
	p := n.process
	if p == nil || !p.serving || p.failing || p.life.left != nil {
		return
	}
	p.life.leave(p.stop)
}

// mayLose reports whether a node may lose what it has not synced: of every partition there, fewer replicas than its
// effective min ISR have then.
func (w *World) mayLose(n *Node) bool {
	for t := range w.latest.Topics() {
		if w.isUnclean(t.Name) {
			continue
		}
		minISR := w.minISR(t.Name)
		for _, p := range t.Partitions {
			if !slices.Contains(p.Replicas, n.id) {
				continue
			}
			losers := 1
			for _, id := range p.Replicas {
				if id != n.id && w.budget.suspects[id] {
					losers++
				}
			}
			if losers >= kafka.EffectiveMinISR(minISR, len(p.Replicas)) {
				return false
			}
		}
	}
	return true
}

func (w *World) minISR(topic string) int {
	n, _ := strconv.Atoi(w.latest.Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: topic})["min.insync.replicas"])
	return n
}

// restore ends the suspicion once everything is in sync again, flushed and mended: then other nodes may lose unsynced data.
func (w *World) restore() {
	if len(w.budget.suspects) == 0 || !w.isWhole() {
		return
	}
	for _, n := range w.nodes {
		for _, l := range n.process.storage.Logs() {
			if err := l.Flush(); err != nil {
				n.process.touch()
				return
			}
		}
		if !n.process.touch() {
			return
		}
	}
	if w.whyDamaged() != "" {
		return
	}
	if len(w.budget.flipped) > 0 {
		w.count["all mended"]++
	}
	clear(w.budget.suspects)
	clear(w.budget.flipped)
}

// isWhole reports whether everything is in sync, and the controller knows of every process.
func (w *World) isWhole() bool {
	for _, n := range w.nodes {
		b := w.latest.Broker(n.id)
		if n.process == nil || n.process.failing || n.process.image.Offset < w.latest.Offset || b == nil || b.Fenced || b.IncarnationID != n.process.incarnation {
			return false
		}
	}
	return w.whyNotInSync() == ""
}

// whyNotInSync says what is not in sync, "" if everything is.
func (w *World) whyNotInSync() string {
	for t := range w.latest.Topics() {
		for _, p := range t.Partitions {
			if len(p.ISR) != len(p.Replicas) || p.Leader == kafka.NoLeader || p.IsReassigning() {
				return fmt.Sprintf("%s-%d has leader %d, replicas %v, in-sync replicas %v, eligible ones %v", t.Name, p.ID, p.Leader, p.Replicas, p.ISR, p.ELR)
			}
		}
	}
	return ""
}

// isolate cuts a node off from all others, in one direction or both, clients perhaps included.
func (w *World) isolate(n *Node) {
	in, out := w.oneIn(3), w.oneIn(3)
	for _, other := range w.nodes {
		w.cut(other.id, n.id, !in)
		w.cut(n.id, other.id, in || !out)
	}
	if w.oneIn(3) {
		w.cut(clientsID, n.id, true)
	}
}

func (w *World) cut(from, to int32, isCut bool) {
	if from != to && isCut {
		w.network.cut[[2]int32{from, to}] = true
	}
}

// cutOne cuts one direction between two nodes, or a node and the clients, and perhaps the other one, too.
func (w *World) cutOne(n *Node) {
	other := int32(w.random.IntN(len(w.nodes) + 1))
	w.cut(n.id, other, true)
	w.cut(other, n.id, w.oneIn(2))
}
