package fetchsession

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
)

func newCache(slots int) *Cache { return New(slots, env.NewSeededRandom(3), metrics.NewRegistry()) }

func named(topics ...string) (all []Partition) {
	for _, t := range topics {
		all = append(all, Partition{Key: Key{Topic: t}, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: 1 << 20})
	}
	return all
}

// step is one request of a script and what must come back.
type step struct {
	name      string
	epoch     int32
	add       []Partition
	forget    []string
	answers   map[string]Answer // default: nothing changed, high watermark 0
	wantErr   kafka.ErrorCode
	wantFetch string // topics in order
	wantSend  string
}

// TestScript goes through the life of one session.
func TestScript(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	data := func(hw int64) Answer { return Answer{HighWatermark: hw, HasRecords: true} }
	id := NoSession
	for _, s := range []step{
		{name: "full", epoch: InitialEpoch, add: named("a", "b", "c"), wantFetch: "a b c", wantSend: "a b c"},
		{name: "nothing new", epoch: 1, wantFetch: "a b c"},
		{name: "records in a, which goes to the end", epoch: 2, answers: map[string]Answer{"a": data(5)}, wantFetch: "a b c", wantSend: "a"},
		{name: "its high watermark is known now", epoch: 3, answers: map[string]Answer{"a": {HighWatermark: 5}}, wantFetch: "b c a"},
		{name: "only the high watermark of b rose", epoch: 4, answers: map[string]Answer{"a": {HighWatermark: 5}, "b": {HighWatermark: 2}}, wantFetch: "b c a", wantSend: "b"},
		{name: "only the log start of c rose", epoch: 5, answers: map[string]Answer{"a": {HighWatermark: 5}, "b": {HighWatermark: 2}, "c": {LogStartOffset: 9}}, wantFetch: "b c a", wantSend: "c"},
		{name: "an old epoch", epoch: 5, wantErr: kafka.ErrInvalidFetchSessionEpoch},
		{name: "an epoch too far", epoch: 7, wantErr: kafka.ErrInvalidFetchSessionEpoch},
		{name: "error in a", epoch: 6, answers: map[string]Answer{"a": {HighWatermark: -1, LogStartOffset: -1, IsError: true}, "b": {HighWatermark: 2}, "c": {LogStartOffset: 9}}, wantFetch: "b c a", wantSend: "a"},
		{name: "the error stays", epoch: 7, answers: map[string]Answer{"a": {HighWatermark: -1, LogStartOffset: -1, IsError: true}, "b": {HighWatermark: 2}, "c": {LogStartOffset: 9}}, wantFetch: "b c a", wantSend: "a"},
		{name: "the error is over", epoch: 8, answers: map[string]Answer{"a": {HighWatermark: 5}, "b": {HighWatermark: 2}, "c": {LogStartOffset: 9}}, wantFetch: "b c a", wantSend: "a"},
		{name: "a diverging epoch", epoch: 9, answers: map[string]Answer{"a": {HighWatermark: 5}, "b": {HighWatermark: 2, MustSend: true}, "c": {LogStartOffset: 9}}, wantFetch: "b c a", wantSend: "b"},
		{name: "who has truncated hears of the high watermark again", epoch: 10, answers: map[string]Answer{"a": {HighWatermark: 5}, "b": {HighWatermark: 2}, "c": {LogStartOffset: 9}}, wantFetch: "b c a", wantSend: "b"},
		{name: "once", epoch: 11, answers: map[string]Answer{"a": {HighWatermark: 5}, "b": {HighWatermark: 2}, "c": {LogStartOffset: 9}}, wantFetch: "b c a"},
		{name: "add d, forget b and x", epoch: 12, add: named("d"), forget: []string{"b", "x"}, answers: map[string]Answer{"a": {HighWatermark: 5}, "c": {LogStartOffset: 9}}, wantFetch: "c a d", wantSend: "d"},
		{name: "forget all", epoch: 13, forget: []string{"a", "c", "d"}, wantFetch: ""},
		{name: "the session is gone", epoch: 14, wantErr: kafka.ErrFetchSessionIDNotFound},
	} {
		r := Request{SessionID: id, Epoch: s.epoch, Partitions: s.add, NowMs: 1}
		for _, topic := range s.forget {
			r.Forgotten = append(r.Forgotten, Key{Topic: topic})
		}
		ctx, err := c.Begin(r)
		if kafka.CodeOf(err) != s.wantErr {
			t.Fatalf("%s: %v", s.name, err)
		}
		if err != nil {
			continue
		}
		fetched, sent, newID, err := run(ctx, s.answers)
		if err != nil || fetched != s.wantFetch || sent != s.wantSend {
			t.Fatalf("%s: fetched %q and sent %q, %v; want %q and %q", s.name, fetched, sent, err, s.wantFetch, s.wantSend)
		}
		if s.epoch == InitialEpoch {
			id = newID
		} else if newID != id && s.wantFetch != "" {
			t.Fatalf("%s: session id %d, want %d", s.name, newID, id)
		}
	}
	if c.Len() != 0 || c.partitions.Value() != 0 {
		t.Errorf("%d sessions with %d partitions are left", c.Len(), c.partitions.Value())
	}
}

