package brokers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// Options say to which cluster.
type Options struct {
	// Servers are brokers, host:port; CommandConfig is a file with client properties, or "".
	Servers, CommandConfig string
}

// balancerTag is the tagged field of DescribeCluster in which Moldau's brokers are asked about the balancer, and
// answer as JSON. Others skip it.
const balancerTag = 20000

// controllerEndpoint has DescribeCluster ask a controller (KIP-919).
const controllerEndpoint int8 = 2

// ErrNoBalancer is the answer of brokers that do not know the question.
var ErrNoBalancer = errors.New("these brokers have no balancer: it takes Moldau on all of them, of this version or a later one")

// The balancer's configs that this tool changes.
const (
	drainingConfig = "moldau.balancer.draining.brokers"
	joiningConfig  = "moldau.balancer.joining.brokers"
)

func open(s cli.Streams, o Options) (*client.Client, error) {
	props := client.Properties{}
	if o.CommandConfig != "" {
		loaded, err := cli.LoadProperties(o.CommandConfig)
		if err != nil {
			return nil, err
		}
		props = loaded
	}
	return client.NewAdminOf(s, props, o.Servers, "")
}

// openFor is open for something that is done to one broker.
func openFor(s cli.Streams, o Options, broker string) (admin *client.Client, id int32, err error) {
	if id, err = parseID(broker); err != nil {
		return nil, 0, err
	}
	admin, err = open(s, o)
	return admin, id, err
}

// ask has the active controller's balancer tell what it does, or with isPlan what it would do.
func ask(ctx context.Context, admin *client.Client, isPlan bool, answer any) error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	return describe(ctx, admin, kmsg.NewPtrDescribeClusterRequest(), isPlan, answer)
}

// OfController returns the ids of all brokers that a controller knows, alive or not, and of those that have been unregistered
// and still have replicas. By Kafka's protocol only brokers tell that.
func OfController(ctx context.Context, controller kmsg.Requestor) (ids []int32, err error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType = controllerEndpoint
	var status balance.Status
	if err := describe(ctx, controller, req, false, &status); err != nil {
		return nil, err
	}
	for _, b := range status.Brokers {
		ids = append(ids, b.Load.Broker)
	}
	return ids, nil
}

func describe(ctx context.Context, asked kmsg.Requestor, req *kmsg.DescribeClusterRequest, isPlan bool, answer any) error {
	question := []byte{0}
	if isPlan {
		question[0] = 1
	}
	req.UnknownTags.Set(balancerTag, question)
	resp, err := req.RequestWith(ctx, asked)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return client.Convert(err, "describeCluster")
	}
	var data []byte
	resp.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == balancerTag {
			data = value
		}
	})
	if data == nil {
		return ErrNoBalancer
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("the brokers' answer cannot be read: %w", err)
	}
	return nil
}

// StatusOf has the cluster's balancer tell what it does; that there is none is an error.
func StatusOf(ctx context.Context, admin *client.Client) (s balance.Status, err error) {
	return s, ask(ctx, admin, false, &s)
}

// change adds brokers to one of the balancer's lists, or takes them out.
func change(ctx context.Context, admin *client.Client, config string, op kmsg.IncrementalAlterConfigOp, value string) error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType = kmsg.ConfigResourceTypeBroker
	changed := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	changed.Name, changed.Op, changed.Value = config, op, &value
	resource.Configs = append(resource.Configs, changed)
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(ctx, admin)
	if err == nil && len(resp.Resources) == 1 {
		err = client.FromCode(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
	}
	if err != nil {
		return client.Convert(err, "incrementalAlterConfigs")
	}
	return nil
}

func unregister(ctx context.Context, admin *client.Client, id int32) error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = id
	resp, err := req.RequestWith(ctx, admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return client.Convert(err, "unregisterBroker")
	}
	return nil
}

// mostReplicated returns the topic with the highest replication factor of those that have a replica on a broker.
func mostReplicated(ctx context.Context, admin *client.Client, id int32) (topic string, factor int, err error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil
	resp, err := req.RequestWith(ctx, admin)
	if err != nil {
		return "", 0, client.Convert(err, "metadata")
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			for _, replica := range p.Replicas {
				if replica == id && len(p.Replicas) > factor && t.Topic != nil {
					topic, factor = *t.Topic, len(p.Replicas)
				}
			}
		}
	}
	return topic, factor, nil
}

// find returns a broker by its id.
func find(status balance.Status, id int32) (balance.BrokerStatus, error) {
	for _, b := range status.Brokers {
		if b.Load.Broker == id {
			return b, nil
		}
	}
	return balance.BrokerStatus{}, fmt.Errorf("there is no broker %d: moldau brokers lists them", id)
}

// parseID reads a broker's id.
func parseID(text string) (int32, error) {
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil || id < 0 {
		return 0, fmt.Errorf("%q is no broker's id", text)
	}
	return int32(id), nil
}
