package balance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const gib = int64(1) << 30

// cluster is brokers 1 to n and a topic t with these replicas, all of a size.
func cluster(n int32, sizeBytes int64, replicas ...[]int32) Cluster {
	c := Cluster{}
	for id := int32(1); id <= n; id++ {
		c.Brokers = append(c.Brokers, Broker{ID: id})
	}
	for i, r := range replicas {
		c.Partitions = append(c.Partitions, Partition{Topic: "t", ID: int32(i), Replicas: r, Leader: r[0], SizeBytes: sizeBytes})
	}
	return c
}

var everything = Options{TolerancePercent: 20, DiskLimitPercent: 85, Relieve: true, Even: true}

func show(p Plan) string {
	var out strings.Builder
	for _, m := range p.Moves {
		fmt.Fprintf(&out, "%s %s-%d %v>%v %d\n", m.Goal, m.Topic, m.Partition, m.From, m.To, m.Bytes)
	}
	for _, b := range p.Blocked {
		fmt.Fprintf(&out, "blocked %d (%d): %s\n", b.Broker, b.Partitions, b.Why)
	}
	return out.String()
}

func expect(t *testing.T, p Plan, want string) {
	t.Helper()
	if got := show(p); got != strings.TrimLeft(want, "\n") {
		t.Errorf("got:\n%swant:\n%s", got, strings.TrimLeft(want, "\n"))
	}
}

func TestALeavingBrokerLosesItsLeadershipsFirst(t *testing.T) {
	t.Parallel()
	c := cluster(4, 10, []int32{1, 2, 3}, []int32{2, 1, 3}, []int32{3, 1, 2})
	c.Brokers[0].State = Leaving
	expect(t, New(c, Options{DiskLimitPercent: 85}), `
lead t-0 [1 2 3]>[2 1 3] 0
evacuate t-0 [2 1 3]>[4 2 3] 10
evacuate t-1 [2 1 3]>[2 4 3] 10
evacuate t-2 [3 1 2]>[3 4 2] 10
`)
}

func TestALeaderThatIsNotPreferredIsReplacedByElection(t *testing.T) {
	t.Parallel()
	c := cluster(3, 0, []int32{2, 1, 3})
	c.Brokers[0].State, c.Partitions[0].Leader = Leaving, 1
	expect(t, New(c, Options{DiskLimitPercent: 85}), `
lead t-0 [2 1 3]>[2 1 3] 0
blocked 1 (1): replication factor 3 of t-0 needs more brokers than are active: add a broker, or lower the replication factor
`)
}

func TestTheDeadGoBeforeTheDrained(t *testing.T) {
	t.Parallel()
	c := cluster(5, 10, []int32{3, 1, 4}, []int32{3, 2, 4})
	c.Brokers[0].State, c.Brokers[1].State = Leaving, Gone
	expect(t, New(c, Options{DiskLimitPercent: 85, MaxMoves: 1}), `
evacuate t-1 [3 2 4]>[5 3 4] 10
`)
}

func TestABrokerThatIsDownForAWhileIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := cluster(3, gib, []int32{1}, []int32{1}, []int32{2}, []int32{2})
	c.Brokers[2].State = Absent
	if p := New(c, everything); len(p.Moves) > 0 {
		t.Errorf("%s", show(p))
	}
}

func TestANewBrokerTakesItsShare(t *testing.T) {
	t.Parallel()
	var replicas [][]int32
	for i := range int32(12) {
		replicas = append(replicas, []int32{i%3 + 1, (i+1)%3 + 1, (i+2)%3 + 1})
	}
	c := cluster(4, gib, replicas...)
	p := New(c, everything)
	for _, l := range p.After {
		if l.Replicas != 9 || l.Leaders != 3 || l.Bytes != 9*gib {
			t.Errorf("%+v\n%s", l, show(p))
		}
	}
	if p.Bytes() != 9*gib {
		t.Errorf("copies %d", p.Bytes())
	}
	// Only who is asked for takes anything.
	c.Partitions[0].Replicas, c.Partitions[1].Replicas = []int32{1, 2, 3}, []int32{1, 2, 3}
	o := everything
	o.Targets = []int32{4}
	for _, m := range New(c, o).Moves {
		if !slices.Equal(without(m.To, m.From), []int32{4}) && m.To[0] != 4 {
			t.Errorf("%+v", m)
		}
	}
}