func run(ctx *Context, answers map[string]Answer) (fetched, sent string, id int32, err error) {
	var names []string
	all, send := make([]Answer, len(ctx.Partitions)), make([]bool, len(ctx.Partitions))
	for i, p := range ctx.Partitions {
		names = append(names, p.Topic)
		all[i] = answers[p.Topic]
	}
	id, err = ctx.Finish(all, send, 1)
	var out []string
	for i := range send {
		if send[i] {
			out = append(out, names[i])
		}
	}
	return strings.Join(names, " "), strings.Join(out, " "), id, err
}

func begin(t *testing.T, c *Cache, size int, nowMs int64) int32 {
	t.Helper()
	var topics []string
	for i := range size {
		topics = append(topics, fmt.Sprint(i))
	}
	ctx, err := c.Begin(Request{Epoch: InitialEpoch, Partitions: named(topics...), NowMs: nowMs})
	if err != nil {
		t.Fatal(err)
	}
	id, err := ctx.Finish(make([]Answer, size), make([]bool, size), nowMs)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestFollowersHearOfTheHighWatermarkInEveryEpoch: the answer of an epoch that has ended for the follower is dropped
// there. A partition that is idle since then would never be told again how far it is committed.
func TestFollowersHearOfTheHighWatermarkInEveryEpoch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		logStartOffset int64
		epoch          int32
		wantSend       string
	}{
		{"a follower in the next epoch", 0, 6, "a"},
		{"a follower in the same epoch", 0, 5, ""},
		{"a consumer in the next epoch", -1, 6, ""},
	} {
		cache := newCache(10)
		wanted := Partition{Key: Key{Topic: "a"}, CurrentLeaderEpoch: 5, LastFetchedEpoch: 5, LogStartOffset: c.logStartOffset, MaxBytes: 1 << 20}
		committed := map[string]Answer{"a": {HighWatermark: 7}}
		ctx, err := cache.Begin(Request{Epoch: InitialEpoch, Partitions: []Partition{wanted}, NowMs: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, _, id, err := run(ctx, committed)
		if err != nil {
			t.Fatal(err)
		}
		wanted.CurrentLeaderEpoch = c.epoch
		if ctx, err = cache.Begin(Request{SessionID: id, Epoch: 1, Partitions: []Partition{wanted}, NowMs: 2}); err != nil {
			t.Fatal(err)
		}
		if _, sent, _, err := run(ctx, committed); err != nil || sent != c.wantSend {
			t.Errorf("%s: sent %q, %v, want %q", c.name, sent, err, c.wantSend)
		}
	}
}

func TestSessionlessKeepsNothing(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	id := begin(t, c, 2, 1)
	ctx, err := c.Begin(Request{SessionID: id, Epoch: FinalEpoch, Partitions: named("a")})
	if err != nil {
		t.Fatal(err)
	}
	if fetched, sent, got, err := run(ctx, nil); fetched != "a" || sent != "a" || got != NoSession || err != nil {
		t.Fatalf("fetched %q, sent %q, session %d, %v", fetched, sent, got, err)
	}
	if c.Len() != 0 {
		t.Error("the final epoch did not end the session")
	}
}

func TestFullFetchReplacesTheSession(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	first := begin(t, c, 2, 1)
	ctx, err := c.Begin(Request{SessionID: first, Epoch: InitialEpoch, Partitions: named("z")})
	if err != nil {
		t.Fatal(err)
	}
	_, _, second, _ := run(ctx, nil)
	if second == first || second == NoSession || c.Len() != 1 {
		t.Fatalf("session %d after %d, %d in all", second, first, c.Len())
	}
}

func TestTopicIDsMustAgree(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	id := begin(t, c, 1, 1)
	if _, err := c.Begin(Request{SessionID: id, Epoch: 1, UsesTopicIDs: true}); kafka.CodeOf(err) != kafka.ErrFetchSessionTopicIDError {
		t.Fatalf("got %v", err)
	}
}

func TestUseOnTwoConnections(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	id := begin(t, c, 1, 1)
	first, err := c.Begin(Request{SessionID: id, Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Begin(Request{SessionID: id, Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	if _, _, got, err := run(first, nil); kafka.CodeOf(err) != kafka.ErrInvalidFetchSessionEpoch || got != id {
		t.Fatalf("session %d, %v", got, err)
	}
}

func TestEpochWraps(t *testing.T) {
	t.Parallel()
	if got := nextEpoch(1<<31 - 1); got != 1 {
		t.Errorf("the epoch after the largest is %d", got)
	}
}

// TestEviction fills the one slot of each shard and tries to get a session among them.
func TestEviction(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		nowMs int64
		size  int
		room  bool
	}{
		{"young sessions stay", 1000, 100, false},
		{"young sessions stay at the limit", evictionMs, 100, false},
		{"old ones give way to larger ones", evictionMs + 60_000, 3, true},
		{"but not to smaller ones", evictionMs + 60_000, 1, false},
		{"nor to ones of their size", evictionMs + 60_000, 2, false},
		{"unused ones give way to any", 2*evictionMs + 60_000, 1, true},
	} {
		cache := newCache(shardCount)
		for range shardCount {
			if begin(t, cache, 2, 0) == NoSession {
				t.Fatal("no room")
			}
		}
		for i := range cache.shards { // used once at 60 s
			for id, s := range cache.shards[i].sessions {
				if _, err := cache.Begin(Request{SessionID: id, Epoch: s.epoch, NowMs: 60_000}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := begin(t, cache, c.size, c.nowMs) != NoSession; got != c.room {
			t.Errorf("%s: room %v, want %v", c.name, got, c.room)
		}
		evicted := int64(0)
		if c.room {
			evicted = 1
		}
		if cache.Len() != shardCount || cache.evictions.Value() != evicted {
			t.Errorf("%s: %d sessions, %d evicted", c.name, cache.Len(), cache.evictions.Value())
		}
	}
}

func TestNoSlots(t *testing.T) {
	t.Parallel()
	if id := begin(t, newCache(0), 1, 1); id != NoSession {
		t.Errorf("session %d", id)
	}
}

func TestUnknownSessions(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	for _, id := range []int32{0, 1, -1, 1<<31 - 1, -1 << 31} {
		if _, err := c.Begin(Request{SessionID: id, Epoch: 5}); kafka.CodeOf(err) != kafka.ErrFetchSessionIDNotFound {
			t.Errorf("session %d: %v", id, err)
		}
		if _, err := c.Begin(Request{SessionID: id, Epoch: InitialEpoch}); err != nil {
			t.Errorf("session %d: %v", id, err)
		}
	}
}

func TestPartitionTwiceInOneRequest(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	both := named("a", "a")
	both[1].FetchOffset = 7
	ctx, err := c.Begin(Request{Epoch: InitialEpoch, Partitions: both})
	if err != nil {
		t.Fatal(err)
	}
	_, _, id, _ := run(ctx, nil)
	ctx, err = c.Begin(Request{SessionID: id, Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if want := both[1:]; !reflect.DeepEqual(ctx.Partitions, want) {
		t.Errorf("the session has %+v", ctx.Partitions)
	}
}

func BenchmarkIncremental(b *testing.B) {
	c := newCache(10)
	var topics []string
	for i := range 100 {
		topics = append(topics, fmt.Sprint("topic-", i))
	}
	ctx, err := c.Begin(Request{Epoch: InitialEpoch, Partitions: named(topics...)})
	if err != nil {
		b.Fatal(err)
	}
	answers, send := make([]Answer, 100), make([]bool, 100)
	id, _ := ctx.Finish(answers, send, 0)
	epoch := int32(1)
	b.ReportAllocs()
	for b.Loop() {
		ctx, err := c.Begin(Request{SessionID: id, Epoch: epoch})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ctx.Finish(answers, send, 0); err != nil {
			b.Fatal(err)
		}
		epoch = nextEpoch(epoch)
	}
}

// TestPartitionNamedTwice: it is fetched once, at its first place, as its last mention says.
func TestPartitionNamedTwice(t *testing.T) {
	t.Parallel()
	for _, epoch := range []int32{InitialEpoch, FinalEpoch} {
		partitions := named("a", "b", "a", "c", "b", "a")
		for i := range partitions {
			partitions[i].FetchOffset = int64(i)
		}
		context, err := newCache(10).Begin(Request{Epoch: epoch, Partitions: partitions})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range context.Partitions {
			got = append(got, fmt.Sprint(p.Topic, p.FetchOffset))
		}
		if !reflect.DeepEqual(got, []string{"a5", "b4", "c3"}) {
			t.Errorf("epoch %d: %v", epoch, got)
		}
	}
}

// TestReleasedMemoryIsUsedAgain: a request gets the memory of the one before, but not while that is
// in use, nor what it has said.
func TestReleasedMemoryIsUsedAgain(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	id := begin(t, c, 3, 1)
	first, err := c.Begin(Request{SessionID: id, Epoch: 1, NowMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.Begin(Request{SessionID: id, Epoch: 2, Partitions: named("3"), NowMs: 1}) // beside the first
	if err != nil || &other.Partitions[0] == &first.Partitions[0] {
		t.Fatalf("memory in use is given away: %v", err)
	}
	if _, err := first.Finish(make([]Answer, 3), make([]bool, 3), 1); kafka.CodeOf(err) != kafka.ErrInvalidFetchSessionEpoch {
		t.Errorf("the session was used meanwhile, yet: %v", err)
	}
	first.Release()
	if fetched, _, _, err := run(other, nil); fetched != "0 1 2 3" || err != nil {
		t.Errorf("fetched %q, %v", fetched, err)
	}
	memory := &other.Partitions[0]
	other.Release()
	again, err := c.Begin(Request{SessionID: id, Epoch: 3, Forgotten: []Key{{Topic: "1"}}, NowMs: 1})
	if err != nil || &again.Partitions[0] != memory {
		t.Fatalf("the memory is not used again: %v", err)
	}
	if fetched, _, _, err := run(again, nil); fetched != "0 2 3" || err != nil {
		t.Errorf("fetched %q, %v", fetched, err)
	}
}
