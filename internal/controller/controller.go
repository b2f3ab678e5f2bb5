package controller

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// Origin says on whose behalf a request is made: the client whose request a broker forwards, or
// the broker itself.
type Origin struct {
	// Principal is "Type:Name", such as "User:ANONYMOUS".
	Principal string
	ClientID  string
	// Host is the client's address without port.
	Host string
	// Permit charges the client's quota with the creation or deletion of so many partitions and
	// says whether that may be done; nil is for those without a quota. The controller's goroutine
	// calls it, perhaps after the client has given up.
	Permit func(partitions int) error
}

// Options is what a Controller decides by. They do not change while it runs.
type Options struct {
	ClusterID string
	// Features are the features that this controller knows, with the levels it supports. The
	// first start finalizes those with a positive BootstrapLevel.
	Features []Feature
	// Formatted are the levels that the folder of this node was formatted for: a cluster that this node
	// begins has them. Empty for the newest.
	Formatted map[string]int16
	// NodeID and Broker are the controller's own node and its static configs: they are the
	// defaults of the cluster, as in Kafka.
	NodeID int32
	Broker *config.Broker
	// Balances has new brokers given their share of what is there.
	Balances bool
}

// Input is what a request is decided on besides itself.
type Input struct {
	// Image is the speculative image: committed plus what is in flight.
	Image *metadata.Image
	// NextOffset is the offset that the first record of the answer will get, if no other
	// batch comes between; broker epochs are made of it.
	NextOffset int64
	Random     env.Random
	// Voters are the nodes of the quorum, nil for a node that is alone.
	Voters []int32
	// Permit is the origin's.
	Permit func(partitions int) error
	// Sessions are those of the brokers, for their registrations and heartbeats; nil where nobody
	// watches over them.
	Sessions *Sessions
}

// permit charges the client's quota of changes (KIP-599).
func (in Input) permit(partitions int) error {
	if in.Permit == nil {
		return nil
	}
	return in.Permit(partitions)
}

// Result is the answer to a request. The response is sent when the records are committed.
type Result struct {
	Response kmsg.Response
	Records  []metadata.Record
	// Divisible says that the records may be committed in several batches, in order, since
	// repeating the request completes what a crash in between has left undone.
	Divisible bool
}

// Controller is the deterministic core. It keeps no state; methods may not be called concurrently
// with the same Input.Random.
type Controller struct{ o Options }

// New returns a controller.
func New(o Options) *Controller { return &Controller{o: o} }

// Handle decides req. An error means that the request type is not the controller's: faults of
// the request itself are in the response.
func (c *Controller) Handle(in Input, req kmsg.Request) (Result, error) {
	switch r := req.(type) {
	case *kmsg.CreateTopicsRequest:
		return c.createTopics(in, r), nil
	case *kmsg.DeleteTopicsRequest:
		return c.deleteTopics(in, r), nil
	case *kmsg.CreatePartitionsRequest:
		return c.createPartitions(in, r), nil
	case *kmsg.AlterConfigsRequest:
		return c.alterConfigs(in, r), nil
	case *kmsg.IncrementalAlterConfigsRequest:
		return c.incrementalAlterConfigs(in, r), nil
	case *kmsg.ElectLeadersRequest:
		return c.electLeaders(in, r), nil
	case *kmsg.AlterPartitionAssignmentsRequest:
		return c.alterPartitionAssignments(in, r), nil
	case *kmsg.AlterClientQuotasRequest:
		return c.alterClientQuotas(in, r), nil
	case *kmsg.UpdateFeaturesRequest:
		return c.updateFeatures(in, r), nil
	case *kmsg.AllocateProducerIDsRequest:
		return c.allocateProducerIDs(in, r), nil
	case *kmsg.AlterPartitionRequest:
		return c.alterPartition(in, r), nil
	case *kmsg.BrokerRegistrationRequest:
		return c.registerBroker(in, r), nil
	case *kmsg.BrokerHeartbeatRequest:
		return c.brokerHeartbeat(in, r), nil
	case *kmsg.ControllerRegistrationRequest:
		return c.registerController(in, r), nil
	case *kmsg.UnregisterBrokerRequest:
		return c.unregisterBroker(in, r), nil
	case *kmsg.AssignReplicasToDirsRequest:
		return c.assignReplicasToDirs(in, r), nil
	}
	return Result{}, fmt.Errorf("the controller does not handle %s: %w", kmsg.NameForKey(req.Key()), kafka.ErrUnsupportedVersion)
}

// layers are the configs that topics and brokers fall back to.
func (c *Controller) layers(image *metadata.Image) config.Layers {
	broker := func(name string) map[string]string {
		return image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceBroker, Name: name})
	}
	return config.Layers{Static: c.o.Broker, DynamicBroker: broker(strconv.Itoa(int(c.o.NodeID))), DynamicDefault: broker("")}
}

// errorText is what a response says of err: its sentence, or Kafka's name of the code.
func errorText(err error) *string {
	if message := kafka.MessageOf(err); message != nil {
		return message
	}
	text := kafka.CodeOf(err).Error()
	return &text
}