func TestTopicsAreSpread(t *testing.T) {
	t.Parallel()
	c := Cluster{}
	for id := range int32(4) {
		c.Brokers = append(c.Brokers, Broker{ID: id})
	}
	for i := range int32(60) {
		c.Partitions = append(c.Partitions, Partition{Topic: string(rune('a' + i/12)), ID: i % 12, Replicas: []int32{i % 3}})
	}
	c = apply(c, New(c, everything))
	perTopic := map[string]int{}
	for _, p := range c.Partitions {
		if p.Replicas[0] == 3 {
			perTopic[p.Topic]++
		}
	}
	for topic, n := range perTopic {
		if n < 2 || n > 4 { // of 12, a fourth
			t.Errorf("topic %s has %d partitions on the new broker", topic, n)
		}
	}
	if len(perTopic) != 5 {
		t.Errorf("%v", perTopic)
	}
}

func TestRacksAreUsedNoWorse(t *testing.T) {
	t.Parallel()
	c := cluster(4, 10, []int32{1, 2, 3})
	c.Brokers[0].Rack, c.Brokers[1].Rack, c.Brokers[2].Rack, c.Brokers[3].Rack = "a", "b", "c", "b"
	c.Brokers[2].State = Leaving
	// No broker is left in rack c: two of the replicas have to be in one.
	expect(t, New(c, everything), `
evacuate t-0 [1 2 3]>[1 2 4] 10
`)
	c.Brokers = append(c.Brokers, Broker{ID: 5, Rack: "c", Volumes: []Volume{{CapacityBytes: 100, OtherBytes: 85}}})
	expect(t, New(c, everything), `
blocked 3 (1): the replicas of t-0 would be in fewer racks: add a broker, or room, in the rack of the one that leaves
`)
	c.Brokers[4].Volumes[0].OtherBytes = 75
	expect(t, New(c, everything), `
evacuate t-0 [1 2 3]>[1 2 5] 10
`)
}

func TestDisksAboveTheLimitAreRelieved(t *testing.T) {
	t.Parallel()
	c := cluster(3, 0, []int32{1}, []int32{1}, []int32{1}, []int32{2})
	for i, size := range []int64{60, 20, 5, 50} {
		c.Partitions[i].SizeBytes = size
	}
	for i := range c.Brokers {
		c.Brokers[i].Volumes = []Volume{{CapacityBytes: 100, OtherBytes: 4}}
	}
	// The smallest one that is enough goes to the emptiest disk.
	expect(t, New(c, Options{DiskLimitPercent: 85, Relieve: true}), `
relieve t-1 [1]>[3] 20
`)
	for i := range c.Brokers[1:] {
		c.Brokers[1+i].Volumes[0].OtherBytes = 81
	}
	c.Partitions[3].SizeBytes = 1
	expect(t, New(c, Options{DiskLimitPercent: 85, Relieve: true}), `
blocked 1 (0): disk of broker 1 is above 85 %, and no other broker can take what is too much: add disks or a broker, or lower the retention
`)
	if p := New(c, Options{DiskLimitPercent: 85}); len(p.Moves)+len(p.Blocked) > 0 {
		t.Errorf("without being asked: %s", show(p))
	}
}

func TestWhatIsBeingMovedIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := cluster(4, gib, []int32{1, 2}, []int32{1, 2}, []int32{1, 2})
	c.Brokers[0].State = Leaving
	c.Partitions[1].IsMoving = true
	for _, m := range New(c, everything).Moves {
		if m.Partition == 1 {
			t.Errorf("%+v", m)
		}
	}
}

