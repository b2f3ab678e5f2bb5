package sim

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/txn"
)

// audit compares everything that the process holds with what was promised.
func (p *process) audit(ending Ending) {
	w, n := p.node.w, p.node
	if p.failing || p.disk.Dead {
		return
	}
	if ending == PowerLost {
		for _, name := range groups {
			w.owners.PowerLost(name)
			w.commits.PowerLost(name)
		}
	}
	w.Check(w.admin.audit(p.metadata.image))
	for topic := range p.metadata.image.Topics() {
		for _, partition := range topic.Partitions {
			tp := kafka.TopicIDPartition{TopicID: topic.ID, TopicPartition: kafka.TopicPartition{Topic: topic.Name, Partition: partition.ID}}
			log := p.storage.Log(tp.TopicPartition)
			if log == nil && p.disk.Failed {
				p.fault(fmt.Errorf("%s has no log", tp)) // it could not be created; the operator restarts the broker
				n.owed[tp] = max(n.owed[tp], ending)
				continue
			}
			if log == nil || log.TopicID() != topic.ID {
				w.Fail("%s has no log", tp)
				return
			}
			if want := p.topicConfig(p.metadata.image, topic.Name).Log; *log.Config() != *want {
				w.Fail("%s runs with config %+v, its topic has %+v", tp, *log.Config(), *want)
				return
			}
			left := leftBehind{}
			if ending != StillRunning {
				left = n.last[tp]
			}
			if err := p.auditLog(max(ending, n.owed[tp]), tp, log, left); err != nil {
				w.Check(err)
				return
			}
			delete(n.owed, tp)
		}
	}
	p.observe()
}

func (p *process) auditLog(ending Ending, tp kafka.TopicIDPartition, log *storage.Log, left leftBehind) error {
	w := p.node.w
	if ending == PowerLost {
		w.levels.Forget("the high watermark of " + levelName(tp))
		w.levels.Forget("the log end offset of " + levelName(tp))
	}
	content := LogContent{Start: log.LogStartOffset(), End: log.LogEndOffset(), Flushed: left.flushed}
	if hw := log.HighWatermark(); ending == Killed && hw < left.highWatermark && p.isSettled(tp.TopicPartition) {
		return fmt.Errorf("the high watermark of %s went from %d to %d", tp, left.highWatermark, hw)
	}
	data, err := ContentOf(log, isCompacted(tp.Topic))
	if err != nil {
		return fmt.Errorf("%s from %d to %d: %w", tp, content.Start, content.End, err)
	}
	if slices.Contains([]string{kafka.ConsumerOffsetsTopic, kafka.TransactionStateTopic, OutputTopic}, tp.Topic) {
		// Their content is checked through groups and copies.
		if content.End < left.flushed {
			return fmt.Errorf("%s ends at %d, but was flushed up to %d", tp, content.End, left.flushed)
		}
		return nil
	}
	if tp.Topic == tableTopic {
		return p.auditTable(ending, content, left, data)
	}
	if content.Records, err = RecordsOf(data, content.Start); err != nil {
		return fmt.Errorf("%s: %w", tp, err)
	}
	lost, err := w.history(tp).Audit(ending, content)
	if err != nil {
		return err
	}
	if lost > 0 {
		w.stats.LostRecords += int(lost)
		w.Note("%s lost %d records and ends at %d", tp, lost, content.End)
	}
	for _, r := range w.readers {
		if ending == PowerLost && r.tp == tp.TopicPartition && r.position > content.End {
			r.lost = true
		}
	}
	return nil
}

func (p *process) auditTable(ending Ending, c LogContent, left leftBehind, data []byte) error {
	if c.End < left.flushed {
		return fmt.Errorf("the table ends at %d, but was flushed up to %d", c.End, left.flushed)
	}
	table := p.node.w.table
	if ending == PowerLost {
		table.PowerLost()
	}
	records, err := tableRecords(data)
	if err != nil {
		return fmt.Errorf("the table: %w", err)
	}
	return table.Audit(records)
}

