package partition

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// TestGivingUp: a replica with damage cuts it off in the leader epoch that it has asked for, and only where nobody counts on it.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// isr is what the controller makes the in-sync replicas, leader who leads, epochs how many have begun.
		isr     []int32
		leader  int32
		epochs  int32
		offset  int64 // of the damage
		asksFor []int32
		wantEnd int64
	}{
		{"the leader hands over", []int32{2, 3}, 2, 1, 1, []int32{2, 3}, 1},
		{"another is elected for another reason, too", []int32{2, 3}, 3, 2, 1, []int32{2, 3}, 1},
		{"it is still in sync", []int32{1, 2, 3}, 2, 1, 1, []int32{2, 3}, 4},
		{"it leads still", []int32{1, 2, 3}, 1, 1, 1, []int32{2, 3}, 4},
		{"too few are in sync: it may be eligible", []int32{2}, 2, 1, 1, []int32{2, 3}, 4},
		{"there is nobody to fetch from", []int32{2, 3}, kafka.NoLeader, 1, 1, []int32{2, 3}, 4},
		{"nothing of it is committed", []int32{1, 2, 3}, 1, 1, 3, nil, 3},
		{"nothing of it was committed, another led in between", []int32{1, 2, 3}, 1, 2, 3, nil, 4},
	} {
		p, _ := threeReplicas(t)
		p.replicating.IsRegistered = func() bool { return true }
		a := p.Assignment()
		a.ISR, a.MinInSyncReplicas, a.PartitionEpoch, a.LeaderEpoch = []int32{1, 2, 3}, 2, a.PartitionEpoch+1, a.LeaderEpoch+1
		if err := p.Apply(a, nowMs); err != nil { // this epoch begins at offset 3
			t.Fatal(err)
		}
		if _, err := appendTo(t, p, -1, a.LeaderEpoch, "b"); err != nil {
			t.Fatal(err)
		}
		change, _ := p.GiveUp(c.offset)
		if change == nil || !change.Damaged || !slices.Equal(change.ids(), c.asksFor) {
			t.Fatalf("%s: asks for %+v", c.name, change)
		}
		if again, isLater := p.GiveUp(c.offset); again != nil || !isLater {
			t.Errorf("%s: asks again before there was an answer", c.name)
		}
		a.ISR, a.Leader, a.LeaderEpoch, a.PartitionEpoch = c.isr, c.leader, a.LeaderEpoch+c.epochs, a.PartitionEpoch+c.epochs
		if err := p.Apply(a, nowMs); err != nil {
			t.Fatal(err)
		}
		if end := p.Log().LogEndOffset(); end != c.wantEnd {
			t.Errorf("%s: the log ends at %d, want %d", c.name, end, c.wantEnd)
		}
	}
}

// TestNobodyIsAskedToLetTooFewBe: below the minimum, or before the metadata shows this broker's registration, a replica keeps what it has.
func TestNobodyIsAskedToLetTooFewBe(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	isRegistered := true
	p.replicating.IsRegistered = func() bool { return isRegistered }
	a := p.Assignment()
	a.ISR, a.MinInSyncReplicas, a.PartitionEpoch = []int32{1, 2}, 2, a.PartitionEpoch+1
	a.Leader, a.LeaderEpoch = 2, a.LeaderEpoch+1
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	if change, isLater := p.GiveUp(1); change != nil || isLater {
		t.Errorf("two are in sync, and one of them asks for %+v", change)
	}
	a.ISR, a.PartitionEpoch = []int32{1, 2, 3}, a.PartitionEpoch+1
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	isRegistered = false
	if change, isLater := p.GiveUp(1); change != nil || !isLater {
		t.Errorf("not registered yet, it asks for %+v", change)
	}
	isRegistered = true
	if change, _ := p.GiveUp(1); change == nil || !slices.Equal(change.ids(), []int32{2, 3}) {
		t.Errorf("asks for %+v", change)
	}
}

// TestReadersOfDamageAreToldToComeAgain while it may be mended.
func TestReadersOfDamageAreToldToComeAgain(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	damage := kafka.Errorf(kafka.ErrCorruptMessage, "damaged")
	for _, c := range []struct {
		state DamageState
		err   error
		want  kafka.ErrorCode
	}{
		{Undamaged, damage, kafka.ErrCorruptMessage}, {BeingMended, damage, kafka.ErrKafkaStorageError}, {Unmendable, damage, kafka.ErrCorruptMessage},
		{BeingMended, kafka.Errorf(kafka.ErrOffsetOutOfRange, "no"), kafka.ErrOffsetOutOfRange}, {BeingMended, nil, kafka.ErrNone},
	} {
		p.SetDamageState(c.state)
		got, waits := p.ReadError(c.err)
		if kafka.CodeOf(got) != c.want || waits != (c.want == kafka.ErrKafkaStorageError) {
			t.Errorf("state %d, %v: %v, waits %v, want %v", c.state, c.err, got, waits, c.want)
		}
	}
	p.NoteDamage()
	if p.DamageState() != BeingMended {
		t.Error("damage is forgotten")
	}
}

