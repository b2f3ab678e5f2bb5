package config

import "strconv"

// What the balancer does without being asked (moldau.balancer.mode).
const (
	BalancerOff        = "off"
	BalancerElastic    = "elastic"
	BalancerContinuous = "continuous"
)

// The configs that hold what the balancer was asked for and has not done yet.
const (
	DrainingBrokers = "moldau.balancer.draining.brokers"
	JoiningBrokers  = "moldau.balancer.joining.brokers"
)

// Balancer is how the cluster is balanced.
type Balancer struct {
	Mode                 string
	TolerancePercent     int
	DiskLimitPercent     int
	ConcurrentPartitions int
	CopyBytesPerSecond   int64
	DeadBrokerTimeoutMs  int64 // -1: never
	// Draining brokers are emptied, Joining ones are given their share.
	Draining, Joining []int32
}

// Balancer returns the values that count for the whole cluster. Those of single brokers do not.
func (l Layers) Balancer() Balancer {
	return Layers{Static: l.Static, DynamicDefault: l.DynamicDefault}.merged().balancer()
}

func (v values) balancer() Balancer {
	return Balancer{
		Mode: v.get("moldau.balancer.mode").Text, TolerancePercent: int(v.int32("moldau.balancer.tolerance.percent")),
		DiskLimitPercent: int(v.int32("moldau.balancer.disk.limit.percent")), ConcurrentPartitions: int(v.int32("moldau.balancer.concurrent.partitions")),
		CopyBytesPerSecond: v.int64("moldau.balancer.copy.bytes.per.second"), DeadBrokerTimeoutMs: v.int64("moldau.balancer.dead.broker.timeout.ms"),
		Draining: ids(v.get(DrainingBrokers)), Joining: ids(v.get(JoiningBrokers)),
	}
}

func ids(v Value) (ids []int32) {
	for _, text := range v.List {
		if id, err := strconv.ParseInt(text, 10, 32); err == nil {
			ids = append(ids, int32(id))
		}
	}
	return ids
}
