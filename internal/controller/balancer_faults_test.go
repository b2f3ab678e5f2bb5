package controller

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller/balancer"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/wire"
)

// Who comes while another broker still catches up has not had its share because nothing could be moved for a moment.
func TestANewBrokerWaitsForThoseThatCatchUp(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 2, 12)
	w.run(2)
	w.slow = []int32{2}
	w.heartbeat(2, w.image.Broker(2).Epoch, true, false)
	w.register(registration{id: 2})
	w.addBroker(3, false)
	w.run(15)
	w.expect(3, 0, 0)
	if w.joining() != "[3]" {
		t.Errorf("joining %s", w.joining())
	}
	w.slow = nil
	w.run(60)
	if r, _ := w.loads(3); r < 6 || w.joining() != "[]" {
		t.Errorf("%d replicas, joining %s", r, w.joining())
	}
}

func TestADrainWaitsForReplicasThatDoNotFollowAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 2, 6)
	w.set("moldau.balancer.mode", "off")
	w.addBroker(3, false)
	w.run(2)
	w.slow = []int32{2}
	w.heartbeat(2, w.image.Broker(2).Epoch, true, false)
	w.register(registration{id: 2})
	w.set(config.DrainingBrokers, "1")
	w.run(20)
	if r, _ := w.loads(1); r != 6 {
		t.Errorf("%d replicas are left", r)
	}
	w.expectWhy("stalled", "is not in sync on all of its brokers")
	w.slow = nil
	w.run(60)
	w.expect(1, 0, 0)
}

// A limit that was lowered holds for what begins from then on, whatever is under way.
func TestFewerMovesAtATime(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 60)
	w.run(2)
	w.slow = []int32{4}
	w.addBroker(4, false)
	w.run(5)
	before, _ := w.b.Progress()
	w.set("moldau.balancer.concurrent.partitions", "1")
	w.run(20)
	if moving, _ := w.b.Progress(); before < 2 || moving != before {
		t.Errorf("%d at a time, %d before there were to be fewer", moving, before)
	}
}

// Whose log dirs are cordoned (KIP-1066) is given nothing, and can be emptied.
func TestCordonedBrokers(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 4, 24)
	w.run(2)
	cordon := func(id int32) {
		b := w.image.Broker(id)
		w.apply([]metadata.Record{&metadata.BrokerRegistrationChangeRecord{BrokerID: id, BrokerEpoch: b.Epoch, CordonedLogDirs: b.LogDirs}})
	}
	cordon(1)
	cordon(2)
	had, _ := w.loads(2)
	w.set(config.DrainingBrokers, "1")
	w.run(60)
	w.expect(1, 0, 0)
	if r, l := w.loads(2); r > had || l == 0 {
		t.Errorf("the other one that is cordoned has %d replicas after %d, and leads %d", r, had, l)
	}
	w.expectWhy("idle", "")
}

// What cannot be taken back, since nobody else has the data, is not tried with every tick.
func TestMovesAreTakenBackNowAndThen(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 12)
	w.run(2)
	w.slow = []int32{4}
	w.addBroker(4, false)
	w.run(5)
	w.set(config.DrainingBrokers, "4")
	var tried []int64
	for range 240 {
		w.nowMs += 50
		if step := w.b.Tick(w.view(), w.nowMs); len(step.Cancel) > 0 {
			tried = append(tried, w.nowMs)
		}
	}
	if len(tried) != 2 || tried[1]-tried[0] != 10_000 {
		t.Errorf("tried at %v", tried)
	}
}

// Brokers that are registered, not there and have nothing, as those that came and went under other ids, hold up nobody.
func TestBrokersThatAreNotThereAndHaveNothing(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 12)
	for id := int32(4); id <= 6; id++ {
		w.addBroker(id, true)
	}
	w.run(2)
	w.set(config.DrainingBrokers, "1")
	w.run(30)
	w.expect(1, 0, 0)
}

// Reports may come between the controller's election and the end of its first records.
func TestAReportToABalancerThatIsNotActive(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 2, 1)
	req := &wire.PeerLoadRequest{NodeID: 1, BrokerEpoch: w.image.Broker(1).Epoch, IsFull: true}
	if resp := balancer.New().Report(w.view(), req, 0); resp.ErrorCode != int16(kafka.ErrNotController) {
		t.Errorf("%+v", resp)
	}
}

// A broker whose disk is above the limit when it joins has not had its share: it is told of, and waits for room.
func TestABrokerThatJoinsWithAFullDisk(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 24)
	w.run(2)
	w.fullDisk = 4
	w.addBroker(4, false)
	w.run(30)
	w.expect(4, 0, 0)
	w.expectWhy("stalled", "something else than replicas takes 90 % of it")
	if s := w.b.Status(w.view(), w.nowMs); !slices.ContainsFunc(s.Blocked, func(b balance.Blocked) bool {
		return strings.Contains(b.Why, "the disk of broker 4 is 90 % full and takes replicas up to 82 % only")
	}) {
		t.Errorf("%+v", s.Blocked)
	}
	if w.joining() != "[4]" {
		t.Errorf("joining %s", w.joining())
	}
	w.fullDisk = 0
	w.run(60)
	if r, _ := w.loads(4); r < 10 || w.joining() != "[]" {
		t.Errorf("%d replicas, joining %s", r, w.joining())
	}
}

