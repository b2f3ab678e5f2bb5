package controller

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller/balancer"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/wire"
)

// balancing is a cluster with a balancer, whose brokers report and whose replicas catch up when the test lets them.
type balancing struct {
	*cluster
	b     *balancer.Balancer
	nowMs int64
	news  []string
	// silent brokers do not report, slow ones do not catch up.
	silent, slow []int32
	fullDisk     int32 // the broker whose disk has other data on nine tenths of it
	most         int   // partitions that were moved at a time
}

const balancedBytes = 100 << 20

// newBalancing is brokers 1 to n with topic t of so many partitions, of two replicas each.
func newBalancing(t *testing.T, brokers int32, partitions int) *balancing {
	t.Helper()
	cl := newCluster(t, map[string]string{"min.insync.replicas": "1"})
	cl.c.o.Balances = true
	w := &balancing{cluster: cl, b: balancer.New()}
	for id := range brokers {
		cl.addBroker(id+1, false)
	}
	w.create("t", partitions, 2)
	w.b.Activate(0)
	return w
}

func (w *balancing) create(topic string, partitions int, factor int16) {
	w.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: topic, NumPartitions: int32(partitions), ReplicationFactor: factor}}
	resp, _ := w.handle(req)
	if code := resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
		w.t.Fatal(kafka.ErrorCode(code))
	}
}

func (w *balancing) set(name, value string) {
	w.apply([]metadata.Record{&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, Name: name, Value: &value}})
}

func (w *balancing) view() balancer.View {
	return balancer.View{Image: w.image, Settings: w.c.BalancerSettings(w.image), MinISR: w.c.MinISR(w.image)}
}

func (w *balancing) report(b *metadata.Broker) {
	req := &wire.PeerLoadRequest{NodeID: b.ID, BrokerEpoch: b.Epoch, IsFull: true, LatencyMicros: -1, Volumes: []wire.PeerVolume{{CapacityBytes: 1 << 40}}}
	if b.ID == w.fullDisk {
		req.Volumes[0].UsedBytes = req.Volumes[0].CapacityBytes / 10 * 9
	}
	for topic := range w.image.Topics() {
		for _, p := range topic.Partitions {
			if slices.Contains(p.ISR, b.ID) {
				req.Partitions = append(req.Partitions, wire.PeerPartitionLoad{TopicID: topic.ID, Partition: p.ID, SizeBytes: balancedBytes, BytesPerSecond: 1000})
				req.Volumes[0].UsedBytes += balancedBytes
			}
		}
	}
	if resp := w.b.Report(w.view(), req, w.nowMs); resp.ErrorCode != 0 {
		w.t.Fatalf("report of %d: %s", b.ID, kafka.ErrorCode(resp.ErrorCode))
	}
}

// catchUp has replicas that are not in sync join, but for those of slow brokers.
func (w *balancing) catchUp() {
	for topic := range w.image.Topics() {
		for _, p := range topic.Partitions {
			isr := slices.Clone(p.ISR)
			for _, id := range p.Replicas {
				if b := w.image.Broker(id); b != nil && b.Active() && !slices.Contains(isr, id) && !slices.Contains(w.slow, id) {
					isr = append(isr, id)
				}
			}
			if len(isr) == len(p.ISR) || p.Leader == kafka.NoLeader {
				continue
			}
			req := kmsg.NewPtrAlterPartitionRequest()
			req.Version, req.BrokerID, req.BrokerEpoch = 3, p.Leader, w.image.Broker(p.Leader).Epoch
			asked := kmsg.AlterPartitionRequestTopicPartition{Partition: p.ID, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
			for _, id := range isr {
				asked.NewEpochISR = append(asked.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: w.image.Broker(id).Epoch})
			}
			req.Topics = []kmsg.AlterPartitionRequestTopic{{TopicID: topic.ID, Partitions: []kmsg.AlterPartitionRequestTopicPartition{asked}}}
			w.handle(req)
		}
	}
}

// run lets so many seconds pass.
func (w *balancing) run(seconds int) {
	w.t.Helper()
	for range seconds * 4 {
		w.nowMs += 250
		if w.nowMs%1000 == 0 {
			for b := range w.image.Brokers() {
				if !b.Fenced && !slices.Contains(w.silent, b.ID) {
					w.report(b)
				}
			}
		}
		w.step()
		moving, _ := w.b.Progress()
		w.most = max(w.most, moving)
		w.catchUp()
	}
}

