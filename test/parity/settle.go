package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// changesMetadata are the requests whose effect Apache Kafka's brokers learn from the metadata
// log after the controller has answered them.
var changesMetadata = map[int16]bool{19: true, 20: true, 33: true, 37: true, 44: true, 49: true}

// settledTopic exists only so that settle has a config to change.
const settledTopic = "parity-settled"

// generations count the calls of settle, by broker.
var generations = map[string]int{}

// settle returns when the broker has applied everything that the controller answered before: it
// changes a config through the controller and waits until the broker shows the new value. The
// metadata log is applied in order, so all earlier changes show too.
func settle(addr string) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.tcp.Close()
	if generations[addr] == 0 {
		response, err := c.request(createTopic(settledTopic, 1, 1), 5)
		if err != nil {
			return err
		}
		// An earlier comparison may have left it.
		if code := kafka.ErrorCode(response.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode); code != kafka.ErrNone && code != kafka.ErrTopicAlreadyExists {
			return fmt.Errorf("creating %s: %w", settledTopic, code)
		}
		generations[addr] = time.Now().Second() * 1000 // values differ from that one's
	}
	generations[addr]++
	value := strconv.Itoa(100_000_000 + generations[addr])
	if _, err := c.request(alterSettled(value), 1); err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		response, err := c.request(describeSettled(), 4)
		if err != nil {
			return err
		}
		configs := response.(*kmsg.DescribeConfigsResponse).Resources[0].Configs
		if len(configs) == 1 && configs[0].Value != nil && *configs[0].Value == value {
			return nil
		}
	}
	return fmt.Errorf("%s has not applied a config after 10 s", addr)
}

func alterSettled(value string) *kmsg.IncrementalAlterConfigsRequest {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, settledTopic
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "retention.ms", &value
	resource.Configs = append(resource.Configs, config)
	r.Resources = append(r.Resources, resource)
	return r
}

func describeSettled() *kmsg.DescribeConfigsRequest {
	r := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceTypeTopic, settledTopic, []string{"retention.ms"}
	r.Resources = append(r.Resources, resource)
	return r
}