func levelName(tp kafka.TopicIDPartition) string {
	return tp.TopicPartition.String() + " (" + tp.TopicID.String() + ")"
}

// isCompacted tells logs with holes.
func isCompacted(topic string) bool {
	return topic == tableTopic || topic == kafka.ConsumerOffsetsTopic || topic == kafka.TransactionStateTopic
}

// ContentOf reads a whole log. Compacted ones may have holes.
func ContentOf(log *storage.Log, holes bool) (all []byte, err error) {
	for offset, end := log.LogStartOffset(), log.LogEndOffset(); offset < end; {
		r, err := log.Read(storage.ReadRequest{Offset: offset, MaxBytes: 1 << 20, MinOneBatch: true, UpTo: end})
		if err != nil {
			return nil, err
		}
		if len(r.Records) == 0 {
			return nil, fmt.Errorf("nothing to read at offset %d below the end %d", offset, end)
		}
		for rest := r.Records; len(rest) > 0; {
			b, next, err := record.Next(rest)
			if err != nil {
				return nil, err
			}
			if b.BaseOffset() > offset && !holes {
				return nil, fmt.Errorf("a hole from offset %d to %d", offset, b.BaseOffset())
			}
			offset, rest = b.NextOffset(), next
		}
		all = append(all, r.Records...)
	}
	return all, nil
}

// isSettled reports whether the high watermark has reached where the leader epoch began. Until the
// first flush after a kill it may be lower, and consumers who ask for the end have to wait.
func (p *process) isSettled(tp kafka.TopicPartition) bool {
	r, err := p.replicas.Lookup(tp)
	if err == nil {
		_, err = r.ListOffset(kafka.LatestTimestamp, kafka.ReadUncommitted, kafka.NoLeaderEpoch)
	}
	return kafka.CodeOf(err) != kafka.ErrOffsetNotAvailable
}

// observe checks that nothing goes backwards.
func (p *process) observe() {
	w := p.node.w
	for topic := range p.metadata.image.Topics() {
		for _, partition := range topic.Partitions {
			tp := kafka.TopicIDPartition{TopicID: topic.ID, TopicPartition: kafka.TopicPartition{Topic: topic.Name, Partition: partition.ID}}
			log := p.storage.Log(tp.TopicPartition)
			if log == nil {
				continue
			}
			start, stable, hw, end := log.LogStartOffset(), log.LastStableOffset(), log.HighWatermark(), log.LogEndOffset()
			if start > stable || stable > hw || hw > end {
				w.Fail("offsets of %s out of order: start %d, stable %d, high watermark %d, end %d", tp, start, stable, hw, end)
			}
			name := levelName(tp)
			w.Check(w.levels.Observe("the log start offset of "+name, start))
			if p.isSettled(tp.TopicPartition) {
				w.Check(w.levels.Observe("the high watermark of "+name, hw))
			}
			w.Check(w.levels.Observe("the log end offset of "+name, end))
			w.Check(w.levels.Observe("the leader epoch of "+name, int64(partition.LeaderEpoch)))
			w.Check(w.levels.Observe("the partition epoch of "+name, int64(partition.PartitionEpoch)))
		}
	}
}

// reopen compares the process with what another one would find on a copy of its disk, as
// after kill -9.
func (p *process) reopen() {
	w := p.node.w
	if p.failing || p.disk.Dead || w.err != nil {
		return
	}
	shards := p.shards()
	if !p.touch() {
		return
	}
	live, err := p.state(shards)
	if err != nil {
		w.Fail("the state of the process: %w", err)
		return
	}
	found, err := p.stateOnDisk(shards)
	if err != nil {
		w.Fail("the disk cannot be opened: %w", err)
		return
	}
	w.stats.Reopened++
	if difference := live.Difference(found); difference != "" {
		w.Fail("the process and its disk differ in %s", difference)
	}
}

// loadedShards are those of a process, by partition.
type loadedShards struct {
	groups       map[int32]*group.Shard
	transactions map[int32]*txn.Shard
}

