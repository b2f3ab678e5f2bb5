package controller

import (
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// partitionChanges gathers the changes of partitions that one request makes. A partition that
// changes twice changes from what the first change has made of it.
type partitionChanges struct {
	image    *metadata.Image
	elr      bool // eligible leader replicas are on
	layers   config.Layers
	defaults *topicRules
	// changed is a broker as this request makes it, whatever the image says.
	changed *metadata.Broker
	latest  map[partitionKey]*metadata.Partition
	records []metadata.Record
}

type partitionKey struct {
	topic kafka.UUID
	id    int32
}

// topicRules is what elections need to know of a topic's configs.
type topicRules struct {
	minISR  int // 0 where it is not set
	unclean bool
}

func (c *Controller) changePartitions(image *metadata.Image) *partitionChanges {
	return &partitionChanges{image: image, elr: image.FeatureLevel(metadata.ELRVersionFeature) > 0, layers: c.layers(image),
		latest: map[partitionKey]*metadata.Partition{}}
}

// broker returns a registered broker, nil if there is none.
func (s *partitionChanges) broker(id int32) *metadata.Broker {
	if s.changed != nil && s.changed.ID == id {
		return s.changed
	}
	return s.image.Broker(id)
}

// with has the request's elections see b as change makes it.
func (s *partitionChanges) with(b *metadata.Broker, change func(b *metadata.Broker)) *partitionChanges {
	changed := *b
	change(&changed)
	s.changed = &changed
	return s
}

func (s *partitionChanges) rules(topic *metadata.Topic) topicRules {
	overrides := s.image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: topic.Name})
	if len(overrides) > 0 {
		return rulesOf(s.layers, overrides)
	}
	if s.defaults == nil {
		rules := rulesOf(s.layers, nil)
		s.defaults = &rules
	}
	return *s.defaults
}

func rulesOf(layers config.Layers, overrides map[string]string) topicRules {
	return topicRules{minISR: layers.MinInSyncReplicas(overrides), unclean: layers.UncleanElections(overrides)}
}

// partition returns a partition as the changes so far have made it.
func (s *partitionChanges) partition(topic *metadata.Topic, p *metadata.Partition) *metadata.Partition {
	if latest := s.latest[partitionKey{topic.ID, p.ID}]; latest != nil {
		return latest
	}
	return p
}

// begin returns a change of a partition that changes nothing yet.
func (s *partitionChanges) begin(topic *metadata.Topic, p *metadata.Partition) *partitionChange {
	rules := s.rules(topic)
	p = s.partition(topic, p)
	c := &partitionChange{changes: s, topic: topic, from: p, to: *p, minISR: rules.minISR, lost: kafka.NoLeader, assignedTo: kafka.NoLeader}
	if rules.unclean {
		c.election = electUnclean
	}
	return c
}

// add takes a change in, and reports whether it changes anything. It returns the partition after it.
func (s *partitionChanges) add(c *partitionChange) (*metadata.Partition, bool) {
	r := c.record()
	if r == nil {
		return c.from, false
	}
	after, err := c.from.Merge(r)
	if err != nil {
		panic("BUG: a change of a partition does not apply: " + c.topic.Name + "-" + strconv.Itoa(int(c.from.ID)) + ": " + err.Error())
	}
	s.latest[partitionKey{c.topic.ID, c.from.ID}] = after
	s.records = append(s.records, r)
	return after, true
}

// each begins a change of every partition that want picks and takes it in once change has set it.
func (s *partitionChanges) each(want func(p *metadata.Partition) bool, change func(c *partitionChange)) {
	for topic := range s.image.Topics() {
		for _, p := range topic.Partitions {
			if want(s.partition(topic, p)) {
				c := s.begin(topic, p)
				change(c)
				s.add(c)
			}
		}
	}
}

// brokerLeaves takes a broker out of the ISR everywhere and gives what it leads to others. A cluster of
// one broker has nobody to give to nor to tell: the leaderships stay, and the next incarnation
// leads in a new epoch.
func (s *partitionChanges) brokerLeaves(id int32) {
	if s.isAlone(id) {
		return
	}
	s.each(func(p *metadata.Partition) bool { return p.Leader == id || slices.Contains(p.ISR, id) }, func(c *partitionChange) { c.leave(id) })
}

func (s *partitionChanges) isAlone(id int32) bool {
	return s.image.BrokerCount() == 1 && s.image.Broker(id) != nil
}

// brokerLostData is brokerLeaves for one that may have lost records that it had acknowledged.
func (s *partitionChanges) brokerLostData(id int32) {
	if !s.elr {
		s.brokerLeaves(id)
		return
	}
	if s.isAlone(id) {
		return
	}
	s.each(func(p *metadata.Partition) bool {
		return p.Leader == id || slices.Contains(p.ISR, id) || slices.Contains(p.ELR, id)
	}, func(c *partitionChange) { c.loseData(id) })
}

// brokerReturns gives an unfenced broker the partitions that wait for it. What it led before it leads in
// a new epoch, since what its last incarnation had not synced may be gone (KIP-101).
func (s *partitionChanges) brokerReturns(id int32) {
	s.each(func(p *metadata.Partition) bool {
		return p.Leader == id || p.Leader == kafka.NoLeader && slices.Contains(p.Replicas, id)
	}, func(c *partitionChange) { c.renew = c.from.Leader == id })
}