// step does what the host does.
func (w *balancing) step() {
	in := func() Input { return Input{Image: w.image, NextOffset: w.image.Offset + 1, Random: w.random} }
	step := w.b.Tick(w.view(), w.nowMs)
	if step.News != "" {
		w.news = append(w.news, step.News)
	}
	w.apply(w.c.CancelBalance(in(), step.Cancel))
	w.apply(w.c.PreferLeaders(in(), step.Elect))
	w.apply(w.c.Balance(in(), step.Start))
	if step.IsJoiningChanged {
		w.apply(w.c.SetJoining(step.Joining))
	}
}

// loads are the replicas and leaderships of a broker.
func (w *balancing) loads(id int32) (replicas, leaders int) {
	for topic := range w.image.Topics() {
		for _, p := range topic.Partitions {
			if slices.Contains(p.Replicas, id) {
				replicas++
			}
			if p.Leader == id {
				leaders++
			}
		}
	}
	return replicas, leaders
}

func (w *balancing) expect(id int32, replicas, leaders int) {
	w.t.Helper()
	if r, l := w.loads(id); r != replicas || l != leaders {
		w.t.Errorf("broker %d has %d replicas and leads %d; expected %d and %d (%v)", id, r, l, replicas, leaders, w.news)
	}
}

func (w *balancing) expectWhy(state, why string) {
	w.t.Helper()
	if s := w.b.Status(w.view(), w.nowMs); s.State != state || !strings.Contains(s.Why, why) {
		w.t.Errorf("%s: %s; expected %s: %s", s.State, s.Why, state, why)
	}
}

func (w *balancing) joining() string { return fmt.Sprint(w.view().Settings.Joining) }

func TestANewBrokerIsGivenItsShare(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 24)
	w.set("moldau.balancer.concurrent.partitions", "3")
	w.run(30)
	if len(w.news) != 1 || w.joining() != "[]" {
		t.Errorf("before there was a new one: %v, joining %s", w.news, w.joining())
	}
	w.addBroker(4, false)
	if w.joining() != "[4]" {
		t.Errorf("joining %s", w.joining())
	}
	w.silent = []int32{4}
	w.run(5)
	w.expect(4, 0, 0)
	w.expectWhy("stalled", "broker 4 has not reported its load yet")
	w.silent = nil
	w.run(60)
	if r, l := w.loads(4); r < 10 || r > 13 || l < 4 || l > 7 {
		t.Errorf("%d replicas, %d leaders", r, l)
	}
	if w.joining() != "[]" || w.most > 3 {
		t.Errorf("joining %s, %d at a time", w.joining(), w.most)
	}
	w.expectWhy("idle", "nothing to move")
	before := w.image.Offset
	w.run(120)
	if w.image.Offset != before {
		t.Errorf("%d records although nothing is to be done", w.image.Offset-before)
	}
	// Who is here is not new because it comes back, and what evens out by itself no more is left alone.
	w.register(registration{id: 4})
	if w.joining() != "[]" {
		t.Errorf("joining %s", w.joining())
	}
}

func TestDrainAndRemove(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 4, 24)
	w.set("moldau.balancer.mode", "off")
	w.run(2)
	w.expectWhy("off", "moldau.balancer.mode")
	w.set(config.DrainingBrokers, "2")
	w.slow = []int32{1, 3, 4}
	w.run(2)
	if r, l := w.loads(2); l != 0 || r == 0 {
		t.Errorf("leads %d while its %d replicas are copied", l, r)
	}
	w.create("new", 8, 2)
	w.slow = nil
	w.run(60)
	w.expect(2, 0, 0)
	w.expectWhy("idle", "")
	if s := w.b.Status(w.view(), w.nowMs); !s.Brokers[1].IsDraining || s.Brokers[1].Replicas != 0 || s.Brokers[0].Replicas == 0 {
		t.Errorf("%+v", s.Brokers)
	}
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = 2
	w.handle(req)
	if draining := w.view().Settings.Draining; len(draining) != 0 {
		t.Errorf("draining %v", draining)
	}
}

func TestADrainThatCannotEndSaysWhy(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 2, 4)
	w.set(config.DrainingBrokers, "2")
	w.run(5)
	w.expect(2, 4, 0)
	w.expectWhy("stalled", "needs more brokers than are active")
	w.set(config.DrainingBrokers, "")
	w.run(15)
	w.expectWhy("idle", "")
}

