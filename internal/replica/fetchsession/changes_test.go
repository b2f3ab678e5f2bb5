package fetchsession

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// following is the session of broker 2, with the partitions 0 to 4 of one topic.
type following struct {
	t       *testing.T
	c       *Cache
	changes *Changes
	id      int32
	epoch   int32
	request Request
}

func newFollowing(t *testing.T) *following {
	f := &following{t: t, c: newCache(10), changes: &Changes{}, request: Request{UsesTopicIDs: true, Owner: Owner{IsFollower: true, BrokerID: 2}, BrokerEpoch: 7, NowMs: 1}}
	f.request.Changes = f.changes
	f.start()
	return f
}

func keyOf(partition int32) Key { return Key{TopicID: kafka.UUID{1}, Partition: partition} }

func wants(partitions ...int32) (all []Partition) {
	for _, p := range partitions {
		all = append(all, Partition{Key: keyOf(p)})
	}
	return all
}

func (f *following) start() {
	f.t.Helper()
	f.id, f.epoch = NoSession, InitialEpoch
	f.look(f.begin(wants(0, 1, 2, 3, 4)...), "01234")
}

func (f *following) mark(partition int32) { f.changes.Mark(kafka.UUID{1}, partition) }

func (f *following) begin(named ...Partition) *Context {
	f.t.Helper()
	r := f.request
	r.SessionID, r.Epoch, r.Partitions = f.id, f.epoch, named
	ctx, err := f.c.Begin(r)
	if err != nil {
		f.t.Fatal(err)
	}
	f.epoch++
	return ctx
}

// looked are the partitions that a request looks at.
func looked(ctx *Context) string {
	var all strings.Builder
	for _, p := range ctx.Partitions {
		fmt.Fprint(&all, p.Partition)
	}
	return all.String()
}

// look ends a request, which must look at the partitions of want; the answers about all of them stand, but about open.
func (f *following) look(ctx *Context, want string, open ...int32) {
	f.t.Helper()
	if got := looked(ctx); got != want {
		f.t.Errorf("epoch %d: looks at %q, want %q", f.epoch-1, got, want)
	}
	answers := make([]Answer, len(ctx.Partitions))
	for i, p := range ctx.Partitions {
		answers[i].Stands = !slices.Contains(open, p.Partition)
		answers[i].HasRecords = !answers[i].Stands
	}
	id, err := ctx.Finish(answers, make([]bool, len(answers)), f.request.NowMs)
	if err != nil {
		f.t.Fatal(err)
	}
	f.id = id
	ctx.Release()
}

// TestFollowersLookAtWhatHasChanged goes through what has a partition looked at.
func TestFollowersLookAtWhatHasChanged(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.look(f.begin(), "")
	f.mark(3)
	f.mark(1)
	f.mark(9) // not in the session
	f.look(f.begin(), "13", 1)
	f.look(f.begin(), "1")
	f.look(f.begin(), "")
	f.look(f.begin(wants(4, 2)...), "24", 2)
	f.mark(3)
	f.look(f.begin(), "32") // 1 and then 2 have given records, and come last
	ctx := f.begin(wants(4)...)
	f.mark(4) // while it is looked at: the answer may be from before
	f.look(ctx, "4")
	f.look(f.begin(), "4")
	f.look(f.begin(), "")
	r := f.request
	r.SessionID, r.Epoch, r.Forgotten = f.id, f.epoch, []Key{keyOf(0), keyOf(3)}
	f.mark(0)
	ctx, err := f.c.Begin(r)
	f.epoch++
	if err != nil {
		t.Fatal(err)
	}
	f.look(ctx, "")
	f.look(f.begin(wants(3)...), "3")
}

// TestFollowersHearOfChangesWhileTheyWait: what changes under a request that waits is looked at before its answer, and again
// by the next one where it was looked at before: what was noted of it then may not hold.
func TestFollowersHearOfChangesWhileTheyWait(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	ctx := f.begin(wants(4)...)
	if ctx.Extend() {
		t.Error("nothing has changed")
	}
	f.mark(2)
	f.mark(0)
	if !ctx.CanExtend() || !ctx.Extend() || ctx.Extend() {
		t.Error("two have changed")
	}
	f.mark(4)
	if ctx.Extend() {
		t.Error("partition 4 is looked at already")
	}
	f.look(ctx, "402")
	f.look(f.begin(), "024")
	f.look(f.begin(), "")
}

// TestAFollowerThatIsNotListenedToAnyMore: an old request of the same broker comes late, and takes its place, while a fetch waits.
func TestAFollowerThatIsNotListenedToAnyMore(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	ctx := f.begin(wants(4)...)
	id, epoch := f.id, f.epoch
	f.start()
	f.id, f.epoch = id, epoch
	f.mark(2)
	if !ctx.Extend() || ctx.Extend() {
		t.Error("anything may have changed")
	}
	f.look(ctx, "40123")
	f.look(f.begin(), "01234")
}

