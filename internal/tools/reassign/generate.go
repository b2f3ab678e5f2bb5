package reassign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
)

// generate shows where the topics' partitions are and where on the brokers they could be.
func (m *mover) generate(ctx context.Context, topicsFile, brokerList string, rackAware bool) error {
	data, err := readFile(topicsFile)
	if err != nil {
		return err
	}
	wanted, err := parseBrokers(brokerList)
	if err != nil {
		return err
	}
	names, err := parseTopics(data)
	if err != nil {
		return err
	}
	topics, err := m.topics(ctx, append([]string{}, names...))
	if err != nil {
		return err
	}
	current := assignmentsOf(topics)
	if err := m.addDirs(ctx, current); err != nil {
		return err
	}
	targets, err := m.targets(ctx, wanted, rackAware)
	if err != nil {
		return err
	}
	proposal, err := propose(topics, targets)
	if err != nil {
		return err
	}
	before, err := format(current)
	if err != nil {
		return err
	}
	after, err := format(proposal)
	if err != nil {
		return err
	}
	m.Printf("Current partition replica assignment\n%s\n\n", before)
	m.Printf("Proposed partition reassignment configuration\n%s\n", after)
	return nil
}

func assignmentsOf(topics map[string]client.Topic) []assignment {
	var all []assignment
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		for _, p := range topics[name].Partitions {
			all = append(all, assignment{tp: kafka.TopicPartition{Topic: name, Partition: p.Index}, replicas: p.Replicas})
		}
	}
	return all
}

// target is a broker that may get replicas.
type target struct {
	id   int32
	rack string
}

func (m *mover) targets(ctx context.Context, wanted []int32, rackAware bool) ([]target, error) {
	brokers, err := m.brokers(ctx)
	if err != nil {
		return nil, err
	}
	var targets []target
	rackless := 0
	for _, id := range slices.Sorted(slices.Values(wanted)) {
		broker, ok := brokers[id]
		if !ok {
			continue
		}
		t := target{id: id}
		if rackAware && broker.Rack != nil {
			t.rack = *broker.Rack
		} else {
			rackless++
		}
		targets = append(targets, t)
	}
	if rackAware && rackless != 0 && rackless != len(targets) {
		return nil, errors.New("Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information.") //nolint:staticcheck // the words of Kafka's tools
	}
	return targets, nil
}

// propose deals each topic's replicas out to the brokers in turn, from rack to rack.
func propose(topics map[string]client.Topic, targets []target) ([]assignment, error) {
	circle := rackByRack(targets)
	var proposal []assignment
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		partitions := topics[name].Partitions
		if len(partitions) == 0 {
			continue
		}
		factor := len(partitions[0].Replicas)
		if len(circle) == 0 {
			return nil, errors.New("All brokers are currently fenced, or have all their log directories cordoned.") //nolint:staticcheck // the words of Kafka's tools
		}
		if factor > len(circle) {
			return nil, fmt.Errorf("The target replication factor of %d cannot be reached because only %d broker(s) are registered or some brokers have all their log directories cordoned.", factor, len(circle)) //nolint:staticcheck // the words of Kafka's tools
		}
		hash := fnv.New32a()
		hash.Write([]byte(name)) // topics with few partitions begin at different brokers
		first := int(hash.Sum32() % uint32(len(circle)))
		for i, p := range partitions {
			a := assignment{tp: kafka.TopicPartition{Topic: name, Partition: p.Index}}
			for j := range factor {
				a.replicas = append(a.replicas, circle[(first+i+j)%len(circle)])
				a.dirs = append(a.dirs, anyDir)
			}
			proposal = append(proposal, a)
		}
	}
	return proposal, nil
}

// rackByRack orders brokers so that neighbours are in different racks as far as that goes.
func rackByRack(targets []target) []int32 {
	racks := map[string][]int32{}
	for _, t := range targets {
		racks[t.rack] = append(racks[t.rack], t.id)
	}
	order := slices.SortedFunc(maps.Keys(racks), func(a, b string) int { return cmp.Or(cmp.Compare(len(racks[b]), len(racks[a])), cmp.Compare(a, b)) })
	var circle []int32
	for row := 0; len(circle) < len(targets); row++ {
		for _, rack := range order {
			if row < len(racks[rack]) {
				circle = append(circle, racks[rack][row])
			}
		}
	}
	return circle
}
