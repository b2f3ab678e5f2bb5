package balance

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// apply is the cluster after a plan.
func apply(c Cluster, p Plan) Cluster {
	c.Partitions = slices.Clone(c.Partitions)
	for _, move := range p.Moves {
		i := slices.IndexFunc(c.Partitions, func(p Partition) bool { return p.Topic == move.Topic && p.ID == move.Partition })
		part := &c.Partitions[i]
		var volumes []int8
		for _, id := range move.To {
			volume := int8(unknownVolume)
			if at := slices.Index(part.Replicas, id); at >= 0 && at < len(part.Volumes) {
				volume = part.Volumes[at]
			}
			volumes = append(volumes, volume)
		}
		part.Replicas, part.Volumes, part.Leader = move.To, volumes, move.To[0]
	}
	return c
}

// random is any cluster of up to nine brokers.
func random(t *rapid.T) (Cluster, Options) {
	c := Cluster{}
	brokers := rapid.Int32Range(1, 9).Draw(t, "brokers")
	racks := rapid.IntRange(1, 4).Draw(t, "racks")
	disks := rapid.Bool().Draw(t, "disks")
	for id := range brokers {
		b := Broker{ID: id + 1, Rack: string(rune('a' + rapid.IntRange(1, racks).Draw(t, "rack")))}
		b.State = rapid.SampledFrom([]State{Active, Active, Active, Active, Leaving, Gone, Absent}).Draw(t, "state")
		if disks {
			for range rapid.IntRange(0, 2).Draw(t, "volumes") {
				b.Volumes = append(b.Volumes, Volume{CapacityBytes: rapid.Int64Range(0, 200*gib).Draw(t, "capacity"), OtherBytes: rapid.Int64Range(0, 50*gib).Draw(t, "other")})
			}
		}
		c.Brokers = append(c.Brokers, b)
	}
	ids := make([]int32, brokers)
	for i := range ids {
		ids[i] = int32(i + 1)
	}
	for i := range rapid.Int32Range(0, 60).Draw(t, "partitions") {
		replicas := rapid.Permutation(ids).Draw(t, "replicas")[:rapid.IntRange(1, min(3, int(brokers))).Draw(t, "factor")]
		p := Partition{Topic: string(rune('a' + i/8)), ID: i % 8, Replicas: slices.Clone(replicas), Leader: replicas[0],
			SizeBytes: rapid.Int64Range(0, 4*gib).Draw(t, "size"), BytesPerSecond: rapid.Int64Range(0, 1<<20).Draw(t, "rate"),
			IsMoving: rapid.IntRange(0, 9).Draw(t, "moving") == 0}
		for range replicas {
			p.Volumes = append(p.Volumes, rapid.Int8Range(-1, 1).Draw(t, "volume"))
		}
		c.Partitions = append(c.Partitions, p)
	}
	o := Options{TolerancePercent: rapid.IntRange(1, 50).Draw(t, "tolerance"), DiskLimitPercent: rapid.IntRange(10, 95).Draw(t, "limit"),
		MaxMoves: rapid.IntRange(0, 5).Draw(t, "max"), Relieve: rapid.Bool().Draw(t, "relieve"), Even: rapid.Bool().Draw(t, "even")}
	if rapid.IntRange(0, 3).Draw(t, "restricted") == 0 {
		o.Targets = []int32{rapid.SampledFrom(ids).Draw(t, "target")}
	}
	return c, o
}

func TestPlansKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, o := random(t)
		before := newModel(c, o)
		p := New(c, o)
		copies := 0
		for _, move := range p.Moves {
			checkMove(t, before, o, move)
			if move.Bytes > 0 || len(without(move.To, move.From)) > 0 {
				copies++
			}
		}
		if o.MaxMoves > 0 && copies > o.MaxMoves {
			t.Fatalf("%d copies", copies)
		}
		after := newModel(apply(c, p), o)
		for b := range after.brokers {
			for v := range after.brokers[b].used {
				capacity := after.brokers[b].Volumes[v].CapacityBytes
				if was, is := before.brokers[b].used[v], after.brokers[b].used[v]; capacity > 0 && is > was && float64(is) > float64(capacity)*float64(o.DiskLimitPercent)/100 {
					t.Fatalf("broker %d is filled from %d to %d of %d:\n%s", after.brokers[b].ID, was, is, capacity, show(p))
				}
			}
		}
		if !reflect.DeepEqual(after.loads(), p.After) || !reflect.DeepEqual(before.loads(), p.Before) {
			t.Fatalf("loads:\n%+v\n%+v\n%s", after.loads(), p.After, show(p))
		}
		if p.More {
			return
		}
		for i := range after.parts {
			part := &after.parts[i]
			for _, b := range part.replicas {
				state := after.brokers[b].State
				isBlocked := slices.ContainsFunc(p.Blocked, func(x Blocked) bool { return x.Broker == after.brokers[b].ID })
				if (state == Leaving || state == Gone) && !part.IsMoving && !isBlocked {
					t.Fatalf("%s-%d stays on broker %d and nothing says why:\n%s", part.Topic, part.ID, after.brokers[b].ID, show(p))
				}
			}
		}
	})
}