func TestTheBalancerWaitsForOthers(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 5, 30)
	w.run(2)
	halt := func(why string, cause, end func()) {
		t.Helper()
		cause()
		w.set(config.DrainingBrokers, "1")
		before, _ := w.loads(1)
		w.run(10)
		w.expectWhy("stalled", why)
		if r, _ := w.loads(1); r != before {
			t.Errorf("%s: moved %d replicas", why, before-r)
		}
		w.set(config.DrainingBrokers, "")
		end()
		w.run(10)
		w.expectWhy("idle", "")
	}
	halt("broker 5 is not there", func() { w.heartbeat(5, w.image.Broker(5).Epoch, true, false) }, func() { w.register(registration{id: 5}) })
	halt("t-0 is being reassigned by somebody else", func() {
		w.slow = []int32{1, 2, 3, 4, 5}
		p := w.image.Partition("t", 0)
		other := int32(1)
		for slices.Contains(p.Replicas, other) {
			other++
		}
		w.ask("t", 0, []int32{p.Replicas[0], other})
	}, func() { w.slow = nil })
	halt("fewer replicas in sync than min.insync.replicas: broker 3 does not follow", func() {
		w.set("min.insync.replicas", "2")
		w.heartbeat(3, w.image.Broker(3).Epoch, true, false)
		w.slow = []int32{3}
		w.register(registration{id: 3})
	}, func() { w.slow = nil })
}

// ask reassigns a partition as an operator does.
func (w *balancing) ask(topic string, partition int32, replicas []int32) {
	w.t.Helper()
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Version = 1
	req.AllowReplicationFactorChange = true
	req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: partition, Replicas: replicas}}}}
	resp, _ := w.handle(req)
	if code := resp.(*kmsg.AlterPartitionAssignmentsResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		w.t.Fatal(kafka.ErrorCode(code))
	}
}

func TestMovesToABrokerThatDiesAreTakenBack(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 12)
	w.run(2)
	w.slow = []int32{4}
	w.addBroker(4, false)
	w.run(5)
	if moving, _ := w.b.Progress(); moving == 0 {
		t.Fatal("nothing is moved")
	}
	p := w.image.Partition("t", w.b.Status(w.view(), w.nowMs).Moving[0].Partition)
	if !p.Balancing {
		t.Fatalf("%+v", p)
	}
	// Another controller takes over what is under way.
	w.b.Activate(w.nowMs)
	w.run(2)
	if moving, _ := w.b.Progress(); moving == 0 {
		t.Error("the new controller does not know the moves")
	}
	w.heartbeat(4, w.image.Broker(4).Epoch, true, false)
	had, _ := w.loads(4)
	w.run(25)
	w.expect(4, had, 0)
	w.run(10)
	w.expect(4, 0, 0)
	w.expectWhy("idle", "") // it has nothing that others wait for
	// What an operator takes over is the balancer's no more.
	w.register(registration{id: 4})
	w.run(5)
	w.expectWhy("moving", "")
	moving := w.b.Status(w.view(), w.nowMs).Moving[0]
	w.ask("t", moving.Partition, moving.To)
	if p := w.image.Partition("t", moving.Partition); p.Balancing || !p.IsReassigning() {
		t.Errorf("%+v", p)
	}
	w.slow = nil
	w.run(60)
	if r, _ := w.loads(4); r < 5 || w.joining() != "[]" {
		t.Errorf("%d replicas, joining %s", r, w.joining())
	}
}

func TestReplicasOfABrokerThatStaysAwayAreMadeAnew(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 4, 12)
	w.set("moldau.balancer.dead.broker.timeout.ms", "60000")
	w.run(2)
	w.heartbeat(4, w.image.Broker(4).Epoch, true, false)
	had, _ := w.loads(4)
	w.run(50)
	w.expect(4, had, 0)
	w.run(60)
	w.expect(4, 0, 0)
	if w.joining() != "[4]" {
		t.Errorf("joining %s", w.joining())
	}
	w.register(registration{id: 4})
	w.run(60)
	if r, _ := w.loads(4); r < 5 || w.joining() != "[]" {
		t.Errorf("back with %d replicas, joining %s", r, w.joining())
	}
}

