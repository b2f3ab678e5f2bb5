package controller

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// BalancerSettings are the balancer's configs.
func (c *Controller) BalancerSettings(image *metadata.Image) config.Balancer {
	return c.layers(image).Balancer()
}

// MinISR returns a function that says what min.insync.replicas of a topic is, 0 where it is not set.
func (c *Controller) MinISR(image *metadata.Image) func(*metadata.Topic) int {
	changes := c.changePartitions(image)
	return func(topic *metadata.Topic) int { return changes.rules(topic).minISR }
}

// Balance begins the balancer's moves of partitions that are still as the plan has found them. Those that
// copy nothing change who is preferred, and hold the election.
func (c *Controller) Balance(in Input, moves []balance.Move) []metadata.Record {
	changes := c.changePartitions(in.Image)
	for _, move := range moves {
		topic := in.Image.TopicByName(move.Topic)
		if topic == nil || topic.Partition(move.Partition) == nil {
			continue
		}
		change := changes.begin(topic, topic.Partition(move.Partition))
		if change.from.IsReassigning() || !slices.Equal(change.from.Replicas, move.From) || !mayBeGiven(in.Image, without(move.To, move.From...)) {
			continue
		}
		if containsAll(move.From, move.To) {
			change.to.Replicas, change.election = move.To, electPreferred
		} else {
			change.reassignTo(move.To)
			change.to.Balancing = true
		}
		changes.add(change)
	}
	return changes.records
}

// mayBeGiven reports whether brokers take new replicas.
func mayBeGiven(image *metadata.Image, added []int32) bool {
	return !slices.ContainsFunc(added, func(id int32) bool {
		b := image.Broker(id)
		return b == nil || b.IsCordoned()
	})
}

// CancelBalance takes back moves of the balancer, as far as that loses nothing.
func (c *Controller) CancelBalance(in Input, partitions []kafka.TopicPartition) []metadata.Record {
	changes := c.changePartitions(in.Image)
	eachOf(in.Image, partitions, func(topic *metadata.Topic, p *metadata.Partition) {
		if p.IsReassigning() && p.Balancing {
			// One that cannot be cancelled waits for a broker that is still to come back.
			_ = changes.begin(topic, p).cancelReassignment()
		}
	})
	return changes.records
}

// PreferLeaders has the preferred replicas of these partitions lead, where they may.
func (c *Controller) PreferLeaders(in Input, partitions []kafka.TopicPartition) []metadata.Record {
	changes := c.changePartitions(in.Image)
	eachOf(in.Image, partitions, func(topic *metadata.Topic, p *metadata.Partition) {
		change := changes.begin(topic, p)
		change.election = electPreferred
		changes.add(change)
	})
	return changes.records
}

func eachOf(image *metadata.Image, partitions []kafka.TopicPartition, f func(*metadata.Topic, *metadata.Partition)) {
	for _, tp := range partitions {
		if topic := image.TopicByName(tp.Topic); topic != nil && topic.Partition(tp.Partition) != nil {
			f(topic, topic.Partition(tp.Partition))
		}
	}
}

// SetJoining replaces the list of brokers that are being given their share.
func (c *Controller) SetJoining(ids []int32) []metadata.Record {
	return []metadata.Record{brokerList(config.JoiningBrokers, ids)}
}

func brokerList(name string, ids []int32) *metadata.ConfigRecord {
	r := &metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, Name: name}
	if len(ids) > 0 {
		texts := make([]string, len(ids))
		for i, id := range ids {
			texts[i] = strconv.Itoa(int(id))
		}
		value := strings.Join(texts, ",")
		r.Value = &value
	}
	return r
}

// noteJoining has a broker that was never here before given its share, if there is anything to share. That is
// in the metadata, so that it does not end with this controller.
func (c *Controller) noteJoining(image *metadata.Image, id int32) []metadata.Record {
	settings := c.BalancerSettings(image)
	if !c.o.Balances || settings.Mode == config.BalancerOff || slices.Contains(settings.Joining, id) {
		return nil
	}
	for range image.Topics() {
		return c.SetJoining(append(slices.Clone(settings.Joining), id))
	}
	return nil
}

// noteGone forgets what was asked of the balancer about a broker that is no more.
func (c *Controller) noteGone(image *metadata.Image, id int32) (records []metadata.Record) {
	settings := c.BalancerSettings(image)
	if slices.Contains(settings.Draining, id) {
		records = append(records, brokerList(config.DrainingBrokers, without(settings.Draining, id)))
	}
	if slices.Contains(settings.Joining, id) {
		records = append(records, brokerList(config.JoiningBrokers, without(settings.Joining, id)))
	}
	return records
}