// TestNothingIsCutOffLater: what was mended after all, or was not agreed to, is kept in later leader epochs.
func TestNothingIsCutOffLater(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]func(p *Partition, change *ISRChange){
		"mended":  func(p *Partition, _ *ISRChange) { p.SetDamageState(Undamaged) },
		"refused": func(p *Partition, change *ISRChange) { p.Refused(change) },
	} {
		p, _ := threeReplicas(t)
		p.replicating.IsRegistered = func() bool { return true }
		a := p.Assignment()
		a.ISR, a.MinInSyncReplicas, a.PartitionEpoch = []int32{1, 2, 3}, 2, a.PartitionEpoch+1
		if err := p.Apply(a, nowMs); err != nil {
			t.Fatal(err)
		}
		end := p.Log().LogEndOffset()
		change, _ := p.GiveUp(1)
		if change == nil || end <= 1 {
			t.Fatalf("%s: asks for %+v, the log ends at %d", name, change, end)
		}
		ends(p, change)
		a.ISR, a.Leader, a.LeaderEpoch, a.PartitionEpoch = []int32{2, 3}, 2, a.LeaderEpoch+1, a.PartitionEpoch+1
		if err := p.Apply(a, nowMs); err != nil {
			t.Fatal(err)
		}
		if p.Log().LogEndOffset() != end {
			t.Errorf("%s: the log ends at %d, want %d", name, p.Log().LogEndOffset(), end)
		}
	}
}

// TestSteppingAside: a replica that can take no more lets others lead and be in sync without it where there are enough of
// them, keeps what it has, and fetches nothing until there is room again.
func TestSteppingAside(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	isRegistered := true
	p.replicating.IsRegistered = func() bool { return isRegistered }
	a := p.Assignment()
	next := func(leader int32, isr ...int32) {
		t.Helper()
		a.ISR, a.PartitionEpoch = isr, a.PartitionEpoch+1
		if a.Leader != leader {
			a.Leader, a.LeaderEpoch = leader, a.LeaderEpoch+1
		}
		if err := p.Apply(a, nowMs); err != nil {
			t.Fatal(err)
		}
	}
	steps := func(atMs int64, when string, want ...int32) *ISRChange {
		t.Helper()
		change := p.StepAside(nowMs + atMs)
		if (change == nil) != (len(want) == 0) || change != nil && (!change.Damaged || !slices.Equal(change.ids(), want)) {
			t.Errorf("%s: asks for %+v, want in-sync replicas %v", when, change, want)
		}
		return change
	}
	isAside := func(want bool, when string) {
		t.Helper()
		if p.IsAside() != want {
			t.Errorf("%s: aside is %t", when, !want)
		}
	}
	steps(0, "two are in sync, and two must be")
	a.MinInSyncReplicas = 1
	next(1, 1, 2)
	steps(0, "one would be left")
	a.MinInSyncReplicas = 2
	next(1, 1, 2, 3)
	isRegistered = false
	steps(0, "before the metadata shows its registration")
	isRegistered = true
	refused := steps(0, "it leads", 2, 3)
	steps(1, "a change is pending")
	p.Refused(refused)
	next(2, 2, 3)
	isAside(false, "the controller has refused it, and somebody else has taken it out")
	next(1, 1, 2, 3)
	steps(2, "it leads again", 2, 3)
	isAside(false, "the change is not made")
	end := p.Log().LogEndOffset()
	next(2, 2, 3)
	isAside(true, "it is not in sync any more")
	steps(3, "it is not in sync any more")
	if p.Log().LogEndOffset() != end {
		t.Errorf("the log ends at %d, want %d: it has lost nothing", p.Log().LogEndOffset(), end)
	}
	next(2, 2)
	isAside(false, "one is left in sync, which is worth more than room")
	next(2, 2, 3)
	p.ComeBack(nowMs + 4000)
	isAside(true, "there is room, for a moment")
	p.ComeBack(nowMs + 5002)
	isAside(false, "there is room")
	next(2, 1, 2, 3)
	steps(6000, "it follows", 2, 3)
	next(2, 2, 3)
	p.ComeBack(nowMs - 3_600_000)
	isAside(false, "the wall clock was set back")
	next(kafka.NoLeader, 1, 2, 3)
	steps(90_000, "nobody leads")
}