func TestADeadBrokerThatIsDrainedIsEmptiedAtOnce(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 4, 12)
	w.run(2)
	w.heartbeat(4, w.image.Broker(4).Epoch, true, false)
	w.set(config.DrainingBrokers, "4")
	w.run(30)
	w.expect(4, 0, 0)
}

// Copying slows down while Produce takes longer than without moves, on the broker or where it copies from, and
// speeds up when it does not.
func TestCopyingYieldsToClients(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 12)
	w.run(2)
	latency := func(id int32, micros int64) int64 {
		return w.b.Report(w.view(), &wire.PeerLoadRequest{NodeID: id, BrokerEpoch: w.image.Broker(id).Epoch, LatencyMicros: micros}, w.nowMs).CopyBytesPerSecond
	}
	for id := int32(1); id <= 3; id++ {
		latency(id, 4000)
	}
	w.addBroker(4, false)
	w.slow = []int32{4}
	w.run(5)
	incoming := int64(0)
	for _, m := range w.b.Status(w.view(), w.nowMs).Moving {
		if slices.Contains(m.To, 4) {
			incoming += 1000
		}
	}
	quiet := latency(4, -1)
	for id := int32(1); id <= 3; id++ {
		latency(id, 5000)
	}
	if faster := latency(4, -1); faster <= quiet {
		t.Errorf("%d after %d although nobody waits", faster, quiet)
	}
	wait := func(reports int) (least, most int64) {
		least = math.MaxInt64
		for range reports {
			for id := int32(1); id <= 3; id++ {
				latency(id, 20_000)
			}
			pace := latency(4, -1)
			least, most = min(least, pace), max(most, pace)
		}
		return least, most
	}
	if least, _ := wait(10); incoming == 0 || least != 1<<20+incoming {
		t.Errorf("%d while producers wait", least)
	}
	// They wait as long while next to nothing is copied: that is how long it takes now.
	if _, most := wait(100); most < 10<<20 {
		t.Errorf("%d while producers wait for something else", most)
	}
	// Another controller has to find out what producers are used to.
	w.b.Activate(w.nowMs)
	w.run(2)
	if least, most := wait(3); least != 1<<20+incoming || most != least {
		t.Errorf("%d to %d before it is known what is quiet", least, most)
	}
	if _, most := wait(10); most < 10<<20 {
		t.Errorf("%d when it is known", most)
	}
}

// TestBalancerSettings: the cluster's values count at once, those of one broker do not, not even the controller's own.
func TestBalancerSettings(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 2, 1)
	ofOne := "off"
	w.apply([]metadata.Record{&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, ResourceName: "1", Name: "moldau.balancer.mode", Value: &ofOne}})
	want := config.Balancer{Mode: config.BalancerElastic, TolerancePercent: 20, DiskLimitPercent: 85, ConcurrentPartitions: 10, CopyBytesPerSecond: 50 << 20, DeadBrokerTimeoutMs: 3_600_000}
	if got := w.view().Settings; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for name, value := range map[string]string{"mode": "continuous", "tolerance.percent": "5", "disk.limit.percent": "70", "concurrent.partitions": "2",
		"copy.bytes.per.second": "2000000", "dead.broker.timeout.ms": "-1", "draining.brokers": "3,1", "joining.brokers": "2"} {
		w.set("moldau.balancer."+name, value)
	}
	want = config.Balancer{Mode: config.BalancerContinuous, TolerancePercent: 5, DiskLimitPercent: 70, ConcurrentPartitions: 2, CopyBytesPerSecond: 2_000_000, DeadBrokerTimeoutMs: -1,
		Draining: []int32{3, 1}, Joining: []int32{2}}
	if got := w.view().Settings; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestContinuousModeEvensOutWithoutBeingAsked(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 1)
	assignments := make([][]int32, 20)
	for i := range assignments {
		assignments[i] = []int32{1, 2}
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.CreateTopicsRequestTopic{Topic: "uneven", NumPartitions: -1, ReplicationFactor: -1}
	for i, a := range assignments {
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: a})
	}
	req.Topics = append(req.Topics, topic)
	w.handle(req)
	replicas, leaders := w.loads(3)
	w.run(30)
	w.expect(3, replicas, leaders)
	w.set("moldau.balancer.mode", "continuous")
	w.run(60)
	if r, l := w.loads(3); r < 11 || l < 5 {
		t.Errorf("%d replicas, %d leaders", r, l)
	}
}
