package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func probes() []probe {
	var all []probe
	for _, more := range [][]probe{topicProbes(), configProbes(), configValueProbes(), produceProbes(), fetchProbes(), offsetProbes(), groupProbes(), transactionProbes(), transactionRetryProbes(), transactionBrokerProbes(), resourceProbes(), controllerProbes(), listenerProbes(), quotaProbes(), adminProbes()} {
		all = append(all, more...)
	}
	return all
}

// ask sends one request and normalises the answer.
func ask(version int16, build func(b *broker) kmsg.Request) step {
	return func(b *broker, c *conn) (string, error) {
		response, err := c.request(build(b), version)
		if err != nil {
			return "", err
		}
		if response != nil && changesMetadata[response.Key()] {
			err = settle(b.addr)
		}
		return normalise(response), err
	}
}

// askOf is ask for a request that does not depend on earlier steps.
func askOf(version int16, r kmsg.Request) step {
	return ask(version, func(*broker) kmsg.Request { return r })
}

// each makes one probe per version, each a single request.
func each(name string, from, to int16, build func() kmsg.Request) []probe {
	var all []probe
	for v := from; v <= to; v++ {
		all = append(all, probe{fmt.Sprintf("%s v%d", name, v), []step{askOf(v, build())}})
	}
	return all
}

func ptr[T any](v T) *T { return &v }

// topic makes a topic for a probe, with configs given as name, value, ….
func topic(name string, partitions int32, configs ...string) step {
	return func(_ *broker, c *conn) (string, error) {
		r := createTopic(name, partitions, 1)
		for i := 0; i+1 < len(configs); i += 2 {
			r.Topics[0].Configs = append(r.Topics[0].Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
		}
		response, err := c.request(r, 5)
		if err != nil {
			return "", err
		}
		if code := response.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
			return "", fmt.Errorf("prepare topic %s: code %d", name, code)
		}
		return "prepared\n", waitForLogs(c, name, partitions)
	}
}

// waitForLogs returns when every partition answers. Apache Kafka names leaders before their
// logs exist.
func waitForLogs(c *conn, topic string, partitions int32) error {
	deadline := time.Now().Add(10 * time.Second)
	for p := int32(0); p < partitions; {
		response, err := c.request(offsetsOf(topic, p, -1), 5)
		if err != nil {
			return err
		}
		if response.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode == 0 {
			p++
		} else if time.Now().After(deadline) {
			return fmt.Errorf("partition %d of %s has no log after 10 s", p, topic)
		}
	}
	return nil
}

func createTopic(name string, partitions int32, replication int16) *kmsg.CreateTopicsRequest {
	r := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replication
	r.Topics = append(r.Topics, t)
	r.TimeoutMillis = 10_000
	return r
}