// TestTenThousandPartitions plans a new broker's share, and a drain. The bound is far above what it takes, so that
// a busy machine does not fail it: it is there to notice a planner that is quadratic.
func TestTenThousandPartitions(t *testing.T) {
	t.Parallel()
	for _, state := range []State{Active, Leaving} {
		c := large(10_000, 4)
		c.Brokers = append(c.Brokers, Broker{ID: 4})
		c.Brokers[0].State = state
		began := time.Now()
		p := New(c, everything)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		} else {
			t.Logf("%d moves in %s", len(p.Moves), took)
		}
		if p.After[4].Replicas < 5000 {
			t.Errorf("%+v", p.After)
		}
	}
}

func large(partitions, brokers int32) Cluster {
	c := Cluster{}
	for id := range brokers {
		c.Brokers = append(c.Brokers, Broker{ID: id})
	}
	for i := range partitions {
		first := i % brokers
		c.Partitions = append(c.Partitions, Partition{Topic: fmt.Sprintf("topic-%d", i/50), ID: i % 50, Leader: first,
			Replicas: []int32{first, (first + 1) % brokers, (first + 2) % brokers}, SizeBytes: int64(i%97) << 20, BytesPerSecond: int64(i%31) << 12})
	}
	return c
}

func BenchmarkPlan(b *testing.B) {
	c := large(10_000, 4)
	c.Brokers = append(c.Brokers, Broker{ID: 4})
	for b.Loop() {
		New(c, everything)
	}
}

// Other data on a disk is not moved by moving replicas: what they leave room for stays, and the operator is told.
func TestADiskFullOfOtherDataIsNotEmptied(t *testing.T) {
	t.Parallel()
	o := Options{DiskLimitPercent: 85, Relieve: true}
	disk := func(other int64, replicas int) Cluster {
		c := cluster(2, 10, slices.Repeat([][]int32{{1}}, replicas)...)
		c.Brokers[0].Volumes = []Volume{{CapacityBytes: 1000, OtherBytes: other}}
		c.Brokers[1].Volumes = []Volume{{CapacityBytes: 1000}}
		return c
	}
	const why = "blocked 1 (0): disk of broker 1 is above 85 %, and something else than replicas takes 90 % of it, so that moving them is not enough: find out what fills the disk and free it, or add disks\n"
	expect(t, New(disk(900, 2), o), why)
	if p := New(disk(900, 6), o); len(p.Moves) != 4 || !strings.HasSuffix(show(p), why) { // 960 is brought to 925
		t.Errorf("some of the replicas leave too little room:\n%s", show(p))
	}
	if p := New(disk(790, 8), o); len(p.Moves) != 3 || len(p.Blocked) > 0 { // 870 is brought below 850, not to 820
		t.Errorf("other data close to the limit:\n%s", show(p))
	}
}

// A broker whose disk is too full for its share is told of, and has not had it.
func TestAFullBrokerThatIsToTakeItsShare(t *testing.T) {
	t.Parallel()
	c := cluster(3, gib, slices.Repeat([][]int32{{1, 2}}, 12)...)
	c.Brokers[2].Volumes = []Volume{{CapacityBytes: 100 * gib, OtherBytes: 84 * gib}}
	o := everything
	o.Targets = []int32{3}
	p := New(c, o)
	expect(t, p, `
blocked 3 (0): the disk of broker 3 is 84 % full and takes replicas up to 82 % only (moldau.balancer.disk.limit.percent): free space on it, or add disks; then it is given its share
`)
	if !slices.Equal(p.Full, []int32{3}) {
		t.Errorf("%v", p.Full)
	}
	c.Brokers[2].Volumes[0].OtherBytes = 0
	if p := New(c, o); len(p.Moves) == 0 || len(p.Full) > 0 {
		t.Errorf("%v\n%s", p.Full, show(p))
	}
}
