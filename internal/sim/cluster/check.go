package cluster

import (
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/sim"
	"github.com/moldau/moldau/internal/storage"
)

// checks are what the world is held to.
type checks struct {
	w        *World
	metadata *sim.MetadataHistory
	levels   *sim.Levels
	owners   *sim.OwnershipHistory
	commits  *sim.CommitHistory
	// quorumLeader is who leads the quorum, by epoch.
	quorumLeader map[int32]int32
	histories    map[kafka.TopicIDPartition]*history
	names        []kafka.TopicIDPartition // of histories, in the order of their creation
	imageOffset  map[*process]int64
	// high is the high watermark of a replica, by process, and seen how far its log was compared.
	high map[replicaKey]int64
	seen map[replicaKey]int64
	led  map[replicaKey]ledHigh
	// flushed is how far replicas were durable when their processes ended.
	flushed map[flushedKey]int64
	deleted map[kafka.UUID]int64 // topics, by the offset of metadata that does not have them
}

// flushedKey names a replica of a node, whatever process it has.
type flushedKey struct {
	node int32
	tp   kafka.TopicIDPartition
}

// ledHigh is the high watermark of a leader: in its epoch it never falls, whatever was lost before.
type ledHigh struct {
	epoch int32
	high  int64
}

type replicaKey struct {
	p   *process
	log *storage.Log // a replica that was moved away and back has another one
}

func newChecks(w *World) *checks {
	return &checks{w: w, metadata: sim.NewMetadataHistory(), levels: sim.NewLevels(), owners: sim.NewOwnershipHistory(), commits: sim.NewCommitHistory(), quorumLeader: map[int32]int32{}, histories: map[kafka.TopicIDPartition]*history{},
		imageOffset: map[*process]int64{}, high: map[replicaKey]int64{}, seen: map[replicaKey]int64{}, led: map[replicaKey]ledHigh{}, flushed: map[flushedKey]int64{}, deleted: map[kafka.UUID]int64{}}
}

func (c *checks) history(tp kafka.TopicIDPartition) *history {
	h := c.histories[tp]
	if h == nil {
		if h = newHistory(tp.String(), tp.Topic); c.w.mayForget(tp.Topic) {
			h.limit = 0 // more may follow
		}
		c.histories[tp] = h
		c.names = append(c.names, tp)
	}
	return h
}

// leads notes who leads the metadata quorum.
func (c *checks) leads(l quorum.Leadership) {
	if other, known := c.quorumLeader[l.Epoch]; known && other != l.LeaderID {
		c.w.fail("nodes %d and %d lead the quorum in epoch %d", other, l.LeaderID, l.Epoch)
	}
	c.quorumLeader[l.Epoch] = l.LeaderID
}

// published notes the image of a process.
func (c *checks) published(p *process, image *metadata.Image) {
	print, err := sim.Fingerprint(image)
	if !c.w.demand(err) || !c.w.demand(c.metadata.Published(image.Offset, print)) {
		return
	}
	if before, known := c.imageOffset[p]; known && image.Offset < before {
		c.w.fail("the metadata of node %d went from offset %d to %d", p.node.id, before, image.Offset)
	}
	c.imageOffset[p] = image.Offset
	if image.Offset > c.w.latest.Offset {
		c.tell(c.w.latest, image)
		c.w.latest = image
	}
	for t := range image.Topics() {
		if at, gone := c.deleted[t.ID]; gone && image.Offset >= at {
			c.w.fail("topic %s with id %s is there at offset %d, and was deleted at %d", t.Name, t.ID, image.Offset, at)
		}
		for _, partition := range t.Partitions {
			tp := kafka.TopicIDPartition{TopicID: t.ID, TopicPartition: kafka.TopicPartition{Topic: t.Name, Partition: partition.ID}}
			c.w.demand(c.history(tp).led(partition.LeaderEpoch, partition.Leader))
		}
	}
}

// tell adds to the trace what has become of partitions.
func (c *checks) tell(before, now *metadata.Image) {
	for t := range now.Topics() {
		for _, p := range t.Partitions {
			old := before.Partition(t.Name, p.ID)
			if old == nil || old.PartitionEpoch != p.PartitionEpoch {
				if old != nil && p.LeaderEpoch > old.LeaderEpoch && p.LeaderRecoveryState == metadata.RecoveringLeader {
					c.w.count["unclean elections"]++
				}
				c.w.note("%s-%d at %d: leader %d of epoch %d, version %d, replicas %v, in sync %v, eligible %v, last known %v, recovery %v", t.Name, p.ID, now.Offset, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Replicas, p.ISR, p.ELR, p.LastKnownELR, p.LeaderRecoveryState)
			}
		}
	}
}

