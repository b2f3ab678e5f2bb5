package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/test/perf/load"
)

const (
	coordinatorFailoverName   = "cluster-failover-coordinator"
	coordinatedGroups         = 6 // and as many transactional producers
	coordinatorRuns           = 20
	coordinatorKafkaRuns      = 3
	coordinatorFailoverTarget = "median 50, at most 200"
)

// internalTopics are where coordinators keep their state.
var internalTopics = []string{"__consumer_offsets", "__transaction_state"}

// coordinatorFailover is the time in which another broker takes over from a coordinator that dies.
func coordinatorFailover(ctx context.Context, o options) ([]verdict, error) {
	b, err := newBench(o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	began := time.Now()
	groups := finding{title: "kill -9 of a group coordinator, next commit of offsets and heartbeat, ms", target: coordinatorFailoverTarget, median: 50, most: 200}
	transactions := finding{title: "kill -9 of a transaction coordinator, next partition added and transaction ended, ms", target: coordinatorFailoverTarget, median: 50, most: 200}
	if err := b.inHalves(ctx, coordinatorRuns, coordinatorKafkaRuns, &groups, &transactions, measureCoordinators); err != nil {
		return nil, err
	}
	about := fmt.Sprintf("%d groups and as many transactional producers (raw requests, the same for both) ask their coordinators one thing after the other, look for another coordinator when an answer takes 20 ms, and try again after 2 ms. "+
		"kill -9 of a node that coordinates some of both and is not the active controller; the time runs until all of them have been served by another one. Then the node comes back, and coordinates again before the next run.", coordinatedGroups)
	return printFindings(o.out, coordinatorFailoverName, about, []finding{groups, transactions}, time.Since(began)), nil
}

func measureCoordinators(ctx context.Context, r *run, runs int) (groups, transactions []float64, err error) {
	if err := r.up(ctx, clusterNodes); err != nil {
		return nil, nil, err
	}
	const topic = "coordinated"
	if err := createTopic(ctx, r.addr(), topic, failoverPartitions); err != nil {
		return nil, nil, err
	}
	client := load.StartCoordinated(strings.Split(r.addr(), ","), topic, coordinatedGroups)
	defer client.Stop()
	if err := until(ctx, "groups and transactions go on", func() (bool, error) { return client.Acknowledged() > 3000, nil }); err != nil {
		return nil, nil, err
	}
	for i := range runs {
		ofGroups, ofTransactions, err := r.loseCoordinator(ctx, client, topic)
		if err != nil {
			return groups, transactions, fmt.Errorf("run %d: %w", i+1, err)
		}
		groups, transactions = append(groups, ofGroups), append(transactions, ofTransactions)
		progress(coordinatorFailoverName, r.name, "run", i+1, "groups", ofGroups, "ms, transactions", ofTransactions, "ms,", client.Acknowledged(), "served")
	}
	return groups, transactions, nil
}

// loseCoordinator kills a coordinator, and returns after how many milliseconds its groups and its transactions were
// served by others.
func (r *run) loseCoordinator(ctx context.Context, client *load.Coordinated, topic string) (groups, transactions float64, err error) {
	if err := r.prefer(ctx, append([]string{topic}, internalTopics...)); err != nil {
		return 0, 0, err
	}
	before := client.Acknowledged()
	if err := until(ctx, "all are served by who leads now", func() (bool, error) { return client.Acknowledged() > before+100*coordinatedGroups, nil }); err != nil {
		return 0, 0, err
	}
	victim, ofGroups, ofTransactions, err := r.coordinator(ctx, client)
	if err != nil {
		return 0, 0, err
	}
	m := r.process.members[victim-1]
	began := time.Now()
	if err := m.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return 0, 0, err
	}
	patience, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, kind := range []struct {
		of   []int
		took *float64
	}{{ofGroups, &groups}, {ofTransactions, &transactions}} {
		last, err := client.AwaitOther(patience, kind.of, victim)
		if err != nil {
			return 0, 0, err
		}
		*kind.took = float64(last.Sub(began).Microseconds()) / 1000
	}
	<-m.done
	return groups, transactions, r.restartNode(int(victim - 1))
}

// prefer has the preferred replicas lead once all replicas are in sync.
func (r *run) prefer(ctx context.Context, topics []string) error {
	if err := r.allInSync(ctx, topics...); err != nil {
		return err
	}
	admin, err := eager(r.addr())
	if err != nil {
		return err
	}
	defer admin.Close()
	partitions := kadm.TopicsSet{}
	for _, topic := range topics {
		all, err := r.replicasOf(ctx, 0, topic)
		if err != nil {
			return err
		}
		for _, p := range all {
			partitions.Add(topic, p.Partition)
		}
	}
	if _, err := kadm.NewClient(admin).ElectLeaders(ctx, kadm.ElectPreferredReplica, partitions); err != nil {
		return err
	}
	for node := range r.process.members {
		if err := r.awaitAll(ctx, node, "the preferred replicas lead", topics, preferred); err != nil {
			return err
		}
	}
	return nil
}

// coordinator returns a node that coordinates groups and transactions and is not the active controller.
func (r *run) coordinator(ctx context.Context, client *load.Coordinated) (node int32, groups, transactions []int, err error) {
	err = until(ctx, "a node coordinates groups and transactions and is not the active controller", func() (bool, error) {
		controller, err := r.activeController(ctx)
		if err != nil {
			return false, err
		}
		for i := range int32(clusterNodes - 1) {
			node = (controller+i)%clusterNodes + 1
			led := client.Led(node)
			first := slices.IndexFunc(led, func(served int) bool { return served >= coordinatedGroups })
			if first > 0 {
				groups, transactions = led[:first], led[first:]
				return true, nil
			}
		}
		return false, nil
	})
	return node, groups, transactions, err
}