func checkMove(t *rapid.T, before *model, o Options, move Move) {
	i := slices.IndexFunc(before.parts, func(p modelPartition) bool { return p.Topic == move.Topic && p.ID == move.Partition })
	p := &before.parts[i]
	to := make([]int, len(move.To))
	for j, id := range move.To {
		to[j] = slices.IndexFunc(before.brokers, func(b modelBroker) bool { return b.ID == id })
		if slices.Contains(move.To[:j], id) {
			t.Fatalf("twice on a broker: %+v", move)
		}
		if !p.on(to[j]) && before.brokers[to[j]].State != Active {
			t.Fatalf("to broker %d, which is not active: %+v", id, move)
		}
		if move.Goal == Even && o.Targets != nil && !slices.Contains(move.From, id) && !slices.Contains(o.Targets, id) {
			t.Fatalf("to broker %d, which nobody asked for: %+v", id, move)
		}
	}
	was, is := before.rackScore(p.replicas), before.rackScore(to)
	if move.Goal == Evacuate {
		was = max(was, before.idealRackScore(len(to)))
	}
	switch {
	case p.IsMoving:
		t.Fatalf("is being moved: %+v", move)
	case len(to) != len(move.From):
		t.Fatalf("another replication factor: %+v", move)
	case is > was:
		t.Fatalf("racks are used worse: %+v", move)
	case move.Why == "":
		t.Fatalf("no reason: %+v", move)
	}
}

func TestPlansConverge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, o := random(t)
		o.MaxMoves *= 4
		for range 200 {
			p := New(c, o)
			if len(p.Moves) == 0 {
				return
			}
			c = apply(c, p)
		}
		t.Fatalf("still moves:\n%s", show(New(c, o)))
	})
}

// A plan that was carried out whole leaves nothing to do, and a change of loads within the tolerance does not
// begin anything, where everything could be evened out.
func TestSmallChangesOfLoadMoveNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, o := random(t)
		o.MaxMoves, o.Even, o.Targets = 0, true, nil
		for i := range c.Brokers {
			c.Brokers[i].State, c.Brokers[i].Volumes = Active, nil
		}
		c = apply(c, New(c, o))
		if p := New(c, o); len(p.Moves) > 0 {
			t.Fatalf("a second plan:\n%s", show(p))
		}
		if m := newModel(c, o); len(m.pairs([]int{inReplicas, inBytes, inRate, inLeaders, inLeaderRate}, m.tolerance()/2)) > 0 {
			return
		}
		for i := range c.Partitions {
			p := &c.Partitions[i]
			p.SizeBytes += p.SizeBytes * int64(o.TolerancePercent) * rapid.Int64Range(-1, 1).Draw(t, "change") / 1000
			p.BytesPerSecond += p.BytesPerSecond * int64(o.TolerancePercent) * rapid.Int64Range(-1, 1).Draw(t, "change") / 1000
		}
		if p := New(c, o); len(p.Moves) > 0 {
			t.Fatalf("after a change of a tenth of the tolerance:\n%s", show(p))
		}
	})
}

func TestPlansDoNotDependOnTheOrderOfTheInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, o := random(t)
		seed := rapid.Uint64().Draw(t, "seed")
		shuffled := Cluster{slices.Clone(c.Brokers), slices.Clone(c.Partitions)}
		r := rand.New(rand.NewPCG(seed, 0))
		r.Shuffle(len(shuffled.Brokers), func(i, j int) {
			shuffled.Brokers[i], shuffled.Brokers[j] = shuffled.Brokers[j], shuffled.Brokers[i]
		})
		r.Shuffle(len(shuffled.Partitions), func(i, j int) {
			shuffled.Partitions[i], shuffled.Partitions[j] = shuffled.Partitions[j], shuffled.Partitions[i]
		})
		if a, b := New(c, o), New(shuffled, o); !reflect.DeepEqual(a, b) {
			t.Fatalf("%s\n%s", show(a), show(b))
		}
	})
}