// shards has the coordinators do what is to be done, and returns the shards that are loaded then.
func (p *process) shards() loadedShards {
	s := loadedShards{map[int32]*group.Shard{}, map[int32]*txn.Shard{}}
	for partition := range int32(CoordinatorPartitions) {
		if g, ok := p.coordinators.Groups.Loaded(partition); ok {
			s.groups[partition] = g
		}
		if t, ok := p.coordinators.Transactions.Loaded(partition); ok {
			s.transactions[partition] = t
		}
	}
	return s
}

// state is what the process knows.
func (p *process) state(shards loadedShards) (State, error) {
	s := State{}
	print, err := Fingerprint(p.metadata.image)
	if err != nil {
		return nil, err
	}
	s["metadata"] = fmt.Sprintf("%x at offset %d", print, p.metadata.image.Offset)
	for topic := range p.metadata.image.Topics() {
		for _, partition := range topic.Partitions {
			tp := kafka.TopicPartition{Topic: topic.Name, Partition: partition.ID}
			if err := s.addLog(p.storage.Log(tp)); err != nil {
				return nil, err
			}
			if g := shards.groups[tp.Partition]; g != nil && tp.Topic == kafka.ConsumerOffsetsTopic {
				s.addGroups(tp, g, p)
			}
			if t := shards.transactions[tp.Partition]; t != nil && tp.Topic == kafka.TransactionStateTopic {
				s.addTransactions(tp, t, p.nowMs())
			}
		}
	}
	return s, nil
}

func (s State) addLog(log *storage.Log) error {
	data, err := ContentOf(log, isCompacted(log.TopicPartition().Topic))
	if err != nil {
		return fmt.Errorf("%s: %w", log.TopicPartition(), err)
	}
	h := fnv.New64a()
	_, _ = h.Write(data) // never fails
	for _, e := range log.Producers() {
		last := kafka.NoSequence // of the batches before the last one snapshots say nothing, as in Kafka
		if batches := e.Batches(); len(batches) > 0 {
			last = batches[len(batches)-1].LastSequence
		}
		s[fmt.Sprintf("producer %d in %s", e.ProducerID, log.TopicPartition())] = fmt.Sprintf("epoch %d, last sequence %d, open from %d, coordinator epoch %d", e.Epoch, last, e.TxnFirstOffset, e.CoordinatorEpoch)
	}
	s["log "+log.TopicPartition().String()] = fmt.Sprintf("%d to %d, content %x, topic id %s", log.LogStartOffset(), log.LogEndOffset(), h.Sum64(), log.TopicID())
	return nil
}

// addTransactions adds what a shard knows of the transactional ids.
func (s State) addTransactions(tp kafka.TopicPartition, t *txn.Shard, nowMs int64) {
	for i := range Copiers {
		id := (&copier{number: i}).id()
		if kafka.CoordinatorPartition(id, CoordinatorPartitions) != tp.Partition {
			continue
		}
		for _, r := range t.Describe(1, id, nowMs).Responses {
			s["transaction "+id] = fmt.Sprintf("%+v", r.Value)
		}
	}
}

// addGroups adds the committed offsets that a shard knows. Asking does not change them.
func (s State) addGroups(tp kafka.TopicPartition, g *group.Shard, p *process) {
	for _, name := range groups {
		if kafka.CoordinatorPartition(name, CoordinatorPartitions) != tp.Partition {
			continue
		}
		for _, r := range g.FetchOffsets(1, p.node.w.members.offsetsRequest(name), false, p.nowMs()).Responses {
			answer := r.Value.(*kmsg.OffsetFetchResponseGroup)
			s["offsets of "+name] = fmt.Sprint(offsetsOf(answer)) // fmt sorts maps
		}
	}
}