// TestNothingIsLostWithARequest: what has changed is looked at until there was an answer about it.
func TestNothingIsLostWithARequest(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.mark(1)
	f.begin()
	ctx := f.begin()
	f.mark(2)
	ctx.Extend()
	f.look(f.begin(), "12")
	f.request.NowMs += lookAtAllMs
	f.begin() // looks at everything, and comes to nothing
	f.look(f.begin(), "01234")
	f.look(f.begin(), "")
}

// TestWhatIsLeftOut: partitions that a request does not look at are known, all of them in full and in sync.
func TestWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	want := func(looksAt string, hasOthers bool, open ...int32) {
		t.Helper()
		ctx := f.begin()
		if ctx.HasOthers() != hasOthers {
			t.Errorf("looking at %q: has others: %v", looked(ctx), ctx.HasOthers())
		}
		f.look(ctx, looksAt, open...)
	}
	want("", true)
	for i := range int32(4) {
		f.mark(i)
	}
	want("0123", true, 0, 1, 2, 3)
	f.mark(4)
	want("40123", false)
	want("", true)
	f.request.NowMs += lookAtAllMs
	want("40123", false)
}

// TestWhenFollowersLookAtEverything: from time to time, in a new broker epoch, when the clock was set back, and where the changes were told
// to another session or were too many.
func TestWhenFollowersLookAtEverything(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.request.NowMs += lookAtAllMs - 1
	f.look(f.begin(), "")
	f.request.NowMs++
	f.look(f.begin(), "01234")
	f.look(f.begin(), "")
	f.request.NowMs--
	f.look(f.begin(), "01234")
	f.request.BrokerEpoch++
	f.look(f.begin(), "01234")
	f.look(f.begin(), "")
	for i := range int32(mostChanges + 1) {
		f.mark(i)
	}
	if len(f.changes.marked) > mostChanges {
		t.Errorf("%d changes are remembered", len(f.changes.marked))
	}
	f.look(f.begin(), "01234")
	f.request.NowMs += lookAtAllMs
	f.look(f.begin(), "01234")
	f.look(f.begin(), "")

	id, epoch := f.id, f.epoch
	f.start() // another session of the broker
	newID, newEpoch := f.id, f.epoch
	f.id, f.epoch = id, epoch
	f.mark(3)
	f.look(f.begin(), "01234")
	f.id, f.epoch = newID, newEpoch
	f.look(f.begin(), "3")
}

// TestFollowersWord: each fetch of the session says of what it leaves out that nothing has changed, and of nothing else.
func TestFollowersWord(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	all := f.begin(wants(0, 1)...)
	one, two := all.Partitions[0].Standing, all.Partitions[1].Standing
	f.request.NowMs = 10
	f.look(all, "01")
	f.look(f.begin(), "")
	f.request.NowMs = 20
	f.mark(1)
	f.look(f.begin(), "1", 1)
	f.request.NowMs = 30
	f.look(f.begin(), "1")
	if one.LastMs() != 30 || two.LastMs() != 30 {
		t.Errorf("%d and %d", one.LastMs(), two.LastMs())
	}
	f.request.NowMs = 40
	f.mark(1)
	ctx := f.begin()
	if one.LastMs() != 40 || two.LastMs() != 30 {
		t.Errorf("while it is looked at: %d and %d", one.LastMs(), two.LastMs())
	}
	f.mark(0)
	ctx.Extend()
	f.request.NowMs = 50
	f.begin()
	if one.LastMs() != 40 || two.LastMs() != 30 {
		t.Errorf("after a request that came to nothing: %d and %d", one.LastMs(), two.LastMs())
	}
}

// TestNobodyListensForASessionThatHasEnded: what has changed is remembered neither for a session that was given up, nor for one that was not made.
func TestNobodyListensForASessionThatHasEnded(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	listens := func(want bool, when string) {
		t.Helper()
		f.mark(1)
		if (len(f.changes.marked) > 0) != want {
			t.Errorf("%s: %d changes are remembered", when, len(f.changes.marked))
		}
	}
	listens(true, "a session")
	r := f.request
	r.SessionID, r.Epoch, r.Forgotten = f.id, f.epoch, []Key{keyOf(0), keyOf(1), keyOf(2), keyOf(3), keyOf(4)}
	if _, err := f.c.Begin(r); err != nil {
		t.Fatal(err)
	}
	listens(false, "nothing is left in it")
	f.start()
	listens(true, "another one")
	old := f.id
	f.id, f.epoch = NoSession, InitialEpoch
	ctx := f.begin(wants(0, 1, 2, 3, 4)...)
	f.c.remove(old, f.request.Owner)
	f.look(ctx, "01234")
	listens(true, "the one before has ended")
	f.c = newCache(0)
	f.start()
	listens(false, "no room")
}
