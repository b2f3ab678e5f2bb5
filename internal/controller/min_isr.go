package controller

import (
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

const (
	minISRConfig  = "min.insync.replicas"
	uncleanConfig = "unclean.leader.election.enable"
)

// sameMinISR returns the records that make min.insync.replicas the same for all nodes, without which
// the eligible leader replicas would not be safe: the controller's static value is stored for the
// cluster, values of single brokers go.
func (c *Controller) sameMinISR(image *metadata.Image) []metadata.Record {
	var records []metadata.Record
	set := func(broker string, value *string) {
		records = append(records, &metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, ResourceName: broker, Name: minISRConfig, Value: value})
	}
	if _, isSet := image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceBroker})[minISRConfig]; !isSet {
		if static := c.o.Broker.MinInSyncReplicas; static > 0 {
			value := strconv.Itoa(int(static))
			set("", &value)
		}
	}
	for r := range image.ConfigResources() {
		if _, isSet := image.Config(r)[minISRConfig]; isSet && r.Type == kafka.ConfigResourceBroker && r.Name != "" {
			set(r.Name, nil)
		}
	}
	return records
}

// checkMinISR refuses a min.insync.replicas that only some leaders would follow.
func checkMinISR(image *metadata.Image, resource kafka.ConfigResource, changes []configChange) error {
	if resource.Type != kafka.ConfigResourceBroker || resource.Name == "" || image.FeatureLevel(metadata.ELRVersionFeature) == 0 {
		return nil
	}
	if slices.ContainsFunc(changes, func(c configChange) bool { return c.name == minISRConfig }) {
		return kafka.Errorf(kafka.ErrInvalidConfig, "Broker-level %s cannot be altered while ELR is enabled.", minISRConfig)
	}
	return nil
}

// followConfigs returns what changes of configs mean for partitions: with a lower min.insync.replicas the
// high watermark moves again, and who is not in sync is eligible no more; unclean elections that are
// allowed now are held.
func (c *Controller) followConfigs(image *metadata.Image, configs []metadata.Record) []metadata.Record {
	delta := metadata.NewDelta(image)
	topics := map[string]bool{}
	everywhere := false
	for _, r := range configs {
		record, ok := r.(*metadata.ConfigRecord)
		if !ok || record.Name != minISRConfig && record.Name != uncleanConfig {
			continue
		}
		if err := delta.Replay(record); err != nil {
			panic("BUG: a change of a config does not apply: " + err.Error())
		}
		switch {
		case record.ResourceType == kafka.ConfigResourceTopic:
			topics[record.ResourceName] = true
		case record.ResourceName == "" || record.ResourceName == strconv.Itoa(int(c.o.NodeID)):
			everywhere = true
		}
	}
	if !everywhere && len(topics) == 0 {
		return nil
	}
	changes := c.changePartitions(delta.Apply(image.Offset, image.Epoch))
	for topic := range changes.image.Topics() {
		if !everywhere && !topics[topic.Name] {
			continue
		}
		for _, p := range topic.Partitions {
			if len(p.ELR) > 0 || p.Leader == kafka.NoLeader {
				changes.add(changes.begin(topic, p))
			}
		}
	}
	return changes.records
}

// dropELR returns what follows for partitions once eligible leader replicas are turned off by records: nobody keeps the lists up to date
// any more. Where nobody leads they stay until somebody does, who may be one of them. Kafka clears the lists of a partition with its next change.
func (c *Controller) dropELR(image *metadata.Image, records []metadata.Record) []metadata.Record {
	delta := metadata.NewDelta(image)
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			panic("BUG: a change of a feature does not apply: " + err.Error())
		}
	}
	changes := c.changePartitions(delta.Apply(image.Offset, image.Epoch))
	for topic := range changes.image.Topics() {
		for _, p := range topic.Partitions {
			if len(p.ELR)+len(p.LastKnownELR) > 0 && p.Leader != kafka.NoLeader {
				changes.add(changes.begin(topic, p))
			}
		}
	}
	return changes.records
}
