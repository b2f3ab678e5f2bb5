package broker

import (
	"reflect"
	"testing"

	"github.com/moldau/moldau/internal/quota"
)

// throttledReplicasTests are the topic configs that only topics have, and what they name the replicas of.
var throttledReplicasTests = map[string]func(b *broker) *quota.Replication{
	"leader.replication.throttled.replicas":   func(b *broker) *quota.Replication { return b.throttles.leader },
	"follower.replication.throttled.replicas": func(b *broker) *quota.Replication { return b.throttles.follower },
}

// TestThrottlesTakeEffect alters lists and rates on a running node, which has them after a restart, too.
func TestThrottlesTakeEffect(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, nil)
	rates := map[string]string{"leader.replication.throttled.replicas": "leader.replication.throttled.rate", "follower.replication.throttled.replicas": "follower.replication.throttled.rate"}
	for name, of := range throttledReplicasTests {
		p := n.topic("t-"+name, nil)
		want := func(when string, covered, exceeded bool) {
			t.Helper()
			throttle := of(n.b)
			if got := throttle.Covers(p.log().TopicPartition()); got != covered {
				t.Errorf("%s, %s: covered %v", name, when, got)
			}
			nowMs := n.b.clock.Now().UnixMilli()
			throttle.Record(100, nowMs)
			if got := throttle.IsExceeded(nowMs); got != exceeded {
				t.Errorf("%s, %s: exceeded %v", name, when, got)
			}
		}
		want("default", false, false)
		n.alter(ofTopic(p.name, name, ptr("0:2,1:1")))
		n.alter(ofCluster(rates[name], ptr("50")))
		want("other replicas", false, true)
		n.alter(ofTopic(p.name, name, ptr("1:1,0:1")))
		n.alter(ofBroker(rates[name], ptr("1000000")))
		want("this replica, another rate of the broker", true, false)
		n.alter(ofBroker(rates[name], nil))
		n.alter(ofTopic(p.name, name, ptr("*")))
		n.restart(nil)
		want("all, after a restart", true, true)
		n.alter(ofTopic(p.name, name, nil))
		n.alter(ofCluster(rates[name], nil))
		want("removed", false, false)
	}
}

func TestThrottledReplicas(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]quota.ThrottledReplicas{
		"": {}, " * ": {All: true}, "0:1,3:2, 4:1,4:1": {Partitions: []int32{0, 4}}, "0:11": {}, "x": {}, "x:1,:,1": {}, "99999999999:1": {},
	} {
		if got := throttledReplicas(text, 1); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// TestCopiesAreSpread copies in pieces of 1 MiB as fast as the throttle allows: what comes at once is little, and the pace is kept.
func TestCopiesAreSpread(t *testing.T) {
	t.Parallel()
	const limit, piece, seconds, span = 40 << 20, 1 << 20, 20, 250
	throttle := quota.NewReplication(copyWindow)
	throttle.SetLimit(limit)
	var at [seconds * 1000]int
	all, most := 0, 0
	for ms := range at {
		if !throttle.IsExceeded(int64(ms)) {
			throttle.Record(piece, int64(ms))
			at[ms] = piece
		}
		all += at[ms]
		recent := 0
		for _, n := range at[max(0, ms-span+1) : ms+1] {
			recent += n
		}
		most = max(most, recent)
	}
	if most > limit/2 {
		t.Errorf("%d MiB within %d ms", most>>20, span)
	}
	if pace := all / seconds; pace < limit*85/100 || pace > limit*11/10 {
		t.Errorf("%d MiB/s", pace>>20)
	}
}