// noteFlushed notes how far the replicas of a process are durable.
func (c *checks) noteFlushed(p *process) {
	if p.storage == nil {
		return
	}
	for _, l := range p.storage.Logs() {
		c.flushed[flushedKey{p.node.id, kafka.TopicIDPartition{TopicID: l.TopicID(), TopicPartition: l.TopicPartition()}}] = l.FlushedOffset()
	}
}

func (c *checks) processEnds(p *process) {
	c.noteFlushed(p)
	delete(c.imageOffset, p)
	for key := range c.high {
		if key.p == p {
			delete(c.high, key)
			delete(c.seen, key)
			delete(c.led, key)
		}
	}
}

func (c *checks) newProducerID(id int64) error {
	name := fmt.Sprintf("producer id %d", id)
	return c.levels.ObserveNew(name, 1)
}

// spread checks what a follower gets: damaged batches must never leave a leader.
func (c *checks) spread(to *process, from int32, r *kmsg.FetchResponse) {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			if a := &r.Topics[i].Partitions[j]; len(a.RecordBatches) > 0 {
				if err := checkBatches(a.RecordBatches); err != nil {
					c.w.fail("node %d sends node %d a damaged batch of partition %d: %w", from, to.node.id, a.Partition, err)
				}
			}
		}
	}
}

// served checks what a consumer gets.
func (c *checks) served(at *process, tp kafka.TopicPartition, records []byte) error {
	if err := checkBatches(records); err != nil {
		return fmt.Errorf("node %d serves a damaged batch of %s: %w", at.node.id, tp, err)
	}
	return nil
}

// observe compares the replicas of a process with what is known to be committed.
func (c *checks) observe(p *process) {
	if p.failing || p.disk.Dead || !p.hosting {
		return
	}
	for t := range p.image.Topics() {
		for _, assigned := range t.Partitions {
			tp := kafka.TopicIDPartition{TopicID: t.ID, TopicPartition: kafka.TopicPartition{Topic: t.Name, Partition: assigned.ID}}
			if slices.Contains(assigned.Replicas, p.node.id) {
				c.observeReplica(p, tp)
			}
		}
	}
}

func (c *checks) observeReplica(p *process, tp kafka.TopicIDPartition) {
	r, err := p.replicas.Lookup(tp.TopicPartition)
	if err != nil || r.TopicID() != tp.TopicID {
		return
	}
	log, key := r.Log(), replicaKey{p, r.Log()}
	start, stable, high, end := log.LogStartOffset(), log.LastStableOffset(), log.HighWatermark(), log.LogEndOffset()
	if start > stable || stable > high || high > end {
		c.w.fail("offsets of %s on node %d out of order: start %d, stable %d, high watermark %d, end %d", tp, p.node.id, start, stable, high, end)
	}
	history := c.history(tp)
	// One that is damaged may have given up what it has of that, to fetch it again.
	if before, known := c.high[key]; known && high < before && before <= history.limit && !c.w.isFlipped(p.node) {
		c.w.fail("the high watermark of %s on node %d went from %d to %d", tp, p.node.id, before, high)
	}
	c.high[key] = high
	if r.IsLeader() {
		epoch := r.Assignment().LeaderEpoch
		if before := c.led[key]; before.epoch == epoch && high < before.high {
			c.w.fail("node %d leads %s in epoch %d, and its high watermark went from %d to %d", p.node.id, tp, epoch, before.high, high)
		}
		c.led[key] = ledHigh{epoch, high}
	}
	from := max(start, min(c.seen[key], high))
	c.w.demand(c.compare(p, history, log, from, high))
	c.seen[key] = high
}

// compare reads a part of a log, which is committed.
func (c *checks) compare(p *process, history *history, log *storage.Log, from, to int64) error {
	for from < to {
		read, err := log.Read(storage.ReadRequest{Offset: from, MaxBytes: 1 << 16, MinOneBatch: true, UpTo: to})
		if err != nil || len(read.Records) == 0 {
			// Where records may be lost the high watermark may lie within a batch, since it is that of other ones.
			if c.w.isDamage(p.node, err) || p.disk.Failed || p.disk.Dead || err == nil && c.w.mayForget(history.topic) {
				return nil
			}
			return fmt.Errorf("node %d: %s cannot be read at %d of %d: %w", p.node.id, history.name, from, to, err)
		}
		if from, err = history.found(read.Records, from, p.node.id); err != nil {
			return err
		}
	}
	return nil
}

const noLimit = int64(math.MaxInt64)