// The old AlterConfigs replaces all configs of the brokers, by clients that know nothing of the balancer.
func TestAlterConfigsKeepsWhatTheBalancerWasAskedFor(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 4, 12)
	w.set(config.DrainingBrokers, "2")
	w.set(config.JoiningBrokers, "3")
	replace := func(name, value string) {
		t.Helper()
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: name, Value: &value}}}}
		resp, _ := w.handle(req)
		if code := resp.(*kmsg.AlterConfigsResponse).Resources[0].ErrorCode; code != 0 {
			t.Fatal(kafka.ErrorCode(code))
		}
	}
	w.set("moldau.balancer.tolerance.percent", "30")
	replace("moldau.balancer.disk.limit.percent", "70")
	if s := w.view().Settings; !slices.Equal(s.Draining, []int32{2}) || !slices.Equal(s.Joining, []int32{3}) || s.TolerancePercent != 20 || s.DiskLimitPercent != 70 {
		t.Errorf("%+v", s)
	}
	replace(config.DrainingBrokers, "")
	if s := w.view().Settings; len(s.Draining) != 0 {
		t.Errorf("%+v", s)
	}
}

// Moves are looked for in what has changed, and what has ended is noticed although nothing else of its topic changes.
func TestMovesOfTopicsThatDoNotChangeAreFollowed(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 12)
	w.create("other", 1, 2)
	w.run(2)
	w.slow = []int32{4}
	w.addBroker(4, false)
	w.run(5)
	before, _ := w.b.Progress()
	w.set("moldau.balancer.mode", "off") // another image, the same topics
	w.run(2)
	if moving, _ := w.b.Progress(); before == 0 || moving != before {
		t.Errorf("%d moves after %d", moving, before)
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	for _, name := range []string{"t", "other"} {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, topic)
	}
	req.Version, req.TopicNames = 6, nil
	w.handle(req)
	w.step()
	if moving, _ := w.b.Progress(); moving != 0 {
		t.Errorf("%d moves of topics that are gone", moving)
	}
}

// What the clients of a broker saw before it died slows down nothing: least of all the copies of what it had.
func TestCopyingDoesNotYieldToTheClientsOfADeadBroker(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 12)
	w.run(2)
	latency := func(id int32, micros int64) int64 {
		return w.b.Report(w.view(), &wire.PeerLoadRequest{NodeID: id, BrokerEpoch: w.image.Broker(id).Epoch, LatencyMicros: micros}, w.nowMs).CopyBytesPerSecond
	}
	for id := int32(1); id <= 3; id++ {
		latency(id, 4000)
	}
	w.slow = []int32{4}
	w.addBroker(4, false)
	w.run(5)
	from := 0
	for _, m := range w.b.Status(w.view(), w.nowMs).Moving {
		if slices.Contains(m.To, 4) && slices.Contains(m.From, 1) {
			from++
		}
	}
	before := latency(4, -1)
	latency(1, 20_000)
	if slower := latency(4, -1); from == 0 || slower >= before {
		t.Fatalf("%d after %d although producers wait, %d moves from their broker", slower, before, from)
	}
	w.apply([]metadata.Record{&metadata.BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: w.image.Broker(1).Epoch, Fenced: 1}})
	pace := int64(0)
	for range 20 {
		latency(2, 4000)
		latency(3, 4000)
		pace = latency(4, -1)
	}
	if pace <= before {
		t.Errorf("%d after %d: it waits for clients of a broker that is not there", pace, before)
	}
}

// A log dir that fails while replicas are copied to it ends their moves, although its broker lives on with another one: they would
// never be in sync, and hold up what else is to be moved for ever.
func TestMovesToALogDirThatFails(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 24)
	w.run(2)
	w.slow = []int32{4}
	w.addBroker(4, false)
	w.run(5)
	b := w.image.Broker(4)
	w.apply([]metadata.Record{&metadata.BrokerRegistrationChangeRecord{BrokerID: 4, BrokerEpoch: b.Epoch, LogDirs: []kafka.UUID{{44}}}})
	if moving, _ := w.b.Progress(); moving == 0 {
		t.Fatal("nothing is moved")
	}
	w.run(1)
	w.slow = nil
	for topic := range w.image.Topics() {
		for _, p := range topic.Partitions {
			if dir, ok := p.Directory(4); ok && dir == b.LogDirs[0] {
				t.Errorf("%s-%d waits for the log dir that is gone", topic.Name, p.ID)
			}
		}
	}
	w.run(60)
	if r, _ := w.loads(4); r < 10 || w.joining() != "[]" {
		t.Errorf("%d replicas, joining %s", r, w.joining())
	}
}