// stateOnDisk is what the next process would know.
func (p *process) stateOnDisk(shards loadedShards) (State, error) {
	w := p.node.w
	fsys := p.disk.Mem.KillClone()
	voter, err := p.openVoter(fsys)
	if err != nil {
		return nil, err
	}
	image, err := imageOf(voter, w.nowMs, p.metadata.image.Offset)
	if err != nil {
		return nil, err
	}
	s := State{}
	print, err := Fingerprint(image)
	if err != nil {
		return nil, err
	}
	s["metadata"] = fmt.Sprintf("%x at offset %d", print, image.Offset)
	m, err := storage.OpenManager(storage.Options{
		FS: fsys, Dirs: []string{dataDir}, Defaults: p.topicConfig(metadata.EmptyImage(), "").Log, Metrics: metrics.NewRegistry(), Random: p.random, Clock: w.clock,
		ProducerExpirationMs: ProducerExpirationMs, OpenFilesPerDir: openFiles,
	})
	if err == nil {
		err = m.Load(storage.LoadOptions{NowMs: w.nowMs})
	}
	if err != nil {
		return nil, err
	}
	for _, log := range m.Logs() {
		topic := image.TopicByID(log.TopicID())
		if topic == nil || topic.Name != log.TopicPartition().Topic {
			continue // a stray, which a start sets aside
		}
		if err := s.addLog(log); err != nil {
			return nil, err
		}
		tp := log.TopicPartition()
		if shards.transactions[tp.Partition] != nil && tp.Topic == kafka.TransactionStateTopic {
			data, err := ContentOf(log, true)
			if err != nil {
				return nil, err
			}
			t := txn.NewShard(txnConfig(), txn.NewMetrics(metrics.NewRegistry()))
			if err := replayBatches(t, data, log.LogStartOffset()); err != nil {
				return nil, err
			}
			s.addTransactions(tp, t, w.nowMs)
		}
		if shards.groups[tp.Partition] != nil && tp.Topic == kafka.ConsumerOffsetsTopic {
			data, err := ContentOf(log, true)
			if err != nil {
				return nil, err
			}
			g := group.NewShard(groupConfig(), p.random, group.NewMetrics(metrics.NewRegistry()))
			if err := replayBatches(g, data, log.LogStartOffset()); err != nil {
				return nil, err
			}
			s.addGroups(tp, g, p)
		}
	}
	return s, nil
}

// imageOf replays what a voter has up to an offset.
func imageOf(voter *quorum.Voter, nowMs, upTo int64) (*metadata.Image, error) {
	image := metadata.EmptyImage()
	replay := func(records [][]byte, offset int64, epoch int32) error {
		if offset > upTo {
			return nil
		}
		delta := metadata.NewDelta(image)
		for _, data := range records {
			r, err := metadata.Decode(data)
			if err == nil {
				err = delta.Replay(r)
			}
			if err != nil {
				return fmt.Errorf("metadata before offset %d: %w", offset, err)
			}
		}
		image = delta.Apply(offset, epoch)
		return nil
	}
	var snapshot [][]byte
	err := voter.ReadSnapshot(func(r []byte) error {
		snapshot = append(snapshot, r)
		return nil
	})
	if id := voter.Snapshot(); err == nil && id.EndOffset > 0 {
		err = replay(snapshot, id.EndOffset-1, id.Epoch)
	}
	if err == nil {
		err = voter.Campaign()
	}
	if err != nil {
		return nil, err
	}
	out, err := voter.Process(nowMs)
	for _, c := range out.Committed {
		if err == nil {
			err = replay(c.Records, c.LastOffset, c.Epoch)
		}
	}
	return image, err
}

// replayBatches replays the records from offset next on, as a load does.
func replayBatches(s shard.Shard, data []byte, next int64) error {
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil {
			return err
		}
		data = rest
		producerID := kafka.NoProducerID
		if b.IsTransactional() {
			producerID = b.ProducerID()
		}
		for r, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
			offset := b.BaseOffset() + int64(r.OffsetDelta)
			switch {
			case err != nil:
				return err
			case offset < next:
			case b.IsControl():
				if kind, err := record.ParseControlKey(r.Key); err == nil {
					s.ReplayEndTransaction(producerID, kind == record.ControlCommit)
				}
			default:
				if err := s.Replay(shard.Position{Offset: offset, ProducerID: producerID}, shard.Record{Key: r.Key, Value: r.Value}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
