package coordinator

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// TestGroupsWithoutReplicas has a group rebalance, and an offset commit under way, when too few replicas are in sync for a minute: whatever
// clients ask is answered, with something that they ask again upon, long before they give up, and afterwards the group is as it was.
func TestGroupsWithoutReplicas(t *testing.T) {
	withGroups(t, func(f *groupsFixture) {
		t := f.t
		f.publish(offsetsTopicRecords(1)...)
		first, second := f.member("g"), f.parkedMember("g")
		parked := f.join("g", second)
		synctest.Wait()
		f.log.set(func() { f.log.manual = true })
		code := make(chan kafka.ErrorCode, 1)
		began := time.Now()
		go func() { code <- f.commit("g-other", 5) }()
		synctest.Wait()
		f.log.set(func() { f.log.refusal = kafka.ErrNotEnoughReplicas })

		const unavailable, within = kafka.ErrCoordinatorNotAvailable, 20 * time.Second
		go func() {
			got := <-parked
			if took := time.Since(began); took > within || got.ErrorCode != int16(unavailable) {
				t.Errorf("the member that waited for the first one: %+v after %s", got, took)
			}
			close(parked)
		}()
		soon := func(what string, since time.Time, got kafka.ErrorCode, want ...kafka.ErrorCode) {
			t.Helper()
			if took := time.Since(since); took > within || !slices.Contains(want, got) {
				t.Errorf("%s: %v after %s", what, got, took)
			}
		}
		soon("the commit under way", began, <-code, unavailable)
		for range 10 {
			began := time.Now()
			soon("OffsetCommit", began, f.commit("g", 7), unavailable)
			began = time.Now()
			soon("Heartbeat", began, f.heartbeat("g", first, 1), unavailable, kafka.ErrRebalanceInProgress)
			began = time.Now()
			soon("JoinGroup", began, kafka.ErrorCode((<-f.join("g", first)).ErrorCode), unavailable)
			began = time.Now()
			sync := kmsg.NewPtrSyncGroupRequest()
			sync.Group, sync.MemberID, sync.Generation = "g", first, 1
			synced, err := f.groups.SyncGroup(t.Context(), sync)
			if err != nil {
				t.Fatal(err)
			}
			soon("SyncGroup", began, kafka.ErrorCode(synced.ErrorCode), unavailable)
			began = time.Now()
			fetch := kmsg.NewOffsetFetchRequestGroup()
			fetch.Group = "g-other"
			fetched, err := f.groups.FetchOffsets(t.Context(), &fetch, true)
			if err != nil {
				t.Fatal(err)
			}
			soon("OffsetFetch", began, kafka.ErrorCode(fetched.ErrorCode), kafka.ErrNotCoordinator, kafka.ErrNone)
			<-time.After(time.Second)
		}
		<-parked

		f.log.set(func() { f.log.refusal, f.log.manual = nil, false })
		f.log.commit()
		<-time.After(maxRefusedPause)
		parked = f.join("g", second)
		rejoined := <-f.join("g", first)
		if got := <-parked; got.ErrorCode != 0 || rejoined.ErrorCode != 0 || got.Generation != 2 || rejoined.Generation != 2 {
			t.Errorf("afterwards the members join as %+v, %+v", rejoined, got)
		}
		if got := f.fetch("g-other"); got != "5" {
			t.Errorf("the commit that was under way: %s", got)
		}
	})
}
