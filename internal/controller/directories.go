package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// loseDirectories takes log dirs that have failed out of a broker's registration, and the
// leadership and ISR membership from the replicas in them (KIP-858). What only lies there keeps
// its ISR and has no leader until the broker comes back with the log dir.
func loseDirectories(image *metadata.Image, b *metadata.Broker, offline [][16]byte) []metadata.Record {
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
		return nil
	}
	var records []metadata.Record
	for topic := range image.Topics() {
		for _, p := range topic.Partitions {
			directory, here := p.Directory(b.ID)
			if !here || !slices.Contains(lost, directory) || p.Leader != b.ID && (len(p.ISR) == 1 || !slices.Contains(p.ISR, b.ID)) {
				continue
			}
			records = append(records, withoutReplica(image, topic.ID, p, b.ID))
		}
	}
	return append(records, &metadata.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, LogDirs: online})
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
	var records []metadata.Record
	for _, dir := range req.Directories {
		answer := kmsg.NewAssignReplicasToDirsResponseDirectory()
		answer.ID = dir.ID
		for _, t := range dir.Topics {
			topic := kmsg.NewAssignReplicasToDirsResponseDirectoryTopic()
			topic.TopicID = t.TopicID
			for _, p := range t.Partitions {
				change, code := assignReplica(in.Image, b, t.TopicID, p.Partition, dir.ID)
				if change != nil {
					records = append(records, change)
				}
				topic.Partitions = append(topic.Partitions, kmsg.AssignReplicasToDirsResponseDirectoryTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
			}
			answer.Topics = append(answer.Topics, topic)
		}
		resp.Directories = append(resp.Directories, answer)
	}
	return Result{Response: resp, Records: records, Divisible: true}
}

func assignReplica(image *metadata.Image, b *metadata.Broker, topicID kafka.UUID, partition int32, directory kafka.UUID) (*metadata.PartitionChangeRecord, kafka.ErrorCode) {
	topic := image.TopicByID(topicID)
	if topic == nil {
		return nil, kafka.ErrUnknownTopicID
	}
	p := topic.Partition(partition)
	if p == nil {
		return nil, kafka.ErrUnknownTopicOrPartition
	}
	at := slices.Index(p.Replicas, b.ID)
	switch {
	case at < 0:
		return nil, kafka.ErrNotLeaderOrFollower
	case p.Directories[at] == directory:
		return nil, kafka.ErrNone
	}
	change := metadata.NewPartitionChangeRecord(topicID, partition)
	switch {
	case !b.HasOnlineDirectory(directory): // it has failed meanwhile
		change = withoutReplica(image, topicID, p, b.ID)
	case p.Leader == kafka.NoLeader && slices.Contains(p.ISR, b.ID) && b.Active():
		change.Leader = b.ID
	}
	change.Directories = slices.Clone(p.Directories)
	change.Directories[at] = directory
	return change, kafka.ErrNone
}
