package client

import (
	"context"
	"errors"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

// NewAdminOf returns a client for administrative requests: to the brokers named by servers, or where
// controllers is not empty to the active one of those controllers (--bootstrap-controller).
func NewAdminOf(streams cli.Streams, props Properties, servers, controllers string) (*Client, error) {
	if props["bootstrap.servers"] = servers; controllers != "" {
		props["bootstrap.servers"] = controllers
	}
	admin, err := NewAdmin(streams, props)
	if err == nil {
		admin.ToControllers = controllers != ""
	}
	return admin, err
}

// endpointTypeController is DescribeCluster's word for controllers (KIP-919).
const endpointTypeController = 2

// Request sends req to a broker, or to the active controller.
func (c *Client) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	if !c.ToControllers {
		return c.Client.Request(ctx, req)
	}
	controller, err := c.activeController(ctx)
	if err != nil {
		return nil, err
	}
	return controller.Request(ctx, req)
}

// RequestSharded sends req to whom it concerns, or whole to the active controller.
func (c *Client) RequestSharded(ctx context.Context, req kmsg.Request) []kgo.ResponseShard {
	if !c.ToControllers {
		return c.Client.RequestSharded(ctx, req)
	}
	resp, err := c.Request(ctx, req)
	return []kgo.ResponseShard{{Req: req, Resp: resp, Err: err}}
}

// activeController asks the controllers that were named which of all is active.
func (c *Client) activeController(ctx context.Context) (*kgo.Broker, error) {
	if c.controller != nil {
		return c.controller.SeedBrokers()[0], nil
	}
	var failures error
	for _, seed := range c.SeedBrokers() {
		address, err := askForController(ctx, seed)
		if err == nil {
			if c.controller, err = kgo.NewClient(append(c.opts[:len(c.opts):len(c.opts)], kgo.SeedBrokers(address))...); err == nil {
				return c.controller.SeedBrokers()[0], nil
			}
		}
		failures = errors.Join(failures, err)
	}
	return nil, failures
}

func askForController(ctx context.Context, seed *kgo.Broker) (string, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType = endpointTypeController
	resp, err := within(ctx, func() (*kmsg.DescribeClusterResponse, error) { return req.RequestWith(ctx, seed) })
	if err == nil {
		err = FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return "", err
	}
	for _, node := range resp.Brokers {
		if node.NodeID == resp.ControllerID {
			return net.JoinHostPort(node.Host, strconv.Itoa(int(node.Port))), nil
		}
	}
	return "", errors.New("the controllers have no active one at the moment")
}

// Describe asks for the cluster's id and nodes: its brokers, or its controllers.
func (c *Client) Describe(ctx context.Context, includeFenced bool) (*kmsg.DescribeClusterResponse, error) {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrDescribeClusterRequest()
	if req.IncludeFencedBrokers = includeFenced; c.ToControllers {
		req.EndpointType = endpointTypeController
	}
	const call = "describeCluster"
	resp, err := req.RequestWith(ctx, c)
	if err == nil {
		err = FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err = Convert(err, call); Code(err) != kafka.ErrUnsupportedVersion || c.ToControllers || includeFenced {
		return resp, err
	}
	cluster, err := c.Metadata(ctx, []string{}, call) // a broker before 2.8
	if err != nil {
		return nil, err
	}
	resp = kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterID = cluster.ID
	for _, b := range cluster.Brokers {
		node := kmsg.NewDescribeClusterResponseBroker()
		node.NodeID, node.Host, node.Port, node.Rack = b.NodeID, b.Host, b.Port, b.Rack
		resp.Brokers = append(resp.Brokers, node)
	}
	return resp, nil
}

// Close ends the connections.
func (c *Client) Close() {
	if c.controller != nil {
		c.controller.Close()
	}
	c.Client.Close()
}
