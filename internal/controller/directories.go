package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// loseDirectories takes log dirs that have failed out of a broker's registration, and the
// leadership and ISR membership from the replicas in them (KIP-858). What only lies there
// has no leader until the broker comes back with the log dir.
func (s *partitionChanges) loseDirectories(b *metadata.Broker, offline [][16]byte) {
	var lost, online []kafka.UUID
	for _, id := range b.LogDirs {
		if slices.Contains(offline, [16]byte(id)) {
			lost = append(lost, id)
		} else {
			online = append(online, id)
		}
	}
	// A broker without any log dir stops by itself; an empty list would mean "no change".
	if len(lost) == 0 || len(online) == 0 {
		return
	}
	s.with(s.broker(b.ID), func(b *metadata.Broker) { b.LogDirs = online })
	s.each(func(p *metadata.Partition) bool {
		directory, here := p.Directory(b.ID)
		return here && slices.Contains(lost, directory) && (p.Leader == b.ID || slices.Contains(p.ISR, b.ID))
	}, func(c *partitionChange) { c.leave(b.ID) })
	s.records = append(s.records, &metadata.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, LogDirs: online})
}

// cordonDirectories notes which log dirs of a broker get no new replicas (KIP-1066); nil for a broker
// that does not say.
func (s *partitionChanges) cordonDirectories(b *metadata.Broker, cordoned [][16]byte) {
	ids := make([]kafka.UUID, len(cordoned))
	for i, id := range cordoned {
		ids[i] = id
	}
	isNew := func(id kafka.UUID) bool { return !slices.Contains(b.CordonedLogDirs, id) }
	if cordoned == nil || !s.image.HasCordonedDirectories() || len(ids) == len(b.CordonedLogDirs) && !slices.ContainsFunc(ids, isNew) {
		return
	}
	s.records = append(s.records, &metadata.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, CordonedLogDirs: ids})
}

// assignReplicasToDirs notes in which of its log dirs a broker keeps its replicas.
func (c *Controller) assignReplicasToDirs(in Input, req *kmsg.AssignReplicasToDirsRequest) Result {
	resp := kmsg.NewPtrAssignReplicasToDirsResponse()
	resp.Version = req.Version
	b, err := checkBrokerEpoch(in.Image, req.BrokerID, req.BrokerEpoch)
	if err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Result{Response: resp}
	}
	if !in.Image.HasDirectories() {
		resp.ErrorCode = int16(kafka.ErrUnsupportedVersion)
		return Result{Response: resp}
	}
	changes := c.changePartitions(in.Image)
	for _, dir := range req.Directories {
		answer := kmsg.NewAssignReplicasToDirsResponseDirectory()
		answer.ID = dir.ID
		for _, t := range dir.Topics {
			topic := kmsg.NewAssignReplicasToDirsResponseDirectoryTopic()
			topic.TopicID = t.TopicID
			for _, p := range t.Partitions {
				code := changes.assignReplica(b, t.TopicID, p.Partition, dir.ID)
				topic.Partitions = append(topic.Partitions, kmsg.AssignReplicasToDirsResponseDirectoryTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
			}
			answer.Topics = append(answer.Topics, topic)
		}
		resp.Directories = append(resp.Directories, answer)
	}
	return Result{Response: resp, Records: changes.records, Divisible: true}
}

func (s *partitionChanges) assignReplica(b *metadata.Broker, topicID kafka.UUID, partition int32, directory kafka.UUID) kafka.ErrorCode {
	topic := s.image.TopicByID(topicID)
	if topic == nil {
		return kafka.ErrUnknownTopicID
	}
	p := topic.Partition(partition)
	if p == nil {
		return kafka.ErrUnknownTopicOrPartition
	}
	if !slices.Contains(p.Replicas, b.ID) {
		return kafka.ErrNotLeaderOrFollower
	}
	c := s.begin(topic, p)
	if now, _ := c.from.Directory(b.ID); now == directory {
		return kafka.ErrNone
	}
	c.assigned, c.assignedTo = directory, b.ID
	if !b.HasOnlineDirectory(directory) { // it has failed meanwhile
		c.leave(b.ID)
	}
	s.add(c)
	return kafka.ErrNone
}
