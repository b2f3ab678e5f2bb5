package groups

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

func (t *tool) deleteGroups(ctx context.Context) error {
	ids, err := t.groupIDs(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := t.client.Context(ctx)
	defer cancel()
	results := map[string]error{}
	for _, id := range ids {
		results[id] = t.deleteGroup(ctx, id)
	}
	printDeletions(t.streams, results)
	return nil
}

func (t *tool) deleteGroup(ctx context.Context, id string) error {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{id}
	for _, shard := range t.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return client.Convert(shard.Err, "deleteConsumerGroups")
		}
		if resp, ok := shard.Resp.(*kmsg.DeleteGroupsResponse); ok && len(resp.Groups) == 1 {
			return client.FromCode(resp.Groups[0].ErrorCode, nil)
		}
	}
	return errNoAnswer
}

func printDeletions(s cli.Streams, results map[string]error) {
	var deleted, failed []string
	for _, id := range slices.Sorted(maps.Keys(results)) {
		if results[id] == nil {
			deleted = append(deleted, "'"+id+"'")
		} else {
			failed = append(failed, id)
		}
	}
	if len(failed) == 0 {
		s.Println("Deletion of requested consumer groups (" + strings.Join(deleted, ", ") + ") was successful.")
		return
	}
	printError(s, "Deletion of some consumer groups failed:")
	for _, id := range failed {
		s.Println("* Group '" + id + "' could not be deleted due to: " + errorText(results[id]))
	}
	if len(deleted) > 0 {
		s.Println("\nThese consumer groups were deleted successfully: " + strings.Join(deleted, ", "))
	}
}

// deletion is the outcome of --delete-offsets.
type deletion struct {
	group      error // of the whole request
	partitions map[kafka.TopicPartition]error
}

func (t *tool) deleteGroupOffsets(ctx context.Context) error {
	id := t.String(t.group)
	if err := t.Err(); err != nil {
		return err
	}
	d := deletion{partitions: map[kafka.TopicPartition]error{}}
	var partitions []kafka.TopicPartition
	for _, arg := range t.Values(t.topic) {
		resolved, err := t.topicPartitions(ctx, []string{arg})
		if _, usage := err.(*usageError); usage {
			return err
		}
		if err != nil {
			d.partitions[kafka.TopicPartition{Topic: arg, Partition: -1}] = err
		}
		partitions = append(partitions, resolved...)
	}
	t.requestDeletion(ctx, id, partitions, &d)
	printDeletedOffsets(t.streams, id, &d)
	return nil
}

func (t *tool) requestDeletion(ctx context.Context, id string, partitions []kafka.TopicPartition, d *deletion) {
	ctx, cancel := t.client.Context(ctx)
	defer cancel()
	if len(partitions) == 0 {
		return
	}
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = id
	client.SortPartitions(partitions)
	for i, tp := range partitions {
		if i == 0 || tp.Topic != partitions[i-1].Topic {
			topic := kmsg.NewOffsetDeleteRequestTopic()
			topic.Topic = tp.Topic
			req.Topics = append(req.Topics, topic)
		}
		p := kmsg.NewOffsetDeleteRequestTopicPartition()
		p.Partition = tp.Partition
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, p)
	}
	resp, err := req.RequestWith(ctx, t.client.Client)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	if err != nil {
		d.group = client.Convert(err, "deleteConsumerGroupOffsets")
		for _, tp := range partitions {
			d.partitions[tp] = d.group
		}
		return
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			err := client.FromCode(p.ErrorCode, nil)
			d.partitions[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = err
			if d.group == nil {
				d.group = err
			}
		}
	}
}

func printDeletedOffsets(s cli.Streams, group string, d *deletion) {
	switch client.Code(d.group) {
	case kafka.ErrNone:
		s.Println("Request succeeded for deleting offsets from group " + group + ".")
	case kafka.ErrInvalidGroupID, kafka.ErrGroupIDNotFound, kafka.ErrGroupAuthorizationFailed, kafka.ErrNonEmptyGroup:
		printError(s, d.group.Error())
	case kafka.ErrGroupSubscribedToTopic, kafka.ErrTopicAuthorizationFailed, kafka.ErrUnknownTopicOrPartition:
		printError(s, "Encountered some partition-level error, see the follow-up details.")
	default:
		printError(s, "Encountered some unknown error: "+errorText(d.group))
	}
	width := 15
	for tp := range d.partitions {
		width = max(width, len(tp.Topic))
	}
	s.Printf("\n%-*s %-10s %-15s", width, "TOPIC", "PARTITION", "STATUS")
	for _, tp := range slices.SortedFunc(maps.Keys(d.partitions), client.ComparePartitions) {
		partition, status := missing, "Successful"
		if tp.Partition >= 0 {
			partition = strconv.Itoa(int(tp.Partition))
		}
		if err := d.partitions[tp]; err != nil {
			status = "Error: " + errorText(err)
		}
		s.Printf("\n%-*s %-10s %-15s", width, tp.Topic, partition, status)
	}
	s.Println("")
}
