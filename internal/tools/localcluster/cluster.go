package localcluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/child"
	"github.com/moldau/moldau/internal/tools/cli"
)

const (
	joinTimeout  = 30 * time.Second
	joinInterval = 20 * time.Millisecond
)

// Options say what to run.
type Options struct {
	Program     string // this program, run as the nodes
	DataDir     string // empty: beside the folder of moldau start
	Nodes, Port int    // 0: not given
}

// Run starts the nodes, says when they serve, and stops them when the context ends. A node that ends before is
// told of, and the others go on.
func Run(ctx context.Context, s cli.Streams, o Options) error {
	c, err := load(o)
	if err != nil {
		return err
	}
	if err := c.checkPorts(); err != nil {
		return err
	}
	began := time.Now()
	var nodes []*child.Broker
	stop := func() {
		var all sync.WaitGroup
		for _, n := range nodes {
			all.Go(n.Stop)
		}
		all.Wait()
	}
	for node := 1; node <= c.nodes; node++ {
		n, err := child.Start(o.Program, c.address(node), c.output(node), "--config", c.propertiesFile(node))
		if err != nil {
			stop()
			return err
		}
		nodes = append(nodes, n)
	}
	defer stop()
	if err := awaitAll(ctx, nodes); err != nil {
		if ctx.Err() != nil {
			return nil // asked to end while it started
		}
		return err
	}
	c.announce(s, nodes, time.Since(began))
	return c.watch(ctx, s, nodes)
}

// awaitAll returns once all nodes answer and the first sees all of them as brokers that serve.
func awaitAll(ctx context.Context, nodes []*child.Broker) error {
	for i, n := range nodes {
		if err := n.AwaitReady(ctx); err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(nodes[0].Address), kgo.DisableClientMetrics())
	if err != nil {
		return err
	}
	defer client.Close()
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{}
	serve := 0
	for {
		if response, err := request.RequestWith(ctx, client); err == nil {
			serve = len(response.Brokers)
		}
		if serve == len(nodes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d nodes serve: %w", serve, len(nodes), ctx.Err())
		case <-time.After(joinInterval):
		}
	}
}

func (c settings) announce(s cli.Streams, nodes []*child.Broker, took time.Duration) {
	s.Printf("A cluster of %d nodes is ready, after %d ms\n", c.nodes, took.Milliseconds())
	for i, n := range nodes {
		s.Printf("  node %d  %s  http://localhost:%d/metrics  process %d\n", i+1, n.Address, c.clientPort(i+1)+httpPorts, n.PID())
	}
	s.Printf("  data    %s (each node's log is broker.log in its folder)\n", c.folder)
	s.Println("Try, in another terminal:")
	s.Printf("  moldau topics --bootstrap-server %s --create --topic hello --partitions 6\n", nodes[0].Address)
	s.Printf("  moldau console-producer --bootstrap-server %s --topic hello\n", nodes[0].Address)
	s.Printf("  moldau topics --bootstrap-server %s --describe --topic hello\n", nodes[0].Address)
	s.Println("End one of the processes and watch the others go on. Ctrl-C stops all; the same command starts them again.")
}

// watch tells of nodes that end, until the context does or no node is left.
func (c settings) watch(ctx context.Context, s cli.Streams, nodes []*child.Broker) error {
	ended := make(chan int, len(nodes))
	for i, n := range nodes {
		go func() {
			<-n.Exited()
			ended <- i
		}()
	}
	for left := len(nodes); left > 0; left-- {
		select {
		case <-ctx.Done():
			return nil
		case i := <-ended:
			s.Printf("Node %d has ended (%s). To start it again: moldau start --config %s\n", i+1, nodes[i].State(), c.propertiesFile(i+1))
		}
	}
	return errors.New("all nodes have ended; their logs are in " + c.folder)
}
